//! Syncing, and the background work that goes with it.

use corelog_record::Offset;

use super::{Error, Wal};
use crate::disk::{Dir, block_on};
use crate::log::AppendError;

impl<D: Dir> Wal<D> {
    /// Makes all that was appended durable, by one write and one `fdatasync` for each 16 MiB of it,
    /// and returns the offset below which everything is. Some background work is begun, which goes on
    /// beside the calls that follow: sealing a full segment, preparing space, removing what truncation
    /// freed. With nothing to sync it does only that, and waits for it, so a program that is idle calls
    /// it once more.
    ///
    /// # Errors
    /// [`Error::StorageFull`]: nothing is lost, ask again when there is space. [`Error::Storage`]:
    /// what was appended since the last sync is in doubt, and the log fenced until it is opened
    /// again; [`Error::Fenced`] from then on.
    pub fn sync(&mut self) -> Result<Offset, Error> {
        self.end_batch()?;
        self.land_flush()?;
        match self.log.pending_bytes() {
            0 if self.log.is_fenced() => return Err(Error::Fenced),
            0 => self.tend(true)?,
            _ => self.flush()?,
        }
        Ok(self.durable())
    }

    /// Writes and syncs what is pending in the log, group by group. Background work goes on beside.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.land_flush()?;
        if self.log.is_full() {
            self.tend(false)?;
        }
        while self.log.pending_bytes() > 0 {
            if let Some(plan) = self.log.plan_flush() {
                self.end_flush(block_on(plan.run()))?;
                self.tend_beside()?;
                self.keep_mark()?;
            } else if !self.land_chore()? {
                // The disk is full, or the log is fenced.
                break;
            }
        }
        if self.log.is_fenced() {
            return Err(Error::Fenced);
        }
        if self.log.pending_bytes() == 0 {
            return Ok(());
        }
        Err(match self.log.admit(1) {
            Err(AppendError::OutOfFiles) => Error::OutOfFiles,
            _ => Error::StorageFull,
        })
    }

    /// Does what is due of the log's background work, a bounded number of pieces.
    pub(super) fn tend(&mut self, is_idle: bool) -> Result<(), Error> {
        self.land()?;
        for _ in 0..CHORES_MAX {
            let Some(plan) = self.log.plan_chore(self.clock.now(), is_idle) else {
                break;
            };
            self.run(plan)?;
        }
        Ok(())
    }
}

/// The pieces of background work that one call does. A segment's life has five (space, next store,
/// its final files, its seal, its removal) and a mark each 2 MiB, so none is put off for long.
pub(super) const CHORES_MAX: usize = 4;
