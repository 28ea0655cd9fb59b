//! Whose groups start next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slots::SlotId;
use crate::partition::Pace;

/// So many groups of a round may be late: the next one does not wait for them.
const LATE_MAX: usize = 1;

/// … nor for any longer than this, whatever the disk does.
const WAIT_MAX: Duration = Duration::from_millis(1);

/// Partitions whose group is to start, at once or with the next round. A round is all that came to want one
/// while slight groups of several appends were on their way.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    at_once: VecDeque<SlotId>,
    next_round: VecDeque<SlotId>,
    /// When the next round starts in any case, if anybody waits for it.
    latest: Option<Instant>,
    /// Slight groups of several appends that have not landed.
    on_their_way: usize,
}

impl Wanted {
    /// The group of `slot` is to start. True if one may start by that, or there is now a time to wait for.
    pub(super) fn want(&mut self, slot: SlotId, pace: Pace, now: impl FnOnce() -> Instant) -> bool {
        match pace {
            Pace::AtOnce => {
                self.at_once.push_back(slot);
                true
            }
            Pace::InRounds => {
                let is_first = self.latest.is_none();
                self.latest.get_or_insert_with(|| now() + WAIT_MAX);
                self.next_round.push_back(slot);
                is_first
            }
        }
    }

    /// The next one whose group may start.
    pub(super) fn next(&mut self, now: impl FnOnce() -> Instant) -> Option<SlotId> {
        let is_due = self.on_their_way <= LATE_MAX;
        if self.latest.is_some_and(|latest| is_due || latest <= now()) {
            self.at_once.append(&mut self.next_round);
            self.latest = None;
        }
        self.at_once.pop_front()
    }

    /// How long it may be until a round starts that nothing else will start.
    pub(super) fn wait(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let latest = self.latest?;
        Some(latest.saturating_duration_since(now()))
    }

    /// A slight group of several appends is on its way.
    pub(super) fn began(&mut self) {
        self.on_their_way += 1;
    }

    /// A slight group of several appends has landed, however that went. True if one may start by that.
    pub(super) fn landed(&mut self) -> bool {
        assert!(
            self.on_their_way > 0,
            "a group landed that was not on its way"
        );
        self.on_their_way -= 1;
        self.on_their_way <= LATE_MAX && self.latest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt;

    fn all(wanted: &mut Wanted, now: Instant) -> Vec<SlotId> {
        std::iter::from_fn(|| wanted.next(|| now)).collect()
    }

    #[test]
    fn a_round_starts_when_all_of_the_last_one_but_one_have_landed() {
        let (mut wanted, now) = (Wanted::default(), rt::now());
        let [a, b, c] = [0, 1, 2].map(SlotId);
        for slot in [a, b, c] {
            wanted.want(slot, Pace::InRounds, || now);
        }
        assert_eq!(all(&mut wanted, now), [a, b, c], "nothing is on its way");
        (0..3).for_each(|_| wanted.began());
        assert!(!wanted.landed(), "nobody waits");
        assert!(wanted.want(a, Pace::InRounds, || now), "a time begins");
        assert_eq!(wanted.next(|| now), None, "two are on their way");
        assert!(wanted.landed());
        assert!(!wanted.want(b, Pace::InRounds, || now), "that was told");
        assert_eq!(all(&mut wanted, now), [a, b], "one is late");
    }

    #[test]
    fn a_round_waits_for_late_groups_no_longer_than_its_time() {
        let (mut wanted, now) = (Wanted::default(), rt::now());
        let [a, b] = [0, 1].map(SlotId);
        (0..5).for_each(|_| wanted.began());
        assert_eq!(wanted.wait(|| now), None, "nobody waits");
        wanted.want(a, Pace::InRounds, || now);
        let half = now + WAIT_MAX / 2;
        wanted.want(b, Pace::InRounds, || half);
        assert_eq!(all(&mut wanted, half), []);
        assert_eq!(wanted.wait(|| half), Some(WAIT_MAX / 2), "of the first one");
        assert_eq!(all(&mut wanted, now + WAIT_MAX), [a, b]);
        assert_eq!(wanted.wait(|| now), None);
    }

    #[test]
    fn a_group_that_starts_at_once_waits_for_no_round() {
        let (mut wanted, now) = (Wanted::default(), rt::now());
        let [a, b] = [0, 1].map(SlotId);
        (0..5).for_each(|_| wanted.began());
        wanted.want(a, Pace::InRounds, || now);
        wanted.want(b, Pace::AtOnce, || now);
        assert_eq!(all(&mut wanted, now), [b]);
        let told: Vec<_> = (0..5).map(|_| wanted.landed()).collect();
        assert_eq!(told, [false, false, false, true, true]);
        assert_eq!(all(&mut wanted, now), [a]);
    }
}
