//! Heartbeats that keep a core from sleeping on runnable tasks.
//!
//! glommio 0.9 parks a core although tasks are ready if the thread lost its processor between
//! arming the preemption timer and its first look at it (`LocalExecutor::run_task_queues` breaks
//! on `need_preempt()` before it has run anything, and reports that nothing ran). It then sleeps
//! until an event wakes a task that was *not yet ready*. One ticker is no cure, since its own task
//! may be among the parked ones; eight independent, staggered timers nearly are: whichever expires
//! makes the loop go round again. What they cannot cover, the pacemaker does.

use std::time::Duration;

use futures_lite::FutureExt;

use super::clock::{now, sleep};
use super::task::{Task, spawn};
use super::{pulse, vitals};

/// Starts this core's heartbeats; they beat for as long as the tasks are kept.
pub(super) fn start() -> Vec<Task<()>> {
    (0..HEARTBEATS).map(|index| spawn(beat(index))).collect()
}

async fn beat(index: u32) {
    let mut seen = 0;
    loop {
        // Staggered anew each time the pace changes, so that beats stay evenly spaced.
        rest(STAGGER_LIVELY * index + Duration::from_millis(1)).await;
        while vitals::settle(&mut seen) {
            rest(STAGGER_LIVELY * HEARTBEATS).await;
        }
        let stirred = vitals::stirred();
        let calm = async {
            rest(STAGGER_CALM * index).await;
            loop {
                rest(STAGGER_CALM * HEARTBEATS).await;
            }
        };
        calm.or(stirred).await;
    }
}

/// Until the next beat, which is a turn of the loop and tells how late it came.
async fn rest(duration: Duration) {
    let due = now() + duration;
    sleep(duration).await;
    vitals::turn();
    pulse::beat(due);
}

/// As many as were measured to be enough: none of 240 loaded starts hung, against 7 of 50 without.
const HEARTBEATS: u32 = 8;

/// Between two beats of a core that has work outstanding.
const STAGGER_LIVELY: Duration = Duration::from_millis(5);

/// Between two beats of an idle core: 20 wake-ups a second.
const STAGGER_CALM: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::super::tests::on_core;
    use super::super::{Work, outstanding};
    use super::*;

    /// Waits until the core has turned `turns` times, and says how long that took.
    async fn time_of(turns: u64) -> Duration {
        let start = (now(), vitals::turns());
        while vitals::turns() < start.1 + turns {
            sleep(Duration::from_millis(1)).await;
        }
        start.0.elapsed()
    }

    /// The same three times over, the shortest time first: a machine that stands still makes one longer, and the
    /// next one may be shorter for it.
    async fn times_of(turns: u64) -> [Duration; 3] {
        let mut times = [Duration::ZERO; 3];
        for time in &mut times {
            *time = time_of(turns).await;
        }
        times.sort();
        times
    }

    #[test]
    fn beats_are_slow_on_an_idle_core_and_fast_while_work_is_outstanding() {
        on_core(|| async {
            // The first round of beats comes early.
            time_of(24).await;
            let [.., calm] = times_of(8).await;
            let work = outstanding(Work::Request);
            let [lively, ..] = times_of(80).await;
            drop(work);
            time_of(24).await;
            let [.., calm_again] = times_of(8).await;
            // Beats come at 50 and at 5 ms, and later on a machine with more to do.
            for calm in [calm, calm_again] {
                assert!(calm > Duration::from_millis(300), "{calm:?} for 8 beats");
                assert!(lively < calm * 5, "{lively:?} for 80 beats, {calm:?} for 8");
            }
        });
    }
}
