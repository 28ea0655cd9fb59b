//! Whether slight groups are about: what is synced for somebody who sent little, and waits.
//!
//! A sync ends when all has reached the disk that was written before it, whoever wrote it. Behind groups of 16 MiB, which a
//! stream fills while nobody waits for them, that is 10 ms. So while slight groups are about, those that form on any core of
//! the node hold less.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corelog_storage::log::UNSYNCED_BYTES_MAX;

use super::slots::SlotId;
use super::state::Core;
use crate::rt;

/// Behind a slight group others are expected for so long.
const ABOUT_FOR: Duration = Duration::from_millis(100);

/// Cores share the note, so it is renewed no more often.
const RENEWED_US: u64 = 1_000;

/// What a group holds at most while slight ones are about, but for one batch of more: what a disk takes in about the time of
/// a sync. With twice as much they wait twice as long.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// A note of the last slight group, for all cores of a node.
#[derive(Debug)]
pub(crate) struct Slight {
    start: Instant,
    /// Until when they are about, in microseconds since `start`.
    until_us: AtomicU64,
}

impl Slight {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            until_us: AtomicU64::new(0),
        }
    }

    /// A slight group goes to the disk.
    pub(super) fn note(&self, now: Instant) {
        let until_us = self.us(now + ABOUT_FOR);
        if self.until_us.load(Ordering::Relaxed) + RENEWED_US <= until_us {
            self.until_us.store(until_us, Ordering::Relaxed);
        }
    }

    /// How many bytes a group that forms now may hold.
    fn group_bytes_max(&self, now: Instant) -> usize {
        match self.us(now) < self.until_us.load(Ordering::Relaxed) {
            true => GROUP_BYTES_MAX,
            false => UNSYNCED_BYTES_MAX,
        }
    }

    fn us(&self, at: Instant) -> u64 {
        rt::micros(at.saturating_duration_since(self.start))
    }
}

impl Core {
    /// What is appended to a partition next joins a group that holds no more than is good now.
    pub(super) fn bound_groups(&self, slot: SlotId, now: Instant) {
        let bytes_max = self.shared.slight.group_bytes_max(now);
        if let Some(partition) = self.slots.borrow_mut().partition_mut(slot) {
            partition.bound_groups(bytes_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_small_for_a_tenth_of_a_second_behind_a_slight_one() {
        let start = Instant::now();
        let slight = Slight::new(start);
        assert_eq!(slight.group_bytes_max(start), UNSYNCED_BYTES_MAX);
        let noted = start + Duration::from_secs(1);
        slight.note(noted);
        assert_eq!(slight.group_bytes_max(noted), GROUP_BYTES_MAX);
        let last = noted + ABOUT_FOR - Duration::from_micros(1);
        assert_eq!(slight.group_bytes_max(last), GROUP_BYTES_MAX);
        assert_eq!(
            slight.group_bytes_max(noted + ABOUT_FOR),
            UNSYNCED_BYTES_MAX
        );
    }

    #[test]
    fn each_slight_group_renews_it_within_a_millisecond() {
        let start = Instant::now();
        let slight = Slight::new(start);
        let often = (0..1_000).map(|at| start + Duration::from_micros(300 * at));
        let last = often.clone().next_back().expect("many");
        often.for_each(|at| slight.note(at));
        let still = last + ABOUT_FOR - Duration::from_millis(1);
        assert_eq!(slight.group_bytes_max(still), GROUP_BYTES_MAX);
    }
}
