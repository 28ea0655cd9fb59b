//! A wall clock that nobody sets: it follows the machine's, but never runs backwards and never leaps far
//! ahead before that has proved to be meant.
//!
//! What is due goes by this clock. Set back, the machine's would hold up every retry for as long; set
//! ahead, it would expire years of records in a second, and those are gone. What is written down, and will
//! be due one day, goes by whichever clock shows more: if the leap is believed, it is not old at once.

use std::time::{Duration, Instant};

use corelog_record::Timestamp;
use corelog_storage::Now;

/// More than this at once is a leap. It may be right: a virtual machine was suspended, a clock that was wrong
/// at the start was set.
const LEAP: Duration = Duration::from_secs(60 * 60);
/// So long a leap has to last until it is believed: time for an operator to see the warning.
const PROBATION: Duration = Duration::from_secs(60 * 60);
/// Set back by less than this is not worth a word: clocks are slewed all the time.
const SLACK_MS: i64 = 1_000;

/// The clock as it was last looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    at: Instant,
    time: Timestamp,
    /// What the machine's clock showed.
    machine: Timestamp,
    /// The machine's clock is far ahead.
    probation: Option<Probation>,
    /// Whether it was told that the machine's clock is behind.
    is_behind: bool,
    /// What has passed and did not make a whole millisecond yet.
    rest: Duration,
}

/// A leap that is not believed yet.
#[derive(Debug, Clone, Copy)]
struct Probation {
    since: Instant,
    /// The least that it was ahead by.
    millis: i64,
}

/// What the machine's clock was found to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leap {
    /// It was set back by so much.
    Back { millis: i64 },
    /// It is ahead by so much, all at once.
    Ahead { millis: i64 },
    /// It stayed ahead by so much, and is followed.
    Believed { millis: i64 },
}

impl Steady {
    /// The clock begins as the machine's.
    pub(super) fn new(at: Instant, machine: Timestamp) -> Self {
        Self {
            at,
            time: machine,
            machine,
            probation: None,
            is_behind: false,
            rest: Duration::ZERO,
        }
    }

    /// What it showed when it was last looked at, and what is written down then.
    pub(super) fn now(&self) -> Now {
        Now {
            time: self.time,
            stamp: self.time.max(self.machine),
        }
    }

    /// By how much the machine's clock was found ahead, while that is not believed.
    pub(super) fn doubted(&self) -> Duration {
        let millis = self.probation.map_or(0, |probation| probation.millis);
        Duration::from_millis(millis.unsigned_abs())
    }

    /// It is looked at when the machine's shows `machine`; tells of a leap, once.
    pub(super) fn look(&mut self, at: Instant, machine: Timestamp) -> Option<Leap> {
        let passed = self.rest + at.saturating_duration_since(self.at);
        (self.at, self.machine) = (at, machine);
        let expected = self.after(passed);
        let ahead_ms = machine.millis().saturating_sub(expected.millis());
        if ahead_ms < 0 {
            // Only half of what passed counts: the machine's clock comes closer meanwhile.
            let half = self.after(passed / 2);
            self.rest =
                2 * Duration::from_nanos(u64::from((passed / 2).subsec_nanos() % 1_000_000));
            self.time = half.max(machine);
            self.probation = None;
            let is_new = ahead_ms < -SLACK_MS && !std::mem::replace(&mut self.is_behind, true);
            return is_new.then_some(Leap::Back { millis: -ahead_ms });
        }
        self.is_behind = false;
        self.rest = Duration::ZERO;
        let leap_ms = i64::try_from(LEAP.as_millis()).unwrap_or(i64::MAX);
        if ahead_ms <= leap_ms {
            self.probation = None;
            self.time = machine;
            return None;
        }
        // A leap upon a leap has to prove itself, too.
        let same = |known: &Probation| ahead_ms.saturating_sub(known.millis) <= leap_ms;
        let Some(known) = self.probation.filter(same) else {
            self.hold(expected, passed);
            let millis = ahead_ms;
            self.probation = Some(Probation { since: at, millis });
            return Some(Leap::Ahead { millis });
        };
        if at.saturating_duration_since(known.since) < PROBATION {
            self.hold(expected, passed);
            let millis = known.millis.min(ahead_ms);
            self.probation = Some(Probation { millis, ..known });
            return None;
        }
        self.probation = None;
        self.time = machine;
        Some(Leap::Believed { millis: ahead_ms })
    }

    /// Goes on by what passed.
    fn hold(&mut self, expected: Timestamp, passed: Duration) {
        self.time = expected;
        self.rest = Duration::from_nanos(u64::from(passed.subsec_nanos() % 1_000_000));
    }

