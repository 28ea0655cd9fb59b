//! Closing: all durable, all sealed that can be, the mark clean.

use corelog_record::Timestamp;

use super::Log;
use super::work::remove;
use crate::Error;
use crate::disk::{Dir, File, is_full};
use crate::error::At;
use crate::format::mark::Slot;
use crate::segment::Index;

impl<D: Dir> Log<D> {
    /// Flushes what is pending, seals what has rolled, cuts the active store to its exact length,
    /// writes its index and marks the log clean. The log accepts nothing afterwards.
    ///
    /// # Errors
    /// [`Error::Busy`] while a plan is under way; [`Error::Fenced`] for a fenced log; any error of
    /// the disk. The log is then not clean, and recovers when opened again.
    pub async fn close(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.is_fenced() {
            return Err(Error::Fenced);
        }
        if self.chore.is_some() || self.in_flight_bytes > 0 {
            return Err(Error::Busy);
        }
        let closed = self.settle(now).await;
        // Whatever happened, nothing may be written behind a clean mark or after a failure.
        self.fence.set();
        closed
    }

    async fn settle(&mut self, now: Timestamp) -> Result<(), Error> {
        self.full_since = None;
        while let Some(plan) = self.plan_flush() {
            let done = plan.run().await;
            self.complete_flush(done, now)?;
        }
        if self.pending_bytes() > 0 {
            return Err(Error::Fenced);
        }
        self.space_retry_at = now;
        while let Some(plan) = self.plan_closing(now) {
            let done = plan.run().await;
            self.complete_chore(done, now)?;
        }
        if let Some((next, _)) = self.next.take() {
            remove(&self.dir, next.name()).await?;
        }
        if self.read_only_from.is_none() && !self.marked.is_clean {
            self.cut_active().await?;
            self.mark_clean().await?;
        }
        for segment in &self.segments {
            if let Some(store) = &segment.store {
                store.close().await?;
            }
        }
        Ok(())
    }

    /// Cuts the active store to what it holds, and writes its index for the next opening.
    async fn cut_active(&mut self) -> Result<(), Error> {
        let history = self.identity.history;
        let active = self.active();
        let (Some(store), Index::Growing(rows)) = (&active.store, &active.index) else {
            return Ok(());
        };
        let file = store.file().await?;
        file.set_len(active.bytes())
            .await
            .map_err(|e| store.at().io("cut", e))?;
        file.sync_all()
            .await
            .map_err(|e| store.at().io("sync", e))?;
        if rows.rows().is_empty() {
            return Ok(()); // The next opening needs none.
        }
        let name = active.index_name();
        let index = rows.encode(history, &active.base);
        let written = self.dir.write_aside(&name, &index).await;
        // An index is a hint: without space for it, the next opening reads the store.
        if written.as_ref().is_err_and(is_full) {
            return Ok(());
        }
        written.map_err(|e| At::new(&self.dir, &name).space("write", e))
    }

    async fn mark_clean(&mut self) -> Result<(), Error> {
        let slot = Slot {
            is_clean: true,
            ..self.slot()
        };
        if !self.has_files() {
            return Ok(());
        }
        let Some(mut mark) = self.mark.take() else {
            return Err(Error::Busy);
        };
        mark.write(slot).await?;
        mark.sync().await?;
        self.mark.give_back(Some(mark));
        Ok(())
    }
}
