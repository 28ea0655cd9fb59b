//! Group commit: when the next group starts. While a flush is in flight, the next group forms behind it; while
//! none is, a group starts at once, or in rounds.

use std::collections::VecDeque;
use std::time::Duration;

use corelog_record::Offset;

/// A slight group has no more bytes, …
const SLIGHT_BYTES: usize = 128 << 10;
/// … nor more than so many for each append.
const SLIGHT_APPEND_BYTES: usize = 16 << 10;

/// So much behind a flush goes out in the very step in which that lands: nobody need join it, and the disk would
/// rest while the core appends what waited for room.
pub(super) const BULK_BYTES: usize = 1 << 20;

/// An accepted record is flushed within this time …
pub(crate) const ACCEPTED_AGE_MAX: Duration = Duration::from_millis(5);
/// … or as soon as this many bytes wait.
pub(crate) const ACCEPTED_BYTES_MAX: usize = 1 << 20;

/// Whether a group starts at once, or together with those of other partitions.
///
/// What a slight group costs is its sync: it is worth a wait if more join it meanwhile. So where several
/// appends make a slight group the next one starts in rounds. Where one does, as of a lone client that waits
/// for its answer, nobody would join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pace {
    #[default]
    AtOnce,
    InRounds,
}

/// What is to be asked of the core after an append or a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Now(Pace),
    /// Within `ACCEPTED_AGE_MAX`.
    Soon,
}

/// When the next group starts, and what was accepted but is not yet durable.
#[derive(Debug, Default)]
pub(super) struct Group {
    is_in_flight: bool,
    /// The core was asked to commit at once and has not yet.
    is_asked: bool,
    /// The core was asked to commit within `ACCEPTED_AGE_MAX` and has not yet.
    is_armed: bool,
    /// Somebody waits for what forms behind the flush in flight.
    is_urgent: bool,
    /// Durable appends that joined the next group by now.
    joined: usize,
    /// Pace of the next group, as the last one was.
    next_pace: Pace,
    accepted: Accepted,
}

/// What was accepted and is not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Ends and counts of runs of records.
    runs: VecDeque<(Offset, u64)>,
}

impl Accepted {
    /// How many records are lost of a log that ended with all below `durable` on disk.
    pub(crate) fn lost(mut self, durable: Offset) -> u64 {
        self.advance(durable);
        self.runs.into_iter().map(|(_, count)| count).sum()
    }

    /// Records `[base, end)` were accepted.
    fn note(&mut self, base: Offset, end: Offset) {
        let count = end.since(base);
        match self.runs.back_mut() {
            Some((run_end, run_count)) if *run_end == base => {
                *run_end = end;
                *run_count += count;
            }
            _ => self.runs.push_back((end, count)),
        }
    }

    /// All below `durable` is on disk.
    fn advance(&mut self, durable: Offset) {
        while let Some((end, count)) = self.runs.front_mut() {
            if *end > durable {
                *count = (*count).min(end.since(durable));
                break;
            }
            self.runs.pop_front();
        }
    }
}

impl Group {
    pub(super) fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    /// A durable append waits for the next group.
    pub(super) fn join(&mut self) -> Option<Start> {
        self.joined = self.joined.saturating_add(1);
        self.want()
    }

    /// Pace of the next group: as the last one was.
    pub(super) fn next_pace(&self) -> Pace {
        self.next_pace
    }

    /// Somebody waits for the next group.
    pub(super) fn want(&mut self) -> Option<Start> {
        if self.is_in_flight {
            self.is_urgent = true;
            return None;
        }
        (!std::mem::replace(&mut self.is_asked, true)).then_some(Start::Now(self.next_pace))
    }

    /// Records `[base, end)` were accepted; nobody waits, but they are flushed soon.
    pub(super) fn accept(
        &mut self,
        base: Offset,
        end: Offset,
        pending_bytes: usize,
    ) -> Option<Start> {
        self.accepted.note(base, end);
        if pending_bytes >= ACCEPTED_BYTES_MAX {
            return self.want();
        }
        if self.is_asked {
            return None;
        }
        (!std::mem::replace(&mut self.is_armed, true)).then_some(Start::Soon)
    }

    /// The core says that it is time; true if a flush may start now.
    pub(super) fn commit(&mut self) -> bool {
        self.is_asked = false;
        self.is_armed = false;
        self.is_urgent |= self.is_in_flight;
        !self.is_in_flight
    }

    /// The group cannot start while a chore holds what it needs: it starts when the chore ends.
    pub(super) fn held(&mut self) {
        self.is_urgent = true;
    }

    /// A chore ended: what it held starts.
    pub(super) fn released(&mut self) -> Option<Start> {
        if self.is_in_flight || !std::mem::replace(&mut self.is_urgent, false) {
            return None;
        }
        self.want()
    }

    /// A flush of `bytes` is on its way. A group never spans two segments nor exceeds its bound:
    /// `left_bytes` of what was pending go out right behind it. Tells whether it is slight: of what somebody waits for
    /// who sent little.
    pub(super) fn started(&mut self, bytes: usize, left_bytes: usize) -> bool {
        assert!(!self.is_in_flight, "two flushes of one partition in flight");
        let appends = std::mem::take(&mut self.joined);
        let is_slight = bytes <= SLIGHT_BYTES.min(appends.saturating_mul(SLIGHT_APPEND_BYTES));
        self.next_pace = match appends > 1 && is_slight {
            true => Pace::InRounds,
            false => Pace::AtOnce,
        };
        self.is_in_flight = true;
        self.is_urgent = left_bytes > 0;
        is_slight
    }

