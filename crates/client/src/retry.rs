//! Whether and when a request is sent again.

use std::time::Duration;

use corelog_protocol::error::ErrorBody;
use tokio::time::{Instant, sleep};
use tracing::debug;

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
    deadline: Deadline,
    failure_count: u32,
    /// When it was first told that the server does not reach another one.
    source_lost: Option<Instant>,
    /// If an attempt goes where the one before it was told to. What means the node that is asked does not.
    is_led: bool,
    /// The first failure that may have been applied.
    unknown: Option<Error>,
    /// What an attempt was refused for last: what a late answer leaves untold.
    refused: Option<Box<ErrorBody>>,
    /// If that was the one before, by whom the next one goes to.
    was_refused: bool,
}

impl Retry {
    /// Until whoever asks has to be done.
    pub(crate) fn until(deadline: Deadline, repeat: Repeat, config: &ClientConfig) -> Self {
        Self {
            repeat,
            backoff: config.backoff,
            deadline,
            failure_count: 0,
            source_lost: None,
            is_led: false,
            unknown: None,
            refused: None,
            was_refused: false,
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
        let was_refused = std::mem::take(&mut self.was_refused);
        if let Error::Refused { body } = &error {
            self.refused = Some(body.clone());
            self.was_refused = !error.is_elsewhere();
        }
        self.failure_count += 1;
        let wait = self.backoff.wait(self.failure_count);
        let wait = wait.max(error.retry_after());
        let may_help = error.may_pass() && (self.is_led || !error.is_elsewhere());
        let is_source_gone = error.is_of_source() && self.is_source_gone(wait);
        if !may_repeat || !may_help || is_source_gone || self.deadline.left() <= wait {
            let may_hide = error.may_pass() || self.repeat == Repeat::Idempotent;
            let hides_it = may_hide && error.outcome() == Outcome::NotApplied;
            let told = self.unknown.take().filter(|_| hides_it).unwrap_or(error);
            return Err(match (told, self.refused.take()) {
                // There was no time left to ask again.
                (Error::TimedOut { is_sent: false, .. }, Some(body)) if was_refused => {
                    Error::Refused { body }
                }
                (told, refused) => told.besides(refused),
            });
        }
        debug!(%error, attempt = self.failure_count, ?wait, "asks again");
        if error.outcome() == Outcome::Unknown {
            self.unknown.get_or_insert(error);
        }
        sleep(wait).await;
        Ok(())
    }

    /// If the server will not have reached another one for too long behind a pause. How long it looked for that one before it
    /// first said so does not count.
    fn is_source_gone(&mut self, wait: Duration) -> bool {
        let lost = self.source_lost.get_or_insert_with(Instant::now);
        SOURCE_PATIENCE <= lost.elapsed() + wait
    }
}

/// For how long it is asked again where the server that answers does not reach another one: that may be about to start, or
/// have another address than was named.
const SOURCE_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use corelog_protocol::error::{ErrorBody, ErrorCode};
    use corelog_protocol::kind::Kind;

    use super::*;

    /// A handover was refused again and again for want of what the follower had yet to take, and then told of the last
    /// attempt alone, which had a few seconds left; or of the first one, where that was not answered.
    #[tokio::test]
    async fn who_is_not_answered_in_time_is_told_what_another_attempt_was_refused_for() {
        let late = || Error::TimedOut {
            address: "log1:7400".into(),
            kind: Kind::Handover,
            after: Duration::from_secs(2),
            is_sent: true,
            refused: None,
        };
        let refused = || Error::refused(ErrorBody::new(ErrorCode::NotEqual, "it lacks 7"));
        let mut config = ClientConfig::new(["log1:7400"]);
        for attempts in [[refused(), late()], [late(), refused()]] {
            config.timeout = Duration::from_secs(30);
            let deadline = Deadline::within(config.timeout);
            let mut retry = Retry::until(deadline, Repeat::Idempotent, &config);
            let [first, last] = attempts;
            assert!(retry.pause(first).await.is_ok());
            retry.deadline = Deadline::within(Duration::ZERO);
            let told = retry.pause(last).await.unwrap_err();
            assert_eq!(told.outcome(), Outcome::Unknown);
            let said = told.to_string();
            assert!(
                said.starts_with("log1:7400 did not answer Handover"),
                "{said}"
            );
            assert!(said.ends_with("refused: NotEqual: it lacks 7"), "{said}");
        }
    }

    /// A pause took what was left, and the server was said to be unreachable: a full disk ended a command with 4. Of one that is
    /// gone since, or of another one to which it was sent on, that tells nothing.
    #[tokio::test]
    async fn what_could_not_be_asked_again_in_time_is_told_as_it_was_refused() {
        let config = ClientConfig::new(["log1:7400"]);
        let refused = |code| Error::refused(ErrorBody::new(code, "it says why"));
        let full = || refused(ErrorCode::StorageFull);
        let gone = Error::Connect {
            address: "log1:7400".into(),
            source: crate::Fault::Closed.into(),
        };
        let led = refused(ErrorCode::NotOwner);
        for (before, is_refused) in [
            (vec![full()], true),
            (vec![full(), gone], false),
            (vec![led], false),
        ] {
            let deadline = Deadline::within(config.timeout);
            let mut retry = Retry::until(deadline, Repeat::IfNotApplied, &config).led();
            for error in before {
                assert!(retry.pause(error).await.is_ok());
            }
            retry.deadline = Deadline::within(Duration::ZERO);
            let unsent = retry.pause(Error::TimedOut {
                address: "log1:7400".into(),
                kind: Kind::Truncate,
                after: Duration::ZERO,
                is_sent: false,
                refused: None,
            });
            let told = unsent.await.unwrap_err();
            assert_eq!(told.refusal().is_some(), is_refused, "{told}");
            assert_eq!(told.is_unreachable(), !is_refused, "{told}");
        }
    }

    /// What a node asks another one is answered in 10 s or not at all: it counted from when the request began, and one answer
    /// that did not come ended a handover.
    #[tokio::test]
    async fn a_server_that_does_not_reach_another_one_is_asked_again_however_late_it_says_so() {
        let lost = || Error::Refused {
            body: Box::new(ErrorBody::new(ErrorCode::SourceUnavailable, "no answer")),
        };
        let config = ClientConfig::new(["log1:7400"]);
        let deadline = Deadline::within(config.timeout);
        let mut retry = Retry::until(deadline, Repeat::Always, &config);
        assert!(retry.pause(lost()).await.is_ok());
        let since = retry.source_lost.unwrap();
        retry.source_lost = since.checked_sub(SOURCE_PATIENCE);
        assert!(retry.pause(lost()).await.is_err(), "nor for ever");
        assert!(
            retry
                .pause(Error::Connect {
                    address: "log1:7400".into(),
                    source: crate::Fault::Closed.into(),
                })
                .await
                .is_ok(),
            "that is another matter"
        );
    }
}
