//! What the file of an index must be to be believed.

use crate::format::index::{self as format, Header, Row};

/// An index that has all of its bytes right.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// Its header.
    pub(super) header: Header,
    /// Where every row lies below, in bytes of the store.
    pub(super) below: u64,
    /// Where the store ends, unless it goes on.
    pub(super) end: Option<u64>,
}

/// A read that begins at a row has no more than this to pass over, unless a batch is larger: the disk gives it in one go.
pub(super) const FAR_BYTES: u64 = 1 << 20;

impl Whole {
    /// Whether rows of `index` lie far apart, so that some may be missing, which only the store tells; `None` unless it is
    /// one: its rows are intact, in order and within the store.
    pub(super) fn has_gaps(&self, index: &[u8]) -> Option<bool> {
        let rows = index.get(format::HEADER_BYTES..).unwrap_or_default();
        if !self.is_ours(index) || !rows.len().is_multiple_of(format::ROW_BYTES) {
            return None;
        }
        let (mut count, mut last, mut has_gaps) = (0, 0, false);
        for row in self.sound_rows(index) {
            let position = u64::from(row.position);
            has_gaps |= FAR_BYTES < position - last;
            (count, last) = (count + 1, position);
        }
        has_gaps |= self.end.is_some_and(|end| FAR_BYTES < end - last.min(end));
        (count == format::row_count(index)).then_some(has_gaps)
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
