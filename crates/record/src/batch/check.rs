//! What a server requires of a batch before it appends it.

#![deny(clippy::indexing_slicing)]

use super::raw::{Cursor, Raw};
use super::{COUNT_MAX, Codec, Header, View};
use crate::{Error, RecordFault, Timestamp};

/// How much a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of a record's key, value and headers together.
    pub record_bytes_max: usize,
    /// Bytes of a batch, header included; more than [`BYTES_MAX`](super::BYTES_MAX) is never allowed.
    pub batch_bytes_max: usize,
    /// Records of a batch; more than [`COUNT_MAX`] is never allowed.
    pub count_max: u32,
}

/// The latest time that a record may carry, the end of the year 9999: what RFC 3339 can write.
pub const TIMESTAMP_MAX: Timestamp = Timestamp::from_millis(253_402_300_799_999);

impl Rules {
    /// Those of a server that is not told otherwise.
    pub const DEFAULT: Self = Self {
        record_bytes_max: 1 << 20,
        batch_bytes_max: 8 << 20,
        count_max: COUNT_MAX,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The batch that `bytes` are, by what a server requires on append: all that a reader does, and
/// count, offsets, times, flags and producer fields as a plain producer writes them. The records of
/// an uncompressed batch are walked; what is inside a compressed one is its producer's word.
///
/// # Errors
/// The first thing found wrong, by field.
pub fn check<'a>(bytes: &'a [u8], rules: &Rules) -> Result<View<'a>, Error> {
    if bytes.len() > rules.batch_bytes_max {
        return Err(Error::BatchTooLarge {
            bytes: bytes.len(),
            max: rules.batch_bytes_max,
        });
    }
    let batch = View::verify(bytes)?;
    check_header(batch.header(), rules)?;
    if batch.codec() == Codec::None {
        check_records(&batch, rules)?;
    }
    Ok(batch)
}

fn check_header(header: &Header, rules: &Rules) -> Result<(), Error> {
    if header.is_log_append_time() {
        return Err(Error::LogAppendTime);
    }
    if header.is_transactional() {
        return Err(Error::Transactional);
    }
    if header.is_control() {
        return Err(Error::Control);
    }
    if header.has_undefined_bits() {
        return Err(Error::Attributes {
            found: header.attributes,
        });
    }
    let (id, epoch, sequence) = (
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    );
    if (id, epoch, sequence) != (-1, -1, -1) {
        return Err(Error::Producer {
            id,
            epoch,
            sequence,
        });
    }
    let (min, max) = (1, rules.count_max.min(COUNT_MAX));
    let count = u32::try_from(header.count)
        .ok()
        .filter(|count| (min..=max).contains(count));
    let count = count.ok_or(Error::Count {
        found: header.count,
        min,
        max,
    })?;
    if header.last_offset_delta.unsigned_abs() != count - 1 {
        return Err(Error::LastOffsetDelta {
            found: header.last_offset_delta,
            count,
        });
    }
    let max = TIMESTAMP_MAX.millis();
    for found in [header.base_timestamp, header.max_timestamp] {
        if !is_in_time(found) {
            return Err(Error::Timestamp { found, max });
        }
    }
    if header.max_timestamp < header.base_timestamp {
        let (claimed, base) = (header.max_timestamp, header.base_timestamp);
        return Err(Error::MaxBelowBase { claimed, base });
    }
    Ok(())
}

fn check_records(batch: &View<'_>, rules: &Rules) -> Result<(), Error> {
    let header = batch.header();
    let mut cursor = Cursor(batch.record_bytes());
    let mut highest = i64::MIN;
    for index in 0..batch.count() {
        let at = |fault| Error::Record { index, fault };
        let raw = Raw::skim(&mut cursor).map_err(at)?;
        if raw.attributes != 0 {
            return Err(at(RecordFault::Attributes {
                found: raw.attributes,
            }));
        }
        if raw.offset_delta.cast_unsigned() != index {
            let found = raw.offset_delta;
            return Err(at(RecordFault::OffsetDelta {
                found,
                expected: index,
            }));
        }
        let overflow = RecordFault::TimestampDelta {
            found: raw.timestamp_delta,
        };
        let time = header.base_timestamp.checked_add(raw.timestamp_delta);
        let time = time.ok_or_else(|| at(overflow))?;
        if !is_in_time(time) {
            return Err(at(RecordFault::Timestamp {
                found: time,
                max: TIMESTAMP_MAX.millis(),
            }));
        }
        highest = highest.max(time);
        let (bytes, max) = (raw.payload_bytes(), rules.record_bytes_max);
        if bytes > max {
            return Err(Error::RecordTooLarge { index, bytes, max });
        }
    }
    if !cursor.0.is_empty() {
        return Err(Error::TrailingBytes {
            bytes: cursor.0.len(),
        });
    }
    if highest != header.max_timestamp {
        return Err(Error::MaxTimestamp {
            claimed: header.max_timestamp,
            found: highest,
        });
    }
    Ok(())
}

#[inline]
fn is_in_time(time: i64) -> bool {
    (0..=TIMESTAMP_MAX.millis()).contains(&time)
}
