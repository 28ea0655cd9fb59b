//! What an answer means for its batch.

use std::sync::Arc;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::produce;

use super::super::batch::Batch;
use super::super::delivery::BatchAck;
use super::super::window::Verdict;
use super::{Answer, Lane};
use crate::{Error, Outcome};

impl Lane {
    /// What an answer means for its batch.
    pub(super) fn judge(&mut self, answer: Answer) -> Verdict<BatchAck, Arc<Error>> {
        let error = match answer {
            Ok(reply) => return self.judge_ack(&reply.head),
            Err(error) => error,
        };
        // All that is in flight is of one topic.
        let topic = self.request.id;
        self.heed(topic, &error);
        let is_aborted = is_aborted(&error);
        let is_final = !is_aborted && !error.may_pass();
        let error = Arc::new(error);
        // One failure aborts many, or loses them; it is one all the same. Of a run that was aborted before it failed, that
        // is the failure.
        if (error.may_pass() || is_aborted) && !self.window.is_halted() {
            self.note(topic, &error);
        }
        match &*error {
            Error::Lost {
                may_be_taken: true, ..
            }
            | Error::TimedOut { is_sent: true, .. } => Verdict::Unanswered(error),
            _ if error.outcome() == Outcome::Unknown => Verdict::Unknown(error),
            _ => self.not_applied(error, is_final),
        }
    }

    fn not_applied(&mut self, error: Arc<Error>, is_final: bool) -> Verdict<BatchAck, Arc<Error>> {
        if is_final && let Some(batch) = self.window.front_mut() {
            // Where one in front of it is sent again it is told later, and this is still why.
            batch.refuse(Arc::clone(&error));
        }
        let aborts_run = aborts_run(&error);
        let since = self.window.front().map(Batch::since);
        let late = since.filter(|since| self.is_late(*since));
        let error = match late {
            Some(since) if !is_final => Self::given_up(since, self.cause(error)),
            _ => error,
        };
        Verdict::NotApplied {
            error,
            aborts_run,
            is_final: is_final || late.is_some(),
        }
    }

    /// What a batch failed for: where its run was aborted, that is what aborted it, which was noted.
    fn cause(&self, error: Arc<Error>) -> Arc<Error> {
        match &self.trouble {
            Some(trouble) if is_aborted(&error) => Arc::clone(&trouble.last),
            _ => error,
        }
    }

    fn judge_ack(&self, answer: &produce::Answer) -> Verdict<BatchAck, Arc<Error>> {
        let count = self
            .window
            .front()
            .map_or(0, |batch| u64::from(batch.record_count()));
        if answer.end.checked_since(answer.base) != Some(count) {
            let (base, end) = (answer.base, answer.end);
            return Verdict::Unknown(Arc::new(Error::Miscounted { base, end, count }));
        }
        let last = answer.base.plus(count - 1);
        Verdict::Applied(BatchAck {
            first: answer.base,
            last,
            level: answer.level,
        })
    }
}

fn is_aborted(error: &Error) -> bool {
    matches!(error, Error::Refused { body } if body.is(ErrorCode::Aborted))
}

/// If the server aborts the run of a batch that it did not take. A head that it cannot read names none.
fn aborts_run(error: &Error) -> bool {
    let is_unread =
        |body: &ErrorBody| body.is(ErrorCode::BadFrame) || body.is(ErrorCode::InvalidTopicName);
    matches!(error, Error::Refused { body } if !is_unread(body))
}
