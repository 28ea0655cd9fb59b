//! The room of files and directories: one trait pair, and what implements it.
//!
//! Lives here: [`Dir`] and [`File`], the buffers they take ([`buf`]), read-only maps ([`map`]; with
//! [`std::alone`] the only `unsafe` of this crate), plain files ([`std`]), reading around bad sectors (`unread`), small
//! files read and written whole (`whole`), and, for tests, a disk in memory that knows what a power cut would leave
//! (`memory`), injected faults (`faulty`) and the suite that every implementation passes (`conformance`). The io_uring
//! implementation lives in the node.
//!
//! Never lives here: any knowledge of what the bytes mean.
//!
//! Laws kept: a buffer given to the disk is frozen (it travels as an [`Rc`]); writes are whole aligned blocks of
//! [`BLOCK_BYTES`]; a short write is an error, never a partial success.

pub mod buf;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod counting;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod map;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod std;
pub(crate) mod unread;
mod whole;

use ::std::future::Future;
use ::std::io;
use ::std::ops::Range;
use ::std::pin::pin;
use ::std::rc::Rc;
use ::std::task::{Context, Poll, Waker};

use nix::errno::Errno;

pub use self::buf::Buf;
use self::map::{Check, Map};
use self::whole::read_whole;
pub use self::whole::write_over;
pub(crate) use self::whole::{padded, padded_to, write_new, write_whole};

/// The unit of writing: positions and lengths of writes are multiples of it, in bytes.
///
/// It is the largest logical sector in common use, so a write never shares a sector with another.
pub const BLOCK_BYTES: usize = 4096;

/// The suffix of a file that [`Dir::write_aside`] has not yet renamed into place.
pub const ASIDE_SUFFIX: &str = ".new";

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name within its directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The length of the file in bytes, of a link that of the file which it leads to; 0 for a directory.
    pub bytes: u64,
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading all of it once, in large pieces: around the page cache, where
    /// that is faster and leaves the cache to those who need it.
    Scan,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; it is an error if the name is taken.
    Create,
}

/// How [`File::allocate`] prepares space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The file system reserves extents that read as zeros; a later sync converts them.
    Reserved,
    /// Zeros are written to what was reserved before, so a later write into the space changes no metadata at all.
    Zeroed,
}

