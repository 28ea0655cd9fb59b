//! Where a segment begins to come in: with a new file, or behind what an earlier intake left.

use std::rc::Rc;

use corelog_record::{Timestamp, batch};

use super::epochs::are_in_order;
use super::file::{PIECE_BYTES, piece_bytes};
use super::verifier::Verifier;
use super::{Error, Intake, Left, Of, partial};
use crate::disk::{BLOCK_BYTES, Dir, File, Open, Space, round_up};
use crate::error::At;
use crate::log::CallOff;
use crate::segment::name;
use crate::steps;

impl<D: Dir> Intake<D> {
    /// Begins to receive a segment into the directory of its log, or goes on where an earlier intake
    /// was interrupted: as far as what it left can be verified. Space for all of it is prepared.
    ///
    /// # Errors
    /// [`Error::Seal`] for a seal that no segment has; [`Error::Epochs`]; [`Error::Storage`], a full disk
    /// among others.
    pub async fn open(dir: &D, of: Of, now: Timestamp) -> Result<Self, Error> {
        of.check()?;
        let left = Left::of(dir).await?;
        Self::open_behind(dir, of, left, now, &CallOff::default()).await
    }

    /// The same where it is known what is `left` of the segment: nobody has received it since that was looked
    /// for. That may be a gibibyte: `call_off` is looked at between any two pieces of it.
    ///
    /// # Errors
    /// As for [`Intake::open`]; [`CalledOff`](crate::Error::CalledOff), which leaves the file as it was.
    pub async fn open_behind(
        dir: &D,
        of: Of,
        left: Left,
        now: Timestamp,
        call_off: &CallOff,
    ) -> Result<Self, Error> {
        of.check()?;
        let segment = (of.seal.digest.base, of.generation);
        let resumed = match left.newest(dir, segment).await? {
            Some(partial) => Self::resumed(dir, &of, partial, call_off).await?,
            None => None,
        };
        let intake = match resumed {
            Some(intake) => intake,
            None => {
                let partial = partial::named(&name::store(segment.0, segment.1), now);
                Self::over(dir, of, partial, Open::Create).await?
            }
        };
        intake.allocate().await?;
        Ok(intake)
    }

    /// Goes on with a file; none if the disk does not give what is in it, or take it again: each try would end
    /// there, so the file goes.
    async fn resumed(
        dir: &D,
        of: &Of,
        partial: String,
        call_off: &CallOff,
    ) -> Result<Option<Self>, Error> {
        let resumed = match Self::over(dir, of.clone(), partial.clone(), Open::Write).await {
            Ok(mut intake) => intake.resume(call_off).await.map(|()| intake),
            Err(error) => Err(error),
        };
        // Neither says anything about the file.
        let spares =
            |error: &crate::Error| error.is_shortage() || matches!(error, crate::Error::CalledOff);
        match resumed {
            Err(Error::Storage(error)) if !spares(&error) => {
                steps::remove(dir, &partial).await?;
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// An intake of which nothing is known to be there, into the file `partial`.
    async fn over(dir: &D, of: Of, partial: String, mode: Open) -> Result<Self, Error> {
        let opened = dir.open(&partial, mode).await;
        let file = opened.map_err(|e| At::new(dir, &partial).space("open", e))?;
        let verifier = Verifier::new(&of.seal, of.interval_bytes).with_epochs(&of.epochs);
        Ok(Self {
            dir: dir.clone(),
            partial,
            file: Rc::new(file),
            verifier,
            piece: Rc::new(dir.alloc(piece_bytes(of.seal.digest.bytes))),
            start: 0,
            filled: 0,
            checked: 0,
            head: Vec::new(),
            resumed_bytes: 0,
            of,
        })
    }

    /// Verifies what an earlier intake left, and writes it again as it is: that its bytes can be read
    /// does not prove that they were written.
    async fn resume(&mut self, call_off: &CallOff) -> Result<(), Error> {
        let at = || self.at();
        self.file
            .outwait()
            .await
            .map_err(|e| at().io("outwait", e))?;
        let length = self.file.len().await.map_err(|e| at().io("measure", e))?;
        let length = length.min(self.bytes());
        while self.position() < length {
            call_off.check()?;
            let wanted = (length - self.position()).min(PIECE_BYTES);
            let wanted = usize::try_from(wanted).unwrap_or(BLOCK_BYTES);
            let read = self.file.read_at(self.position(), wanted).await;
            let read = read.map_err(|e| self.at().io("read", e))?;
            match self.push(read.as_ref()).await {
                Err(Error::Wrong { .. }) => break,
                other => other?,
            }
        }
        self.rewind();
        self.resumed_bytes = self.position();
        Ok(())
    }

    /// Prepares space for all of the store. A full disk shows here.
    async fn allocate(&self) -> Result<(), Error> {
        let length = self.file.len().await;
        let length = length.map_err(|e| self.at().io("measure", e))?;
        let room = round_up(length)..round_up(self.bytes());
        if room.is_empty() {
            return Ok(());
        }
        let Err(error) = self.file.allocate(room, Space::Reserved).await else {
            return Ok(());
        };
        // What the file got until then it would keep from those who write.
        let cut = self.file.set_len(length).await;
        cut.map_err(|e| self.at().io("cut", e))?;
        Err(self.at().space("prepare", error).into())
    }
}

impl Of {
    /// Whether there can be such a segment.
    fn check(&self) -> Result<(), Error> {
        let digest = &self.seal.digest;
        let segment = digest.base;
        if digest.check().is_err() || SEGMENT_BYTES_MAX < digest.bytes {
            return Err(Error::Seal { segment });
        }
        match are_in_order(&self.epochs) {
            true => Ok(()),
            false => Err(Error::Epochs { segment }),
        }
    }
}

/// No store is longer: as large as a segment can be set to be, and one batch. So much space is prepared
/// before a byte of it was seen.
pub const SEGMENT_BYTES_MAX: u64 = (1 << 30) + batch::BYTES_MAX as u64;
