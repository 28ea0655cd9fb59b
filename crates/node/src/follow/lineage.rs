//! The epochs of two logs on the wire, and where the logs part.

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits::EPOCH_COUNT_MAX;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::segments;
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::format::edit;
use corelog_storage::log::TAKEOVER_STEP;
use corelog_storage::log::lineage::{Began, Common, Line, common};

use crate::failure::{Amount, Failure, failure_with};

/// Epochs as they travel: newest first, as many as may. If that is not all, those own no batches in
/// whose place the next one began, and are left out: an owner that is killed again and again begins one
/// each time, and the batches are of older ones.
pub(crate) fn told(epochs: &[edit::Epoch]) -> Vec<Epoch> {
    let is_all = epochs.len() <= EPOCH_COUNT_MAX as usize;
    let owns = |number: &usize| {
        let next = epochs.get(number + 1);
        is_all || next.is_none_or(|next| epochs[*number].offset < next.offset)
    };
    let newest = (0..epochs.len()).rev().filter(owns);
    let newest = newest.map(|number| &epochs[number]);
    let newest = newest.take(EPOCH_COUNT_MAX as usize);
    let told = newest.map(|began| Epoch {
        epoch: began.epoch,
        lineage: began.lineage,
        start: began.offset,
    });
    told.collect()
}

/// Those of a source's epochs that are kept, the newest: it may tell of any number.
pub(super) fn kept(told: &[Epoch]) -> Vec<Epoch> {
    let newest = told.iter().take(EPOCH_COUNT_MAX as usize);
    newest.cloned().collect()
}

/// Checks that a source tells of the epochs of all that it has from an offset on: older ones than it may tell of are missing
/// where very many own batches.
///
/// # Errors
/// `NotSupported` with the offset from which on they are told.
pub(super) fn check_told(source: &segments::Answer, from: Offset) -> Result<(), Failure> {
    let from = from.max(source.log_start);
    let oldest = source.epochs.last().map(|oldest| oldest.start);
    let is_all = source.epochs.len() < EPOCH_COUNT_MAX as usize;
    let Some(oldest) = oldest.filter(|oldest| !is_all && from < *oldest) else {
        return Ok(());
    };
    let message = format!(
        "the source has more than {EPOCH_COUNT_MAX} leader epochs with records, and tells of those from offset {oldest} on: what precedes it cannot be copied, and has to be truncated there, or let go of by retention"
    );
    let detail = Detail {
        offset: Some(oldest),
        limit: Some(EPOCH_COUNT_MAX.into()),
        ..Detail::default()
    };
    Err(failure_with(ErrorCode::NotSupported, message, detail))
}

