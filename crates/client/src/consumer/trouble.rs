//! Something that should pass by itself, and for how long that is believed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Backoff;

#[derive(Default)]
pub(super) struct Trouble {
    /// How often it was met.
    count: u32,
    since: Option<Instant>,
}

impl Trouble {
    /// Waits before the next attempt, longer each time; false, at once, if it has lasted for `limit`.
    pub(super) async fn pause(
        &mut self,
        limit: Option<Duration>,
        backoff: Backoff,
        at_least: Duration,
    ) -> bool {
        let lasted = self.since.get_or_insert_with(Instant::now).elapsed();
        if limit.is_some_and(|limit| limit <= lasted) {
            return false;
        }
        self.count += 1;
        let wait = backoff.wait(self.count, &mut fastrand::Rng::new());
        sleep(wait.max(at_least)).await;
        true
    }

    /// What was met so far counts for the pauses, not for how long it lasts.
    pub(super) fn begins_anew(&mut self) {
        self.since = None;
    }
}
