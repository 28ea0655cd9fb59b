//! When a partition was last active, whether it is idle, and when it looks again.

use std::time::Duration;

use corelog_record::Timestamp;

/// A partition without a group for this long, in milliseconds, is idle, …
const PROMPT_MS: i64 = 50;
/// … and after this long if groups come that slowly: what is done for an idle partition, a sync above all,
/// would be done for each of them.
const PATIENT_MS: i64 = 1_000;

/// How soon an active partition looks again if it went idle, or its mark is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    Soon,
    /// It has a longer time to go idle, and there may be thousands.
    Later,
}

impl Tick {
    pub(crate) const fn within(self) -> Duration {
        match self {
            Self::Soon => Duration::from_millis(60),
            Self::Later => Duration::from_millis(500),
        }
    }
}

/// What is known of a partition's pace.
#[derive(Debug)]
pub(super) struct Activity {
    last: Timestamp,
    /// Groups come less than `PATIENT_MS` apart, but not always less than `PROMPT_MS`.
    is_slow: bool,
}

impl Activity {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            last: now,
            is_slow: false,
        }
    }

    /// A group came back from the disk.
    pub(super) fn flushed(&mut self, now: Timestamp) {
        let gap_ms = self.quiet_ms(now);
        self.is_slow = gap_ms <= PATIENT_MS && (self.is_slow || gap_ms > PROMPT_MS);
        self.last = now;
    }

    /// Whether it goes idle if nothing is on its way.
    pub(super) fn is_over(&mut self, now: Timestamp) -> bool {
        let after_ms = if self.is_slow { PATIENT_MS } else { PROMPT_MS };
        self.quiet_ms(now) >= after_ms
    }

    /// Whether it was active so lately that it may yet go idle by itself.
    pub(super) fn is_recent(&mut self, now: Timestamp) -> bool {
        self.quiet_ms(now) < 2 * PATIENT_MS
    }

    pub(super) fn tick(&self) -> Tick {
        if self.is_slow {
            Tick::Later
        } else {
            Tick::Soon
        }
    }

    fn quiet_ms(&mut self, now: Timestamp) -> i64 {
        // A clock that was set back must not keep the partition from ever being idle.
        self.last = self.last.min(now);
        now.millis_since(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_partition_that_was_busy_goes_idle_soon() {
        let mut activity = Activity::new(at(0));
        for ms in 5_000..5_100 {
            activity.flushed(at(ms));
        }
        assert_eq!(activity.tick(), Tick::Soon);
        assert!(!activity.is_over(at(5_099 + PROMPT_MS - 1)));
        assert!(activity.is_over(at(5_099 + PROMPT_MS)));
    }

    #[test]
    fn a_partition_to_which_more_came_soon_after_waits_until_a_second_is_quiet() {
        let mut activity = Activity::new(at(0));
        activity.flushed(at(5_000));
        activity.flushed(at(5_100));
        activity.flushed(at(5_101));
        assert_eq!(activity.tick(), Tick::Later);
        assert!(!activity.is_over(at(5_101 + PATIENT_MS - 1)));
        assert!(activity.is_recent(at(5_101 + PATIENT_MS)));
        assert!(activity.is_over(at(5_101 + PATIENT_MS)));
        activity.flushed(at(5_101 + PATIENT_MS + 1));
        assert!(
            activity.is_over(at(5_102 + PATIENT_MS + PROMPT_MS)),
            "what came is a beginning"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_from_going_idle() {
        let mut activity = Activity::new(at(9_000_000));
        assert!(!activity.is_over(at(1_000)));
        assert!(activity.is_over(at(1_000 + PROMPT_MS)));
    }
}
