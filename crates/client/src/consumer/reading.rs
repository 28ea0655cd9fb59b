//! From fetched bytes to records: verify each batch, then decode it in runs and hand out slices, or hand
//! it out whole.
//!
//! No byte of a batch is looked at before its checksum held, and no record is copied: a record is
//! four slices of the receive buffer, or of the one buffer that its batch was decompressed into.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use corelog_record::batch::{PausedRecords, RecordView, Records, View, split_first};
use corelog_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use tokio::sync::OwnedSemaphorePermit;

use super::received::{Headers, Received, ReceivedBatch};
use crate::Error;

/// What one fetch brought, on its way to the caller.
#[derive(Debug)]
pub(super) struct Reading {
    topic: Arc<TopicName>,
    partition: PartitionId,
    decompressed_bytes_max: usize,
    /// Whole batches, not looked at yet.
    rest: Bytes,
    batch: Option<Current>,
    /// Decoded, not handed out yet.
    ready: VecDeque<Received>,
    /// The partition's room for this fetch; free again when all of it was handed out.
    _room: OwnedSemaphorePermit,
}

/// Where a partition's reader stands, and what it is to leave out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The next offset to hand out; what lies below is left out.
    pub(super) next: Offset,
    /// Nothing from here on is handed out.
    pub(super) end: Option<Offset>,
    /// Until a record of this time or later was found, nothing is handed out.
    pub(super) since: Option<Timestamp>,
    /// Of the batch that lies before `next`.
    pub(super) epoch: Option<LeaderEpoch>,
}

impl Cursor {
    /// Moves to `next`, behind something of a batch of this epoch.
    fn pass(&mut self, next: Offset, epoch: Option<LeaderEpoch>) {
        if self.next < next {
            (self.next, self.epoch) = (next, epoch);
        }
    }
}

/// A verified batch that is being decoded.
#[derive(Debug)]
struct Current {
    epoch: Option<LeaderEpoch>,
    records: Bytes,
    /// Where the walk began, and where it stands.
    begin: PausedRecords,
    walk: PausedRecords,
    next: Offset,
    is_done: bool,
    /// What stands behind the records that are decoded: no record.
    failed: Option<Bad>,
}

impl Reading {
    pub(super) fn new(
        origin: (Arc<TopicName>, PartitionId),
        batches: Bytes,
        decompressed_bytes_max: usize,
        room: OwnedSemaphorePermit,
    ) -> Self {
        let (topic, partition) = origin;
        Self {
            topic,
            partition,
            decompressed_bytes_max,
            rest: batches,
            batch: None,
            ready: VecDeque::new(),
            _room: room,
        }
    }

