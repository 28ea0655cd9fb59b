//! What the file of an index must be to be believed.

use crate::format::index::{self as format, Header, Row};

/// An index that has all of its bytes right.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// Its header.
    pub(super) header: Header,
    /// Where every row lies below, in bytes of the store.
    pub(super) below: u64,
}

impl Whole {
    /// Whether `index` is one: its rows are intact, in order and within the store. Whether they are all of them only the
    /// store tells.
    pub(super) fn is(&self, index: &[u8]) -> bool {
        let rows = index.get(format::HEADER_BYTES..).unwrap_or_default();
        self.is_ours(index)
            && rows.len().is_multiple_of(format::ROW_BYTES)
            && self.sound_rows(index).count() == format::row_count(index)
    }

    /// Whether `index` is that of the segment, whatever its rows are.
    pub(super) fn is_ours(&self, index: &[u8]) -> bool {
        Header::decode(index).is_ok_and(|header| header == self.header)
    }

    /// Those of the rows that are intact, in order and within the store: each has a checksum of its own.
    pub(super) fn sound_rows(&self, index: &[u8]) -> impl Iterator<Item = Row> {
        let mut last = (0, 0, 0);
        let intact = (0..format::row_count(index)).filter_map(|at| format::row(index, at)?.ok());
        let below = self.below;
        intact.filter(move |row| {
            let this = (row.position, row.relative_offset, row.relative_ordinal);
            let is_ordered = last.0 < this.0 && last.1 <= this.1 && last.2 <= this.2;
            let is_sound = is_ordered && u64::from(row.position) < below;
            if is_sound {
                last = this;
            }
            is_sound
        })
    }
}
