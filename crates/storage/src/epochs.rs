//! Which epoch ruled where, by those that a manifest knows: the one place that says so.

use corelog_record::Offset;
use corelog_record::batch::View;

use crate::format::edit::Epoch;

/// The last of `epochs` that began at or below `offset`. They are oldest first. What is forgotten says nothing.
#[must_use]
pub fn ruling(epochs: &[Epoch], offset: Offset) -> Option<&Epoch> {
    let count = epochs.partition_point(|began| began.offset <= offset);
    epochs[..count].last()
}

/// Whether `batch` was appended in the epoch that ruled where it stands. The manifest knew of each
/// epoch before its first batch was written, so another one's is rot, or was never to be there: what
/// was cut and came back.
pub(crate) fn is_of_its_epoch(batch: &View<'_>, epochs: &[Epoch]) -> bool {
    ruling(epochs, batch.base_offset()).is_none_or(|began| batch.epoch() == Some(began.epoch))
}
