//! Reading by offset and by time.

use std::marker::PhantomData;
use std::ops::{Deref, Range};

use corelog_record::{Offset, Timestamp};

use super::Log;
use crate::Error;
use crate::disk::Dir;

/// Why a read gives nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is below log start or beyond the log's end.
    #[error("offset {offset} is outside [{}, {}]", valid.start, valid.end)]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The offsets that can be read.
        valid: Range<Offset>,
    },
    /// The bytes were promised and cannot be trusted.
    #[error("offsets [{from}, {to}) of segment {segment} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The first offset behind the damage, as far as is known.
        to: Offset,
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The segment was expired after the read was planned.
    #[error("segment {segment} was removed while it was read")]
    Removed {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The disk failed.
    #[error("cannot read segment {segment}")]
    Disk {
        /// The base offset of the segment.
        segment: Offset,
        /// Why.
        #[source]
        source: Error,
    },
}

/// A planned read of whole batches, of one segment.
#[derive(Debug)]
pub struct ReadPlan<D: Dir>(PhantomData<D>);

/// Whole verified batches in order, of one segment.
#[derive(Debug)]
pub struct Fetched<D: Dir> {
    /// The batches' bytes; a batch never spans two pieces.
    pub pieces: Vec<Piece<D>>,
    /// The base offset of their segment.
    pub segment_base: Offset,
    /// The offset to read from next.
    pub next: Offset,
    /// Bytes of all pieces.
    pub bytes: usize,
}

/// A run of whole batches: of the tail, by reference, or read from disk.
#[derive(Debug)]
pub struct Piece<D: Dir>(PhantomData<D>);

impl<D: Dir> Deref for Piece<D> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &[]
    }
}

impl<D: Dir> ReadPlan<D> {
    /// Whether all is in memory, so that running it does no I/O.
    pub fn is_ready(&self) -> bool {
        true
    }

    /// Reads.
    ///
    /// # Errors
    /// [`ReadError`].
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn run(self) -> Result<Fetched<D>, ReadError> {
        Ok(Fetched {
            pieces: Vec::new(),
            segment_base: Offset::ZERO,
            next: Offset::ZERO,
            bytes: 0,
        })
    }
}

/// A planned lookup by time.
#[derive(Debug)]
pub struct TimePlan<D: Dir>(PhantomData<D>);

impl<D: Dir> TimePlan<D> {
    /// The base offset and largest timestamp of the first batch whose largest timestamp is at or
    /// after the time asked for.
    ///
    /// # Errors
    /// [`ReadError`].
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn run(self) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        Ok(None)
    }
}

impl<D: Dir> Log<D> {
    /// Plans to read whole batches from the one that holds `from` (its base may be lower), below
    /// `upto` and what is durable, of one segment; at most `bytes_max` bytes, but at least one batch.
    /// At the end there are no pieces.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below log start or beyond log end, [`ReadError::Damaged`].
    pub fn plan_read(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<ReadPlan<D>, ReadError> {
        let _ = (from, upto, bytes_max);
        Ok(ReadPlan(PhantomData))
    }

    /// Plans a lookup by time among the batches below `upto`.
    pub fn plan_find_time(&self, time: Timestamp, upto: Offset) -> TimePlan<D> {
        let _ = (time, upto);
        TimePlan(PhantomData)
    }
}
