//! What a manifest and a mark say together: what was durable, and whether the manifest is all that it once was.

use corelog_record::{Offset, Position};

use super::State;
use crate::format::mark::Slot;

impl State {
    /// The offset below which this, or the mark of this log, whichever store that speaks of, says that all was durable.
    #[must_use]
    pub fn promised(&self, mark: Option<&Slot>) -> Offset {
        let began = self.epochs.last().map(|began| began.offset);
        let told = [began, mark.map(|mark| mark.offset)];
        told.into_iter().flatten().fold(self.log_start, Offset::max)
    }

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
