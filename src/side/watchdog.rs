//! Tells the supervisor that the node lives, as often as it wants to hear it, while every core answers.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::Stage;
use super::health::ask;
use crate::supervisor;

/// Tells it for ever, three times `within` the time after which the supervisor gives the node up.
/// While it stops nothing is told: no core can be asked, and another timeout holds.
pub(super) async fn feed(stage: Stage, within: Duration) {
    let mut turns = interval((within / 3).max(PERIOD_MIN));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if ask(&stage, async |handle| handle.pulses().await)
            .await
            .is_ok()
        {
            // A supervisor that does not read must not keep health and metrics waiting.
            let _ = spawn_blocking(supervisor::alive).await;
        }
    }
}

/// However little time there is, the cores are not asked more often.
const PERIOD_MIN: Duration = Duration::from_millis(10);
