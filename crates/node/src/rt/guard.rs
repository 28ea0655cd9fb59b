//! Heartbeats that keep a core from sleeping on runnable tasks.
//!
//! glommio 0.9 parks a core although tasks are ready if the thread lost its processor between
//! arming the preemption timer and its first look at it (`LocalExecutor::run_task_queues` breaks
//! on `need_preempt()` before it has run anything, and reports that nothing ran). It then sleeps
//! until an event wakes a task that was *not yet ready*. One ticker is no cure, since its own task
//! may be among the parked ones; eight independent, staggered timers nearly are: whichever expires
//! makes the loop go round again. What they cannot cover, the pacemaker does.

use std::time::{Duration, Instant};

use futures_lite::FutureExt;

use super::clock::{micros, now, sleep};
use super::task::{Task, spawn};
use super::{pulse, vitals};

/// Starts this core's heartbeats; they beat for as long as the tasks are kept.
pub(super) fn start() -> Vec<Task<()>> {
    let begun = now();
    let beat = |index| spawn(beat(begun, index));
    (0..HEARTBEATS).map(beat).collect()
}

async fn beat(begun: Instant, index: u32) {
    let mut seen = 0;
    loop {
        rest(begun, STAGGER_LIVELY, index).await;
        while vitals::settle(&mut seen) {
            rest(begun, STAGGER_LIVELY, index).await;
        }
        let stirred = vitals::stirred();
        let calm = async {
            loop {
                rest(begun, STAGGER_CALM, index).await;
            }
        };
        calm.or(stirred).await;
    }
}

/// Until the next beat, which is a turn of the loop and tells how late it came.
async fn rest(begun: Instant, stagger: Duration, index: u32) {
    let pause = pause(begun.elapsed(), stagger, index);
    let due = now() + pause;
    sleep(pause).await;
    vitals::turn();
    pulse::beat(due);
}

/// From `elapsed` to the next beat of that number: those that came late at once are as far apart from then on as the
/// others.
fn pause(elapsed: Duration, stagger: Duration, index: u32) -> Duration {
    let round_us = micros(stagger * HEARTBEATS);
    let since_last_us = (micros(elapsed) + micros(stagger * (HEARTBEATS - index))) % round_us;
    Duration::from_micros(round_us - since_last_us)
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

    /// After a loop had stood still for a round all came at once, for ever.
    #[test]
    fn beats_stay_evenly_apart_whenever_they_came() {
        for stagger in [STAGGER_LIVELY, STAGGER_CALM] {
            for late_ms in [0, 1, 39, 40, 41, 399, 400, 86_400_000] {
                let elapsed = Duration::from_millis(late_ms);
                let next = |index| pause(elapsed, stagger, index);
                let mut pauses: Vec<_> = (0..HEARTBEATS).map(next).collect();
                pauses.sort();
                assert!(pauses[0] > Duration::ZERO);
                assert!(pauses[0] <= stagger);
                assert!(pauses.windows(2).all(|two| two[1] - two[0] == stagger));
            }
        }
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
