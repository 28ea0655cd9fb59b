//! Whether and when a request is sent again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Backoff, ClientConfig, Error, Outcome};

/// Whether a request may be sent again after an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or the same twice is the same once.
    Always,
    /// Only what was certainly not applied is sent again.
    IfNotApplied,
}

/// Attempts at one request.
#[derive(Debug)]
pub(crate) struct Retry {
    repeat: Repeat,
    backoff: Backoff,
    deadline: Instant,
    failure_count: u32,
    /// The first failure that may have been applied: no later refusal makes that untrue.
    unknown: Option<Error>,
}

impl Retry {
    pub(crate) fn new(repeat: Repeat, config: &ClientConfig) -> Self {
        Self {
            repeat,
            backoff: config.backoff,
            deadline: Instant::now() + config.timeout,
            failure_count: 0,
            unknown: None,
        }
    }

    /// Time left for all attempts.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before the next attempt, or hands the error back if there shall be none.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let may_repeat = match self.repeat {
            Repeat::Always => true,
            Repeat::IfNotApplied => error.outcome() == Outcome::NotApplied,
        };
        self.failure_count += 1;
        let wait = self
            .backoff
            .wait(self.failure_count, &mut fastrand::Rng::new());
        let wait = wait.max(error.retry_after());
        if !may_repeat || !error.may_pass() || self.left() <= wait {
            let hides_it = error.may_pass() && error.outcome() == Outcome::NotApplied;
            return Err(self.unknown.take().filter(|_| hides_it).unwrap_or(error));
        }
        if error.outcome() == Outcome::Unknown {
            self.unknown.get_or_insert(error);
        }
        sleep(wait).await;
        Ok(())
    }
}