/// A directory of files. Cloning it is cheap and gives another handle to the same directory.
///
/// Methods that change entries (`create` apart) are durable only after [`Dir::sync`] of their directories.
pub trait Dir: Clone + 'static {
    /// How many descriptors an open file takes that is written durably.
    const DURABLE_DESCRIPTORS: usize = 1;
    /// Whether [`File::write_durably_at`] is cheaper than a write and a sync.
    const DURABLE_IN_ONE_CALL: bool = false;
    /// A file of this directory.
    type File: File<Buf = Self::Buf, Bytes = Self::Bytes>;
    /// The buffer that writes are made of.
    type Buf: Buf;
    /// What a read returns.
    type Bytes: AsRef<[u8]> + Clone + 'static;

    /// A handle to the sub-directory `name`, which need not exist. No I/O.
    fn child(&self, name: &str) -> Self;

    /// A buffer of `bytes` bytes, a multiple of [`BLOCK_BYTES`], with unspecified contents.
    fn alloc(&self, bytes: usize) -> Self::Buf;

    /// Names the directory in messages: a path where there is one.
    fn describe(&self) -> String;

    /// Whether the directory exists.
    ///
    /// # Errors
    /// Any error of the file system but *not found*.
    fn exists(&self) -> impl Future<Output = io::Result<bool>>;

    /// Makes this directory, unless it is there, and makes its entry durable.
    ///
    /// # Errors
    /// `NotFound` without the one above it, which may come back, as a volume does. Any other error of the file system.
    fn create(&self) -> impl Future<Output = io::Result<()>>;

    /// The same with its missing ancestors, where nobody has made these before, and makes each new entry durable.
    ///
    /// # Errors
    /// Any error of the file system.
    fn create_all(&self) -> impl Future<Output = io::Result<()>>;

    /// The entries, sorted by name.
    ///
    /// # Errors
    /// `NotFound` if the directory does not exist; any error of the file system.
    fn list(&self) -> impl Future<Output = io::Result<Vec<Entry>>>;

    /// Opens the file `name`.
    ///
    /// # Errors
    /// `NotFound` without such a file, `AlreadyExists` for [`Open::Create`] with one; any error of the file system.
    fn open(&self, name: &str, mode: Open) -> impl Future<Output = io::Result<Self::File>>;

    /// Renames the file or directory `from` to `to` in `to_dir`, atomically, replacing a file of that name.
    ///
    /// # Errors
    /// `NotFound` without such an entry; any error of the file system.
    fn rename(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>>;

    /// Makes `to` in `to_dir` a second name of the file `from` (a hard link): both names stand for the same bytes, and
    /// removing one leaves the other. The new name is durable once `to_dir` is synced.
    ///
    /// # Errors
    /// `NotFound` without such a file, `AlreadyExists` if the new name is taken; any error of the
    /// file system.
    fn link(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>>;

    /// Removes the file `name`; other names of it stay.
    ///
    /// # Errors
    /// `NotFound` without such a file; any error of the file system.
    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>>;

    /// Makes all bytes of the file `name` zeros, up to a multiple of [`BLOCK_BYTES`] and of a page, durably, and leaves it
    /// the space that it has, if the file system can (ext4): as if this had just been reserved. Of the name nothing is made sure.
    ///
    /// # Errors
    /// `ResourceBusy` if anyone has the file open, or it has another name: who reads it there would see it. `Unsupported`
    /// if the file system cannot. `NotFound` without such a file; any other error of the file system, and the bytes are
    /// then anything.
    fn reuse(&self, name: &str) -> impl Future<Output = io::Result<()>>;

    /// Removes this directory and all that is in it; a missing one is fine.
    ///
    /// # Errors
    /// Any error of the file system.
    fn remove_tree(&self) -> impl Future<Output = io::Result<()>>;

    /// Makes the entries of this directory durable.
    ///
    /// # Errors
    /// Any error of the file system; the entries are then in an unknown state.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Maps the whole file `name` read-only, every page of it resident, if `is_right` says that of its bytes, which it
    /// is asked where it keeps nobody waiting. The file must never be written or cut while the map lives.
    ///
    /// # Errors
    /// `NotFound` without such a file; `InvalidData` for one that is too long ([`map::BYTES_MAX`]), or not right; any other.
    fn map(&self, name: &str, is_right: impl Check) -> impl Future<Output = io::Result<Map>>;

    /// Reads the whole small file `name`, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// `FileTooLarge` beyond `bytes_max`; any error of [`Dir::open`] and [`File::read_at`].
    fn read(&self, name: &str, bytes_max: u64) -> impl Future<Output = io::Result<Vec<u8>>> {
        async move {
            let file = Rc::new(self.open(name, Open::Read).await?);
            let read = read_whole(&*file, bytes_max).await;
            file.close().await?;
            read
        }
    }

    /// Replaces the small file `name` by `bytes`, durably and at once: whoever looks sees the old
    /// file or the new one, also after a power cut.
    ///
    /// # Errors
    /// Any error of the file system; then either file is there, and what was written aside is removed if that can be.
    fn write_aside(&self, name: &str, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        async move {
            let aside = format!("{name}{ASIDE_SUFFIX}");
            match self.remove(&aside).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let renamed = match write_new(self, &aside, bytes).await {
                Ok(()) => self.rename(&aside, self, name).await,
                Err(error) => Err(error),
            };
            if let Err(error) = renamed {
                // On a full disk it would keep the space that others wait for.
                let _removed = self.remove(&aside).await;
                return Err(error);
            }
            self.sync().await
        }
    }
}

/// An open file. Shared as an `Rc`; positions and lengths are in bytes.
#[expect(
    clippy::len_without_is_empty,
    reason = "whether a file is empty is no question here"
)]
pub trait File: 'static {
    /// The buffer that writes are made of.
    type Buf: Buf;
    /// What a read returns.
    type Bytes: AsRef<[u8]> + Clone + 'static;

    /// Reads `len` bytes from `position`, both of any alignment; fewer only at the end of the file.
    ///
    /// # Errors
    /// Any error of the file system.
    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = io::Result<Self::Bytes>>;

    /// Writes the whole of `buf` at `position`; both are multiples of [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// `WriteZero` for a short write; any error of the file system. The range then holds anything.
    fn write_at(&self, buf: Rc<Self::Buf>, position: u64) -> impl Future<Output = io::Result<()>>;

    /// [`File::write_at`] whose bytes, and the length needed to read them, are durable when it returns.
    /// Nothing else is then, if the device can write past its cache: neither older writes nor prepared space.
    ///
    /// # Errors
    /// As for [`File::write_at`], or [`File::fdatasync`].
    fn write_durably_at(
        &self,
        buf: Rc<Self::Buf>,
        position: u64,
    ) -> impl Future<Output = io::Result<()>> {
        async move {
            self.write_at(buf, position).await?;
            self.fdatasync().await
        }
    }

    /// Makes written bytes, and the length needed to read them, durable.
    ///
    /// # Errors
    /// Any error of the file system. A later success then proves nothing about these bytes.
    fn fdatasync(&self) -> impl Future<Output = io::Result<()>>;

    /// Makes bytes and all metadata of the file durable.
    ///
    /// # Errors
    /// As for [`File::fdatasync`].
    fn sync_all(&self) -> impl Future<Output = io::Result<()>>;

    /// Prepares `range`, which holds no data yet, from one multiple of [`BLOCK_BYTES`] to another:
    /// it reads as zeros afterwards, and the file is at least that long.
    ///
    /// # Errors
    /// One for which [`is_full`] holds when space runs out; any error of the file system.
    fn allocate(&self, range: Range<u64>, how: Space) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends (with zeros) the file to `bytes`.
    ///
    /// # Errors
    /// Any error of the file system.
    fn set_len(&self, bytes: u64) -> impl Future<Output = io::Result<()>>;

    /// Waits until no write that a killed process left with the kernel can still reach the file.
    ///
    /// A ring outlives the process that owned it by milliseconds, and its direct writes with it: one could land on what a
    /// successor wrote. Shortening makes ext4 and XFS wait for them (`inode_dio_wait`): the file grows a block and shrinks.
    ///
    /// # Errors
    /// Any error of the file system; the file may then be a block of zeros longer.
    fn outwait(&self) -> impl Future<Output = io::Result<()>> {
        async move {
            let bytes = self.len().await?;
            self.set_len(bytes + BLOCK_BYTES as u64).await?;
            self.set_len(bytes).await
        }
    }

    /// The length in bytes.
    ///
    /// # Errors
    /// Any error of the file system.
    fn len(&self) -> impl Future<Output = io::Result<u64>>;

    /// Gives up this handle; the descriptor closes when no other handle is left. Syncs nothing.
    ///
    /// # Errors
    /// Any error of the file system.
    fn close(self: Rc<Self>) -> impl Future<Output = io::Result<()>>;
}

/// Whether `error` says that the disk, or the quota on it, is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether `error` says that the process, or the system, has no descriptor left for another file.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}

/// The smallest multiple of [`BLOCK_BYTES`] that is at least `bytes`.
///
/// # Panics
/// If there is none that fits.
#[must_use]
pub const fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64) * BLOCK_BYTES as u64
}

/// Runs a future of std and memory directories, whose operations are all done when they return.
///
/// # Panics
/// If the future waits: nothing else runs that could wake it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future of std or memory directories never waits"),
    }
}

/// Polls `future` once, for tests that hold operations back at a gate.
pub fn poll_once<T>(future: ::std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
