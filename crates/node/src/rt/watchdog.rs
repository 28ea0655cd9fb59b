//! The plain thread that notices a core that no longer turns.
//!
//! A core with work outstanding that has not turned for a second, though it was nudged, is logged
//! and counted. One that stays so for ten seconds ends the process, since recovery is safe and half
//! a node is worse than none. A machine that was paused is no stall: a tick that is late itself
//! proves nothing. Slow work on a core that still turns is logged and counted, and never ends
//! anything.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

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
        Self::start_with(cores, TICK, |vitals| {
            tracing::error!(
                core = vitals.name(),
                task = vitals.place().map(tracing::field::display),
                outstanding = %Load(vitals),
                "a core has not turned for ten seconds, ending the process: restart recovers"
            );
            process::abort();
        })
    }

    fn start_with(
        cores: Vec<Arc<Vitals>>,
        tick: Duration,
        on_dead: impl Fn(&Vitals) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = flume::bounded(0);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&cores, tick, &stopped, on_dead))?;
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

fn watch(cores: &[Arc<Vitals>], tick: Duration, stopped: &Receiver<()>, on_dead: impl Fn(&Vitals)) {
    let mut judges = vec![Judge::default(); cores.len()];
    let mut last = Instant::now();
    while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let is_on_time = now.duration_since(last) < tick + tick / 4;
        last = now;
        for (vitals, judge) in cores.iter().zip(&mut judges) {
            let oldest = vitals.oldest(now).map(|(_, age)| age);
            let sight = Sight {
                turns: vitals.turns(),
                oldest,
                is_on_time,
            };
            match judge.judge(sight, tick) {
                Verdict::Well => {}
                Verdict::Slow => {
                    vitals.count_slow();
                    let (work, age) = vitals.oldest(now).unzip();
                    tracing::warn!(
                        core = vitals.name(),
                        work = work.map(Work::name),
                        age_ms = age.map(|age| age.as_millis()),
                        outstanding = %Load(vitals),
                        "work takes long; is the disk overloaded?"
                    );
                }
                Verdict::Stalled => {
                    vitals.count_stall();
                    tracing::error!(
                        core = vitals.name(),
                        task = vitals.place().map(tracing::field::display),
                        outstanding = %Load(vitals),
                        "a core has work outstanding and has not turned for a second"
                    );
                }
                Verdict::Dead => on_dead(vitals),
            }
        }
    }
}

/// What is seen of a core at one tick.
#[derive(Debug, Clone, Copy)]
struct Sight {
    turns: u64,
    /// Age of the oldest outstanding work, if any.
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
    /// It has not turned for [`DEAD_TICKS`]; said once.
    Dead,
}

/// Remembers of one core what a verdict needs.
#[derive(Debug, Clone, Default)]
struct Judge {
    turns: Option<u64>,
    /// Ticks in a row, each on time, with work outstanding and no turn.
    still_ticks: u32,
    is_slow: bool,
}

impl Judge {
    fn judge(&mut self, sight: Sight, tick: Duration) -> Verdict {
        let has_turned = self.turns.replace(sight.turns) != Some(sight.turns);
        let Some(oldest) = sight.oldest else {
            *self = Self {
                turns: self.turns,
                ..Self::default()
            };
            return Verdict::Well;
        };
        if has_turned || !sight.is_on_time {
            self.still_ticks = 0;
        }
        if !sight.is_on_time {
            return Verdict::Well;
        }
        if has_turned {
            let is_slow = oldest >= tick * SLOW_TICKS;
            let was_slow = std::mem::replace(&mut self.is_slow, is_slow);
            return if is_slow && !was_slow {
                Verdict::Slow
            } else {
                Verdict::Well
            };
        }
        self.still_ticks = self.still_ticks.saturating_add(1);
        match self.still_ticks {
            1 => Verdict::Stalled,
            DEAD_TICKS => Verdict::Dead,
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

/// Ticks without a turn after which a core is dead.
const DEAD_TICKS: u32 = 10;

/// Ticks after which outstanding work counts as slow.
const SLOW_TICKS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(turns: u64, is_on_time: bool) -> Sight {
        Sight {
            turns,
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

    #[test]
    fn a_core_without_outstanding_work_may_stand_still() {
        let idle = (0..100).map(|_| Sight {
            turns: 7,
            oldest: None,
            is_on_time: true,
        });
        assert!(
            verdicts(idle)
                .iter()
                .all(|verdict| *verdict == Verdict::Well)
        );
    }

    #[test]
    fn slow_work_on_a_core_that_turns_is_said_once_and_kills_nothing() {
        let slow = (0..100).map(|turns| Sight {
            turns,
            oldest: Some(TICK * 5),
            is_on_time: true,
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

    #[test]
    fn a_still_core_is_reported_by_the_thread() {
        let vitals = Arc::new(Vitals::new("still"));
        vitals.pretend_outstanding(Work::Sync);
        let (dead, died) = flume::bounded(1);
        let watchdog = Watchdog::start_with(
            vec![Arc::clone(&vitals)],
            Duration::from_millis(20),
            move |vitals| {
                let _ = dead.try_send(Load(vitals).to_string());
            },
        );
        let watchdog = watchdog.unwrap();
        assert_eq!(
            died.recv_timeout(Duration::from_secs(60)).unwrap(),
            "1 sync"
        );
        assert!(vitals.stalled_total() >= 1);
        drop(watchdog);
    }
}
