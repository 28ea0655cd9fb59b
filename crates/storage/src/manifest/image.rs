//! A manifest's file written anew, beside its place, and renamed into it.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::{BYTES_MAX, Manifest, NAME};
use crate::disk::{ASIDE_SUFFIX, BLOCK_BYTES, Dir, File, Open, Space, padded_to};
use crate::error::{At, Error};
use crate::format::edit::Edit;
use crate::format::manifest::{self as format, Header};
use crate::format::state::State;
use crate::open_files::Handle;
use crate::steps;

/// A whole new file, beside its place.
pub(super) struct Image<D: Dir> {
    file: Rc<D::File>,
    /// The last block as far as it is filled.
    tail: Vec<u8>,
    end: usize,
    space_end: usize,
    next_sequence: u32,
}

impl<D: Dir> Image<D> {
    /// Writes the file beside its place, durably. One that was not written whole takes no space.
    ///
    /// # Errors
    /// `StorageFull`, or any error of the disk.
    pub(super) async fn stage(
        dir: &D,
        header: &Header,
        edits: impl Iterator<Item = Edit>,
    ) -> Result<Self, Error> {
        let staged = Self::write(dir, header, edits).await;
        if staged.is_err() {
            let _is_gone = steps::remove(dir, &aside()).await;
        }
        staged
    }

    /// By pieces: with many segments it is long, and others go on wherever this waits for the disk. All of the space is
    /// there before any of it is written.
    async fn write(
        dir: &D,
        header: &Header,
        edits: impl Iterator<Item = Edit>,
    ) -> Result<Self, Error> {
        let aside = aside();
        let at = || At::new(dir, &aside);
        steps::remove(dir, &aside).await?;
        let file = dir.open(&aside, Open::Create).await;
        let file = Rc::new(file.map_err(|e| at().space("create", e))?);
        let reserve = async |range: Range<usize>| {
            let range = range.start as u64..range.end as u64;
            let reserved = file.allocate(range, Space::Reserved).await;
            reserved.map_err(|e| at().space("prepare", e))
        };
        let (mut bytes, mut next_sequence, mut space) = (header.encode(), 1, 0);
        for edit in edits {
            bytes.extend(edit.encode(next_sequence));
            next_sequence += 1;
            if space + PIECE_BYTES <= bytes.len() {
                limited(dir, bytes.len())?;
                reserve(space..space + PIECE_BYTES).await?;
                space += PIECE_BYTES;
            }
        }
        let end = bytes.len();
        let space_end = limited(dir, end)?;
        reserve(space..space_end).await?;
        for start in (0..space_end).step_by(PIECE_BYTES) {
            let piece_end = space_end.min(start + PIECE_BYTES);
            let filled = &bytes[start.min(end)..piece_end.min(end)];
            let piece = Rc::new(padded_to(dir, filled, piece_end - start));
            let written = file.write_at(piece, start as u64).await;
            written.map_err(|e| at().space("write", e))?;
        }
        let tail = bytes.split_off(end - end % BLOCK_BYTES);
        drop(bytes);
        file.sync_all().await.map_err(|e| at().space("sync", e))?;
        Ok(Self {
            file,
            tail,
            end,
            space_end,
            next_sequence,
        })
    }

    pub(super) fn into_manifest(self, dir: D, header: Header, state: State) -> Manifest<D> {
        Manifest {
            file: Handle::opened(&dir, NAME.to_owned(), self.file),
            dir,
            header,
            state,
            tail: self.tail,
            end: self.end as u64,
            space_end: self.space_end as u64,
            next_sequence: self.next_sequence,
            torn: None,
            is_in_place: true,
            is_in_doubt: false,
            is_mending: false,
        }
    }
}

/// How long a file is whose edits end at `end`.
///
/// # Errors
/// `StorageFull` if nobody would read so long a file: retention has to let go of some segments first.
fn limited<D: Dir>(dir: &D, end: usize) -> Result<usize, Error> {
    file_bytes(end).ok_or_else(|| {
        let message =
            "it names as many segments as one can: make them larger, or let retention remove some";
        let source = io::Error::new(io::ErrorKind::StorageFull, message);
        At::new(dir, NAME).space("write", source)
    })
}

/// The same; `None` if it would be longer than what is read. Room in proportion to
/// what is there keeps the cost of writing it anew proportional to the edits in between.
fn file_bytes(end: usize) -> Option<usize> {
    let room = (end - format::EDITS_AT).clamp(SPACE_BYTES_MIN, SPACE_BYTES_MAX);
    let bytes = (end + room).next_multiple_of(BLOCK_BYTES);
    (bytes as u64 <= BYTES_MAX).then_some(bytes)
}

/// Renames a staged file into place, durably.
pub(super) async fn put_in_place<D: Dir>(dir: &D) -> Result<(), Error> {
    steps::rename(dir, &aside(), NAME).await?;
    steps::sync(dir).await
}

pub(super) fn aside() -> String {
    format!("{NAME}{ASIDE_SUFFIX}")
}

/// The least room for edits in a new file: three blocks hold the life of some 30 segments.
const SPACE_BYTES_MIN: usize = 3 * BLOCK_BYTES;
/// The most.
const SPACE_BYTES_MAX: usize = 8 << 20;

/// What is encoded without a pause: a millisecond or two.
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_written_that_is_longer_than_what_is_read() {
        let end = |edits: usize| format::EDITS_AT + edits;
        assert_eq!(file_bytes(end(0)), Some(4 * BLOCK_BYTES));
        let doubled = file_bytes(end(1 << 20));
        assert!(doubled.is_some_and(|bytes| (2 << 20..3 << 20).contains(&bytes)));
        let limit = usize::try_from(BYTES_MAX).unwrap();
        // Twice as long would be longer than what is read.
        let large = file_bytes(end(limit / 3 * 2)).expect("it is read");
        assert!(large < limit);
        assert_eq!(file_bytes(end(limit - SPACE_BYTES_MAX)), None);
    }
}
