//! Background work, one chore at a time: seal, mark, remove files, prepare space.

use std::marker::PhantomData;

use corelog_record::{Offset, Timestamp};

use super::Log;
use crate::Error;
use crate::disk::Dir;

/// Background work on its way to the disk. Like a flush it must be run and completed: dropping it,
/// or its future, fences the log.
#[derive(Debug)]
pub struct ChorePlan<D: Dir>(PhantomData<D>);

/// A chore that the disk has answered for; give it to [`Log::complete_chore`].
#[derive(Debug)]
pub struct ChoreDone<D: Dir>(PhantomData<D>);

/// What a chore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chore {
    /// Space for coming groups was prepared.
    SpacePrepared,
    /// The mark was written.
    Marked,
    /// A rolled segment was cut to its length and its index written.
    Finished {
        /// Its base offset.
        segment: Offset,
    },
    /// A rolled segment is sealed.
    Sealed {
        /// Its base offset.
        segment: Offset,
    },
    /// Log start moved up; the files go later.
    Expired {
        /// The new log start.
        log_start: Offset,
        /// How many segments went.
        segments: usize,
        /// How many bytes of batches went.
        bytes: u64,
    },
    /// The end of the log was cut off and quarantined.
    SuffixCut {
        /// The new log end.
        log_end: Offset,
    },
    /// Files that the log no longer names were removed.
    Removed {
        /// How many files.
        files: usize,
    },
    /// An index was rebuilt from its store.
    IndexRebuilt {
        /// The base offset of its segment.
        segment: Offset,
    },
}

impl<D: Dir> ChorePlan<D> {
    /// Does the work.
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn run(self) -> ChoreDone<D> {
        ChoreDone(PhantomData)
    }
}

impl<D: Dir> Log<D> {
    /// Plans the next due background work; `None` while a chore is under way or nothing is due.
    /// `is_idle`: nothing was appended for about 100 ms, so the mark is written and synced.
    pub fn plan_chore(&mut self, now: Timestamp, is_idle: bool) -> Option<ChorePlan<D>> {
        let _ = (now, is_idle);
        None
    }

    /// Takes the result of a chore. Ask for the next flush and chore afterwards.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there was no space; it is tried again later. Any other error
    /// fences the log.
    pub fn complete_chore(&mut self, done: ChoreDone<D>, now: Timestamp) -> Result<Chore, Error> {
        let _ = (done, now);
        Err(Error::Fenced)
    }
}
