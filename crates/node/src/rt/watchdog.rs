//! The plain thread that notices a core that no longer turns.
//!
//! A core with work outstanding that has not turned for a second, though it was nudged, is logged
//! and counted. One that stays so for ten seconds ends the process, since recovery is safe and half
//! a node is worse than none. So does one without any work that has not turned for a minute: it reads
//! nothing of what clients send, and an idle core turns twenty times a second. A machine that was paused is no stall: a tick that is late itself
//! proves nothing. Slow work on a core that still turns is logged and counted, and never ends
//! anything; what waits for another core, or another node, is none. What is to be logged is logged by another thread: the end waits for no line.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use super::place::Place;
use super::vitals::{Vitals, Work};

/// A running watchdog; it stops when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches `cores`, and aborts the process when one is dead.
    ///
    /// # Errors
    /// If the system refuses the thread.
    pub fn start(cores: Vec<Arc<Vitals>>) -> std::io::Result<Self> {
        Self::start_with(cores, TICK, Said::log, |_| {
            // Where there is somebody who reads, the last line is read by then.
            thread::sleep(LAST_LINE_WAIT);
            process::abort();
        })
    }

    fn start_with(
        cores: Vec<Arc<Vitals>>,
        tick: Duration,
        log: impl Fn(Said) + Send + 'static,
        on_dead: impl Fn(&Vitals) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = flume::bounded(0);
        let (say, said) = flume::bounded(LINES_MAX);
        // Nobody waits for its end: whoever takes the lines may keep it for ever.
        thread::Builder::new()
            .name("watchdog-log".to_owned())
            .spawn(move || said.into_iter().for_each(log))?;
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&cores, tick, &stopped, &say, on_dead))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A watchdog that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn watch(
    cores: &[Arc<Vitals>],
    tick: Duration,
    stopped: &Receiver<()>,
    say: &Sender<Said>,
    on_dead: impl Fn(&Vitals),
) {
    let mut judges = vec![Judge::default(); cores.len()];
    let mut last = Instant::now();
    while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let is_on_time = now.duration_since(last) < tick + tick / 4;
        last = now;
        for (vitals, judge) in cores.iter().zip(&mut judges) {
            let sight = Sight {
                turns: vitals.turns(),
                is_loaded: vitals.is_loaded(),
                oldest: vitals.oldest(now).map(|(_, age)| age),
                is_on_time,
            };
            let verdict = judge.judge(sight, tick);
            if verdict == Verdict::Well {
                continue;
            }
            // A line for which there is no room has a count, and is behind others that say the same.
            let _ = say.try_send(Said::of(verdict, vitals, now));
            match verdict {
                Verdict::Well => {}
                Verdict::Slow => vitals.count_slow(),
                Verdict::Stalled => vitals.count_stall(),
                Verdict::Dead => on_dead(vitals),
            }
        }
    }
}

/// What is logged of a core.
#[derive(Debug)]
struct Said {
    verdict: Verdict,
    core: String,
    task: Option<Place>,
    /// Of what the machine does.
    oldest: Option<(Work, Duration)>,
    is_loaded: bool,
    outstanding: String,
}

impl Said {
    fn of(verdict: Verdict, vitals: &Vitals, now: Instant) -> Self {
        Self {
            verdict,
            core: vitals.name().to_owned(),
            task: vitals.place(),
            oldest: vitals.oldest(now),
            is_loaded: vitals.is_loaded(),
            outstanding: Load(vitals).to_string(),
        }
    }

    fn log(self) {
        let Self {
            verdict,
            core,
            task,
            oldest,
            is_loaded,
            outstanding,
        } = self;
        match verdict {
            Verdict::Well => {}
            Verdict::Slow => tracing::warn!(
                core,
                work = oldest.map(|(work, _)| work.name()),
                age_ms = oldest.map(|(_, age)| super::clock::millis(age)),
                %outstanding,
                "work takes long; is the disk overloaded?"
            ),
            Verdict::Stalled => tracing::error!(
                core,
                task = task.map(tracing::field::display),
                %outstanding,
                "a core has work outstanding and has not turned for a second"
            ),
            Verdict::Dead => tracing::error!(
                core,
                task = task.map(tracing::field::display),
                %outstanding,
                "a core has not turned for {}, ending the process: restart recovers",
                if is_loaded { "ten seconds" } else { "a minute" }
            ),
        }
    }
}

