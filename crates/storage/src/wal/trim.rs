//! Giving up records: at the front when a checkpoint holds them, at the end when another's are right.

use corelog_record::batch::{Batches, View};
use corelog_record::{Offset, batch};

use super::{Error, Wal};
use crate::disk::{Dir, block_on};
use crate::format::carry::Carry;

impl<D: Dir> Wal<D> {
    /// Gives up the records below `lowest`, which becomes the log start. What is not durable yet is
    /// synced first. Files go when a whole segment lies below; that they go is durable, but for a
    /// crash they may be removed at the next opening.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above log end; as for [`sync`](Self::sync).
    pub fn truncate(&mut self, lowest: Offset) -> Result<(), Error> {
        self.within(lowest)?;
        self.land_flush()?;
        if self.durable() < lowest {
            self.sync()?;
        }
        self.move_start(lowest)?;
        self.tend(false)
    }

    /// Gives up the record `from` and all behind it, which makes `from` the log end; durably, when
    /// this returns. What was cut off stays readable in `quarantine` until somebody removes it. The
    /// segment that is cut is copied, so this takes time; an owner that is told so by consensus may
    /// do it, nothing else should.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] below log start or above log end; [`Error::Damaged`] if what stays of
    /// the record's batch cannot be read; as for [`sync`](Self::sync). After a crash the cut has
    /// happened or not; records below `from` are there in any case.
    pub fn truncate_suffix(&mut self, from: Offset) -> Result<(), Error> {
        self.within(from)?;
        self.end_batch()?;
        self.flush()?;
        self.clear_carry()?;
        if from < self.log_start() {
            return Err(self.out_of_range(from));
        }
        if from == self.log_end() {
            return Ok(());
        }
        let carry = self.carry(from)?;
        if let Some(carry) = &carry {
            self.put_carry(carry)?;
        }
        if let Err(error) = self.cut(from) {
            // Unless it is in doubt, the cut has not happened. A file that stays now goes with the
            // next cut.
            if !self.log.is_fenced() {
                let _ = self.clear_carry();
            }
            return Err(error);
        }
        if let Some(carry) = carry {
            self.restore(&carry)?;
        }
        assert_eq!(self.log_end(), from, "a cut ends where it was asked to");
        self.tend(false)
    }

    /// Cuts the log underneath at the batch that holds `from`.
    fn cut(&mut self, from: Offset) -> Result<(), Error> {
        self.land()?;
        match self.log.plan_truncate_suffix(from, self.clock.time())? {
            Some(plan) => self.change(plan),
            None => Ok(()),
        }
    }

    /// Moves log start up to `lowest`, which is durable.
    pub(super) fn move_start(&mut self, lowest: Offset) -> Result<(), Error> {
        self.land()?;
        match self.log.plan_truncate(lowest)? {
            Some(plan) => self.change(plan),
            None => Ok(()),
        }
    }

    /// Runs a change that was asked for: unlike background work, its failure is the caller's.
    fn change(&mut self, plan: crate::log::ChorePlan<D>) -> Result<(), Error> {
        let done = block_on(plan.run());
        self.log.complete_chore(done, self.clock.time())?;
        Ok(())
    }

    /// What stays of the batch that a cut at `from` goes through.
    fn carry(&self, from: Offset) -> Result<Option<Carry>, Error> {
        let fetched = self.fetch(from)?;
        let foreign = |source| Error::Foreign {
            offset: from,
            source,
        };
        let bytes = fetched.pieces.first().map_or(&[][..], |piece| piece);
        let Some(batch) = Batches::over(bytes).next() else {
            return Ok(None);
        };
        let view = batch.and_then(View::verify).map_err(foreign)?;
        let base = view.base_offset();
        let mut kept = self.open.clone();
        for record in view.records().map_err(foreign)? {
            let record = record.map_err(foreign)?;
            if record.offset < from {
                let added = kept.append(record.timestamp, record.key, record.value, &[]);
                added.map_err(foreign)?;
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let mut batch = kept.build().map_err(foreign)?;
        batch::patch(&mut batch, base, self.log.epoch());
        let log_start = self.log_start();
        Ok(Some(Carry { log_start, batch }))
    }

    /// Whether `offset` is one of the log, or its end.
    fn within(&self, offset: Offset) -> Result<(), Error> {
        match offset <= self.log_end() {
            true => Ok(()),
            false => Err(self.out_of_range(offset)),
        }
    }

    fn out_of_range(&self, offset: Offset) -> Error {
        let valid = self.log_start()..self.log_end();
        Error::OutOfRange { offset, valid }
    }
}
