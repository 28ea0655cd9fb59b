//! Plain files of the operating system, for tools and for programs that embed a log.
//!
//! Every operation blocks and is done when it returns, so [`super::block_on`] runs them; but those
//! that change a file's bytes, and syncs, can go on [`beside`] the thread that asked. Files
//! opened for writing use direct I/O where the file system has it: then what is read back is what
//! the device holds, not what a page cache remembers of a failed write.

pub mod alone;
pub mod beside;
mod create;
mod listing;
mod special;
pub(crate) mod stream;

use ::std::fs::{self, OpenOptions};
use ::std::io;
use ::std::ops::Range;
use ::std::os::fd::AsFd;
use ::std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use ::std::path::{Path, PathBuf};
use ::std::rc::Rc;
use ::std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::unistd::{SysconfVar, sysconf};

pub use self::special::{open_file, read_file, refuse_special};

use self::alone::is_alone;
use self::special::open_dir;
use super::buf::{AlignedBuf, HUGE_PAGE_BYTES, SharedBytes};
use super::map::{Check, Map, Pages};
use super::{BLOCK_BYTES, Buf, Dir, Entry, File, Open, Space};

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct StdDir {
    path: PathBuf,
}

/// An open file of the operating system.
#[derive(Debug)]
pub struct StdFile {
    file: Arc<fs::File>,
}

/// The lock of a directory, free again when this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

impl StdDir {
    /// The directory at `path`, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the directory, which must exist, against everyone else who asks for its lock, in this
    /// process or another. `None` if somebody has it.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = open_dir(&self.path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StdFile {
    fn new(file: fs::File) -> Self {
        Self {
            file: Arc::new(file),
        }
    }

    /// Does something with the file that takes its time.
    async fn work(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        beside::run(move || work(&file)).await
    }

    /// The number of the file within its file system: the same for all names of it.
    ///
    /// # Errors
    /// Any error of `fstat`.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }
}