/// The newest of a source's epochs, or a follower's: it may tell of them in any order.
pub(super) fn newest(told: &[Epoch]) -> Option<LeaderEpoch> {
    told.iter().map(|told| told.epoch).max()
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

/// Checks how many epochs a follower tells.
///
/// # Errors
/// `InvalidRequest` if they are too many.
pub(super) fn check_epochs(epochs: &[Epoch]) -> Result<(), Failure> {
    let told = Amount {
        found: epochs.len() as u64,
        limit: EPOCH_COUNT_MAX.into(),
    };
    told.check("follower.epochs", "epochs")
}

/// Up to where this log and another one are the same, by their epochs and ends.
pub(crate) fn shared(mine: (&[edit::Epoch], Offset), theirs: (&[Epoch], Offset)) -> Common {
    let own: Vec<_> = mine.0.iter().map(Began::from).collect();
    let other = heard(theirs.0);
    let line = |epochs, end| Line { epochs, end };
    common(line(&own, mine.1), line(&other, theirs.1))
}

/// If all that a log has, which ends with an epoch at an offset, is in another one, by what they have in common.
pub(super) fn is_all(common: Common, (newest, end): (Option<LeaderEpoch>, Offset)) -> bool {
    common.offset == end && common.epoch == newest
}

/// Where a follower's log parts from this one, if its epochs tell that it does before its end. Those of
/// records below what is left here are forgotten: of one that ends there, and has earlier ones only, they tell nothing. Nor
/// has one parted that has all of this one, and more: this is a copy itself then, and lags. An owner that has less, as of files
/// that were put back, goes on in the same epoch: the chains tell once it has come to where the follower ends.
pub(super) fn parts_at(
    (mine, end): (&[edit::Epoch], Offset),
    theirs: (&[Epoch], Offset),
) -> Option<Offset> {
    let common = shared((mine, end), theirs);
    let is_below = |oldest: &edit::Epoch| {
        theirs.1 <= oldest.offset && theirs.0.iter().all(|their| their.epoch < oldest.epoch)
    };
    let is_forgotten = common.epoch.is_none() && mine.first().is_some_and(is_below);
    let lags = is_all(common, (mine.last().map(|newest| newest.epoch), end));
    (common.offset < theirs.1 && !is_forgotten && !lags).then_some(common.offset)
}

/// If the partition was taken over between two epochs of it: its owner begins the next one only, also at each start behind a kill.
pub(super) fn is_taken_over(earlier: Option<LeaderEpoch>, later: Option<LeaderEpoch>) -> bool {
    let [earlier, later] = [earlier, later].map(|epoch| epoch.map_or(-1, LeaderEpoch::get));
    TAKEOVER_STEP <= later.saturating_sub(earlier)
}

/// From where on a log, up to an end, has what another one had and has no more, by what they have in common. Behind an epoch by which
/// the partition was taken over, where that is the newest of one of them, it is another owner's, or was given up.
pub(super) fn lost_behind(
    common: Common,
    end: Offset,
    newest: [Option<LeaderEpoch>; 2],
) -> Option<Offset> {
    let is_other = newest
        .into_iter()
        .any(|newest| is_taken_over(common.epoch, newest));
    let is_lost = common.epoch.is_some() && common.offset < end && !is_other;
    is_lost.then_some(common.offset)
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

#[cfg(test)]
mod tests {
    use corelog_record::{CopyId, HistoryId, Lineage, Ordinal};

    use super::*;

    fn epoch(number: i32, offset: u64) -> edit::Epoch {
        edit::Epoch {
            epoch: LeaderEpoch::new(number).unwrap(),
            lineage: Lineage::from_bytes([1; 16]),
            offset: Offset::new(offset).unwrap(),
            ordinal: Ordinal::new(offset).unwrap(),
        }
    }

    #[test]
    fn epochs_tell_nothing_of_a_follower_that_ends_below_the_oldest_of_them() {
        let at = |offset| Offset::new(offset).unwrap();
        let mine = [epoch(1, 1_500), epoch(2, 1_800)];
        let theirs = told(&[epoch(0, 0)]);
        let parts = |end| parts_at((&mine, at(2_000)), (&theirs, at(end)));
        assert_eq!(parts(500), None);
        assert_eq!(parts(1_500), None);
        assert_eq!(parts(1_501), Some(Offset::ZERO));
        // An epoch of the same number began there in another place: somebody else owned it.
        let mut another = epoch(1, 400);
        another.lineage = Lineage::from_bytes([2; 16]);
        let other = told(&[epoch(0, 0), another]);
        assert_eq!(
            parts_at((&mine, at(2_000)), (&other, at(500))),
            Some(Offset::ZERO)
        );
        // What both have is believed, however little of it is left.
        let both = told(&[epoch(0, 0), epoch(1, 400), epoch(3, 450)]);
        assert_eq!(
            parts_at((&mine, at(2_000)), (&both, at(500))),
            Some(at(450))
        );
    }

    /// A copy had just given a damaged segment up, to have it anew: who follows it was told that the logs part, and followed no
    /// more.
    #[test]
    fn who_has_all_of_this_log_and_more_has_not_parted_from_it() {
        let at = |offset| Offset::new(offset).unwrap();
        let mine = [epoch(1, 0), epoch(2, 100)];
        let parts = |theirs: &[_]| parts_at((&mine, at(150)), (&told(theirs), at(200)));
        assert_eq!(parts(&mine), None);
        let [first, second] = mine;
        assert_eq!(parts(&[first, second, epoch(3, 180)]), None);
        assert_eq!(parts(&[first, second, epoch(3, 120)]), Some(at(120)));
        assert_eq!(parts(&[first]), Some(at(100)));
    }

    /// A copy that had come to a promoted owner met the old one, and told that it was to be promoted in its place.
    #[test]
    fn a_partition_was_taken_over_where_a_copy_s_epoch_is_far_above_its_owner_s() {
        let is_over =
            |earlier, later| is_taken_over(LeaderEpoch::new(earlier), LeaderEpoch::new(later));
        assert!(is_over(3, 1_003));
        assert!(is_over(-1, 999), "the owner had no record");
        assert!(!is_over(3, 3));
        assert!(!is_over(3, 7), "it was killed and started, and put back");
        assert!(!is_over(-1, 0));
    }

    /// An owner that was killed a thousand times told of no epoch that its batches were of.
    #[test]
    fn epochs_that_own_batches_are_told_of_however_many_began_since() {
        let mut epochs = vec![epoch(0, 0), epoch(1, 50)];
        epochs.extend((2..1_500).map(|number| epoch(number, 100)));
        let told: Vec<_> = told(&epochs).iter().map(|told| told.epoch.get()).collect();
        assert_eq!(told, [1_499, 1, 0]);
        let few = super::told(&epochs[..10]);
        assert_eq!(few.len(), 10, "as long as they fit, all are told of");
    }
    /// A copy waited for ever for an epoch that its source never tells of, and said that this was yet to come.
    #[test]
    fn a_source_with_more_epochs_than_it_tells_of_says_from_where_on_it_can_be_copied() {
        let at = |offset| Offset::new(offset).unwrap();
        let epochs: Vec<_> = (0..1_500)
            .map(|number| epoch(number, 10 * u64::from(number.unsigned_abs())))
            .collect();
        let mut source = segments::Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: at(0),
            high_watermark: at(15_000),
            epochs: told(&epochs),
            sealed: Vec::new(),
            active: None,
        };
        let refused = check_told(&source, at(4_999)).unwrap_err();
        assert!(refused.is(ErrorCode::NotSupported));
        assert_eq!(refused.detail.offset, Some(at(5_000)));
        check_told(&source, at(5_000)).unwrap();
        source.log_start = at(5_000);
        check_told(&source, at(0)).unwrap();
        source.epochs = told(&epochs[600..]);
        source.log_start = at(0);
        check_told(&source, at(0)).unwrap();
    }
}
