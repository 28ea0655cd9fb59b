//! The clock: whether somebody keeps it right, whether it jumps, and what it costs to read.

use std::time::{Duration, Instant, SystemTime};

use corelog_node::sys::probe::{self, Clock};

use super::check::Check;

/// A clock that nobody keeps in step reaches this within hours.
const ERROR_GOOD: Duration = Duration::from_secs(1);
/// A clock that is kept in step is slewed: within a second it moves by half a thousandth of it.
const JUMP_GOOD: Duration = Duration::from_millis(50);
/// The first of January 2026: no record is older than this program.
const NOW_MIN: Duration = Duration::from_secs(1_767_225_600);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    wall: SystemTime,
    steady: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// How far the wall clock went astray until `later`.
    fn jump(self, later: Self) -> Duration {
        let steady = later.steady.duration_since(self.steady);
        match later.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(steady),
            Err(backwards) => backwards.duration() + steady,
        }
    }
}

/// All checks of the clock, watched since `begun`.
pub(super) fn checks(begun: Moment) -> Vec<Check> {
    let now = Moment::now();
    let since_epoch = now.wall.duration_since(SystemTime::UNIX_EPOCH);
    let told = probe::clock().map_err(|error| error.to_string());
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(source).ok();
    vec![
        clock(&told, since_epoch.unwrap_or_default(), begun.jump(now)),
        clock_source(source.as_deref().map(str::trim)),
    ]
}

fn clock(told: &Result<Clock, String>, since_epoch: Duration, jump: Duration) -> Check {
    const NAME: &str = "clock";
    const MEND: &str = "timedatectl set-ntp true";
    let fair = |found: String| Check::fair(NAME, found, MEND);
    if since_epoch < NOW_MIN {
        let found = "it stands before 2026: retention by age would keep or take the wrong records";
        return Check::bad(NAME, found, MEND);
    }
    if jump > JUMP_GOOD {
        let found = format!("it jumped by {} ms while this ran", jump.as_millis());
        return fair(found);
    }
    match told {
        Err(error) => Check::fair(NAME, error.clone(), "timedatectl"),
        Ok(clock) if !clock.is_synchronised => {
            fair("nobody keeps it in step: times of records and retention by age drift".to_owned())
        }
        Ok(clock) if clock.error_max > ERROR_GOOD => {
            fair(format!("it may be wrong by {:?}", clock.error_max))
        }
        Ok(clock) => {
            let found = format!("in step, wrong by {:?} at most", clock.error_max);
            Check::good(NAME, found)
        }
    }
}

fn clock_source(source: Option<&str>) -> Check {
    const NAME: &str = "clock source";
    match source {
        Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "pit")) => Check::fair(
            NAME,
            format!("{slow}: each look at the clock is a system call"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        Some(source) => Check::good(NAME, source),
        None => Check::good(NAME, "not told"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn told(is_synchronised: bool, error_ms: u64) -> Result<Clock, String> {
        Ok(Clock {
            is_synchronised,
            error_max: Duration::from_millis(error_ms),
        })
    }

    #[test]
    fn each_reading_of_the_clock_has_its_verdict() {
        let still = Duration::ZERO;
        let jumped = Duration::from_secs(3);
        let refused = Err("not permitted".to_owned());
        for (told, now, jump, verdict) in [
            (told(true, 20), NOW, still, Verdict::Good),
            (told(false, 20), NOW, still, Verdict::Fair),
            (told(true, 2_000), NOW, still, Verdict::Fair),
            (refused, NOW, still, Verdict::Fair),
            (told(true, 20), NOW, jumped, Verdict::Fair),
            (told(true, 20), Duration::ZERO, still, Verdict::Bad),
        ] {
            let check = clock(&told, now, jump);
            assert_eq!(check.verdict, verdict, "{check:?}");
            let mend = check.mend.unwrap_or_default();
            assert_eq!(mend.starts_with("timedatectl"), verdict != Verdict::Good);
        }
    }

    #[test]
    fn a_jump_shows_in_either_direction() {
        let begun = Moment::now();
        let later = |wall| Moment {
            wall,
            steady: begun.steady + Duration::from_secs(1),
        };
        let second = Duration::from_secs(1);
        assert_eq!(begun.jump(later(begun.wall + second)), Duration::ZERO);
        assert_eq!(begun.jump(later(begun.wall + 4 * second)), 3 * second);
        assert_eq!(begun.jump(later(begun.wall - 2 * second)), 3 * second);
    }

    #[test]
    fn a_clock_behind_a_system_call_is_fair() {
        assert_eq!(clock_source(Some("tsc")).verdict, Verdict::Good);
        assert_eq!(clock_source(Some("kvm-clock")).verdict, Verdict::Good);
        assert_eq!(clock_source(None).verdict, Verdict::Good);
        let slow = clock_source(Some("hpet"));
        assert_eq!(slow.verdict, Verdict::Fair);
        assert!(slow.mend.unwrap().starts_with("echo tsc >"));
    }
}