/// What is seen of a core at one tick.
#[derive(Debug, Clone, Copy)]
struct Sight {
    turns: u64,
    /// Whether anything is outstanding.
    is_loaded: bool,
    /// Age of the oldest that the machine does, if any.
    oldest: Option<Duration>,
    /// The tick itself came when it should: the machine was not paused.
    is_on_time: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    /// It turns, but something has been outstanding for long; said once per piece of work.
    Slow,
    /// It has not turned since the last tick; said once per stall.
    Stalled,
    /// It has not turned for [`DEAD_TICKS`], or without work for [`IDLE_DEAD_TICKS`]; said once.
    Dead,
}

/// Remembers of one core what a verdict needs.
#[derive(Debug, Clone, Default)]
struct Judge {
    turns: Option<u64>,
    /// Ticks in a row, each on time, without a turn.
    still_ticks: u32,
    is_slow: bool,
}

impl Judge {
    fn judge(&mut self, sight: Sight, tick: Duration) -> Verdict {
        // One look says nothing of whether it turns.
        let Some(before) = self.turns.replace(sight.turns) else {
            return Verdict::Well;
        };
        let has_turned = before != sight.turns;
        if has_turned || !sight.is_on_time {
            self.still_ticks = 0;
        }
        if !sight.is_on_time {
            return Verdict::Well;
        }
        if has_turned {
            let is_slow = sight.oldest.is_some_and(|age| age >= tick * SLOW_TICKS);
            let was_slow = std::mem::replace(&mut self.is_slow, is_slow);
            return if is_slow && !was_slow {
                Verdict::Slow
            } else {
                Verdict::Well
            };
        }
        self.still_ticks = self.still_ticks.saturating_add(1);
        // While it does not turn it neither begins work nor ends any.
        match (self.still_ticks, sight.is_loaded) {
            (1, true) => Verdict::Stalled,
            (DEAD_TICKS, true) | (IDLE_DEAD_TICKS, false) => Verdict::Dead,
            _ => Verdict::Well,
        }
    }
}

/// Prints what a core has outstanding: `3 sync, 1 request`.
struct Load<'a>(&'a Vitals);

