//! What a faulty directory asks of the one that it wraps, beyond what every directory does.

use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::memory::{FailedSync, MemoryDir, MemoryFile};
use super::super::std::{StdDir, StdFile};
use super::super::{Dir, File as _};

/// A directory that faults can be injected into. The wrapped disk does what only a disk can do: it
/// forgets. Where it cannot, a failed sync is one whose bytes happened to survive.
pub trait Backing: Dir {
    /// A number that is the same for all handles and names of a file.
    ///
    /// # Errors
    /// Any error of the file system.
    fn identity(file: &Self::File) -> io::Result<u64>;

    /// Does to a file what a failed sync does, if the disk can.
    ///
    /// # Errors
    /// Any error of the file system.
    fn fail_sync(_file: &Self::File, _how: FailedSync, _seed: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes durable what was written to `range`, in bytes; if the disk can, nothing else.
    ///
    /// # Errors
    /// Any error of the file system.
    fn sync_written(file: &Self::File, _range: Range<u64>) -> impl Future<Output = io::Result<()>> {
        file.fdatasync()
    }

    /// The parts of `range`, in bytes, for which no space is prepared, as far as the disk can tell.
    ///
    /// # Errors
    /// Any error of the file system.
    fn unprepared(_file: &Self::File, _range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        Ok(Vec::new())
    }
}

impl Backing for MemoryDir {
    fn identity(file: &MemoryFile) -> io::Result<u64> {
        Ok(file.identity())
    }

    fn fail_sync(file: &MemoryFile, how: FailedSync, seed: u64) -> io::Result<()> {
        file.fail_sync(how, seed)
    }

    async fn sync_written(file: &MemoryFile, range: Range<u64>) -> io::Result<()> {
        file.sync_written(&range)
    }

    fn unprepared(file: &MemoryFile, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        file.unprepared(range)
    }
}

impl Backing for StdDir {
    fn identity(file: &StdFile) -> io::Result<u64> {
        file.inode()
    }
}

/// Bytes that were read, as they are or bent by a fault.
#[derive(Debug, Clone)]
pub enum Bytes<B> {
    /// As they were read.
    Read(B),
    /// As a fault made them.
    Bent(Rc<[u8]>),
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Bytes<B> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes.as_ref(),
            Self::Bent(bytes) => bytes,
        }
    }
}
