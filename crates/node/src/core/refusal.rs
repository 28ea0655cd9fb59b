//! A partition's refusals as they travel: code, sentence, detail.

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};

use crate::failure::{Failure, failure_with};
use crate::partition::Refusal;

/// How long a client is asked to wait before it tries again, in milliseconds.
pub(super) const RETRY_MS: u32 = 50;

/// What is told of a partition that no node takes appends of: a handover that stopped halfway does not go on by itself.
pub(crate) fn being_handed_over(to: Option<&str>) -> String {
    match to {
        Some(to) => format!(
            "the partition is being handed over to {to}; if that has stopped, the same `corelog handover` goes on \
             with it, and --abort calls it off"
        ),
        None => "the partition is being taken back from a handover; if that has stopped, `corelog handover --abort` \
                 goes on with it"
            .to_owned(),
    }
}

/// A refusal as it travels.
pub(crate) fn error_of(refusal: &Refusal) -> Failure {
    let (code, message, detail) = match refusal {
        Refusal::Invalid {
            batch_index,
            source,
        } => return Box::new(ErrorBody::of_batch(*batch_index, source)),
        Refusal::NotOwner => (
            ErrorCode::NotOwner,
            "another node owns the partition".into(),
            none(),
        ),
        Refusal::NotNext { source } => (ErrorCode::Diverged, with_causes(source), none()),
        Refusal::Empty => (
            ErrorCode::InvalidBatch,
            "the request holds no batch".into(),
            none(),
        ),
        Refusal::TooLarge { bytes, bytes_max } => (
            ErrorCode::BatchTooLarge,
            format!("{bytes} bytes exceed the {bytes_max} that one request may append"),
            Detail {
                limit: Some(*bytes_max as u64),
                found: Some(*bytes as u64),
                ..none()
            },
        ),
        Refusal::TooManyRecords {
            records,
            records_max,
        } => (
            ErrorCode::BatchTooLarge,
            format!("{records} records exceed the {records_max} that one request may append"),
            Detail {
                limit: Some(*records_max),
                found: Some(*records),
                ..none()
            },
        ),
        Refusal::TailFull => (
            ErrorCode::Busy,
            "too many bytes wait for the disk".into(),
            Detail {
                retry_ms: Some(RETRY_MS),
                ..none()
            },
        ),
        Refusal::Fenced => (
            ErrorCode::Fenced,
            "a write or sync failed earlier: nothing is written until the partition is reopened"
                .into(),
            none(),
        ),
        Refusal::InDoubt => (
            ErrorCode::OutcomeUnknown,
            "a write or sync of it failed: it may have taken effect, which reopening the partition shows"
                .into(),
            none(),
        ),
        Refusal::StorageFull => (
            ErrorCode::StorageFull,
            "the disk is full; the partition goes on by itself when there is space".into(),
            none(),
        ),
        Refusal::ReadOnly { from } => (
            ErrorCode::ReadOnly,
            format!("damage from offset {from} on makes the partition read-only"),
            Detail {
                offset: Some(*from),
                ..none()
            },
        ),
        Refusal::OffsetsExhausted => (
            ErrorCode::ReadOnly,
            "the log has given out all its offsets".into(),
            none(),
        ),
        Refusal::OutOfRange { valid } => (
            ErrorCode::OutOfRange,
            format!(
                "only offsets from {} to {} can be read",
                valid.start, valid.end
            ),
            Detail {
                log_start: Some(valid.start),
                high_watermark: Some(valid.end),
                ..none()
            },
        ),
        Refusal::PastHighWatermark { valid } => (
            ErrorCode::PastHighWatermark,
            format!("offsets from {} on may not be read yet", valid.end),
            Detail {
                log_start: Some(valid.start),
                high_watermark: Some(valid.end),
                ..none()
            },
        ),
        Refusal::OtherLog { from } => (
            ErrorCode::Diverged,
            format!("what was read is of another log, which may differ from offset {from} on"),
            Detail {
                offset: Some(*from),
                ..none()
            },
        ),
        Refusal::Damaged { damaged, segment } => (
            ErrorCode::Damaged,
            format!(
                "offsets from {} to {} are damaged",
                damaged.start, damaged.end
            ),
            Detail {
                offset: Some(damaged.start),
                next: Some(damaged.end),
                segment: Some(*segment),
                ..none()
            },
        ),
        Refusal::Removed => (
            ErrorCode::Busy,
            "the segment was moved away while it was read".into(),
            none(),
        ),
        Refusal::Busy => (
            ErrorCode::Busy,
            "too much waits for the partition, or for files that cannot be opened yet".into(),
            Detail {
                retry_ms: Some(RETRY_MS),
                ..none()
            },
        ),
        Refusal::NotSealed => (
            ErrorCode::Busy,
            "the partition could not be sealed in time; see the server's log".into(),
            none(),
        ),
        Refusal::Closing => (
            ErrorCode::Stopping,
            "the partition is being closed, or opened anew".into(),
            none(),
        ),
        Refusal::Unread { segment, source } => (
            ErrorCode::Internal,
            with_causes(source),
            Detail {
                segment: Some(*segment),
                ..none()
            },
        ),
        Refusal::Failed { source } => (ErrorCode::Internal, with_causes(source), none()),
    };
    failure_with(code, message, detail)
}

/// An error and all that caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

fn none() -> Detail {
    Detail::default()
}
