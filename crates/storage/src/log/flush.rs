//! Group commit: one write, one `fdatasync`, one group at a time.

use std::marker::PhantomData;

use corelog_record::{Offset, Timestamp};

use super::Log;
use crate::Error;
use crate::disk::Dir;

/// A group on its way to the disk. It must be run and completed: dropping it, or its future,
/// fences the log.
#[derive(Debug)]
pub struct FlushPlan<D: Dir>(PhantomData<D>);

/// A group that the disk has answered for; give it to [`Log::complete_flush`].
#[derive(Debug)]
pub struct FlushDone<D: Dir>(PhantomData<D>);

/// What a flush made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// All below is durable.
    pub durable: Offset,
    /// Bytes of batches in the group.
    pub bytes: usize,
}

impl<D: Dir> FlushPlan<D> {
    /// Writes the group and syncs it.
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn run(self) -> FlushDone<D> {
        FlushDone(PhantomData)
    }
}

impl<D: Dir> Log<D> {
    /// Plans the next flush; `None` while one is under way, if nothing is pending, or while a chore
    /// holds what the flush needs: ask again after each completion.
    pub fn plan_flush(&mut self) -> Option<FlushPlan<D>> {
        None
    }

    /// Takes the result of a flush.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there was no space for the group: it stays pending and goes out by
    /// itself when there is. Any other error fences the log.
    pub fn complete_flush(&mut self, done: FlushDone<D>, now: Timestamp) -> Result<Flushed, Error> {
        let _ = (done, now);
        Err(Error::Fenced)
    }
}
