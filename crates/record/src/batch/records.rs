//! The records of a batch, borrowed from its bytes.

#![deny(clippy::indexing_slicing)]

use super::View;
use super::raw::{Cursor, Headers, Raw};
use crate::{Error, Offset, Record, RecordFault, Timestamp};

/// One record, borrowing its bytes.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// Its time, by its producer (or by the log, if the batch says so).
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

/// The records of a batch in order; after an error it ends.
///
/// Offsets rise but may jump, as they do after compaction. The number of records is the batch's
/// count, or an error says otherwise.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    base_offset: Offset,
    last_offset_delta: u32,
    base_timestamp: i64,
    /// The time of all records, if it is the log's.
    append_time: Option<Timestamp>,
    index: u32,
    count: u32,
    /// The least offset delta that the next record may have.
    delta_min: u32,
    is_done: bool,
}

/// A walk over records that was interrupted. It borrows nothing, so a reader can put it beside the
/// bytes that it owns.
#[derive(Clone, Debug)]
pub struct PausedRecords {
    walk: Records<'static>,
    /// Bytes behind the last record taken.
    rest_bytes: usize,
}

impl PausedRecords {
    /// Goes on where the walk was paused; `decompressed` is what it went over before. Other bytes
    /// give errors or other records, never a panic.
    pub fn resume<'a>(&self, decompressed: &'a [u8]) -> Records<'a> {
        let from = decompressed.len().saturating_sub(self.rest_bytes);
        self.walk
            .clone()
            .over_rest(decompressed.get(from..).unwrap_or_default())
    }
}

impl<'a> RecordView<'a> {
    /// The headers in order.
    pub fn headers(&self) -> Headers<'a> {
        self.headers.clone()
    }

    /// A copy that owns its bytes.
    pub fn to_record(&self) -> Record {
        let own = |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.map(Into::into));
        Record {
            timestamp: self.timestamp,
            key: self.key.map(Into::into),
            value: self.value.map(Into::into),
            headers: self.headers().map(own).collect(),
        }
    }
}

impl<'a> Records<'a> {
    /// The records that lie in `decompressed`, which is what [`View::decompress`] gave for this
    /// batch (or [`View::record_bytes`], if it is not compressed).
    ///
    /// [`View::decompress`]: View#method.decompress
    pub fn over(decompressed: &'a [u8], batch: &View<'_>) -> Self {
        let header = batch.header();
        Self {
            cursor: Cursor(decompressed),
            base_offset: batch.base_offset(),
            last_offset_delta: header.last_offset_delta.unsigned_abs(),
            base_timestamp: header.base_timestamp,
            append_time: header.is_log_append_time().then(|| batch.max_timestamp()),
            index: 0,
            count: batch.count(),
            delta_min: 0,
            is_done: false,
        }
    }

    /// The walk as it stands, without the bytes it goes over.
    pub fn pause(&self) -> PausedRecords {
        let rest_bytes = self.cursor.0.len();
        PausedRecords {
            walk: self.clone().over_rest(&[]),
            rest_bytes,
        }
    }

    /// The same walk, going on over `rest`.
    fn over_rest<'b>(self, rest: &'b [u8]) -> Records<'b> {
        Records {
            cursor: Cursor(rest),
            base_offset: self.base_offset,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            append_time: self.append_time,
            index: self.index,
            count: self.count,
            delta_min: self.delta_min,
            is_done: self.is_done,
        }
    }

    fn take(&mut self) -> Result<RecordView<'a>, Error> {
        let at = |fault| Error::Record {
            index: self.index,
            fault,
        };
        let raw = Raw::take(&mut self.cursor).map_err(at)?;
        let delta = u32::try_from(raw.offset_delta)
            .ok()
            .filter(|delta| (self.delta_min..=self.last_offset_delta).contains(delta));
        let Some(delta) = delta else {
            let expected = self.delta_min;
            return Err(at(RecordFault::OffsetDelta {
                found: raw.offset_delta,
                expected,
            }));
        };
        let timestamp = self.append_time.or_else(|| {
            self.base_timestamp
                .checked_add(raw.timestamp_delta)
                .map(Timestamp::from_millis)
        });
        let overflow = RecordFault::TimestampDelta {
            found: raw.timestamp_delta,
        };
        let timestamp = timestamp.ok_or_else(|| at(overflow))?;
        self.index += 1;
        self.delta_min = delta + 1;
        Ok(RecordView {
            offset: self.base_offset.plus(delta.into()),
            timestamp,
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        if self.index < self.count {
            let record = self.take();
            self.is_done = record.is_err();
            return Some(record);
        }
        self.is_done = true;
        let bytes = self.cursor.0.len();
        (bytes > 0).then_some(Err(Error::TrailingBytes { bytes }))
    }
}

impl std::iter::FusedIterator for Records<'_> {}
