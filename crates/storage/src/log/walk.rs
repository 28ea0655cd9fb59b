//! Readers over the whole log.

use corelog_record::Offset;

use super::Log;
use crate::disk::Dir;
use crate::index;
use crate::reader::{Part, Reader, Rows};
use crate::segment::{Index, Segment, Stage};

impl<D: Dir> Log<D> {
    /// A reader of what is durable now, from the batch that holds `from`, or from log start if that
    /// is higher.
    pub fn reader(&self, from: Offset) -> Reader<D> {
        // The index in memory knows batches that are not durable yet: no walk begins among them.
        let from = from.clamp(self.log_start, self.durable.offset);
        let first = self.segment_of(from).base.offset;
        let parts = self
            .segments
            .iter()
            .filter(|segment| first <= segment.base.offset);
        Reader::new(
            from,
            parts
                .filter_map(|segment| self.part(segment, from))
                .collect(),
        )
    }

    fn part(&self, segment: &Segment<D>, from: Offset) -> Option<Part<D>> {
        let is_partial = segment.base.offset == self.durable_segment;
        let end = if is_partial {
            self.durable
        } else {
            segment.end
        };
        let start = match &segment.index {
            Index::Growing(rows) => index::before_offset(&segment.base, rows.rows(), from),
            Index::File(_) => segment.base,
        };
        let rows = match &segment.index {
            Index::File(sealed) => Rows::File(sealed.clone()),
            // Shared while they grow, they would be copied at the next append.
            Index::Growing(_) if segment.stage == Stage::Active => Rows::Away,
            Index::Growing(rows) => Rows::Known(rows.clone()),
        };
        let is_any = self.durable_bytes(segment) > 0;
        let store = segment.store.as_ref().filter(|_| is_any)?;
        // A walk over many segments must not leave them all open.
        let store = match segment.stage {
            Stage::Sealed(_) => store.apart(),
            Stage::Active | Stage::Rolled | Stage::Damaged | Stage::Finished => store.clone(),
        };
        Some(Part {
            store,
            base: segment.base,
            start,
            end,
            rows,
        })
    }
}
