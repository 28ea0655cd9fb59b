//! The plain thread that makes a core go round again if its own heartbeats no longer do.
//!
//! Heartbeats are timers of the core itself. If its thread loses its processor for longer than all
//! of them last, every one expires, becomes runnable, and can be slept on like any other task. So
//! somebody who is not on the core looks at it, and nudges it if it has not turned.

use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

use super::vitals::Vitals;

/// Keeps a core going until its vitals are dropped.
pub(super) fn register(vitals: &Arc<Vitals>) {
    static CORES: OnceLock<Sender<Weak<Vitals>>> = OnceLock::new();
    let cores = CORES.get_or_init(|| {
        let (cores, registered) = flume::unbounded();
        // Without this thread the heartbeats still do most of what it does.
        let _ = thread::Builder::new()
            .name("pacemaker".to_owned())
            .spawn(move || pace(&registered));
        cores
    });
    // Nobody receives only if the system refused the thread.
    let _ = cores.send(Arc::downgrade(vitals));
}

fn pace(registered: &Receiver<Weak<Vitals>>) {
    let mut cores: Vec<Core> = Vec::new();
    loop {
        let next = match cores.is_empty() {
            true => registered
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            false => registered.recv_timeout(PERIOD),
        };
        match next {
            Ok(vitals) => cores.push(Core {
                vitals,
                turns: 0,
                still_periods: 0,
            }),
            Err(RecvTimeoutError::Timeout) => cores.retain_mut(Core::pace),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Core {
    vitals: Weak<Vitals>,
    turns: u64,
    still_periods: u32,
}

impl Core {
    /// Looks at the core and nudges it if need be; false once it is gone.
    fn pace(&mut self) -> bool {
        let Some(vitals) = self.vitals.upgrade() else {
            return false;
        };
        let turns = vitals.turns();
        if std::mem::replace(&mut self.turns, turns) != turns {
            self.still_periods = 0;
            return true;
        }
        self.still_periods += 1;
        vitals.note_still();
        // One that has never turned is starting, and nothing else would wake it.
        let is_expected = turns == 0 || vitals.is_loaded();
        if is_expected || self.still_periods.is_multiple_of(CALM_PERIODS) {
            vitals.nudge();
        }
        true
    }
}

/// Between two looks: ten beats of a core that has work outstanding.
const PERIOD: Duration = Duration::from_millis(50);

/// An idle core beats as often as it is looked at; it is nudged after a second.
const CALM_PERIODS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::super::vitals::Work;
    use super::*;
    use crate::sys::nudge::Nudge;

    /// A thread that only ever sleeps, and says when it is woken.
    fn sleeper(vitals: &Arc<Vitals>) -> Receiver<()> {
        let (awake, woken) = flume::bounded(1);
        let vitals = Arc::clone(vitals);
        thread::spawn(move || {
            vitals.admit_nudges(Nudge::of_this_thread().unwrap());
            register(&vitals);
            let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::NONE);
            awake.send(()).unwrap();
        });
        woken
    }

    #[test]
    fn a_core_that_never_turned_is_nudged() {
        let woken = sleeper(&Arc::new(Vitals::new("starting")));
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_core_that_sleeps_on_work_is_nudged() {
        let vitals = Arc::new(Vitals::new("loaded"));
        vitals.pretend_outstanding(Work::Request);
        sleeper(&vitals)
            .recv_timeout(Duration::from_secs(60))
            .unwrap();
    }
}
