//! Open files of a disk in memory.

use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::buf::{AlignedBuf, SharedBytes};
use super::super::{BLOCK_BYTES, Buf, File, Space};
use super::Shared;
use super::content::stored;
use super::disk::Op;
use super::tree::FileId;

/// An open file of a [`MemoryDir`](super::MemoryDir).
#[derive(Debug)]
pub struct MemoryFile {
    shared: Rc<Shared>,
    file: FileId,
    name: Rc<str>,
    is_writable: bool,
}

impl MemoryFile {
    pub(super) fn new(shared: Rc<Shared>, file: FileId, name: &str, is_writable: bool) -> Self {
        *shared.open.borrow_mut().entry(file).or_default() += 1;
        Self {
            shared,
            file,
            name: name.into(),
            is_writable,
        }
    }

    fn len_now(&self) -> io::Result<usize> {
        Ok(self.shared.disk.borrow().inode(self.file)?.len())
    }

    fn run(&self, op: Op) -> io::Result<()> {
        self.shared.run(op, &self.name).map(drop)
    }

    /// Changes the file, if it is open for that.
    fn change(&self, op: Op) -> io::Result<()> {
        if !self.is_writable {
            let message = "the file is open for reading only";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        self.run(op)
    }

    /// How many blocks from the start of `range` on have space, or get it.
    fn room(&self, range: Range<usize>) -> io::Result<usize> {
        let count = range.len();
        let disk = self.shared.disk.borrow();
        let missing = disk.inode(self.file)?.space().missing(range.clone());
        drop(disk);
        let wanted = missing.iter().map(Range::len).sum();
        let mut free = self.shared.blocks_free(wanted);
        if free == wanted {
            return Ok(count);
        }
        for part in missing {
            if free < part.len() {
                return Ok(part.start + free - range.start);
            }
            free -= part.len();
        }
        Ok(count)
    }
}

impl MemoryFile {
    /// The number of the file on its disk: the same for all names of it.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.file.0
    }

    /// Does what a failed sync does, as `how` says; `seed` chooses what is left.
    ///
    /// # Errors
    /// None, as long as the file is open.
    pub fn fail_sync(&self, how: super::FailedSync, seed: u64) -> io::Result<()> {
        let file = self.file;
        self.run(Op::FailSync { file, how, seed })
    }

    /// Makes durable what was written to `range`, and the length needed to read it; nothing else.
    ///
    /// # Errors
    /// None, as long as the file is open.
    pub fn sync_written(&self, range: &Range<u64>) -> io::Result<()> {
        self.run(Op::SyncBlocks {
            file: self.file,
            blocks: blocks(range)?,
        })
    }

    /// The parts of `range`, in bytes, that have no space: a write into them takes some.
    ///
    /// # Errors
    /// None, as long as the file is open.
    pub fn unprepared(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let disk = self.shared.disk.borrow();
        let missing = disk.inode(self.file)?.space().missing(blocks(&range)?);
        let block = BLOCK_BYTES as u64;
        let bytes = |part: Range<usize>| part.start as u64 * block..part.end as u64 * block;
        Ok(missing.into_iter().map(bytes).collect())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut open = self.shared.open.borrow_mut();
        if let Some(handles) = open.get_mut(&self.file) {
            *handles -= 1;
            if *handles == 0 {
                open.remove(&self.file);
            }
        }
    }
}

impl File for MemoryFile {
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<SharedBytes> {
        let disk = self.shared.disk.borrow();
        let inode = disk.inode(self.file)?;
        let start = to_usize(position)?.min(inode.len());
        let bytes = len.min(inode.len() - start);
        let mut buf = AlignedBuf::zeroed(bytes.next_multiple_of(BLOCK_BYTES));
        inode.read(start, &mut buf.as_mut_slice()[..bytes]);
        Ok(SharedBytes::new(Rc::new(buf), 0..bytes))
    }

    async fn write_at(&self, buf: Rc<AlignedBuf>, position: u64) -> io::Result<()> {
        let (file, bytes) = (self.file, buf.as_slice());
        let wanted = blocks(&(position..position + bytes.len() as u64))?;
        let (first, count) = (wanted.start, wanted.len());
        let room = if self.is_writable {
            self.room(wanted)?
        } else {
            count
        };
        let blocks = bytes.chunks(BLOCK_BYTES).take(room).map(stored).collect();
        self.change(Op::Write {
            file,
            first,
            blocks,
        })?;
        if room < count {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    async fn write_durably_at(&self, buf: Rc<AlignedBuf>, position: u64) -> io::Result<()> {
        let range = position..position + buf.as_slice().len() as u64;
        self.write_at(buf, position).await?;
        self.sync_written(&range)
    }

    async fn fdatasync(&self) -> io::Result<()> {
        let (file, is_all) = (self.file, false);
        self.run(Op::Sync { file, is_all })
    }

    async fn sync_all(&self) -> io::Result<()> {
        let (file, is_all) = (self.file, true);
        self.run(Op::Sync { file, is_all })
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        assert!(
            range.start <= range.end,
            "the range {range:?} runs backwards"
        );
        let (file, wanted) = (self.file, blocks(&range)?);
        let room = self.room(wanted.clone())?;
        // A file system allocates piece by piece, and what it has got so far it keeps.
        let blocks = wanted.start..wanted.start + room;
        self.change(Op::Allocate { file, blocks, how })?;
        if room < wanted.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let (file, bytes) = (self.file, to_usize(bytes)?);
        self.change(Op::SetLen { file, bytes })
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.len_now()? as u64)
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// The blocks that `range` of bytes consists of.
///
/// # Panics
/// If it does not begin and end with a block.
fn blocks(range: &Range<u64>) -> io::Result<Range<usize>> {
    let (start, end) = (to_usize(range.start)?, to_usize(range.end)?);
    for position in [start, end] {
        assert!(
            position.is_multiple_of(BLOCK_BYTES),
            "position {position} is within a block"
        );
    }
    Ok(start / BLOCK_BYTES..end / BLOCK_BYTES)
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|source| io::Error::new(io::ErrorKind::FileTooLarge, source))
}
