//! Heartbeats that keep a core from sleeping on runnable tasks.
//!
//! glommio 0.9 parks a core although tasks are ready if the thread lost its processor between
//! arming the preemption timer and its first look at it (`LocalExecutor::run_task_queues` breaks
//! on `need_preempt()` before it has run anything, and reports that nothing ran). It then sleeps
//! until an event wakes a task that was *not yet ready*. One ticker is no cure, since its own task
//! may be among the parked ones; eight independent, staggered timers are: whichever expires makes
//! the loop go round again.

use std::time::Duration;

use futures_lite::FutureExt;

use super::clock::sleep;
use super::task::{Task, spawn};
use super::vitals;

/// Starts this core's heartbeats; they beat for as long as the tasks are kept.
pub(super) fn start() -> Vec<Task<()>> {
    (0..HEARTBEATS).map(|index| spawn(beat(index))).collect()
}

async fn beat(index: u32) {
    loop {
        // Staggered anew each time the pace changes, so that beats stay evenly spaced.
        sleep(STAGGER_LIVELY * index + Duration::from_millis(1)).await;
        let mut is_lively = true;
        while is_lively {
            vitals::turn();
            sleep(STAGGER_LIVELY * HEARTBEATS).await;
            is_lively = vitals::settle();
        }
        // The first beat of the calm pace keeps the stagger that the lively one left; later ones
        // spread over the whole period.
        let stirred = vitals::stirred();
        async {
            sleep(STAGGER_CALM * index).await;
            loop {
                vitals::turn();
                sleep(STAGGER_CALM * HEARTBEATS).await;
            }
        }
        .or(stirred)
        .await;
    }
}

/// As many as were measured to be enough: none of 240 loaded starts hung, against 7 of 50 without.
const HEARTBEATS: u32 = 8;

/// Between two beats of a core that has work outstanding.
const STAGGER_LIVELY: Duration = Duration::from_millis(5);

/// Between two beats of an idle core: 20 wake-ups a second.
const STAGGER_CALM: Duration = Duration::from_millis(50);
