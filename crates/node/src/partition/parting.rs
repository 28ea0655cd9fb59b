//! Where a log parts from the one that a reader has read before.
//!
//! A follower that takes over begins an epoch where its log ends. If its source had more, and a reader has read that,
//! the reader stands behind the new epoch's beginning with a batch of an older one (as in Kafka's KIP-320).

use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::disk::Dir;
use corelog_storage::format::edit::Epoch;
use corelog_storage::log::Damage;

use super::state::Partition;

impl<D: Dir> Partition<D> {
    /// From where on the log may differ from the one of a reader that goes on at `from`, behind a batch of the epoch
    /// `last`; none if that batch is of this log, or not here yet, or nobody can tell.
    pub(super) fn differs_from(&self, from: Offset, last: Option<LeaderEpoch>) -> Option<Offset> {
        let is_lost = |damage: &Damage| damage.from < from && from <= damage.to;
        let log = Own {
            epochs: self.log.epochs(),
            start: self.bounds.log_start,
            end: self.log.log_end(),
            is_lost_below: self.log.damage().iter().any(is_lost),
        };
        log.differs_from(from, last?)
    }

    /// The epoch of the record below an offset; none if that is not remembered.
    pub(crate) fn epoch_below(&self, offset: Offset) -> Option<LeaderEpoch> {
        let mut began = self.log.epochs().iter().rev();
        let began = began.find(|began| began.offset < offset);
        began.map(|began| began.epoch)
    }
}

/// What there is of the log.
struct Own<'a> {
    /// Oldest first; those before the first are forgotten, with what they had.
    epochs: &'a [Epoch],
    start: Offset,
    end: Offset,
    /// Damage is in the place of the batch before where the reader goes on.
    is_lost_below: bool,
}

impl Own<'_> {
    fn differs_from(&self, from: Offset, last: LeaderEpoch) -> Option<Offset> {
        let oldest = self.epochs.first()?;
        let known = self.epochs.iter().find(|began| began.epoch == last);
        let later = self.epochs.iter().find(|began| last < began.epoch);
        // The batch before is of an earlier one here: another owner began one of that number, elsewhere.
        let is_another = known.is_some_and(|began| from <= began.offset);
        if is_another && oldest.offset < from && !self.is_lost_below {
            return Some(self.start);
        }
        match (known.is_some(), later) {
            // All of an epoch is the same wherever it is, and so is all before it: they part where it ends here.
            (true, Some(later)) => (later.offset < from).then(|| later.offset.max(self.start)),
            // The newest one goes on; who is behind may hear of the rest.
            (true, None) => None,
            // One that never ruled here: where it began elsewhere is not known. If it is later than all of these it may
            // have yet to be heard of, but what stands in its place here is something else.
            (false, later) => {
                let is_here = later.is_some() || from <= self.end;
                (is_here && oldest.offset < from && !self.is_lost_below).then_some(self.start)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{Lineage, Ordinal};

    use super::*;

    /// Of a log up to 1,000 whose epochs began there.
    fn found(began: &[(i32, u64)], from: u64, last: i32) -> Option<u64> {
        found_in(began, from, last, false)
    }

    fn found_in(began: &[(i32, u64)], from: u64, last: i32, is_lost_below: bool) -> Option<u64> {
        let epoch = |number| LeaderEpoch::new(number).unwrap();
        let offset = |value| Offset::new(value).unwrap();
        let epochs: Vec<_> = began
            .iter()
            .map(|&(number, at)| Epoch {
                epoch: epoch(number),
                lineage: Lineage::from_bytes([1; 16]),
                offset: offset(at),
                ordinal: Ordinal::ZERO,
            })
            .collect();
        let log = Own {
            epochs: &epochs,
            start: offset(7),
            end: offset(1_000),
            is_lost_below,
        };
        let found = log.differs_from(offset(from), epoch(last));
        found.map(Offset::get)
    }

    #[test]
    fn who_has_read_the_epoch_that_ruled_there_has_read_this_log() {
        let began = [(1, 0), (5, 100), (6, 200)];
        for (from, last) in [(8, 1), (100, 1), (101, 5), (200, 5), (201, 6), (1_000, 6)] {
            assert_eq!(found(&began, from, last), None, "{from}, {last}");
        }
    }

    #[test]
    fn of_epochs_that_began_at_one_place_the_last_one_ruled() {
        let began = [(1, 0), (5, 100), (6, 100)];
        assert_eq!(found(&began, 101, 6), None);
        assert_eq!(found(&began, 101, 5), Some(100));
        assert_eq!(found(&began, 100, 1), None);
    }

    #[test]
    fn who_has_read_on_in_an_epoch_that_has_ended_is_told_where_it_did() {
        let began = [(1, 0), (5, 100), (6, 200)];
        assert_eq!(found(&began, 101, 1), Some(100));
        assert_eq!(found(&began, 1_000, 1), Some(100));
        assert_eq!(found(&began, 2_000, 1), Some(100), "beyond the end");
        assert_eq!(found(&began, 201, 5), Some(200));
        assert_eq!(found(&[(1, 0), (5, 3)], 201, 1), Some(7), "what is left");
    }

    #[test]
    fn of_who_has_read_an_epoch_that_never_ruled_here_nothing_is_known_to_be_the_same() {
        assert_eq!(found(&[(1, 0), (5, 100)], 101, 3), Some(7));
        assert_eq!(found(&[(1, 0), (5, 100)], 50, 3), Some(7));
    }

    #[test]
    fn a_node_that_is_behind_has_lost_nothing() {
        let began = [(1, 0), (5, 100)];
        assert_eq!(found(&began, 1_001, 5), None);
        assert_eq!(found(&began, 1_001, 9), None, "nor heard of the epoch");
        assert_eq!(found(&began, 1_000, 9), Some(7), "it has another batch");
    }

    /// An owner that was replaced and started again, in an epoch that begins where its log ended: whoever had read on at
    /// the new one got what was here in its place, without a word.
    #[test]
    fn an_epoch_later_than_all_of_a_log_is_another_owners_also_below_where_the_newest_began() {
        assert_eq!(found(&[(1, 0), (5, 100)], 50, 9), Some(7));
        assert_eq!(found(&[(1, 0), (5, 100)], 100, 9), Some(7));
        assert_eq!(found(&[(5, 100)], 100, 9), None, "forgotten");
    }

    /// Two copies were promoted that had not heard of each other: a reader of the one read on at the other, without a
    /// word, where that had other records.
    #[test]
    fn an_epoch_that_began_earlier_elsewhere_is_another_owners() {
        assert_eq!(found(&[(1, 0), (5, 100)], 100, 5), Some(7));
        assert_eq!(found(&[(1, 0), (5, 100), (6, 200)], 50, 5), Some(7));
        assert_eq!(found(&[(1, 0), (5, 100)], 101, 5), None);
    }

    /// As after a repair, which knows of an epoch only by the batches that are left.
    #[test]
    fn behind_damage_nobody_can_tell_where_an_epoch_began() {
        let lost = |from| found_in(&[(1, 0), (5, 100)], from, 5, true);
        assert_eq!(lost(100), None);
        assert_eq!(lost(50), None);
        for last in [3, 9] {
            let found = found_in(&[(1, 0), (5, 100)], 50, last, true);
            assert_eq!(found, None, "it may have been what was lost");
        }
    }

    #[test]
    fn nobody_can_tell_behind_what_was_forgotten() {
        assert_eq!(found(&[], 50, 1), None);
        assert_eq!(found(&[(5, 100)], 100, 1), None);
        assert_eq!(found(&[(5, 100)], 101, 1), Some(7));
    }
}
