//! One segment that is being received: verified first, then written, in whole aligned pieces.

use std::rc::Rc;

use corelog_record::{HistoryId, Offset};

use super::verifier::{Bad, Verifier};
use super::{Error, Ready};
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, round_up};
use crate::error::At;
use crate::format::edit::Seal;
use crate::log::lineage::Began;
use crate::segment::{Point, name};
use crate::steps;

/// What is received, and into which log.
#[derive(Debug, Clone)]
pub struct Of {
    /// The log's history.
    pub history: HistoryId,
    /// What the segment holds, as its source sealed it.
    pub seal: Seal,
    /// The generation it is to have: see [`Log::generation_next`](crate::Log::generation_next).
    pub generation: u32,
    /// The epochs of the source, oldest first.
    pub epochs: Vec<Began>,
    /// Bytes of store for each row of the index.
    pub interval_bytes: u32,
}

/// A segment that is being received. One at a time for each segment of a log.
///
/// Bytes are put into [`Intake::space`] and taken in by [`Intake::fill`], or given to
/// [`Intake::push`]; they are those of the store from [`Intake::position`] on. Dropped, it leaves what
/// it wrote for the next one.
pub struct Intake<D: Dir> {
    pub(super) dir: D,
    pub(super) of: Of,
    pub(super) partial: String,
    pub(super) file: Rc<D::File>,
    pub(super) verifier: Verifier,
    /// The piece that is being filled.
    pub(super) piece: Rc<D::Buf>,
    /// Where in the store it begins: a whole block.
    pub(super) start: u64,
    /// How many bytes of it are there.
    pub(super) filled: usize,
    /// How many of these the verifier was given.
    pub(super) checked: usize,
    /// What lies before the end of the last batch that was verified, in its block, once that is written: read back, it may not be
    /// what came.
    pub(super) head: Vec<u8>,
    /// How many bytes an earlier intake had left.
    pub(super) resumed_bytes: u64,
}

