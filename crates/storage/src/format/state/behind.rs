//! Whether what a manifest says is all that it once said.

use corelog_record::Position;

use super::State;
use crate::format::mark::Slot;

impl State {
    /// Whether the mark of this log tells of records that lie behind all that this knows of: edits are missing at its end.
    #[must_use]
    pub fn is_behind(&self, mark: &Slot) -> bool {
        match (self.end(), self.segments.last()) {
            (Some(end), _) => end.offset < mark.offset,
            // One that a mark speaks of with bytes was added before.
            (None, last) => {
                let is_unknown = last.is_none_or(|last| last.base < mark.segment);
                is_unknown && Position::ZERO < mark.position
            }
        }
    }
}
