//! Whose groups start next.

use std::collections::VecDeque;

use super::slots::SlotId;
use crate::partition::Pace;

/// So many groups of a round may be late: the next one does not wait for them.
const LATE_MAX: usize = 1;

/// Partitions whose group is to start, at once or with the next round. A round is all that came to want one
/// while the round before was on its way.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    now: VecDeque<SlotId>,
    next_round: VecDeque<SlotId>,
    /// Groups of rounds that have not landed.
    on_their_way: usize,
}

impl Wanted {
    /// The group of `slot` is to start.
    pub(super) fn want(&mut self, slot: SlotId, pace: Pace) {
        match pace {
            Pace::AtOnce => self.now.push_back(slot),
            Pace::InRounds => self.next_round.push_back(slot),
        }
    }

    /// The next one whose group may start.
    pub(super) fn next(&mut self) -> Option<SlotId> {
        if self.on_their_way <= LATE_MAX {
            self.now.append(&mut self.next_round);
        }
        self.now.pop_front()
    }

    /// A group of a round is on its way.
    pub(super) fn began(&mut self) {
        self.on_their_way += 1;
    }

    /// A group of a round has landed, however that went.
    pub(super) fn landed(&mut self) {
        assert!(
            self.on_their_way > 0,
            "a group landed that was not on its way"
        );
        self.on_their_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wanted: &mut Wanted) -> Vec<SlotId> {
        std::iter::from_fn(|| wanted.next()).collect()
    }

    #[test]
    fn a_round_starts_when_all_of_the_last_one_but_one_have_landed() {
        let mut wanted = Wanted::default();
        let [a, b, c] = [0, 1, 2].map(SlotId);
        for slot in [a, b, c] {
            wanted.want(slot, Pace::InRounds);
        }
        assert_eq!(all(&mut wanted), [a, b, c], "nothing is on its way");
        (0..3).for_each(|_| wanted.began());
        wanted.landed();
        wanted.want(a, Pace::InRounds);
        assert_eq!(wanted.next(), None, "two are on their way");
        wanted.landed();
        wanted.want(b, Pace::InRounds);
        assert_eq!(all(&mut wanted), [a, b], "one is late");
    }

    #[test]
    fn a_group_that_starts_at_once_waits_for_no_round() {
        let mut wanted = Wanted::default();
        let [a, b] = [0, 1].map(SlotId);
        (0..5).for_each(|_| wanted.began());
        wanted.want(a, Pace::InRounds);
        wanted.want(b, Pace::AtOnce);
        assert_eq!(all(&mut wanted), [b]);
        (0..5).for_each(|_| wanted.landed());
        assert_eq!(all(&mut wanted), [a]);
    }
}
