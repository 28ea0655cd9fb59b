//! Which part of two replicas' logs is the same, by the epochs that each of them has.
//!
//! An epoch has one owner, which its lineage names, so of all replicas that have an epoch the batches
//! of it are the same, as far as they have them. What they have in common ends where the newest epoch
//! that both have ends in the one where it ends first. Whoever needs to be sure compares the chains
//! there: an owner whose files were changed by hand, or rotted, still claims its epochs.

use corelog_record::{LeaderEpoch, Lineage, Offset};

use crate::format::edit::Epoch;

/// An epoch, and where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Began {
    /// Its number.
    pub epoch: LeaderEpoch,
    /// Its owner.
    pub lineage: Lineage,
    /// The log end when it began.
    pub offset: Offset,
}

impl From<&Epoch> for Began {
    fn from(epoch: &Epoch) -> Self {
        Self {
            epoch: epoch.epoch,
            lineage: epoch.lineage,
            offset: epoch.offset,
        }
    }
}

/// The epochs of one replica, in any order, and the end of its log.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What it has, and has not forgotten with what expired.
    pub epochs: &'a [Began],
    /// Where its log ends.
    pub end: Offset,
}

impl Line<'_> {
    /// Where `epoch` ends in it: where the next one begins, or with the log.
    fn end_of(&self, epoch: LeaderEpoch) -> Offset {
        let later = self.epochs.iter().filter(|other| epoch < other.epoch);
        later.map(|other| other.offset).fold(self.end, Offset::min)
    }
}

/// What two replicas have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common {
    /// Up to here their batches are the same.
    pub offset: Offset,
    /// The newest epoch that both have; none if one has no epochs, or they have none in common.
    pub epoch: Option<LeaderEpoch>,
}

/// What `one` and `other` have in common; their order does not matter. Without a common epoch that is
/// nothing, unless one of them has no epochs at all: it has no batches either, so only its end counts.
#[must_use]
pub fn common(one: Line<'_>, other: Line<'_>) -> Common {
    let ours = one.epochs.iter();
    let is_shared = |began: &&Began| {
        let mut theirs = other.epochs.iter();
        theirs.any(|other| (other.epoch, other.lineage) == (began.epoch, began.lineage))
    };
    let newest = ours.filter(is_shared).map(|began| began.epoch).max();
    if let Some(epoch) = newest {
        return Common {
            offset: one.end_of(epoch).min(other.end_of(epoch)),
            epoch: newest,
        };
    }
    let is_any_bare = one.epochs.is_empty() || other.epochs.is_empty();
    let offset = match is_any_bare {
        true => one.end.min(other.end),
        false => Offset::ZERO,
    };
    Common {
        offset,
        epoch: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::own::offset;

    fn began(epoch: i32, owner: u8, from: u64) -> Began {
        Began {
            epoch: LeaderEpoch::new(epoch).unwrap(),
            lineage: Lineage::from_bytes([owner; 16]),
            offset: offset(from),
        }
    }

    /// What both have, whichever is asked first.
    fn shared(one: (&[Began], u64), other: (&[Began], u64)) -> (u64, Option<i32>) {
        let line = |end, epochs| Line {
            epochs,
            end: offset(end),
        };
        let (this, that) = (line(one.1, one.0), line(other.1, other.0));
        let found = common(this, that);
        assert_eq!(common(that, this), found, "the order does not matter");
        (found.offset.get(), found.epoch.map(LeaderEpoch::get))
    }

    #[test]
    fn a_copy_that_lags_has_all_it_has_in_common() {
        let epochs = [began(0, 1, 0), began(1, 1, 50)];
        assert_eq!(shared((&epochs, 100), (&epochs, 80)), (80, Some(1)));
        assert_eq!(shared((&epochs, 100), (&epochs[..1], 50)), (50, Some(0)));
        assert_eq!(shared((&epochs, 100), (&epochs[..1], 30)), (30, Some(0)));
    }

    #[test]
    fn an_old_owner_shares_what_its_successor_had_when_it_took_over() {
        let old = [began(0, 1, 0), began(1, 1, 50)];
        let new = [began(0, 1, 0), began(1, 1, 50), began(2, 2, 70)];
        assert_eq!(shared((&old, 120), (&new, 200)), (70, Some(1)));
    }

    #[test]
    fn two_that_took_over_share_what_both_had_before() {
        let one = [began(3, 1, 0), began(4, 2, 90)];
        let other = [began(3, 1, 0), began(4, 3, 60)];
        assert_eq!(shared((&one, 300), (&other, 400)), (60, Some(3)));
    }

    #[test]
    fn an_epoch_without_batches_of_one_owner_is_not_that_of_another() {
        let one = [began(0, 1, 0), began(1, 1, 60)];
        let other = [began(0, 1, 0), began(1, 2, 60)];
        assert_eq!(shared((&one, 60), (&other, 60)), (60, Some(0)));
    }

    #[test]
    fn strangers_share_nothing_and_a_log_without_epochs_has_only_its_end() {
        let one = [began(0, 1, 0)];
        let other = [began(0, 2, 0), began(7, 2, 10)];
        assert_eq!(shared((&one, 100), (&other, 100)), (0, None));
        assert_eq!(shared((&[], 40), (&other, 100)), (40, None));
    }

    #[test]
    fn what_expired_is_not_missed() {
        let kept = [began(5, 2, 500), began(6, 1, 900)];
        let all = [began(0, 1, 0), began(5, 2, 500), began(6, 1, 900)];
        assert_eq!(shared((&kept, 1_000), (&all, 950)), (950, Some(6)));
    }
}
