//! A read by offset that is planned, and not yet run.

use super::fetch::{self, DiskRead};
use super::read::{Fetched, ReadError};
use super::select::Wanted;
use super::stride;
use crate::disk::Dir;

/// A planned read of whole batches, of one segment. It may be dropped at any time.
pub struct ReadPlan<D: Dir>(pub(super) Work<D>);

pub(super) enum Work<D: Dir> {
    Ready(Fetched<D>),
    Disk(DiskRead<D>, Wanted),
}

impl<D: Dir> ReadPlan<D> {
    /// The least that a stride takes in.
    pub const STRIDE_BYTES_MIN: usize = stride::STRIDE_BYTES_MIN;

    /// What a read from the disk takes of memory at most, of `bytes_max` bytes or a first batch as large as
    /// that.
    #[must_use]
    pub const fn held_max(bytes_max: usize) -> usize {
        stride::held_max(bytes_max)
    }

    /// The same read, or nothing if one of the disk would take more than `bytes` of memory, as it does
    /// where a batch is larger than `bytes_max`.
    #[must_use]
    pub fn within(self, bytes: usize) -> Self {
        match self.0 {
            Work::Ready(_) => self,
            Work::Disk(read, wanted) => Self(Work::Disk(read.within(bytes), wanted)),
        }
    }

    /// What is read, if all of it is in memory, so that running it does no I/O.
    pub fn ready(&self) -> Option<&Fetched<D>> {
        match &self.0 {
            Work::Ready(fetched) => Some(fetched),
            Work::Disk(..) => None,
        }
    }

    /// The same, to keep.
    pub fn into_ready(self) -> Option<Fetched<D>> {
        match self.0 {
            Work::Ready(fetched) => Some(fetched),
            Work::Disk(..) => None,
        }
    }

    /// Reads. What comes from disk is verified batch by batch.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Removed`], [`ReadError::Disk`].
    pub async fn run(self) -> Result<Fetched<D>, ReadError> {
        match self.0 {
            Work::Ready(fetched) => Ok(fetched),
            Work::Disk(read, wanted) => {
                let segment = read.base.offset;
                let fetched = read.read(wanted).await;
                fetched.map_err(|source| fetch::read_error(segment, source))
            }
        }
    }

    /// The same for who leaves the disk to others in between: waits for a turn before each stride of so many bytes
    /// ([`STRIDE_BYTES_MIN`](Self::STRIDE_BYTES_MIN) at least), and keeps it until that was read. Where `turn` gives none
    /// the disk is asked for no more, and what was read by then is all: nothing before the first stride, which says nothing
    /// of where the log ends.
    ///
    /// # Errors
    /// Those of [`run`](ReadPlan::run), if they come before anything was read.
    pub async fn run_by_turns<T>(
        self,
        stride_bytes: usize,
        turn: impl AsyncFn() -> Option<T>,
    ) -> Result<Fetched<D>, ReadError> {
        match self.0 {
            Work::Ready(fetched) => Ok(fetched),
            Work::Disk(read, wanted) => {
                let segment = read.base.offset;
                let fetched = read.read_by_turns(wanted, stride_bytes, turn).await;
                fetched.map_err(|source| fetch::read_error(segment, source))
            }
        }
    }
}
