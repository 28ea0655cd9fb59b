//! Reading: one record by its offset, or all from one on.

use std::fmt;
use std::ops::Range;

use corelog_record::batch::{Batches, View};
use corelog_record::{Offset, Timestamp};

use super::{Error, Wal};
use crate::disk::std::StdDir;
use crate::disk::{Dir, block_on};
use crate::log::{self, Fetched, ReadError};

/// A record, with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its offset.
    pub offset: Offset,
    /// When its batch was begun.
    pub time: Timestamp,
    /// What was appended.
    pub value: Vec<u8>,
}

/// A record, borrowed from its [`Reader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Its offset.
    pub offset: Offset,
    /// When its batch was begun.
    pub time: Timestamp,
    /// What was appended.
    pub value: &'a [u8],
}

impl EntryRef<'_> {
    /// The same with bytes of its own.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        Entry {
            offset: self.offset,
            time: self.time,
            value: self.value.to_vec(),
        }
    }
}

/// The records that were durable when it was made, in order, every checksum and the chain from batch
/// to batch verified. It borrows nothing: the log goes on beside it.
///
/// As an iterator it gives records with bytes of their own; [`Reader::read_next`] lends them. After
/// [`Error::Damaged`] it goes on behind the damage, and after an error of the disk with the next segment: whoever wants
/// what lies before that makes another reader.
///
/// ```
/// # use corelog_storage::wal::{Options, Wal};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (mut wal, _report) = Wal::open(folder.path(), Options::default())?;
/// # wal.append(b"x")?;
/// # wal.sync()?;
/// let mut reader = wal.reader(wal.log_start());
/// while let Some(entry) = reader.read_next()? {
///     println!("{} {:?}", entry.offset, entry.value);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader<D: Dir = StdDir> {
    batches: log::Reader<D>,
    from: Offset,
    /// The records of the last batch read.
    bytes: Vec<u8>,
    /// Those of them that were not given out yet, last first.
    found: Vec<Found>,
}

/// Where a record lies.
struct Found {
    offset: Offset,
    time: Timestamp,
    range: Range<usize>,
}

impl<D: Dir> fmt::Debug for Reader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> Wal<D> {
    /// The record `offset`, or `None` at and beyond [`durable`](Self::durable): what is not synced is
    /// not shown. It reads the record's batch; who reads many in a row uses a [`Reader`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] below log start, [`Error::Damaged`], any error of the disk.
    pub fn read(&self, offset: Offset) -> Result<Option<Entry>, Error> {
        if self.durable() <= offset {
            return Ok(None);
        }
        if offset < self.log_start() {
            let valid = self.log_start()..self.durable();
            return Err(Error::OutOfRange { offset, valid });
        }
        let fetched = self.fetch(offset)?;
        let mut found = Vec::new();
        let batches = fetched.pieces.iter().flat_map(|piece| Batches::over(piece));
        for batch in batches {
            let foreign = |source| Error::Foreign { offset, source };
            let view = batch.and_then(View::verify).map_err(foreign)?;
            find(&view, offset, &mut found)?;
            let mut found = found.drain(..);
            if let Some(Found { range, time, .. }) = found.find(|found| found.offset == offset) {
                let value = view.record_bytes()[range].to_vec();
                return Ok(Some(Entry {
                    offset,
                    time,
                    value,
                }));
            }
        }
        Ok(None)
    }

    /// The batch that holds `from`, which is durable, and perhaps some behind it.
    pub(super) fn fetch(&self, from: Offset) -> Result<Fetched<D>, Error> {
        let plan = self.log.plan_read(from, Offset::MAX, 1);
        let fetched = plan.and_then(|plan| block_on(plan.run()));
        fetched.map_err(|error| match error {
            ReadError::OutOfRange { offset, valid } => Error::OutOfRange { offset, valid },
            ReadError::Damaged { from, to, segment } => Error::Damaged { from, to, segment },
            // One thread owns the log: somebody else took the file away, and with it all of the segment.
            ReadError::Removed { segment } => {
                let mut segments = self.log.segments();
                let gone = segments.find(|gone| gone.base == segment);
                Error::Damaged {
                    from: segment,
                    to: gone.map_or(self.durable(), |gone| gone.next.min(self.durable())),
                    segment,
                }
            }
            ReadError::Disk { source, .. } => source.into(),
        })
    }

    /// A reader of what is durable now, from `from` on, or from log start if that is higher.
    pub fn reader(&self, from: Offset) -> Reader<D> {
        let from = from.max(self.log_start());
        Reader {
            batches: self.log.reader(from),
            from,
            bytes: Vec::new(),
            found: Vec::new(),
        }
    }
}

impl<D: Dir> Reader<D> {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`], after which it goes on behind the damage; [`Error::Foreign`], after which it goes on with the next
    /// batch; any error of the disk, after which it goes on with the next segment.
    pub fn read_next(&mut self) -> Result<Option<EntryRef<'_>>, Error> {
        while self.found.is_empty() {
            let Some(batch) = block_on(self.batches.next())? else {
                return Ok(None);
            };
            self.bytes.clear();
            self.bytes.extend_from_slice(batch.record_bytes());
            if let Err(error) = find(&batch, self.from, &mut self.found) {
                // Of a batch that cannot be read whole, nothing is given out.
                self.found.clear();
                return Err(error);
            }
            self.found.reverse();
        }
        let found = self.found.pop();
        Ok(found.map(
            |Found {
                 offset,
                 time,
                 range,
             }| EntryRef {
                offset,
                time,
                value: &self.bytes[range],
            },
        ))
    }
}

impl<D: Dir> Iterator for Reader<D> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next().transpose()?;
        Some(next.map(|entry| entry.to_entry()))
    }
}

/// Where the records of `batch` from `from` on lie in its record bytes, in order.
fn find(batch: &View<'_>, from: Offset, found: &mut Vec<Found>) -> Result<(), Error> {
    found.clear();
    let foreign = |source| Error::Foreign {
        offset: batch.base_offset(),
        source,
    };
    if batch.is_control() {
        return Ok(());
    }
    let start = batch.record_bytes().as_ptr().addr();
    for record in batch.records().map_err(foreign)? {
        let record = record.map_err(foreign)?;
        if record.offset < from {
            continue;
        }
        let value = record.value.unwrap_or_default();
        let at = match value.is_empty() {
            true => 0,
            false => value.as_ptr().addr() - start,
        };
        found.push(Found {
            offset: record.offset,
            time: record.timestamp,
            range: at..at + value.len(),
        });
    }
    Ok(())
}
