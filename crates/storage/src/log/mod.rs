//! The log of one partition: segments in order, appended to by one thread.
//!
//! [`Log`] decides synchronously and hands out owned plans for I/O: `plan_*` → `run().await` →
//! `complete_*`. Appends go on while a flush is on the disk, which *is* group commit.

mod append;
mod chore;
mod flush;
mod open;
mod options;
mod read;

use std::marker::PhantomData;
use std::ops::Range;

use corelog_record::{ByteSize, LeaderEpoch, Offset, Timestamp};

use crate::Error;
use crate::disk::Dir;

pub use append::{AppendError, Appended};
pub use chore::{Chore, ChoreDone, ChorePlan};
pub use flush::{FlushDone, FlushPlan, Flushed};
pub use open::{OpenReport, Torn};
pub use options::{Identity, Options, UNSYNCED_BYTES_MAX};
pub use read::{Fetched, Piece, ReadError, ReadPlan, TimePlan};

/// Offsets that were promised and cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The first damaged offset.
    pub from: Offset,
    /// The first offset behind the damage, as far as is known.
    pub to: Offset,
    /// The base offset of the segment.
    pub segment: Offset,
}

/// One segment, as the log sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset after its last record.
    pub next: Offset,
    /// Bytes of batches in its store.
    pub bytes: u64,
    /// Whether it is immutable.
    pub is_sealed: bool,
    /// When it was sealed, by the node's clock.
    pub seal_time: Option<Timestamp>,
    /// The largest record timestamp; `None` without records.
    pub max_timestamp: Option<Timestamp>,
}

/// The log of one partition. See the [module](self).
#[derive(Debug)]
pub struct Log<D: Dir> {
    identity: Identity,
    dir: PhantomData<D>,
}

impl<D: Dir> Log<D> {
    /// Whose log this is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The oldest readable offset.
    pub fn log_start(&self) -> Offset {
        Offset::ZERO
    }

    /// All below was synced.
    pub fn durable(&self) -> Offset {
        Offset::ZERO
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        Offset::ZERO
    }

    /// The offsets that can be read.
    pub fn readable(&self) -> Range<Offset> {
        self.log_start()..self.durable()
    }

    /// The epoch stamped into appended batches.
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch::ZERO
    }

    /// The segments with records, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> + '_ {
        std::iter::empty()
    }

    /// Bytes of batches in all stores, those not yet flushed included.
    pub fn store_bytes(&self) -> ByteSize {
        ByteSize::from_bytes(0)
    }

    /// Whether a write or sync failed, or a plan was dropped: no more writes until reopened.
    pub fn is_fenced(&self) -> bool {
        false
    }

    /// Whether the last attempt to prepare space found the disk full. Appends are refused with
    /// [`AppendError::StorageFull`] until a chore finds space.
    pub fn is_full(&self) -> bool {
        false
    }

    /// Known damage, by offset. Reads inside answer [`ReadError::Damaged`].
    pub fn damage(&self) -> &[Damage] {
        &[]
    }

    /// Bytes of memory held for readers of the tail.
    pub fn tail_bytes(&self) -> usize {
        0
    }

    /// Bytes of batches that a flush under way is writing.
    pub fn in_flight_bytes(&self) -> usize {
        0
    }

    /// Bytes of batches that wait for the next flush.
    pub fn pending_bytes(&self) -> usize {
        0
    }

    /// Gives memory of the tail back, oldest first, until at most `bytes` are held. Pending bytes
    /// stay.
    pub fn shrink_tail(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Rolls the active segment if it is older than the options allow. Returns whether it did.
    pub fn roll_if_due(&mut self, now: Timestamp) -> bool {
        let _ = now;
        false
    }

    /// Changes how the log behaves from now on: segment size and age, what is kept in memory.
    pub fn set_options(&mut self, options: Options) {
        let _ = options;
    }

    /// Plans to drop the sealed segments at the front that were sealed before `since`.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, [`Error::Fenced`].
    pub fn plan_expire(&mut self, since: Timestamp) -> Result<Option<ChorePlan<D>>, Error> {
        let _ = since;
        Ok(None)
    }

    /// Plans to drop sealed segments at the front until at most `bytes` remain.
    ///
    /// # Errors
    /// As for [`Log::plan_expire`].
    pub fn plan_expire_to(&mut self, bytes: ByteSize) -> Result<Option<ChorePlan<D>>, Error> {
        let _ = bytes;
        Ok(None)
    }

    /// Plans to move log start up to `lowest`, also within a segment.
    ///
    /// # Errors
    /// As for [`Log::plan_expire`], and [`Error::OutOfRange`] above durable.
    pub fn plan_truncate(&mut self, lowest: Offset) -> Result<Option<ChorePlan<D>>, Error> {
        let _ = lowest;
        Ok(None)
    }

    /// Plans to cut the log at the batch that holds `from`: it and all behind it go to quarantine.
    /// The caller has checked that this is allowed below the high watermark.
    ///
    /// # Errors
    /// As for [`Log::plan_truncate`]; [`Error::Busy`] also while bytes are pending or in flight.
    pub fn plan_truncate_suffix(&mut self, from: Offset) -> Result<Option<ChorePlan<D>>, Error> {
        let _ = from;
        Ok(None)
    }

    /// Flushes what is pending, seals what has rolled, cuts the active store to its exact length,
    /// writes its index and marks the log clean.
    ///
    /// # Errors
    /// Any error of the disk; the log is then not clean, and recovers when opened again.
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn close(&mut self, now: Timestamp) -> Result<(), Error> {
        let _ = now;
        Ok(())
    }
}
