//! Records as they reach the caller: one by one, or by the batch.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use corelog_record::batch::{PausedRecords, RecordView};
use corelog_record::{Offset, PartitionId, Record, Timestamp, TopicName};

use crate::Error;

/// A record that was read. Its fields are slices of what was fetched (or decompressed): cheap to
/// clone, and keeping one keeps the fetched bytes around it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its topic.
    pub topic: Arc<TopicName>,
    /// Its partition.
    pub partition: PartitionId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its time, as its producer said.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers in order.
    pub headers: Vec<Header>,
}

/// A batch that was read, or what is to be handed out of it. Its records borrow what was fetched (or
/// decompressed), so looking at one costs no more than decoding it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedBatch {
    /// Its topic.
    pub topic: Arc<TopicName>,
    /// Its partition.
    pub partition: PartitionId,
    /// What of the log it covers. There may be offsets in it that no record has.
    pub offsets: Range<Offset>,
    pub(super) records: Bytes,
    /// A walk over all records, from the first one on.
    pub(super) walk: PausedRecords,
}

impl ReceivedBatch {
    /// Its records within `offsets`, in order.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the bytes, whose checksum held, are no records: whoever produced them
    /// wrote them so. Nothing of the batch follows.
    pub fn records(&self) -> impl Iterator<Item = Result<RecordView<'_>, Error>> {
        let mut next = self.offsets.start;
        let records = self.walk.resume(&self.records).map(move |record| {
            let record = record.map_err(|source| {
                Error::damaged(&self.topic, self.partition, next, source.into())
            })?;
            next = record.offset.plus(1);
            Ok(record)
        });
        let is_within = |record: &RecordView<'_>| self.offsets.contains(&record.offset);
        records.filter(move |record| record.as_ref().map_or(true, is_within))
    }

    /// What is left of it from its first record of that time or later on; `None` if there is none.
    pub(super) fn since(mut self, since: Timestamp) -> Result<Option<Self>, Error> {
        let mut first = None;
        for record in self.records() {
            let record = record?;
            if since <= record.timestamp {
                first = Some(record.offset);
                break;
            }
        }
        Ok(first.map(|first| {
            self.offsets.start = first;
            self
        }))
    }
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Its value.
    pub value: Option<Bytes>,
    /// UTF-8, as the batch's reader checked.
    name: Bytes,
}

impl Header {
    /// `name` is a slice of `bytes`, and so is `value`.
    pub(super) fn of(bytes: &Bytes, name: &str, value: Option<&[u8]>) -> Self {
        Self {
            name: bytes.slice_ref(name.as_bytes()),
            value: value.map(|value| bytes.slice_ref(value)),
        }
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &str {
        // The bytes were a `str` when they came in.
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

impl Received {
    /// A copy that owns its bytes and can be sent again.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let own = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
        let headers = self.headers.iter();
        Record {
            timestamp: self.timestamp,
            key: own(&self.key),
            value: own(&self.value),
            headers: headers
                .map(|one| (one.name().to_owned(), own(&one.value)))
                .collect(),
        }
    }
}
