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
            if end <= cursor.next
                && let Some(bad) = batch.failed
            {
                // All of its records were handed out one by one, and more stands behind them.
                return Err(self.damaged(cursor, bad));
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
        let mut bad = None;
        for record in walk.by_ref().take(RUN_RECORDS) {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    bad = Some(Err(error));
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
        // Who has all of its records is behind it, or told what else there is, also where they are as many as a run.
        match bad.or_else(|| walk.next()) {
            Some(Ok(_)) => {}
            Some(Err(error)) => batch.failed = Some(Bad::batch(error, batch.next)),
            None => batch.is_done = true,
        }
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

#[cfg(test)]
mod tests {
    use corelog_record::Record;
    use corelog_record::batch::{Builder, Codec};
    use corelog_record::checksum::crc32c;
    use tokio::sync::Semaphore;

    use super::*;

    /// A batch of as many records as are decoded at a time, which says that it spans so many offsets, with another record
    /// behind them that it does not count.
    fn run_of_records(offset_count: usize, has_more: bool) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        for _ in 0..RUN_RECORDS + usize::from(has_more) {
            builder.append_record(&Record::default()).unwrap();
        }
        let mut bytes = builder.build().unwrap();
        let int = |number: usize| {
            let [a, b, c, d] = u32::try_from(number).unwrap().to_le_bytes();
            [d, c, b, a]
        };
        bytes[23..27].copy_from_slice(&int(offset_count - 1));
        bytes[57..61].copy_from_slice(&int(RUN_RECORDS));
        let crc = int(crc32c(&bytes[21..]) as usize);
        bytes[17..21].copy_from_slice(&crc);
        bytes
    }

    /// Reads that many records of it one by one.
    fn read(bytes: Vec<u8>, count: usize) -> (Reading, Cursor) {
        let topic = Arc::new(TopicName::new("t").unwrap());
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut reading = Reading::new((topic, PartitionId::new(0)), bytes.into(), 1 << 20, room);
        let mut cursor = Cursor {
            next: Offset::ZERO,
            end: None,
            since: None,
            epoch: None,
        };
        for _ in 0..count {
            reading.next(&mut cursor).unwrap().unwrap();
        }
        (reading, cursor)
    }

    /// The end of its records was looked for by the next look alone: it came once more, with offsets that none has.
    #[test]
    fn a_batch_that_spans_more_offsets_than_it_has_records_is_handed_out_once() {
        let (mut reading, mut cursor) = read(run_of_records(300, false), RUN_RECORDS);
        assert_eq!(cursor.next, Offset::ZERO.plus(300));
        assert!(reading.next_batch(&mut cursor).unwrap().is_none());
    }

    /// It may begin below what was asked for, but one that ends there has nothing of it: an answer that leads elsewhere.
    #[test]
    fn a_batch_of_which_all_lies_below_what_was_asked_for_is_not_passed_over() {
        let (mut reading, mut cursor) = read(run_of_records(RUN_RECORDS, false), 0);
        cursor.next = Offset::ZERO.plus(RUN_RECORDS as u64);
        let error = reading.next(&mut cursor).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    /// Who went on by batches was not told.
    #[test]
    fn what_stands_behind_the_records_of_a_batch_is_damage_however_it_is_read_on() {
        for by_batch in [false, true] {
            let bytes = run_of_records(RUN_RECORDS, true);
            let (mut reading, mut cursor) = read(bytes, RUN_RECORDS);
            let error = match by_batch {
                true => reading.next_batch(&mut cursor).map(drop),
                false => reading.next(&mut cursor).map(drop),
            };
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }
}