impl<D: Dir> Intake<D> {
    /// The base offset of the segment.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.of.seal.digest.base
    }

    /// Where in the store the bytes belong that are to come next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Up to where in the store all batches were verified: there a later intake goes on at least, whatever comes next.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verifier.point().position.get()
    }

    /// How many bytes the segment has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.of.seal.digest.bytes
    }

    /// How many bytes an earlier intake had left that could be verified.
    #[must_use]
    pub fn resumed_bytes(&self) -> u64 {
        self.resumed_bytes
    }

    /// Where to put the next bytes; empty once all of them are there.
    pub fn space(&mut self) -> &mut [u8] {
        let range = self.filled..self.piece_end();
        let (dir, bytes) = (&self.dir, self.of.seal.digest.bytes);
        if Rc::get_mut(&mut self.piece).is_none() {
            // The disk has not let go of it, so it is frozen. It was written: nothing of it is missed.
            assert_eq!(self.filled, 0, "a piece is written once it is full");
            self.piece = Rc::new(dir.alloc(piece_bytes(bytes)));
        }
        match Rc::get_mut(&mut self.piece) {
            Some(piece) => &mut piece.as_mut_slice()[range],
            None => unreachable!("a new buffer is nobody else's"),
        }
    }

    /// Takes in the first `bytes` bytes of [`Intake::space`]. A piece is verified once it is full, and
    /// written then.
    ///
    /// # Errors
    /// [`Error::Wrong`]: the intake goes back to the last batch that was verified, and another source
    /// may go on there. [`Error::Storage`].
    ///
    /// # Panics
    /// If there is less space.
    pub async fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        let end = self.filled + bytes;
        assert!(
            end <= self.piece_end(),
            "what is taken in was put into the space"
        );
        self.filled = end;
        if bytes == 0 || end < self.piece_end() {
            return Ok(());
        }
        if let Err(bad) = self.check() {
            let wrong = self.wrong(bad);
            self.rewind();
            return Err(wrong);
        }
        self.write().await
    }

    /// Takes in `bytes`, those from [`Intake::position`] on.
    ///
    /// # Errors
    /// As for [`Intake::fill`]; [`Error::Wrong`] also for bytes behind the end.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let space = self.space();
            let (taken, rest) = bytes.split_at(space.len().min(bytes.len()));
            if taken.is_empty() {
                return Err(self.wrong(Bad(self.verifier.point())));
            }
            space[..taken.len()].copy_from_slice(taken);
            self.fill(taken.len()).await?;
            bytes = rest;
        }
        Ok(())
    }

    /// Goes back to the last batch that was verified: whoever was sending has stopped within one.
    pub fn rewind(&mut self) {
        // What is wrong in it is not gone on with, whoever sent it.
        let _ = self.check();
        self.verifier.rewind();
        let verified = self.verifier.point().position.get();
        if verified < self.start {
            // The piece was written: the block in which the batch begins is needed again.
            self.start = verified / BLOCK * BLOCK;
            self.filled = 0;
            let head = std::mem::take(&mut self.head);
            self.space()[..head.len()].copy_from_slice(&head);
            self.head = head;
        }
        self.filled = usize::try_from(verified - self.start).unwrap_or(self.filled);
        self.checked = self.filled;
    }

    /// Leaves what was verified so far in the file, for a later intake to go on with, and gives back the space for
    /// the rest: nobody knows if that ever comes. If nothing was verified, or the disk does not take it, no file stays.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn park(mut self) -> Result<(), Error> {
        let kept = self.keep().await;
        let at = self.at();
        let Self {
            dir,
            partial,
            file,
            start,
            ..
        } = self;
        let closed = file.close().await;
        let is_of_use = match &kept {
            Ok(verified) => 0 < *verified,
            Err(Error::Storage(error)) => error.is_shortage() && 0 < start,
            Err(_) => false,
        };
        if !is_of_use {
            steps::remove(&dir, &partial).await?;
        }
        kept?;
        Ok(closed.map_err(|e| at.io("close", e))?)
    }

    /// Removes what came in: no part of it can be trusted more than another.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn discard(self) -> Result<(), Error> {
        let at = self.at();
        self.file.close().await.map_err(|e| at.io("close", e))?;
        steps::remove(&self.dir, &self.partial).await?;
        Ok(())
    }

    /// Makes the segment durable, its index as well, when all of it has come in.
    ///
    /// # Errors
    /// [`Error::Short`] before that; [`Error::Wrong`] and [`Error::Unlike`] if it is not what was
    /// sealed; [`Error::Storage`].
    pub async fn finish(self) -> Result<Ready, Error> {
        let (base, bytes) = (self.base(), self.bytes());
        if self.position() < bytes {
            return Err(Error::Short {
                segment: base,
                expected: bytes,
                found: self.position(),
            });
        }
        let end = self.verifier.point();
        if end.position.get() < bytes {
            return Err(self.wrong(Bad(end)));
        }
        let at = self.at();
        let Self {
            dir,
            of,
            partial,
            file,
            verifier,
            ..
        } = self;
        let Ok((rows, epochs)) = verifier.finish() else {
            steps::remove(&dir, &partial).await?;
            return Err(Error::Unlike { segment: base });
        };
        if let Err(error) = settle(&*file, bytes).await {
            // A later sync that succeeds would prove nothing.
            steps::remove(&dir, &partial).await?;
            return Err(at.io("sync", error).into());
        }
        file.close().await.map_err(|e| at.io("close", e))?;
        let name = name::index(base, of.generation);
        let rows = rows.encode(of.history, &Point::starting(of.seal.digest.start()));
        steps::write(&dir, &name, &rows).await?;
        Ok(Ready {
            seal: of.seal,
            generation: of.generation,
            epochs,
            partial,
        })
    }

    /// Has the file hold what was verified, and nothing else. Returns how many bytes that are.
    async fn keep(&mut self) -> Result<u64, Error> {
        self.rewind();
        let verified = self.position();
        if self.filled > 0 && verified < self.bytes() {
            let written = self.write().await;
            if matches!(&written, Err(Error::Storage(error)) if error.is_shortage()) {
                // What is there already stays, and takes no more than that.
                let cut = self.file.set_len(self.start).await;
                cut.map_err(|e| self.at().io("cut", e))?;
            }
            written?;
        }
        let cut = self.file.set_len(round_up(verified)).await;
        cut.map_err(|e| self.at().io("cut", e))?;
        Ok(verified)
    }

    /// Verifies what of the piece was not verified yet, as far as batches are whole.
    fn check(&mut self) -> Result<(), Bad> {
        let unchecked = self.checked..self.filled;
        self.checked = self.filled;
        self.verifier.push(&self.piece.as_slice()[unchecked])
    }

    /// Writes the piece as far as it is filled, with zeros behind.
    async fn write(&mut self) -> Result<(), Error> {
        let whole = self.filled.next_multiple_of(BLOCK_BYTES);
        if let Some(piece) = Rc::get_mut(&mut self.piece) {
            piece.as_mut_slice()[self.filled..whole].fill(0);
            if whole < piece.as_slice().len() {
                piece.truncate(whole);
            }
        }
        let written = self.file.write_at(Rc::clone(&self.piece), self.start).await;
        written.map_err(|e| self.at().space("write", e))?;
        if self.position().is_multiple_of(BLOCK) {
            if let Some(end) = self.verified().checked_sub(self.start) {
                let end = usize::try_from(end).unwrap_or(self.filled);
                let start = end / BLOCK_BYTES * BLOCK_BYTES;
                self.head = self.piece.as_slice()[start..end].to_vec();
            }
            self.start = self.position();
            self.filled = 0;
            self.checked = 0;
        }
        Ok(())
    }

    /// How much of the piece can be filled.
    fn piece_end(&self) -> usize {
        let left = self.bytes() - self.start;
        let length = self.piece.as_slice().len();
        usize::try_from(left).map_or(length, |left| left.min(length))
    }

    fn wrong(&self, Bad(point): Bad) -> Error {
        Error::Wrong {
            segment: self.base(),
            position: point.position,
            offset: point.offset,
        }
    }

    pub(super) fn at(&self) -> At {
        At::new(&self.dir, &self.partial)
    }
}

/// Cuts a store to its length and makes all of it durable.
async fn settle<F: File>(file: &F, bytes: u64) -> std::io::Result<()> {
    file.set_len(bytes).await?;
    file.sync_all().await
}

/// How large a piece of a store of `bytes` bytes is.
pub(super) fn piece_bytes(bytes: u64) -> usize {
    usize::try_from(round_up(bytes).min(PIECE_BYTES)).unwrap_or(BLOCK_BYTES)
}

/// Pieces are written in this size: large enough for a disk to be as fast as it can.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

const BLOCK: u64 = BLOCK_BYTES as u64;
