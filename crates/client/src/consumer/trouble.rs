//! Something that should pass by itself, and for how long that is believed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Backoff;

#[derive(Default)]
pub(super) struct Trouble {
    /// How often it was met.
    count: u32,
    /// When an answer was to come, and none has since; not met yet, that may be later than now.
    since: Option<Instant>,
    /// Its time was over once, and half of it was given again.
    is_over: bool,
}

impl Trouble {
    /// Notes that something is asked for which the server may wait so long: that may be its first sign.
    pub(super) fn may_begin(&mut self, wait: Duration) {
        self.since.get_or_insert_with(|| Instant::now() + wait);
    }

    pub(super) const fn is_met(&self) -> bool {
        self.count > 0
    }

    /// For how long it has lasted.
    pub(super) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits before the next attempt, longer each time; false, at once, if it will have lasted for `limit` by then. One that has
    /// lasted for longer than the last attempt may take it, as where this process was held up itself, has half of that once more: who
    /// begins to serve again refuses at first.
    pub(super) async fn pause(
        &mut self,
        limit: Option<Duration>,
        backoff: Backoff,
        at_least: Duration,
    ) -> bool {
        let now = Instant::now();
        self.since = Some(self.since.map_or(now, |since| since.min(now)));
        let wait = self.meet(backoff, at_least);
        if let Some(limit) = limit {
            let at_last = limit.saturating_add(limit / 10);
            if at_last < self.lasted() && !std::mem::replace(&mut self.is_over, true) {
                self.since = now.checked_sub(limit / 2);
            }
            if limit <= self.lasted() + wait {
                return false;
            }
        }
        sleep(wait).await;
        true
    }

    /// The same where it may last for as long as it likes: what was met so far counts for the pauses, not for how long it lasts.
    pub(super) async fn wait(&mut self, backoff: Backoff, at_least: Duration) {
        (self.since, self.is_over) = (None, false);
        sleep(self.meet(backoff, at_least)).await;
    }

    /// Counts it, and tells how long to wait.
    fn meet(&mut self, backoff: Backoff, at_least: Duration) -> Duration {
        self.count += 1;
        let wait = backoff.wait(self.count);
        wait.max(at_least)
    }
}
