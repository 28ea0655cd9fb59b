//! The `carry` file: what a cut goes through is kept beside the log until it is back in it.
//!
//! The log underneath is cut at whole batches. The records of the cut batch that stay are written
//! aside, durably, before the cut, and appended again behind it. Opening looks at where the log ends:
//! at the carried batch's base offset the cut has happened and the records are still missing;
//! anywhere else it has not happened, or they are back.

use corelog_record::Offset;
use corelog_record::batch::View;

use super::{Error, Wal};
use crate::disk::{Dir, block_on};
use crate::error::At;
use crate::format::carry::{Carry, FILE_BYTES_MAX};
use crate::steps;

impl<D: Dir> Wal<D> {
    /// Finishes, at opening, a cut that a crash or a failure interrupted. Without space, or a descriptor, what it
    /// carries waits in memory as what is appended does, and the file stays until the next opening or cut. A log that
    /// `is_read_only` leaves it to one that takes appends. What was given up before the cut stays given up.
    pub(super) fn open_carry(&mut self, is_read_only: bool) -> Result<(), Error> {
        let Some(carry) = self.read_carry()? else {
            return Ok(());
        };
        let taken = match is_read_only {
            true => Ok(()),
            false => self.take_up(&carry),
        };
        self.given_up = carry.log_start.min(self.log_end());
        match taken {
            Err(Error::StorageFull | Error::OutOfFiles) if ends(&carry)?.0 < self.log_end() => {
                Ok(())
            }
            taken => taken,
        }
    }

    fn take_up(&mut self, carry: &Carry) -> Result<(), Error> {
        let (base, _) = ends(carry)?;
        match self.log_end() == base {
            true => self.restore(carry),
            false => self.finish(carry),
        }
    }

    fn read_carry(&self) -> Result<Option<Carry>, Error> {
        let at = || At::new(&self.dir, NAME);
        let bytes = match block_on(self.dir.read(NAME, FILE_BYTES_MAX)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at().io("read", error).into()),
        };
        let carry = Carry::decode(&bytes).map_err(|e| at().format(e))?;
        Ok(Some(carry))
    }

    /// Durably rids the log of a `carry` that an earlier cut left: the next cut may end where that
    /// one begins, and opening would then bring back what was cut.
    pub(super) fn clear_carry(&mut self) -> Result<(), Error> {
        if self.is_carry_gone {
            return Ok(());
        }
        match self.read_carry()? {
            Some(carry) => self.take_up(&carry),
            None => self.sync_carry_gone(),
        }
    }

    /// Writes `carry` beside the log, durably.
    pub(super) fn put_carry(&mut self, carry: &Carry) -> Result<(), Error> {
        self.is_carry_gone = false;
        self.given_up = carry.log_start;
        Ok(block_on(steps::write(&self.dir, NAME, &carry.encode()))?)
    }

    /// Appends again, durably, what was cut off with its batch.
    pub(super) fn restore(&mut self, carry: &Carry) -> Result<(), Error> {
        let (base, end) = ends(carry)?;
        assert_eq!(self.log_end(), base, "carried records go where they were");
        self.with_room(|wal| wal.log.append_built(&carry.batch, wal.clock.time()))?;
        self.flush()?;
        assert_eq!(self.durable(), end, "carried records are back");
        self.finish(carry)
    }

    /// Moves log start back up to where it was, if it was within the batch; the file has then done
    /// its service.
    fn finish(&mut self, carry: &Carry) -> Result<(), Error> {
        if self.log.log_start() < carry.log_start {
            self.move_start(carry.log_start)?;
        }
        let at = || At::new(&self.dir, NAME);
        block_on(self.dir.remove(NAME)).map_err(|e| at().io("remove", e))?;
        self.sync_carry_gone()
    }

    /// Makes it durable that there is no `carry`.
    fn sync_carry_gone(&mut self) -> Result<(), Error> {
        block_on(steps::sync(&self.dir))?;
        self.is_carry_gone = true;
        Ok(())
    }
}

/// The first offset of the carried records, and the offset after the last.
fn ends(carry: &Carry) -> Result<(Offset, Offset), Error> {
    let view = View::verify(&carry.batch).map_err(|source| Error::Foreign {
        offset: carry.log_start,
        source,
    })?;
    Ok((view.base_offset(), view.next_offset()))
}

const NAME: &str = "carry";