    /// The next record, moving `cursor` behind it; `None` if this fetch is used up.
    ///
    /// # Errors
    /// [`Error::Damaged`]; nothing more is to be read from it then.
    pub(super) fn next(&mut self, cursor: &mut Cursor) -> Result<Option<Received>, Error> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                cursor.pass(received.offset.plus(1), received.epoch);
                self.leave_batch(cursor);
                return Ok(Some(received));
            }
            self.leave_batch(cursor);
            if cursor.end.is_some_and(|end| end <= cursor.next) {
                return Ok(None);
            }
            let step = match &self.batch {
                Some(_) => self.decode(cursor),
                None => self.enter_batch(cursor),
            };
            match step {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(bad) => return Err(self.damaged(cursor, bad)),
            }
        }
    }

    /// What is left of the batch that is being handed out, or the next one, moving `cursor` behind it;
    /// `None` if this fetch is used up.
    ///
    /// # Errors
    /// [`Error::Damaged`]; nothing more is to be read from it then.
    pub(super) fn next_batch(
        &mut self,
        cursor: &mut Cursor,
    ) -> Result<Option<ReceivedBatch>, Error> {
        loop {
            self.leave_batch(cursor);
            if cursor.end.is_some_and(|end| end <= cursor.next) {
                return Ok(None);
            }
            let Some(batch) = self.batch.take() else {
                match self.enter_batch(cursor) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(None),
                    Err(bad) => return Err(self.damaged(cursor, bad)),
                }
            };
            self.ready.clear();
            let end = cursor.end.map_or(batch.next, |end| batch.next.min(end));
            if end <= cursor.next {
                // All of it was handed out, which the end of its records was to tell.
                continue;
            }
            let epoch = batch.epoch;
            let whole = ReceivedBatch {
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                offsets: cursor.next..end,
                epoch,
                records: batch.records,
                walk: batch.begin,
            };
            let left = match cursor.since {
                Some(since) => whole.since(since)?,
                None => Some(whole),
            };
            cursor.pass(end, epoch);
            if left.is_some() {
                cursor.since = None;
                return Ok(left);
            }
        }
    }

    /// Moves the cursor behind a batch once all of it was handed out: it may span offsets that no
    /// record has.
    fn leave_batch(&mut self, cursor: &mut Cursor) {
        if self.ready.is_empty()
            && let Some(batch) = self.batch.take_if(|batch| batch.is_done)
        {
            let next = cursor.end.map_or(batch.next, |end| batch.next.min(end));
            cursor.pass(next, batch.epoch);
        }
    }

    fn damaged(&self, cursor: &Cursor, bad: Bad) -> Error {
        let range = (cursor.next, bad.next);
        Error::damaged(&self.topic, self.partition, range, bad.source)
    }

    /// Verifies the next batch; false if there is none.
    fn enter_batch(&mut self, cursor: &mut Cursor) -> Result<bool, Bad> {
        let Some((batch, _)) = split_first(&self.rest)? else {
            return Ok(false);
        };
        let bytes = self.rest.slice_ref(batch);
        let view = View::verify(&bytes)?;
        if view.next_offset() <= cursor.next {
            // The base offset lies outside the checksum, so it is held against what came before.
            let (expected, found) = (cursor.next, view.base_offset());
            return Err(Error::Disordered { expected, found }.into());
        }
        if view.is_control() {
            cursor.pass(view.next_offset(), view.epoch());
        } else {
            let records = view.decompress(self.decompressed_bytes_max);
            let records = match records.map_err(|error| Bad::batch(error, view.next_offset()))? {
                Cow::Borrowed(records) => bytes.slice_ref(records),
                Cow::Owned(records) => Bytes::from(records),
            };
            let walk = Records::over(&records, &view).pause();
            let next = view.next_offset();
            self.batch = Some(Current {
                epoch: view.epoch(),
                records,
                begin: walk.clone(),
                walk,
                next,
                is_done: false,
                failed: None,
            });
        }
        let used = bytes.len();
        drop(self.rest.split_to(used));
        Ok(true)
    }

    /// Decodes the next run of records. What is no record fails once those before it were handed out.
    fn decode(&mut self, cursor: &mut Cursor) -> Result<bool, Bad> {
        let Some(batch) = &mut self.batch else {
            return Ok(true);
        };
        if let Some(error) = batch.failed.take() {
            return Err(error);
        }
        let mut walk = batch.walk.resume(&batch.records);
        for _ in 0..RUN_RECORDS {
            let Some(record) = walk.next() else {
                batch.is_done = true;
                break;
            };
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    batch.failed = Some(Bad::batch(error, batch.next));
                    break;
                }
            };
            if record.offset < cursor.next || cursor.end.is_some_and(|end| end <= record.offset) {
                continue;
            }
            match cursor.since {
                Some(since) if record.timestamp < since => continue,
                _ => cursor.since = None,
            }
            let topic = Arc::clone(&self.topic);
            self.ready
                .push_back(received(topic, self.partition, batch, &record));
        }
        batch.walk = walk.pause();
        Ok(true)
    }
}

fn received(
    topic: Arc<TopicName>,
    partition: PartitionId,
    batch: &Current,
    record: &RecordView<'_>,
) -> Received {
    let slice = |field: Option<&[u8]>| field.map(|field| batch.records.slice_ref(field));
    Received {
        topic,
        partition,
        offset: record.offset,
        epoch: batch.epoch,
        timestamp: record.timestamp,
        key: slice(record.key),
        value: slice(record.value),
        headers: Headers::of(&batch.records, &record.headers()),
    }
}

/// What was fetched and is not what it should be.
#[derive(Debug)]
struct Bad {
    source: Error,
    /// Where the batch ends, if its head can be trusted.
    next: Option<Offset>,
}

impl Bad {
    /// A batch whose checksum held, which ends before `next`: whoever produced it wrote it so.
    fn batch(error: corelog_record::Error, next: Offset) -> Self {
        Self {
            source: error.into(),
            next: Some(next),
        }
    }
}

impl<E: Into<Error>> From<E> for Bad {
    fn from(error: E) -> Self {
        Self {
            source: error.into(),
            next: None,
        }
    }
}

/// Records decoded at a time: few enough that what is decoded and not handed out stays small.
const RUN_RECORDS: usize = 256;
