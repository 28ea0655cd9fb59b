//! Closing: all durable, all sealed that can be, the mark clean.

use super::Log;
use super::work::Work;
use crate::disk::Dir;
use crate::format::mark::Slot;
use crate::index::Builder;
use crate::segment::{Index, Segment, Stage};
use crate::{Error, Now, steps};

impl<D: Dir> Log<D> {
    /// Flushes what is pending, seals what has rolled, cuts the active store to its exact length,
    /// writes its index and marks the log clean, unless its opening met what the disk does not give. The log accepts
    /// nothing afterwards.
    ///
    /// On a full disk all of this happens, too, for what is durable. What was appended and found no
    /// space is lost, as [`Error::StorageFull`] then tells; nobody was promised it.
    ///
    /// # Errors
    /// [`Error::Busy`] while a plan is under way; [`Error::Fenced`] for a fenced log; any error of
    /// the disk. The log is then not clean, and recovers when opened again; after
    /// [`Error::StorageFull`] it is clean unless there was no space for something else. That, or [`Error::OutOfFiles`], also for
    /// damage which was met and is written down nowhere: the log may be clean then. If the future is dropped
    /// before it ends, the log is fenced, and may be clean or not.
    pub async fn close(&mut self, now: impl Into<Now>) -> Result<(), Error> {
        if self.is_fenced() {
            return Err(Error::Fenced);
        }
        if self.chore.is_some() || self.in_flight_bytes > 0 {
            return Err(Error::Busy);
        }
        // Whatever happens, nothing may be written behind a clean mark or after a failure: nor if nobody waits for the end.
        let _guard = self.fence.guard();
        let closed = self.settle(now.into()).await;
        self.set_fence();
        closed
    }

    async fn settle(&mut self, now: Now) -> Result<(), Error> {
        let lost = match self.flush_pending(now.time).await {
            Err(error @ Error::StorageFull { .. }) => Err(error),
            flushed => Ok(flushed?),
        };
        self.seal_retry_at = now.time;
        let mut untold = Ok(());
        // What reads have met since the last chore: a clean stop hides none of it.
        self.note_found();
        while let Some(work) = self.plan_freeing(now, 0) {
            let is_removal = matches!(work, Work::Remove(_));
            let done = self.chore(work).run().await;
            match self.complete_chore(done, now.time) {
                // It is tried again when the log is opened, but for what nobody knows of then.
                Err(error) if error.is_shortage() => {
                    untold = Err(error);
                    break;
                }
                // What could not be removed goes then.
                Err(_) if is_removal => {}
                other => drop(other?),
            }
        }
        if let Some((next, _)) = self.next.take() {
            steps::remove(&self.dir, next.name()).await?;
        }
        self.pass_over_written();
        if self.read_only_from.is_none() && !self.marked.is_clean {
            self.cut_unsealed().await?;
            // What the disk did not give is written down nowhere, nor is damage on a full disk: the next opening is to look again.
            self.write_mark(self.unread.is_empty() && self.unwritten.is_empty())
                .await?;
        } else if !self.is_heard_marked() || !self.is_age_marked() {
            // A clean one is never written over a clean one: an opening behind a kill does not outwait writes there.
            self.write_mark(false).await?;
            self.write_mark(true).await?;
        }
        for segment in &self.segments {
            if let Some(store) = &segment.store {
                store.close().await?;
            }
        }
        match self.unwritten.is_empty() {
            true => lost,
            false => lost.and(untold),
        }
    }

    /// Cuts the stores that are not sealed to what they hold, and writes the index of each for the next opening, unless the
    /// disk is full.
    async fn cut_unsealed(&mut self) -> Result<(), Error> {
        let is_unsealed = |segment: &&Segment<D>| segment.seal_time().is_none();
        // One with damage may have sealed ones behind it.
        for segment in self.segments.iter().rev().filter(is_unsealed) {
            self.cut_one(segment).await?;
        }
        Ok(())
    }

    async fn cut_one(&self, segment: &Segment<D>) -> Result<(), Error> {
        let (Some(store), Index::Growing(rows)) = (&segment.store, &segment.index) else {
            return Ok(());
        };
        let bytes = self.durable_bytes(segment);
        // One with damage stays as it is.
        if segment.stage != Stage::Damaged {
            store.cut(bytes).await?;
        }
        // What leads over what the disk did not give may stand in the file alone, and the next opening looks again.
        let base = segment.base.offset;
        if self.unread.iter().any(|unread| unread.segment == base) {
            return Ok(());
        }
        // An index is a hint: where it speaks of what is not written the next opening does without, and no store is read
        // for what it lacks. What leads behind a header that leads nowhere is not to be had again.
        if bytes < segment.bytes() {
            return Ok(());
        }
        let mut rows = rows.clone();
        if let Some(below) = &segment.below {
            let Ok(lower) = below.index.at_hand().await else {
                return Ok(());
            };
            rows = Builder::joined(lower, &rows);
        }
        if rows.is_empty() {
            return Ok(()); // The next opening needs none.
        }
        let name = segment.index_name();
        let index = rows.encode(self.identity.history, &segment.base);
        steps::write_hint(&self.dir, &name, &index).await.map(drop)
    }

    async fn write_mark(&mut self, is_clean: bool) -> Result<(), Error> {
        let slot = Slot {
            is_clean,
            ..self.slot()
        };
        if !self.has_files() {
            return Ok(());
        }
        let Some(mut mark) = self.mark.take() else {
            return Err(Error::Busy);
        };
        mark.write_durably(slot).await?;
        self.mark.give_back(Some(mark));
        Ok(())
    }
}