    fn after(&self, passed: Duration) -> Timestamp {
        let millis = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        self.time.saturating_add_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const START: i64 = 1_800_000_000_000;

    /// A machine whose clock is set at will, and the steady one beside it.
    struct Machine {
        at: Instant,
        shows: i64,
        steady: Steady,
    }

    impl Machine {
        fn new() -> Self {
            let at = Instant::now();
            let steady = Steady::new(at, Timestamp::from_millis(START));
            Self {
                at,
                shows: START,
                steady,
            }
        }

        fn pass(&mut self, millis: i64) -> Option<Leap> {
            self.at += Duration::from_millis(millis.unsigned_abs());
            self.shows += millis;
            let before = self.steady.now().time;
            let leap = self
                .steady
                .look(self.at, Timestamp::from_millis(self.shows));
            let Now { time, stamp } = self.steady.now();
            assert!(before <= time, "it never runs backwards");
            let most = time.max(Timestamp::from_millis(self.shows));
            assert_eq!(
                stamp, most,
                "what is written down is not old when a leap is believed"
            );
            leap
        }

        fn ahead(&self) -> i64 {
            self.steady.now().time.millis() - self.shows
        }
    }

    #[test]
    fn it_shows_what_the_machine_shows_as_long_as_that_is_sane() {
        let mut machine = Machine::new();
        for step in [1, 250, 10, HOUR, 7 * 24 * HOUR] {
            assert_eq!(machine.pass(step), None);
            assert_eq!(machine.ahead(), 0);
        }
        // A correction, or a machine that slept, by less than an hour is followed at once.
        machine.shows += HOUR / 2;
        assert_eq!(machine.pass(1), None);
        assert_eq!(machine.ahead(), 0);
    }

    #[test]
    fn set_back_it_goes_on_at_half_speed_until_they_agree() {
        let mut machine = Machine::new();
        machine.shows -= 2 * HOUR;
        let leap = machine.pass(1_000);
        assert_eq!(leap, Some(Leap::Back { millis: 2 * HOUR }));
        assert_eq!(machine.ahead(), 2 * HOUR - 500);
        // However often it is looked at.
        for _ in 0..4 * HOUR / 500 {
            assert_eq!(machine.pass(500), None, "told once");
        }
        assert_eq!(machine.ahead(), 0);
        for _ in 0..100 {
            machine.pass(1);
        }
        machine.shows -= 10_000;
        assert!(matches!(machine.pass(1), Some(Leap::Back { .. })));
        for _ in 0..999 {
            machine.pass(1);
        }
        assert_eq!(machine.ahead(), 10_000 - 500, "half milliseconds add up");
    }

    #[test]
    fn far_ahead_is_believed_after_an_hour_and_not_at_all_if_it_is_taken_back() {
        let mut machine = Machine::new();
        let year = 365 * 24 * HOUR;
        machine.shows += year;
        assert_eq!(machine.pass(1_000), Some(Leap::Ahead { millis: year }));
        assert_eq!(machine.ahead(), -year);
        let doubted = |machine: &Machine| machine.steady.doubted().as_millis();
        assert_eq!(doubted(&machine), year.unsigned_abs().into());
        for _ in 0..59 {
            assert_eq!(machine.pass(60_000), None);
        }
        assert_eq!(machine.ahead(), -year);
        machine.shows -= year;
        assert_eq!(machine.pass(1_000), None, "it was taken back");
        assert_eq!((machine.ahead(), doubted(&machine)), (0, 0));
        machine.shows += year;
        machine.pass(1);
        let leap = machine.pass(HOUR);
        assert_eq!(leap, Some(Leap::Believed { millis: year }));
        assert_eq!((machine.ahead(), doubted(&machine)), (0, 0));
    }

    /// It was once believed with the first one, a minute after it.
    #[test]
    fn a_leap_upon_a_leap_has_an_hour_of_its_own() {
        let mut machine = Machine::new();
        let (small, year) = (2 * HOUR, 365 * 24 * HOUR);
        machine.shows += small;
        assert_eq!(machine.pass(1), Some(Leap::Ahead { millis: small }));
        assert_eq!(machine.pass(HOUR - 60_000), None);
        machine.shows += year;
        let millis = small + year;
        assert_eq!(machine.pass(1), Some(Leap::Ahead { millis }));
        assert_eq!(machine.pass(60_000), None, "the hour of the first is over");
        // Taken back to less, and there again: known is the least of it.
        machine.shows -= year;
        assert_eq!(machine.pass(1), None);
        machine.shows += year;
        assert_eq!(machine.pass(1), Some(Leap::Ahead { millis }));
        assert_eq!(machine.ahead(), -millis);
        assert_eq!(machine.pass(HOUR), Some(Leap::Believed { millis }));
    }
}
