//! Whether and when a request is sent again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Backoff, ClientConfig, Error, Outcome};

/// Whether a request may be sent again after an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing.
    Always,
    /// The same twice is the same once; what became of a first attempt no later refusal tells.
    Idempotent,
    /// Only what was certainly not applied is sent again.
    IfNotApplied,
}

/// When all attempts at a request have to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub(crate) fn within(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Then, or at `end` if that is sooner.
    pub(crate) fn no_later_than(self, end: Instant) -> Self {
        Self(self.0.min(end))
    }

    /// Time left until then.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// When half of the time is over.
    pub(crate) fn half(self) -> Self {
        Self::within(self.left() / 2)
    }

    /// True if no attempt is to begin any more.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Attempts at one request.
#[derive(Debug)]
pub(crate) struct Retry {
    repeat: Repeat,
    backoff: Backoff,
    begun: Instant,
    deadline: Deadline,
    failure_count: u32,
    /// If an attempt goes where the one before it was told to. What means the node that is asked does not.
    is_led: bool,
    /// The first failure that may have been applied.
    unknown: Option<Error>,
}

impl Retry {
    pub(crate) fn new(repeat: Repeat, config: &ClientConfig) -> Self {
        Self::until(Deadline::within(config.timeout), repeat, config)
    }

    /// Until whoever asks has to be done.
    pub(crate) fn until(deadline: Deadline, repeat: Repeat, config: &ClientConfig) -> Self {
        Self {
            repeat,
            backoff: config.backoff,
            begun: Instant::now(),
            deadline,
            failure_count: 0,
            is_led: false,
            unknown: None,
        }
    }

    /// The same for a request that goes to whoever owns a partition.
    pub(crate) fn led(self) -> Self {
        Self {
            is_led: true,
            ..self
        }
    }

    /// What the first attempt brings that succeeds; an error that shall not be followed by another attempt.
    pub(crate) async fn run<T, F>(
        mut self,
        // One that is async itself is not seen to be `Send`.
        attempt: impl Fn(Deadline) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match attempt(self.deadline).await {
                Ok(brought) => return Ok(brought),
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Waits before the next attempt, or hands the error back if there shall be none.
    async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let may_repeat = match self.repeat {
            Repeat::Always | Repeat::Idempotent => true,
            Repeat::IfNotApplied => error.outcome() == Outcome::NotApplied,
        };
        self.failure_count += 1;
        let wait = self
            .backoff
            .wait(self.failure_count, &mut fastrand::Rng::new());
        let wait = wait.max(error.retry_after());
        let may_help = error.may_pass() && (self.is_led || !error.is_elsewhere());
        let is_given_up = error.is_of_source() && SOURCE_PATIENCE <= self.begun.elapsed() + wait;
        if !may_repeat || !may_help || is_given_up || self.deadline.left() <= wait {
            let may_hide = error.may_pass() || self.repeat == Repeat::Idempotent;
            let hides_it = may_hide && error.outcome() == Outcome::NotApplied;
            return Err(self.unknown.take().filter(|_| hides_it).unwrap_or(error));
        }
        if error.outcome() == Outcome::Unknown {
            self.unknown.get_or_insert(error);
        }
        sleep(wait).await;
        Ok(())
    }
}

/// For how long it is asked again where the server that answers does not reach another one: that may be about to start, or
/// have another address than was named.
const SOURCE_PATIENCE: Duration = Duration::from_secs(5);
