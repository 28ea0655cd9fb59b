//! What a refused batch is answered with: one place that ties the format's rules to codes.

use corelog_record::{Error, RecordFault};

use super::{Detail, ErrorBody, ErrorCode};

impl ErrorBody {
    /// The answer to a Produce whose batch number `index`, counted from 0, is refused for `why`.
    /// The detail names the batch, the record if one is to blame, and the field.
    #[must_use]
    pub fn of_batch(index: usize, why: &Error) -> Self {
        let mut detail = Detail {
            batch: u32::try_from(index).ok(),
            ..Detail::default()
        };
        let code = match *why {
            Error::BatchTooLarge { bytes, max } => {
                detail.found = Some(bytes as u64);
                detail.limit = Some(max as u64);
                ErrorCode::BatchTooLarge
            }
            Error::RecordTooLarge { index, bytes, max } => {
                detail.record = Some(index);
                detail.found = Some(bytes as u64);
                detail.limit = Some(max as u64);
                ErrorCode::RecordTooLarge
            }
            // Valid batches of features that are still to come.
            Error::Transactional | Error::Producer { .. } => ErrorCode::NotSupported,
            _ => ErrorCode::InvalidBatch,
        };
        if let Error::Record { index, .. } = *why {
            detail.record = Some(index);
        }
        detail.field = Some(field(why).to_owned());
        let mut message = why.to_string();
        if let Some(cause) = std::error::Error::source(why) {
            message.push_str(": ");
            message.push_str(&cause.to_string());
        }
        Self::new(code, message).with_detail(detail)
    }
}

/// The field of the batch to blame, by the names of PROTOCOL.md.
const fn field(why: &Error) -> &'static str {
    match why {
        Error::Cut { .. }
        | Error::Excess { .. }
        | Error::Length { .. }
        | Error::BatchTooLarge { .. } => "length",
        Error::Magic { .. } => "magic",
        Error::Checksum { .. } => "crc",
        Error::BaseOffset { .. } => "base_offset",
        Error::UnknownCodec { .. }
        | Error::LogAppendTime
        | Error::Transactional
        | Error::Control
        | Error::Attributes { .. } => "attributes",
        Error::Producer { .. } => "producer",
        Error::Count { .. } => "record_count",
        Error::LastOffsetDelta { .. } => "last_offset_delta",
        Error::Timestamp { .. }
        | Error::Record {
            fault: RecordFault::Timestamp { .. } | RecordFault::TimestampDelta { .. },
            ..
        } => "timestamp",
        Error::MaxBelowBase { .. } | Error::MaxTimestamp { .. } => "max_timestamp",
        _ => "records",
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::batch::{Batches, Rules, check};

    use super::*;

    /// The page had the length held against the body before the magic was looked at.
    #[test]
    fn what_is_wrong_with_a_batch_is_told_in_the_order_of_the_page() {
        let blamed = |bytes: &[u8]| {
            let batch = Batches::over(bytes).next().unwrap();
            let checked = batch.and_then(|batch| check(batch, &Rules::DEFAULT));
            let body = ErrorBody::of_batch(0, &checked.unwrap_err());
            body.detail.field.unwrap()
        };
        let mut bytes = [0; 100];
        let mut blamed_with = |length: [u8; 4], magic| {
            bytes[8..12].copy_from_slice(&length);
            bytes[16] = magic;
            (blamed(&bytes[..60]), blamed(&bytes))
        };
        let told = |first: &str, then: &str| (first.to_owned(), then.to_owned());
        assert_eq!(blamed_with([0, 0, 0, 48], 1), told("length", "length"));
        assert_eq!(blamed_with([0, 0, 3, 232], 1), told("length", "magic"));
        assert_eq!(blamed_with([0, 0, 3, 232], 2), told("length", "length"));
        assert_eq!(blamed_with([0, 0, 0, 88], 2), told("length", "crc"));
    }

    #[test]
    fn a_refused_batch_is_named_with_its_record_and_field() {
        let why = Error::RecordTooLarge {
            index: 3,
            bytes: 20,
            max: 10,
        };
        let body = ErrorBody::of_batch(1, &why);
        assert!(body.is(ErrorCode::RecordTooLarge));
        let Detail {
            batch,
            record,
            found,
            limit,
            ..
        } = body.detail;
        assert_eq!(
            (batch, record, found, limit),
            (Some(1), Some(3), Some(20), Some(10))
        );

        let fault = RecordFault::Timestamp { found: -7, max: 9 };
        let body = ErrorBody::of_batch(0, &Error::Record { index: 2, fault });
        assert_eq!(
            (body.detail.record, body.detail.field.as_deref()),
            (Some(2), Some("timestamp"))
        );

        let body = ErrorBody::of_batch(0, &Error::Magic { found: 1 });
        assert!(body.is(ErrorCode::InvalidBatch));
        assert_eq!(body.detail.field.as_deref(), Some("magic"));
        assert!(ErrorBody::of_batch(0, &Error::Transactional).is(ErrorCode::NotSupported));
    }

    /// `record 0 of the batch: it is cut: it is cut`
    #[test]
    fn a_refused_record_has_its_reason_once() {
        let fault = RecordFault::Cut;
        let body = ErrorBody::of_batch(0, &Error::Record { index: 0, fault });
        assert_eq!(body.message, "record 0 of the batch: it is cut");
    }
}
