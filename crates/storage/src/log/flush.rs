//! Group commit, one group at a time: a small one is one write that is durable when it returns, another
//! is writes and one `fdatasync`.

use corelog_record::{Offset, Timestamp};

use super::chore::{Kind, SPACE_RETRY_MS};
use super::fence::Guard;
use super::prepare::Prepare;
use super::tail::{Frozen, Group, SMALL_BYTES};
use super::{Log, UNSYNCED_BYTES_MAX};
use crate::Error;
use crate::disk::{Dir, File};
use crate::planted::{self, Bug};

/// A group on its way to the disk. It must be run and completed: dropping it, or its future,
/// fences the log.
pub struct FlushPlan<D: Dir> {
    guard: Guard,
    group: Group<D>,
    prepare: Prepare<D>,
}

/// A group that the disk has answered for; give it to [`Log::complete_flush`].
pub struct FlushDone<D: Dir> {
    plan: FlushPlan<D>,
    result: Result<(), Error>,
}

/// What a flush made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// All below is durable.
    pub durable: Offset,
    /// Bytes of batches in the group.
    pub bytes: usize,
}

impl<D: Dir> FlushPlan<D> {
    /// Whether it makes files before it writes into them, which takes longer and opens more.
    pub fn makes_files(&self) -> bool {
        self.prepare.new.is_some()
    }

    /// Writes the group and syncs it. Nothing of it is ever tried twice.
    pub async fn run(mut self) -> FlushDone<D> {
        let result = self.write().await;
        FlushDone { plan: self, result }
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.prepare.run().await?;
        let Some(store) = &self.prepare.store else {
            return Err(Error::Fenced);
        };
        let file = store.file().await?;
        if let Some(chunk) = self.in_one_call() {
            let written = file.write_durably_at(chunk.buf.clone(), chunk.position);
            return written.await.map_err(|e| store.at().io("write", e));
        }
        // One after the other: two chunks share the block at their border.
        for chunk in &self.group.chunks {
            assert!(
                chunk.end_position() <= self.prepare.space_bytes,
                "space is prepared before"
            );
            let written = file.write_at(chunk.buf.clone(), chunk.position).await;
            written.map_err(|e| store.at().io("write", e))?;
        }
        if planted::is(Bug::AckBeforeSync) {
            return Ok(());
        }
        let synced = file.fdatasync().await;
        synced.map_err(|e| store.at().io("sync", e))?;
        self.prepare.synced_bytes = self.prepare.space_bytes;
        Ok(())
    }

    /// The chunk of a small group, if it goes into space of which nothing is left to sync: a device that
    /// writes it past its cache may forget what else is in there. Zeros above all, behind which recovery
    /// would find what the blocks held before.
    ///
    /// Not of a larger one: the kernel then syncs on the processor where the write ended, and waits for that
    /// one if it is busy. With groups of 200 KiB that filled all processors p99.9 doubled.
    fn in_one_call(&self) -> Option<&Frozen<D>> {
        let [chunk] = &self.group.chunks[..] else {
            return None;
        };
        let is_small = self.group.bytes <= SMALL_BYTES;
        let (synced, space) = (self.prepare.synced_bytes, self.prepare.space_bytes);
        assert!(synced <= space, "what was synced was prepared");
        let is_synced = chunk.end_position() <= synced;
        let is_durable = is_small && is_synced && !planted::is(Bug::AckBeforeSync);
        is_durable.then_some(&**chunk)
    }
}

impl<D: Dir> Log<D> {
    /// Plans the next flush; `None` while one is under way, if nothing is pending, or while a chore
    /// holds what the flush needs: ask again after each completion.
    pub fn plan_flush(&mut self) -> Option<FlushPlan<D>> {
        let is_held = self.is_full() || self.is_end_held() || self.chore == Some(Kind::Sync);
        if self.is_fenced() || self.in_flight_bytes > 0 || is_held {
            return None;
        }
        let group = self.tail.first_pending()?;
        let (segment, end, bytes) = (group.segment, group.end.position.get(), group.bytes);
        if !self.can_prepare(segment, end) {
            self.hurry.set(true);
            return None;
        }
        self.hurry.set(false);
        let mut prepare = self.prepare(segment, end, bytes);
        prepare.extent = prepare.extent.map(|extent| extent.for_group(end));
        let group = self.tail.take()?;
        assert!(
            group.bytes <= UNSYNCED_BYTES_MAX,
            "no group exceeds what may be unsynced"
        );
        self.in_flight_bytes = group.bytes;
        let is_making = prepare.new.is_some() || prepare.extent.is_some();
        self.is_flush_preparing = is_making || prepare.untold.is_some();
        Some(FlushPlan {
            guard: self.fence.guard(),
            group,
            prepare,
        })
    }

    /// Flushes what is pending, one group after the other. A disk that was full is tried once more: there may be room by now.
    ///
    /// # Errors
    /// As [`Log::complete_flush`]; [`Error::Fenced`] while something else is under way that groups wait for.
    pub async fn flush_pending(&mut self, now: Timestamp) -> Result<(), Error> {
        self.is_full = false;
        while let Some(plan) = self.plan_flush() {
            let done = plan.run().await;
            self.complete_flush(done, now)?;
        }
        match self.pending_bytes() {
            0 => Ok(()),
            _ => Err(Error::Fenced),
        }
    }

    /// Takes the result of a flush.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there was no space for the group, [`Error::OutOfFiles`] if its files
    /// could not be opened: it stays pending and goes out by
    /// itself when there is. [`Error::Fenced`] if the log was fenced meanwhile. Any other error fences it.
    ///
    /// # Panics
    /// If another log made the plan.
    pub fn complete_flush(&mut self, done: FlushDone<D>, now: Timestamp) -> Result<Flushed, Error> {
        let FlushDone {
            plan:
                FlushPlan {
                    guard,
                    group,
                    prepare,
                },
            result,
        } = done;
        self.fence.take_back(guard);
        self.in_flight_bytes = 0;
        self.is_flush_preparing = false;
        self.absorb(group.segment, prepare);
        match result {
            // What failed meanwhile may have been the sync of this group, too: after it nothing is known of what was
            // written before.
            Ok(()) if self.is_fenced() => return Err(Error::Fenced),
            Ok(()) => {}
            // A fence that was set meanwhile has let go of what waited behind it.
            Err(error) if error.is_shortage() && self.is_fenced() => return Err(error),
            Err(error) if error.is_shortage() => {
                self.tail.put_back(group);
                self.is_full = true;
                self.is_out_of_files = matches!(error, Error::OutOfFiles { .. });
                if self.is_out_of_files {
                    self.space_retry_at = now.saturating_add_millis(SPACE_RETRY_MS);
                }
                return Err(error);
            }
            Err(error) => {
                self.set_fence();
                return Err(error);
            }
        }
        let Group {
            segment,
            chunks,
            end,
            bytes,
        } = group;
        assert!(self.durable.offset < end.offset, "durable moves forward");
        assert!(
            end.offset <= self.log_end(),
            "only what was appended is flushed"
        );
        self.durable = end;
        self.durable_segment = segment;
        self.tail.retain(chunks, self.options.tail_bytes_max);
        self.group_bytes = bytes;
        self.durable_total += bytes as u64;
        Ok(Flushed {
            durable: end.offset,
            bytes,
        })
    }
}
