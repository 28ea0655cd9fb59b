//! Waiting for one answer.

use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::Call;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::table::{Answered, Patience, RawAnswer};
use super::{Reply, SILENCE_MIN, Shared, alarm};
use crate::Error;

/// A request that was entered and waits for its answer. Dropped, the answer goes nowhere.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) shared: Arc<Shared>,
    pub(super) correlation: u32,
    pub(super) receiver: oneshot::Receiver<Answered>,
    pub(super) kind: Kind,
    pub(super) patience: Patience,
    /// Until when it is waited for.
    pub(super) until: Instant,
}

impl Ticket {
    /// Waits for the answer, at most until the request's timeout.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::TimedOut`], [`Error::Refused`], [`Error::Answer`].
    pub(crate) async fn answer<R: Call>(mut self) -> Result<Reply<R::Answer>, Error> {
        let answered = self.answered().await;
        self.understand::<R>(&answered?)
    }

    /// Waits for the raw answer, at most until the request's timeout.
    async fn answered(&mut self) -> Result<RawAnswer, Error> {
        match alarm::in_time(self.deadline(), self.arrived()).await {
            Some(answered) => answered,
            None => Err(self.time_out()),
        }
    }

    /// Waits for the answer until the request's timeout, and beyond that while it comes, or what may be in front of it, with 64 KiB
    /// a second: not for one that was overtaken by what was entered when it was due already.
    ///
    /// # Errors
    /// As [`Ticket::answer`].
    pub(crate) async fn answer_as_it_comes<R: Call>(mut self) -> Result<Reply<R::Answer>, Error> {
        let (mut look_at, mut when_due) = (self.deadline(), None);
        let raw = loop {
            if let Some(answered) = alarm::in_time(look_at, self.arrived()).await {
                break answered?;
            }
            let came = self.shared.table.came();
            let due = *when_due.get_or_insert(came);
            // What came before that was for others as a rule.
            let slack = SILENCE_MIN + Duration::from_secs((came.bytes - due.bytes) / RATE_MIN);
            let is_over = self.deadline() <= Instant::now();
            if came.answered.is_behind(due.entered)
                || (is_over && !self.extend(self.patience.end() + slack))
            {
                return Err(self.time_out());
            }
            look_at = self.deadline().min(Instant::now() + SILENCE_MIN);
        };
        self.understand::<R>(&raw)
    }

    /// Waits for the raw answer for as long as there is a connection. Cancel-safe: dropped and called again, it goes on
    /// waiting.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(crate) async fn arrived(&mut self) -> Result<RawAnswer, Error> {
        match (&mut self.receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ending)) => Err(self.shared.lost(ending)),
            // The table ends every request before it lets go of it.
            Err(_) => Err(self.shared.not_entered()),
        }
    }

    /// When the request was entered.
    pub(crate) fn entered(&self) -> Instant {
        self.patience.entered
    }

    /// When whoever waits is to call [`Ticket::time_out`].
    pub(crate) fn deadline(&self) -> Instant {
        self.until
    }

    /// Gives the request its time anew from when anything came last, but none beyond `end`; false if that is no more than it had.
    pub(crate) fn extend(&mut self, end: Instant) -> bool {
        let heard = self.shared.table.last_heard() + self.patience.timeout;
        let before = self.until;
        self.until = before.max(heard.min(end));
        before < self.until
    }

    /// Reads the head of a raw answer.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Answer`].
    pub(crate) fn understand<R: Call>(&self, raw: &RawAnswer) -> Result<Reply<R::Answer>, Error> {
        match answer::decode::<R>(&raw.frame()) {
            Ok(Ok(head)) => Ok(Reply {
                head,
                body: raw.body(),
            }),
            Ok(Err(body)) => Err(Error::refused(body)),
            Err(source) => {
                let address = Arc::clone(&self.shared.address);
                Err(Error::Answer {
                    address,
                    kind: self.kind,
                    source,
                })
            }
        }
    }

    /// Gives the request up, and the connection with it if that was silent for long, and the request had all of its time.
    pub(crate) fn time_out(&self) -> Error {
        let is_sent = self.shared.table.abandon(self.correlation);
        let Patience { entered, timeout } = self.patience;
        let waited = entered.elapsed();
        if timeout <= waited {
            self.shared.give_up_on_silence(entered);
        }
        let after = waited.min(self.until - entered);
        self.shared.timed_out(self.kind, after, is_sent)
    }
}

/// Whoever sends fewer bytes in a second is as good as silent.
const RATE_MIN: u64 = 64 << 10;
