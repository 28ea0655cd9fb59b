//! A request that waits for its answer, for so long, or for as long as that comes.

use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::message::Call;
use corelog_protocol::{answer, request};

use super::{Line, Raw, Reply, Shared};
use crate::failure::{Failure, failure};
use crate::rt;

/// Why a request is given up, or the connection that has gone silent.
pub(super) const LATE: &str = "it did not answer in time";

/// Given up, its answer goes nowhere.
struct Waiting<'a> {
    shared: &'a Shared,
    number: u32,
}

impl Line {
    /// The same as [`Line::call`], but waits until nothing came for `timeout`, or less than 64 KiB/s behind that: answers to others
    /// may be in front of it, on a slow way. Only for a task that may be stopped meanwhile, and for which nobody waits.
    ///
    /// # Errors
    /// As [`Line::call`].
    pub(crate) async fn call_as_it_comes<R: Call>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<Reply<R::Answer>, Failure> {
        let shared = &self.shared.0;
        let waiting = Waiting::ask(shared, request)?;
        let asked = shared.waiting.borrow().len();
        let patience = shared.heard.patience(asked, timeout);
        let came = patience.wait(shared.answered(waiting.number)).await;
        waiting.understand::<R>(came, timeout)
    }
}

pub(super) async fn call<R: Call>(
    shared: &Shared,
    request: &R,
    timeout: Duration,
) -> Result<Reply<R::Answer>, Failure> {
    let waiting = Waiting::ask(shared, request)?;
    let came = rt::timeout(timeout, shared.answered(waiting.number)).await;
    waiting.understand::<R>(came, timeout)
}

impl<'a> Waiting<'a> {
    fn ask<R: Call>(shared: &'a Shared, request: &R) -> Result<Self, Failure> {
        if let Some(said) = &*shared.last_words.borrow() {
            return Err(shared.unavailable(&said.why));
        }
        let number = shared.last.get().wrapping_add(1);
        shared.last.set(number);
        let encoded = request::encode(
            CorrelationId::new(number),
            request,
            0,
            &mut shared.out.borrow_mut(),
        );
        encoded.map_err(|error| failure(ErrorCode::InvalidRequest, error.to_string()))?;
        shared.waiting.borrow_mut().insert(number, None);
        shared.to_send.notify();
        Ok(Self { shared, number })
    }

    /// What came, if it did before it was late: one that had so long alone ends no connection over which others are answered.
    fn understand<R: Call>(
        self,
        came: Option<Result<Raw, Failure>>,
        timeout: Duration,
    ) -> Result<Reply<R::Answer>, Failure> {
        let shared = self.shared;
        drop(self);
        let Some(came) = came else {
            if shared.heard.is_silent_for(timeout) {
                shared.end(LATE);
            }
            let ended = shared.ended.borrow();
            return Err(shared.unavailable(ended.as_deref().unwrap_or(LATE)));
        };
        let frame = came?;
        match answer::decode::<R>(&frame.frame()) {
            Ok(Ok(head)) => Ok(Reply { head, frame }),
            Ok(Err(error)) => Err(Box::new(error)),
            Err(error) => Err(shared.unavailable(&error.to_string())),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting.borrow_mut().remove(&self.number);
    }
}
