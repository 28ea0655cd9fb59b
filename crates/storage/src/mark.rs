//! The mark's file: slots written in turn, in place.
//!
//! A slot states only what a sync already returned for, so writing it needs no sync of its
//! own: whichever slots survive, the highest one is true. It only saves recovery some reading.

use std::io;
use std::rc::Rc;

use crate::disk::unread::{Around, read_file_around};
use crate::disk::{Buf, Dir, File, Open};
use crate::error::{At, Error};
use crate::format::mark::{FILE_BYTES, SLOT_BYTES, SLOTS, Slot, last_of};
use crate::open_files::Handle;

/// The name of the file.
pub const NAME: &str = "mark";

/// An open mark, owned by one task at a time: two writes are never in flight over one slot.
#[derive(Debug)]
pub struct Mark<D: Dir> {
    dir: D,
    file: Rc<Handle<D>>,
    found: Found,
}

/// What a mark says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// The sound slot with the highest sequence.
    pub(crate) last: Option<Slot>,
    /// Whether the disk did not give the other one, or either: it may say that the log was opened again behind a stop in order.
    pub(crate) is_unread: bool,
}

impl<D: Dir> Mark<D> {
    /// Makes the mark of `dir`, durably, replacing any there is. Of `slot`, the sequence is chosen
    /// here.
    ///
    /// # Errors
    /// `StorageFull`, or any error of the disk.
    pub async fn create(dir: D, slot: Slot) -> Result<Self, Error> {
        let slot = Slot {
            sequence: 1,
            ..slot
        };
        let start = slot_start(slot.sequence);
        let mut bytes = vec![0; FILE_BYTES];
        bytes[start..start + SLOT_BYTES].copy_from_slice(&slot.encode());
        let at = || At::new(&dir, NAME);
        dir.write_aside(NAME, &bytes)
            .await
            .map_err(|e| at().space("create", e))?;
        Ok(Self {
            file: Handle::closed(&dir, NAME.to_owned(), Open::Write),
            found: Found {
                last: Some(slot),
                is_unread: false,
            },
            dir,
        })
    }

    /// Reads the mark of `dir`; `None` if there is none.
    ///
    /// Slots that are torn, or that were never written, are passed over: [`Mark::last`] is then an
    /// older one, or none.
    ///
    /// # Errors
    /// `Format` for a slot of a later version or with a feature that this program must not miss;
    /// any error of the disk.
    pub async fn open(dir: D) -> Result<Option<Self>, Error> {
        let Some(found) = read_last(&dir).await? else {
            return Ok(None);
        };
        let file = Handle::closed(&dir, NAME.to_owned(), Open::Write);
        Ok(Some(Self { file, found, dir }))
    }

    /// Waits for writes that a killed process may have left with the kernel, and reads again.
    ///
    /// # Errors
    /// As for [`Mark::open`].
    pub async fn outwait(&mut self) -> Result<(), Error> {
        let waited = self.file.file().await?.outwait().await;
        waited.map_err(|e| self.file.at().space("outwait", e))?;
        self.found = read_last(&self.dir).await?.unwrap_or_default();
        Ok(())
    }

    /// The last slot written, or found when the mark was opened.
    #[must_use]
    pub fn last(&self) -> Option<&Slot> {
        self.found.last.as_ref()
    }

    /// Whether it says that the log was closed in order: no slot that the disk does not give can say otherwise.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.last().is_some_and(|slot| slot.is_clean) && !self.found.is_unread
    }

    /// Writes `slot` over the older one, without syncing it. Its sequence is chosen here.
    ///
    /// # Errors
    /// `StorageFull` where a file system needs space for that; any other error of the disk. The slot is then in doubt, the
    /// other one stands.
    pub async fn write(&mut self, slot: Slot) -> Result<(), Error> {
        let Some(sequence) = self
            .found
            .last
            .and_then(|last| last.sequence.checked_add(1))
        else {
            // Nothing sound is in it, or, as no writer gets this far, a file claims to. It is begun anew: a slot that could
            // not be read may be read again, and would outlive this one.
            *self = Self::create(self.dir.clone(), slot).await?;
            return Ok(());
        };
        let slot = Slot { sequence, ..slot };
        let mut buf = self.dir.alloc(SLOT_BYTES);
        buf.as_mut_slice().copy_from_slice(&slot.encode());
        let (file, start) = (self.file.file().await?, slot_start(sequence) as u64);
        let written = file.write_at(Rc::new(buf), start).await;
        written.map_err(|e| self.file.at().space("write", e))?;
        // The slot that could not be read is the one that was not the last.
        self.found = Found {
            last: Some(slot),
            is_unread: false,
        };
        Ok(())
    }

    /// Writes `slot` over the older one and makes it durable. For want of a descriptor nothing is
    /// written.
    ///
    /// # Errors
    /// As for [`Mark::write`].
    pub(crate) async fn write_durably(&mut self, slot: Slot) -> Result<(), Error> {
        // Open until it is synced.
        let _file = self.file.file().await?;
        self.write(slot).await?;
        // A slot may be made durable by another descriptor than the one it was written through:
        // direct writes have told their errors, and the sync is of the file.
        let synced = self.file.file().await?.fdatasync().await;
        synced.map_err(|e| self.file.at().io("sync", e))
    }
}

/// What the mark in `dir` says, if there is one.
pub(crate) async fn read_last<D: Dir>(dir: &D) -> Result<Option<Found>, Error> {
    let at = || At::new(dir, NAME);
    let Around { bytes, unread } = match read_file_around(dir, NAME, BYTES_MAX).await {
        Ok(around) => around,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Not a mark, whatever it is.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Ok(Some(Found::default()));
        }
        Err(error) => return Err(at().io("read", error)),
    };
    let last = last_of(&bytes).map_err(|error| at().format(error))?;
    // A slot that cannot be read is as good as one that is torn, but that it may have been durable.
    let is_unread = unread.is_some_and(|(position, _)| position < FILE_BYTES as u64);
    Ok(Some(Found { last, is_unread }))
}

/// Where the slot of `sequence` lies, in bytes.
fn slot_start(sequence: u64) -> usize {
    if sequence.is_multiple_of(SLOTS) {
        0
    } else {
        SLOT_BYTES
    }
}

/// The longest mark that is read: it may be a block longer while somebody waits for its writes.
pub(crate) const BYTES_MAX: u64 = 1 << 20;
const _: () = assert!(SLOTS == 2, "slot_start tells two slots apart");

#[cfg(test)]
mod tests;
