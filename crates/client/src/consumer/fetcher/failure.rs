//! What ends a partition, by its types.

use corelog_protocol::error::ErrorCode;
use corelog_record::{Offset, TopicName};

use super::Fetcher;
use crate::Error;

impl Fetcher {
    /// Gives the errors that end a partition their types.
    pub(super) fn explain(&self, offset: Offset, error: Error) -> Error {
        let Some(body) = error.refusal() else {
            return error;
        };
        let detail = &body.detail;
        match body.known_code() {
            Some(ErrorCode::OutOfRange | ErrorCode::PastHighWatermark) => {
                let log_start = detail.log_start.unwrap_or_default();
                let high_watermark = detail.high_watermark.unwrap_or_default();
                self.out_of_range(offset, log_start, high_watermark)
            }
            Some(ErrorCode::Diverged) => self.diverged(offset, detail.offset.unwrap_or_default()),
            Some(ErrorCode::Damaged) => {
                let range = (detail.offset.unwrap_or(offset), detail.next);
                Error::damaged(&self.topic, self.partition, range, error)
            }
            Some(ErrorCode::Internal) => match detail.segment {
                Some(segment) => Error::Unread {
                    topic: TopicName::clone(&self.topic),
                    partition: self.partition,
                    offset: offset.max(segment),
                    source: Box::new(error),
                },
                None => error,
            },
            _ => error,
        }
    }

    pub(super) fn diverged(&self, offset: Offset, parting: Offset) -> Error {
        Error::Diverged {
            topic: TopicName::clone(&self.topic),
            partition: self.partition,
            offset,
            parting,
        }
    }

    pub(super) fn out_of_range(
        &self,
        offset: Offset,
        log_start: Offset,
        high_watermark: Offset,
    ) -> Error {
        let (topic, partition) = (TopicName::clone(&self.topic), self.partition);
        Error::OutOfRange {
            topic,
            partition,
            offset,
            log_start,
            high_watermark,
        }
    }
}

/// If a server's log ends below what is asked for.
pub(super) fn is_behind(error: &Error) -> bool {
    matches!(error, Error::OutOfRange { offset, high_watermark, .. } if high_watermark < offset)
}