    /// The flush came back from the disk, however it went.
    pub(super) fn landed(&mut self) {
        assert!(self.is_in_flight, "a flush ended that had not started");
        self.is_in_flight = false;
    }

    /// All below `durable` is on disk; what formed behind the flush starts at once if somebody
    /// waits for it.
    pub(super) fn next(&mut self, durable: Offset) -> Option<Start> {
        assert!(!self.is_in_flight, "a group waits for the one before");
        self.accepted.advance(durable);
        let is_urgent = std::mem::replace(&mut self.is_urgent, false);
        if is_urgent { self.want() } else { None }
    }

    /// No group starts any more: tells how many accepted records are lost. A flush may still be on
    /// the disk.
    pub(super) fn fence(&mut self) -> u64 {
        self.is_urgent = false;
        std::mem::take(&mut self.accepted).lost(Offset::ZERO)
    }

    /// What was accepted and is not durable yet, and was not told as lost.
    pub(super) fn into_accepted(self) -> Accepted {
        self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(n: u64) -> Offset {
        Offset::new(n).unwrap()
    }

    #[test]
    fn the_first_durable_append_starts_a_group_and_the_next_ones_join_it() {
        let mut group = Group::default();
        assert_eq!(group.join(), Some(Start::Now(Pace::AtOnce)));
        assert_eq!(group.join(), None);
        assert!(group.commit());
    }

    #[test]
    fn appends_behind_a_flush_start_the_next_group_when_it_ends() {
        let mut group = Group::default();
        group.want();
        assert!(group.commit());
        group.started(1, 0);
        assert_eq!(group.want(), None);
        assert!(!group.commit(), "one flush at a time");
        group.landed();
        assert_eq!(group.next(offset(1)), Some(Start::Now(Pace::AtOnce)));
    }

    #[test]
    fn what_did_not_fit_into_a_group_goes_out_right_behind_it() {
        let mut group = Group::default();
        group.want();
        assert!(group.commit());
        group.started(1, 100);
        group.landed();
        assert_eq!(group.next(offset(1)), Some(Start::Now(Pace::AtOnce)));
    }

    /// Pace at which the next group starts behind one of so many appends.
    fn pace_behind(group: &mut Group, appends: usize, bytes: usize) -> Pace {
        for _ in 0..appends {
            group.join();
        }
        assert!(group.commit());
        group.started(bytes, 0);
        group.landed();
        let Some(Start::Now(pace)) = group.want() else {
            panic!("it starts");
        };
        pace
    }

    #[test]
    fn behind_a_slight_group_of_several_appends_the_next_one_starts_in_rounds() {
        let group = &mut Group::default();
        assert_eq!(pace_behind(group, 1, 100), Pace::AtOnce, "nobody joins");
        assert_eq!(
            pace_behind(group, 2, 2 * SLIGHT_APPEND_BYTES),
            Pace::InRounds
        );
        assert_eq!(
            pace_behind(group, 2, 2 * SLIGHT_APPEND_BYTES + 1),
            Pace::AtOnce
        );
        assert_eq!(pace_behind(group, 99, SLIGHT_BYTES), Pace::InRounds);
        assert_eq!(pace_behind(group, 1, 100), Pace::AtOnce, "nobody joined");
        let large = pace_behind(group, 99, SLIGHT_BYTES + 1);
        assert_eq!(large, Pace::AtOnce, "its bytes cost more than its sync");
    }

    #[test]
    fn a_group_is_slight_that_somebody_waits_for_who_sent_little() {
        let group = &mut Group::default();
        let mut is_slight = |appends, bytes| {
            for _ in 0..appends {
                group.join();
            }
            let is_slight = group.started(bytes, 0);
            group.landed();
            is_slight
        };
        assert!(!is_slight(0, 100), "nobody waits");
        assert!(is_slight(1, SLIGHT_APPEND_BYTES));
        assert!(!is_slight(1, SLIGHT_APPEND_BYTES + 1));
        assert!(is_slight(99, SLIGHT_BYTES));
        assert!(!is_slight(99, SLIGHT_BYTES + 1));
    }

    #[test]
    fn an_accepted_append_is_flushed_within_its_time_or_size() {
        let mut group = Group::default();
        assert_eq!(group.accept(offset(0), offset(2), 10), Some(Start::Soon));
        assert_eq!(
            group.accept(offset(2), offset(3), 20),
            None,
            "the timer is armed"
        );
        assert_eq!(
            group.accept(offset(3), offset(4), ACCEPTED_BYTES_MAX),
            Some(Start::Now(Pace::AtOnce))
        );
    }

    #[test]
    fn what_was_accepted_and_never_synced_is_counted_as_lost() {
        let mut group = Group::default();
        group.accept(offset(0), offset(10), 1);
        assert!(group.commit());
        group.started(1, 0);
        group.accept(offset(12), offset(15), 1);
        group.landed();
        group.next(offset(4));
        assert!(group.commit());
        group.started(1, 0);
        assert_eq!(group.fence(), 6 + 3);
    }
}
