//! The epochs of two logs on the wire, and where the logs part.

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits::EPOCH_COUNT_MAX;
use corelog_protocol::message::epoch::Epoch;
use corelog_record::Offset;
use corelog_storage::format::edit;
use corelog_storage::log::lineage::{Began, Common, Line, common};

use crate::failure::{Failure, failure_with};

/// Epochs as they travel: newest first, as many as may.
pub(crate) fn told(epochs: &[edit::Epoch]) -> Vec<Epoch> {
    let newest = epochs.iter().rev().take(EPOCH_COUNT_MAX as usize);
    let told = newest.map(|began| Epoch {
        epoch: began.epoch,
        lineage: began.lineage,
        start: began.offset,
    });
    told.collect()
}

/// Epochs that came, oldest first.
pub(crate) fn heard(epochs: &[Epoch]) -> Vec<Began> {
    let oldest = epochs.iter().rev().map(|epoch| Began {
        epoch: epoch.epoch,
        lineage: epoch.lineage,
        offset: epoch.start,
    });
    oldest.collect()
}

/// Up to where this log and another one are the same, by their epochs and ends.
pub(crate) fn shared(mine: (&[edit::Epoch], Offset), theirs: (&[Epoch], Offset)) -> Common {
    let own: Vec<_> = mine.0.iter().map(Began::from).collect();
    let other = heard(theirs.0);
    let line = |epochs, end| Line { epochs, end };
    common(line(&own, mine.1), line(&other, theirs.1))
}

/// What a follower is told whose log parted from this one.
pub(crate) fn diverged(at: Offset) -> Failure {
    let message = format!("the two logs part at offset {at}: see `rejoin`");
    let detail = Detail {
        offset: Some(at),
        ..Detail::default()
    };
    failure_with(ErrorCode::Diverged, message, detail)
}