impl fmt::Display for Load<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for work in Work::ALL {
            let count = self.0.outstanding(work);
            if count > 0 {
                write!(f, "{separator}{count} {}", work.name())?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// Between two looks.
const TICK: Duration = Duration::from_secs(1);

/// Ticks without a turn after which a core with work outstanding is dead.
const DEAD_TICKS: u32 = 10;

/// Ticks without a turn after which one without any is: it may only lack a processor, and nothing waits that it has taken.
const IDLE_DEAD_TICKS: u32 = 60;

/// Ticks after which outstanding work counts as slow.
const SLOW_TICKS: u32 = 2;

/// Lines that wait to be logged; there are two of each core and stall.
const LINES_MAX: usize = 64;

/// How long before the end its line may take to be read.
const LAST_LINE_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(turns: u64, is_on_time: bool) -> Sight {
        Sight {
            turns,
            is_loaded: true,
            oldest: Some(TICK / 2),
            is_on_time,
        }
    }

    fn verdicts(sights: impl IntoIterator<Item = Sight>) -> Vec<Verdict> {
        let mut judge = Judge::default();
        sights
            .into_iter()
            .map(|sight| judge.judge(sight, TICK))
            .collect()
    }

    #[test]
    fn a_core_that_does_not_turn_is_stalled_once_then_dead() {
        let verdicts = verdicts((0..13).map(|_| sight(7, true)));
        assert_eq!(verdicts[0], Verdict::Well);
        assert_eq!(verdicts[1], Verdict::Stalled);
        assert_eq!(verdicts[2..10], [Verdict::Well; 8]);
        assert_eq!(verdicts[10], Verdict::Dead);
        assert_eq!(verdicts[11..], [Verdict::Well; 2]);
    }

    #[test]
    fn a_paused_machine_is_no_stall() {
        let late = (0..100).map(|_| sight(7, false));
        assert!(
            verdicts(late)
                .iter()
                .all(|verdict| *verdict == Verdict::Well)
        );
        let mostly = (0..100).map(|tick| sight(7, tick % 9 != 0));
        assert!(!verdicts(mostly).contains(&Verdict::Dead));
    }

    /// It was ended by systemd alone, if at all: its clients waited for ever.
    #[test]
    fn a_core_without_outstanding_work_may_stand_still_for_a_minute() {
        let idle = |is_on_time| Sight {
            is_loaded: false,
            oldest: None,
            ..sight(7, is_on_time)
        };
        let verdicts_of_still = verdicts((0..100).map(|_| idle(true)));
        let dead_at = |verdict: &Verdict| *verdict == Verdict::Dead;
        assert_eq!(verdicts_of_still.iter().position(dead_at), Some(60));
        let well = |verdict: &&Verdict| **verdict == Verdict::Well;
        assert_eq!(verdicts_of_still.iter().filter(well).count(), 99);
        let paused = verdicts((0..1_000).map(|tick| idle(tick % 50 != 0)));
        assert!(!paused.contains(&Verdict::Dead));
    }

    /// It was said of a core that stood still, when the first look came late.
    #[test]
    fn slow_work_is_said_of_a_core_only_that_was_seen_to_turn() {
        let old = |turns| Sight {
            oldest: Some(TICK * 5),
            ..sight(turns, true)
        };
        assert_eq!(
            verdicts([old(7), old(7)]),
            [Verdict::Well, Verdict::Stalled]
        );
        assert_eq!(verdicts([old(7), old(8)]), [Verdict::Well, Verdict::Slow]);
    }

    #[test]
    fn slow_work_on_a_core_that_turns_is_said_once_and_kills_nothing() {
        let slow = (0..100).map(|turns| Sight {
            oldest: Some(TICK * 5),
            ..sight(turns, true)
        });
        let verdicts = verdicts(slow);
        assert_eq!(
            verdicts
                .iter()
                .filter(|verdict| **verdict == Verdict::Slow)
                .count(),
            1
        );
        assert!(!verdicts.contains(&Verdict::Dead));
    }

    /// Watches a core that does not turn, with `log` in the place of the log; gives what is outstanding when it
    /// is dead.
    fn death_of_a_still_core(log: impl Fn(Said) + Send + 'static) -> (Arc<Vitals>, String) {
        let vitals = Arc::new(Vitals::new("still"));
        vitals.pretend_outstanding(Work::Sync);
        let (dead, died) = flume::bounded(1);
        let (alive, ended) = flume::bounded::<()>(0);
        let (cores, tick) = (vec![Arc::clone(&vitals)], Duration::from_millis(20));
        let watchdog = Watchdog::start_with(cores, tick, log, move |vitals| {
            let _ = dead.try_send(Load(vitals).to_string());
            // Nothing comes after it, as in a process that ends.
            let _ = ended.recv();
        });
        let mut watchdog = watchdog.unwrap();
        let died = died.recv_timeout(Duration::from_secs(60)).unwrap();
        drop((watchdog.stop.take(), alive));
        (vitals, died)
    }

    #[test]
    fn a_still_core_is_reported_by_the_thread() {
        let (say, said) = flume::unbounded();
        let (vitals, died) = death_of_a_still_core(move |line| {
            let _ = say.send(line.verdict);
        });
        assert_eq!(died, "1 sync");
        assert!(vitals.stalled_total() >= 1);
        let said: Vec<_> = said.iter().collect();
        assert_eq!(said.first(), Some(&Verdict::Stalled));
        assert_eq!(said.last(), Some(&Verdict::Dead));
    }

    /// The watchdog stood still in its own line, as the core did in one before it.
    #[test]
    fn a_dead_core_is_told_whether_or_not_anyone_takes_a_line() {
        let (keep, kept) = flume::bounded::<()>(0);
        let (_, died) = death_of_a_still_core(move |_| {
            let _ = kept.recv();
        });
        assert_eq!(died, "1 sync");
        drop(keep);
    }
}
