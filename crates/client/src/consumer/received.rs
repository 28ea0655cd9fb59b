//! Records as they reach the caller: one by one, or by the batch.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use corelog_record::batch::{self, PausedRecords, RecordView};
use corelog_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};

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
    /// Whose log that was, for [`Start::Behind`](super::Start::Behind): the leader epoch of its batch.
    pub epoch: Option<LeaderEpoch>,
    /// Its time, as its producer said.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers in order.
    pub headers: Headers,
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
    /// Whose log that was, for [`Start::Behind`](super::Start::Behind): its leader epoch.
    pub epoch: Option<LeaderEpoch>,
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
                let range = (next, Some(self.offsets.end));
                Error::damaged(&self.topic, self.partition, range, source.into())
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

/// The headers of a record in order, read when they are asked for: as they came, some take less memory
/// than the two slices that each of them is.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// As they lie in the record, which the batch's reader has walked.
    bytes: Bytes,
    count: usize,
}

impl Headers {
    /// Those of a record that lies in `bytes`.
    pub(super) fn of(bytes: &Bytes, headers: &batch::Headers<'_>) -> Self {
        Self {
            bytes: bytes.slice_ref(headers.as_bytes()),
            count: headers.len(),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their names and values, as [`RecordView::headers`] gives them.
    #[must_use]
    pub fn iter(&self) -> batch::Headers<'_> {
        batch::Headers::over(&self.bytes, self.count)
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = batch::Headers<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Headers {}

#[cfg(test)]
mod tests {
    use corelog_record::Record;
    use corelog_record::batch::{Builder, Codec, View};

    use super::*;

    /// A header can have two bytes; as a slice each for its name and its value, a batch of 8 MiB came to
    /// 268 MB, and one of a few KiB that was compressed to as much as 8.6 GB.
    #[test]
    fn headers_take_no_memory_of_their_own_however_many_they_are() {
        const COUNT: usize = 100_000;
        let record = Record {
            headers: vec![(String::new(), None); COUNT],
            ..Record::default()
        };
        let mut builder = Builder::new(Codec::None);
        builder.append_record(&record).unwrap();
        let batch = Bytes::from(builder.build().unwrap());
        let view = View::verify(&batch).unwrap();
        let read = view.records().unwrap().next().unwrap().unwrap();

        let headers = Headers::of(&batch, &read.headers());
        assert!(batch.as_ptr_range().contains(&headers.bytes.as_ptr()));
        assert_eq!(headers.len(), COUNT);
        assert!(headers.iter().eq(record.headers.iter().map(|_| ("", None))));
    }
}
