//! What the file of an index must be to be believed.

use crate::format::index::{self as format, Header};

/// An index that has all of its bytes right.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// Its header.
    pub(super) header: Header,
    /// Bytes of the store that its rows lead through.
    pub(super) store_bytes: u64,
    /// Where every row lies below, in bytes of the store.
    pub(super) below: u64,
}

impl Whole {
    /// Whether `index` is one.
    pub(super) fn is(&self, index: &[u8]) -> bool {
        let is_ours = Header::decode(index).is_ok_and(|header| header == self.header);
        let rows = index.get(format::HEADER_BYTES..).unwrap_or_default();
        is_ours && rows.len().is_multiple_of(format::ROW_BYTES) && self.are_rows_right(index)
    }

    /// Whether the rows are intact, in order, within the store, and all of them.
    fn are_rows_right(&self, index: &[u8]) -> bool {
        let mut last = (0, 0, 0);
        let are_ordered = (0..format::row_count(index)).all(|number| {
            let Some(Ok(row)) = format::row(index, number) else {
                return false;
            };
            let this = (row.position, row.relative_offset, row.relative_ordinal);
            let is_ordered = last.0 < this.0 && last.1 <= this.1 && last.2 <= this.2;
            let is_near = row.position - last.0.min(row.position) <= GAP_BYTES_MAX;
            last = this;
            is_ordered && is_near && u64::from(row.position) < self.below
        });
        are_ordered && self.store_bytes.saturating_sub(last.0.into()) <= GAP_BYTES_MAX.into()
    }
}

/// No more lies between two rows that are whole: one interval and the largest batch.
const GAP_BYTES_MAX: u32 = 20 << 20;
