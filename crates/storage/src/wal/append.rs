//! Appending: records into the open batch, batches into the log.

use std::ops::Range;

use corelog_record::{Offset, batch};

use super::clock::wall_clock;
use super::options::BATCH_BYTES_MAX;
use super::{Error, Wal};
use crate::disk::Dir;
use crate::log::AppendError;

impl<D: Dir> Wal<D> {
    /// Appends a record and returns its offset. It is durable after the next [`sync`](Self::sync), or
    /// lost by a crash before; this call waits for the disk only when more than
    /// [`unsynced_bytes_max`](super::Options::unsynced_bytes_max) bytes are in memory only.
    ///
    /// # Errors
    /// Those of what was written meanwhile come up here, too. The record is then not in the log: [`Error::TooLarge`]; [`Error::StorageFull`], which passes;
    /// [`Error::Fenced`] and [`Error::Storage`] after a failed write or sync; [`Error::ReadOnly`].
    pub fn append(&mut self, record: &[u8]) -> Result<Offset, Error> {
        let bytes = self.open.len_bytes() + record.len() + FRAME_BYTES_MAX;
        let is_room = bytes <= self.options.batch_bytes && self.open.count() < batch::COUNT_MAX;
        if self.open.is_empty() || !is_room {
            self.begin_batch()?;
        }
        self.push(record)
    }

    /// Appends records as one batch, and returns their offsets: after a crash all of them are there,
    /// or none. No records are no batch.
    ///
    /// # Errors
    /// As for [`append`](Self::append); none of the records is then in the log.
    pub fn append_batch<R: AsRef<[u8]>>(
        &mut self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<Offset>, Error> {
        self.begin_batch()?;
        let base = self.log_end();
        for record in records {
            if let Err(error) = self.push(record.as_ref()) {
                self.open.clear();
                return Err(error);
            }
        }
        let end = self.log_end();
        if let Err(error) = self.end_batch() {
            self.open.clear();
            return Err(error);
        }
        Ok(base..end)
    }

    /// Adds `record` to the open batch.
    fn push(&mut self, record: &[u8]) -> Result<Offset, Error> {
        let base = self.log.log_end();
        if base.checked_add(u64::from(self.open.count()) + 1).is_none() {
            return Err(Error::OffsetsExhausted);
        }
        match self.open.append(self.time, None, Some(record), &[]) {
            Ok(index) => Ok(base.plus(index.into())),
            // Length and count are all that a record of ours can be wrong in.
            Err(_) => Err(Error::TooLarge {
                bytes: self.open.len_bytes() + record.len() + FRAME_BYTES_MAX,
                bytes_max: BATCH_BYTES_MAX,
            }),
        }
    }

    /// Gives the open batch to the log and begins the next, after making room for it.
    fn begin_batch(&mut self) -> Result<(), Error> {
        self.end_batch()?;
        self.time = wall_clock();
        self.go_on()?;
        self.with_room(|wal| wal.log.admit(batch::HEADER_BYTES))
    }

    /// Gives the open batch to the log, if there is one.
    pub(super) fn end_batch(&mut self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.with_room(|wal| {
            #[expect(
                clippy::expect_used,
                reason = "an uncompressed batch with records has no failure"
            )]
            let batch = wal.open.finish().expect("the open batch has records");
            wal.log.append_built(batch, wal.clock.time())
        })?;
        self.open.clear();
        Ok(())
    }

    /// Gives the log something to take. When too much waits, what is pending is written and what has
    /// rolled is sealed first: nobody but this call does so.
    pub(super) fn with_room(
        &mut self,
        take: impl Fn(&mut Self) -> Result<(), AppendError>,
    ) -> Result<(), Error> {
        for _ in 0..ROOM_TRIES_MAX {
            if self.log.is_full() {
                self.flush()?;
            }
            match take(self) {
                Err(AppendError::Full { .. }) => {}
                other => return Ok(other?),
            }
            self.flush()?;
            self.tend(false)?;
        }
        Ok(take(self)?)
    }
}

/// How often room is made before an append is refused: once for each segment that may wait to be
/// sealed, though one time mostly does for all.
const ROOM_TRIES_MAX: usize = 16;

/// The most bytes that a batch needs for a record beside its value: four varints of 5 bytes, and the
/// attributes, time delta, key and header count of a byte each.
const FRAME_BYTES_MAX: usize = 24;