impl Dir for StdDir {
    type File = StdFile;
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    fn child(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
        }
    }

    fn alloc(&self, bytes: usize) -> AlignedBuf {
        AlignedBuf::any(bytes)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    async fn exists(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Ok(true),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> io::Result<()> {
        create::create(&self.path, &mut sync)
    }

    async fn create_all(&self) -> io::Result<()> {
        create::create_all(&self.path, &mut sync)
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        listing::list(&self.path)
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<StdFile> {
        let path = self.path.join(name);
        if mode != Open::Create {
            refuse_special(&path)?;
        }
        let mut options = OpenOptions::new();
        match mode {
            Open::Read => {
                let file = options.read(true).open(path)?;
                return Ok(StdFile::new(file));
            }
            Open::Scan => options.read(true),
            Open::Write => options.read(true).write(true),
            Open::Create => options.read(true).write(true).create_new(true),
        };
        let direct = options
            .clone()
            .custom_flags(OFlag::O_DIRECT.bits())
            .open(&path);
        let file = match direct {
            // The file system has no direct I/O. A file may have been made before it said so.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => options
                .create_new(false)
                .create(mode == Open::Create)
                .open(&path)?,
            other => other?,
        };
        Ok(StdFile::new(file))
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), to_dir.path.join(to))
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        fs::hard_link(self.path.join(from), to_dir.path.join(to))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    async fn reuse(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        beside::run(move || reuse(&path)).await
    }

    async fn remove_tree(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn sync(&self) -> io::Result<()> {
        let path = self.path.clone();
        beside::run(move || sync(&path)).await
    }

    async fn map(&self, name: &str, is_right: impl Check) -> io::Result<Map> {
        let file = open_file(&self.path.join(name), OpenOptions::new().read(true))?;
        let pages = Pages::of_file(file.as_fd())?;
        pages.if_right(is_right).map(Map::from)
    }
}

impl File for StdFile {
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<SharedBytes> {
        // Direct reads are of whole blocks: read those that hold the range, and show the range.
        let end = self
            .file
            .metadata()?
            .len()
            .min(position.saturating_add(len as u64));
        let start = position - position % BLOCK_BYTES as u64;
        if end <= position {
            return Ok(SharedBytes::new(Rc::new(AlignedBuf::zeroed(0)), 0..0));
        }
        let bytes = usize::try_from(end - start).map_err(io::Error::other)?;
        let mut buf = AlignedBuf::any(bytes.next_multiple_of(BLOCK_BYTES));
        let read = read_full(&self.file, buf.as_mut_slice(), start, bytes)?;
        let skipped = bytes - usize::try_from(end - position).map_err(io::Error::other)?;
        Ok(SharedBytes::new(
            Rc::new(buf),
            skipped.min(read)..read.min(bytes),
        ))
    }

    async fn write_at(&self, buf: Rc<AlignedBuf>, position: u64) -> io::Result<()> {
        let is_aligned = position.is_multiple_of(BLOCK_BYTES as u64);
        assert!(is_aligned, "position {position} is within a block");
        let lent = buf.lend();
        self.work(move |file| write_once(file, lent.as_slice(), position))
            .await
    }

    async fn fdatasync(&self) -> io::Result<()> {
        self.work(fs::File::sync_data).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.work(fs::File::sync_all).await
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        assert!(
            range.start <= range.end,
            "the range {range:?} runs backwards"
        );
        if range.is_empty() {
            return Ok(());
        }
        self.work(move |file| match how {
            Space::Reserved if reserve(file, &range)? => Ok(()),
            Space::Reserved | Space::Zeroed => write_zeros(file, range),
        })
        .await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.work(move |file| file.set_len(bytes)).await
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn sync(path: &Path) -> io::Result<()> {
    open_dir(path)?.sync_all()
}

/// Writes `bytes` at `position`, all of them at once: a short write is an error.
fn write_once(file: &fs::File, bytes: &[u8], position: u64) -> io::Result<()> {
    let written = loop {
        match file.write_at(bytes, position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if written < bytes.len() {
        let message = format!("{written} of {} bytes were written", bytes.len());
        return Err(io::Error::new(io::ErrorKind::WriteZero, message));
    }
    Ok(())
}

/// Reads into `buf` until at least `wanted` bytes are there, or the file ends.
fn read_full(file: &fs::File, buf: &mut [u8], start: u64, wanted: usize) -> io::Result<usize> {
    let mut read = 0;
    while read < wanted {
        match file.read_at(&mut buf[read..], start + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn write_zeros(file: &fs::File, range: Range<u64>) -> io::Result<()> {
    let piece = |position| {
        let left = usize::try_from(range.end - position).unwrap_or(usize::MAX);
        left.min(ZEROS_BYTES)
    };
    // Nobody touches them, so a huge page of zeros that the system has anyway stands for them.
    let zeros = AlignedBuf::zeroed(match piece(range.start) {
        ZEROS_BYTES => HUGE_PAGE_BYTES,
        less => less,
    });
    let mut position = range.start;
    let mut written = Ok(());
    while position < range.end && written.is_ok() {
        let bytes = piece(position);
        written = file.write_all_at(&zeros.as_slice()[..bytes], position);
        position += bytes as u64;
    }
    // Helpers fill no buffers, so none of them would find it again.
    zeros.free();
    written
}

/// As [`Dir::reuse`].
fn reuse(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if !is_alone(&file, 1)? {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // Whole pages, so that none is changed that a socket still sends: it leaves the cache as it is.
    let page = sysconf(SysconfVar::PAGE_SIZE)?.map_or(0, i64::cast_unsigned);
    let bytes = file.metadata()?.len();
    let bytes = bytes.next_multiple_of(page.max(BLOCK_BYTES as u64));
    if bytes > 0 {
        fallocate_all(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, &(0..bytes))?;
    }
    file.sync_all()
}

/// Reserves space for `range` of a file; false if its file system cannot (ext2, ext3): then zeros have to hold the place.
///
/// # Errors
/// Any other error of the file system.
pub fn reserve(file: impl AsFd, range: &Range<u64>) -> io::Result<bool> {
    match fallocate_all(file, FallocateFlags::empty(), range) {
        Err(Errno::EOPNOTSUPP) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

fn fallocate_all(file: impl AsFd, flags: FallocateFlags, range: &Range<u64>) -> Result<(), Errno> {
    let start = i64::try_from(range.start).map_err(|_source| Errno::EFBIG)?;
    let bytes = i64::try_from(range.end - range.start).map_err(|_source| Errno::EFBIG)?;
    loop {
        match fallocate(&file, flags, start, bytes) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Zeros are written in pieces of this size: few calls, and a group that is written meanwhile waits for
/// no more than one where a disk does one thing at a time.
const ZEROS_BYTES: usize = 512 << 10;
