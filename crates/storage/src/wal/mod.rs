//! The room of the embedded log: a write-ahead log inside another program.
//!
//! Lives here: [`Wal`], a [`Log`] with everything around it that a program needs which has no runtime
//! and no clock of its own to offer: calls that block, the directory locked, records gathered into
//! batches, background work done between groups, a cut of the end at any record. Never lives here:
//! anything that the log underneath decides; its formats, its recovery and its laws are the node's.
//!
//! ```text
//!   append ─▶ open batch ─▶ log (pending) ─▶ sync: one write, one fdatasync ─▶ durable ─▶ read
//!                                     └────▶ from 8 MiB on beside the appends ─▶┘
//! ```
//!
//! Laws kept:
//! - What [`Wal::sync`] returned as durable survives kill -9 and power loss.
//! - What is not durable is not read, so nothing that was read is ever lost.
//! - Each call does a bounded amount of background work; between calls no more than one operation of
//!   a group and one of background work come to their ends.
//! - Appends go on in memory, within a bound, while a group is on the disk; an error of it is an error
//!   of the next call.
//! - Dropping a [`Wal`] is what a crash is: what was synced is there, the rest may be lost. It waits
//!   for what is being written.
//!
//! # Example
//!
//! ```
//! use corelog_storage::wal::{Options, Wal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("wal");
//! let (mut wal, _report) = Wal::open(&path, Options::default())?;
//! wal.append(b"one")?;
//! let two = wal.append(b"two")?;
//! wal.append_batch([b"three", b"four!"])?; // both are there after a crash, or none
//! let durable = wal.sync()?; // one write and one fdatasync for all of them
//! assert_eq!(durable, wal.log_end());
//!
//! assert_eq!(wal.read(two)?.map(|entry| entry.value), Some(b"two".to_vec()));
//! drop(wal); // as a crash would
//!
//! let (mut wal, report) = Wal::open(&path, Options::default())?;
//! assert_eq!(report.log_end, durable);
//! let values: Result<Vec<_>, _> = wal.reader(wal.log_start()).map(|e| Ok::<_, Box<dyn std::error::Error>>(e?.value)).collect();
//! assert_eq!(values?.len(), 4);
//! wal.truncate(two)?; // the state up to there is in a checkpoint
//! wal.close()?; // the next opening scans nothing
//! # Ok(())
//! # }
//! ```

mod append;
mod carry;
mod clock;
mod error;
mod flight;
mod open;
mod options;
mod read;
mod tend;
mod trim;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use corelog_record::batch::Builder;
use corelog_record::{Offset, Timestamp};

use crate::Log;
use crate::disk::Dir;
use crate::disk::std::{Lock, StdDir};

use self::clock::Clock;
use self::flight::Flights;

pub use self::error::Error;
pub use self::options::Options;
pub use self::read::{Entry, EntryRef, Reader};
pub use crate::log::OpenReport;

/// A write-ahead log in a directory. See the [module](self).
///
/// One thread owns it, from its opening on: it is not `Send`, nor is what reads it. Offsets count records from 0, without gaps.
pub struct Wal<D: Dir = StdDir> {
    /// The directory of all: the log's in `log`, torn and cut bytes in `quarantine`, a `carry` while
    /// the end is cut.
    dir: D,
    log: Log<D>,
    /// Goes before the lock does: what it writes ends before another may open the log.
    flights: Flights<D>,
    options: Options,
    clock: Clock,
    /// Records that are not yet a batch of the log.
    open: Builder,
    /// The time of the open batch.
    time: Timestamp,
    /// Whether it is known that no `carry` is there, and that none comes back after a power cut.
    is_carry_gone: bool,
    /// Nothing below is read, although the log underneath may begin lower: at the batch that a cut went through, until
    /// what stays of it is back.
    given_up: Offset,
    /// Keeps others out of the directory; `None` where there is no such thing.
    _lock: Option<Lock>,
}

impl<D: Dir> fmt::Debug for Wal<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("dir", &self.dir.describe())
            .field("log_start", &self.log_start())
            .field("durable", &self.durable())
            .field("log_end", &self.log_end())
            .finish_non_exhaustive()
    }
}

impl<D: Dir> Wal<D> {
    /// The oldest offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.log.log_start().max(self.given_up)
    }

    /// All below was synced and can be read.
    pub fn durable(&self) -> Offset {
        self.log.durable()
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        self.log.log_end().plus(self.open.count().into())
    }

    /// The offsets that can be read.
    pub fn readable(&self) -> Range<Offset> {
        self.log_start()..self.log.readable().end
    }

    /// Bytes of its stores, those not yet synced included.
    pub fn store_bytes(&self) -> u64 {
        self.log.store_bytes().bytes()
    }
}
