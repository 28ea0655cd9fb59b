//! How a core's loop goes: how long it was at work, and how late its heartbeats came.
//!
//! A heartbeat is a timer. It comes late when something kept the loop from going round: a task that
//! did not yield, or a processor that was given to others. Nothing is measured per request: which task
//! it was is seen from outside, by the pacemaker, while the loop stands still.

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use super::clock::micros;
use super::place::Place;
use super::vitals;

/// How a core's loop went since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// How long it was at work: in tasks and with the kernel's queues, not asleep.
    pub busy: Duration,
    /// How late heartbeats came: the upper bound of a bucket in microseconds (None: no bound) and how
    /// many fell into it, not cumulated.
    pub late_us: Vec<(Option<u64>, u64)>,
    /// The sum of all that, in microseconds.
    pub late_sum_us: u64,
    /// The longest of it.
    pub late_max: Duration,
    /// Heartbeats that came later than [`STALL`].
    pub stalls: u64,
}

/// How this core's loop went so far; on a core only.
#[must_use]
pub fn pulse() -> Pulse {
    // The runtime counts from the last time that it was asked.
    let since = glommio::executor().executor_stats().total_runtime();
    BEATS.with_borrow_mut(|beats| {
        beats.busy += since;
        beats.told()
    })
}

/// A heartbeat of this core came that was due at `due`.
pub(super) fn beat(due: Instant) {
    let now = Instant::now();
    let still_at = vitals::take_still();
    let stalled = BEATS.with_borrow_mut(|beats| {
        beats.still_at = still_at.map(|place| (place, now)).or(beats.still_at);
        beats.come(due, now)
    });
    if let Some(Stalled { late, count, task }) = stalled {
        tracing::warn!(
            core = thread::current().name(),
            task = task.map(tracing::field::display),
            late_ms = super::clock::millis(late),
            count,
            "a core's loop stood still: something did not yield, or others had its processor"
        );
    }
}

/// The heartbeats of one core.
#[derive(Debug, Default)]
struct Beats {
    busy: Duration,
    buckets: [u64; BOUNDS_US.len() + 1],
    late_sum: Duration,
    late_max: Duration,
    stalls: u64,
    /// When the last one came.
    last: Option<Instant>,
    /// The task that the core was last found not to turn in, and when that was told here.
    still_at: Option<(Place, Instant)>,
    /// When a stall was last logged, and how many came since.
    logged: Option<Instant>,
    unlogged: u64,
}

/// A stall to be logged.
#[derive(Debug, PartialEq, Eq)]
struct Stalled {
    late: Duration,
    /// It, and those before it that were not logged.
    count: u64,
    /// What did not yield, if it was found in the act: the line that started the task.
    task: Option<Place>,
}

impl Beats {
    fn come(&mut self, due: Instant, now: Instant) -> Option<Stalled> {
        // One that was due before the last one came waited for the same: it was counted.
        let is_known = self.last.replace(now).is_some_and(|last| due <= last);
        if is_known {
            return None;
        }
        let late = now.saturating_duration_since(due);
        let late_us = micros(late);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < late_us)] += 1;
        self.late_sum += late;
        self.late_max = self.late_max.max(late);
        if late < STALL {
            return None;
        }
        self.stalls += 1;
        self.unlogged += 1;
        if self.logged.is_some_and(|logged| now < logged + LOG_EVERY) {
            return None;
        }
        self.logged = Some(now);
        let count = std::mem::take(&mut self.unlogged);
        let still_at = self.still_at.filter(|(_, told)| due <= *told);
        let task = still_at.map(|(place, _)| place);
        Some(Stalled { late, count, task })
    }

    fn told(&self) -> Pulse {
        let bounds = BOUNDS_US.iter().copied().map(Some).chain([None]);
        Pulse {
            busy: self.busy,
            late_us: bounds.zip(self.buckets).collect(),
            late_sum_us: micros(self.late_sum),
            late_max: self.late_max,
            stalls: self.stalls,
        }
    }
}

thread_local! {
    static BEATS: RefCell<Beats> = RefCell::default();
}

/// A loop that stood still for so long holds up everyone that this core serves.
pub const STALL: Duration = Duration::from_millis(100);

/// A core that stalls on and on fills no log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Upper bounds of the buckets, in microseconds; one more takes what is later.
const BOUNDS_US: [u64; 10] = [
    500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000,
];

#[cfg(test)]
mod tests {
    use super::super::clock::{now, sleep};
    use super::super::tests::on_core;
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_stall_is_counted_once_however_many_beats_it_held_up() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        assert_eq!(beats.come(start + ms(5), start + ms(5)), None);
        let (late, count, task) = (ms(240), 1, None);
        let stalled = beats.come(start + ms(10), start + ms(250));
        assert_eq!(stalled, Some(Stalled { late, count, task }));
        for due in [15, 20, 249] {
            assert_eq!(beats.come(start + ms(due), start + ms(250)), None);
        }
        let told = beats.told();
        assert_eq!((told.stalls, told.late_max), (1, ms(240)));
        assert_eq!(told.late_us.iter().map(|(_, count)| count).sum::<u64>(), 2);
        assert_eq!(told.late_sum_us, 240_000);
    }

    #[test]
    fn stalls_that_follow_each_other_are_logged_now_and_then_and_counted_all() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let stall = |beats: &mut Beats, second| beats.come(at(second), at(second) + STALL);
        assert!(stall(&mut beats, 0).is_some());
        assert_eq!(stall(&mut beats, 3), None);
        assert_eq!(stall(&mut beats, 6), None);
        let stalled = stall(&mut beats, 12).unwrap();
        assert_eq!(stalled.count, 3, "two that were not logged, and itself");
        assert_eq!(beats.told().stalls, 4);
    }

    #[test]
    fn a_stall_is_told_with_the_task_that_was_found_meanwhile_and_no_other() {
        #[track_caller]
        fn here() -> Place {
            Place::of(std::panic::Location::caller())
        }
        let (mut beats, start) = (Beats::default(), Instant::now());
        beats.still_at = Some((here(), start + ms(250)));
        let stalled = beats.come(start + ms(10), start + ms(250)).unwrap();
        assert!(stalled.task.is_some());
        let later = start + 2 * LOG_EVERY;
        let stalled = beats.come(later, later + STALL).unwrap();
        assert_eq!(stalled.task, None, "that was long before");
    }

    #[test]
    fn a_task_that_does_not_yield_is_told_by_the_line_that_started_it() {
        on_core(|| async {
            sleep(ms(100)).await;
            let line = line!() + 1;
            let task = super::super::spawn(async {
                // Its first poll is part of being started.
                sleep(ms(1)).await;
                let begun = now();
                while begun.elapsed() < ms(500) {
                    std::hint::spin_loop();
                }
            });
            task.await;
            sleep(ms(500)).await;
            let (place, _) = BEATS.with_borrow(|beats| beats.still_at).unwrap();
            let place = place.to_string();
            assert!(place.ends_with(&format!("pulse.rs:{line}")), "{place}");
        });
    }

    #[test]
    fn a_task_that_does_not_yield_shows_in_the_pulse_of_its_core() {
        on_core(|| async {
            sleep(ms(100)).await;
            let before = pulse();
            let begun = now();
            while begun.elapsed() < ms(400) {
                std::hint::spin_loop();
            }
            // Every heartbeat of an idle core comes within this.
            sleep(ms(500)).await;
            let after = pulse();
            assert!(after.stalls > before.stalls, "{after:?}");
            assert!(after.late_max >= ms(100), "{after:?}");
            assert!(after.busy >= before.busy + ms(300), "{after:?}");
        });
    }
}
