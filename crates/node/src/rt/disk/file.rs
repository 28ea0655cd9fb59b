//! A file, read and written around the page cache.

use std::cell::OnceCell;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, fs, io};

use corelog_storage::disk::std::{refuse_special, reserve};
use corelog_storage::disk::{BLOCK_BYTES, Buf, File, Open, Space, is_out_of_files};
use glommio::io::{DmaBuffer, DmaFile, OpenOptions, OwnedDmaFile, ReadResult};
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat};

use super::buf::{UringBuf, UringBytes};
use super::{patience, polling};
use crate::rt::blocking::{POOL, blocking};
use crate::rt::executor::io_error;
use crate::rt::run_on;
use crate::rt::vitals::{Work, outstanding};
use crate::sys::fd;

/// An open file of the core that opened it.
pub struct UringFile {
    /// `None` only while it is being closed.
    file: Option<DmaFile>,
    is_writable: bool,
    /// The same file opened again, for writes that are to be durable; nothing in it if it cannot be.
    durable: OnceCell<Option<DmaFile>>,
}

impl fmt::Debug for UringFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringFile")
            .field("descriptor", &self.file.as_ref().map(DmaFile::as_raw_fd))
            .finish()
    }
}

impl UringFile {
    /// Opens `path`, also if whoever waits for it goes: of an open that is dropped the runtime forgets the descriptor.
    pub(super) async fn open(path: PathBuf, mode: Open) -> io::Result<Self> {
        run_on(async move { patience::with_files(|| Self::open_once(&path, mode)).await }).await
    }

    /// Takes two descriptors for a moment, and keeps none of them where it finds but one.
    async fn open_once(path: &Path, mode: Open) -> io::Result<Self> {
        let _open = outstanding(Work::Directory);
        let by_name = path.to_owned();
        let named = blocking(move || open_named(&by_name, mode)).await?;
        let is_writable = matches!(mode, Open::Write | Open::Create);
        match Self::open_directly(path, &named, is_writable).await {
            Ok(file) => Ok(Self {
                file: Some(file),
                is_writable,
                durable: OnceCell::new(),
            }),
            Err(error) => {
                if mode == Open::Create {
                    // Whoever made nothing may try again. That it fails changes nothing about that.
                    let made = path.to_owned();
                    let _removed = blocking(move || fs::remove_file(made)).await;
                }
                Err(error)
            }
        }
    }

    async fn open_directly(path: &Path, named: &OwnedFd, is_writable: bool) -> io::Result<DmaFile> {
        polling::learn(path.parent().unwrap_or(path), named).await?;
        open_again(named, is_writable, 0).await
    }

    /// The file as each write through it is durable when it returns (`O_DSYNC`). The kernel then syncs where
    /// the write ends, instead of in a thread that has to be woken for it and to find a processor.
    ///
    /// `None` if it cannot be had: for now, if there is no descriptor for it.
    async fn for_durable_writes(&self) -> Option<&DmaFile> {
        if self.durable.get().is_none() {
            let opened = self.reopen().await;
            if opened.as_ref().is_err_and(is_out_of_files) {
                return None;
            }
            // Another may have been quicker.
            let _kept = self.durable.set(opened.unwrap_or_default());
        }
        self.durable.get()?.as_ref()
    }

    async fn reopen(&self) -> io::Result<Option<DmaFile>> {
        if !self.is_writable {
            return Ok(None);
        }
        // Of its own, since it is opened to the end whoever waits.
        let file = self.handle()?;
        let opened = run_on(async move {
            let _open = outstanding(Work::Directory);
            open_again(&file, true, libc::O_DSYNC).await
        });
        opened.await.map(Some)
    }

    /// What is open, for the pool to close. The runtime closes a dropped file only while its executor lives, and leaks it
    /// else; one that is told to do so closes it on the core, and a last close may free extents, and wait for the journal.
    fn take(&mut self) -> Vec<OwnedDmaFile> {
        let durable = self.durable.take().flatten();
        let open = self.file.take().into_iter().chain(durable);
        open.map(OwnedDmaFile::from).collect()
    }

    fn file(&self) -> &DmaFile {
        match &self.file {
            Some(file) => file,
            None => unreachable!("closing consumes the file"),
        }
    }

    /// A descriptor of its own, so that the file stays open while the pool works on it, even if
    /// the caller goes away.
    fn handle(&self) -> io::Result<OwnedFd> {
        fd::borrow(self.file()).try_clone_to_owned()
    }

    fn len_now(&self) -> io::Result<u64> {
        let stat = fstat(fd::borrow(self.file()))?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    /// Writes zeros over `range`, piece by piece.
    async fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut position = range.start;
        let mut zeros = zeroed(ZERO_BYTES.min(range.end - position))?;
        while position < range.end {
            let rest = range.end - position;
            if rest < zeros.len() as u64 {
                zeros = zeroed(rest)?;
            }
            self.write(&zeros, position).await?;
            position += zeros.len() as u64;
        }
        Ok(())
    }

    /// As if no second descriptor could be had.
    #[cfg(test)]
    pub(super) fn find_no_descriptor(&self) {
        assert!(self.durable.set(None).is_ok(), "it was not asked for");
    }

    async fn write(&self, memory: &Rc<DmaBuffer>, position: u64) -> io::Result<()> {
        let _write = outstanding(Work::Write);
        write(self.file(), memory, position).await
    }
}

/// Opens by name, on a thread that may wait.
fn open_named(path: &Path, mode: Open) -> io::Result<OwnedFd> {
    let how = match mode {
        Open::Read | Open::Scan => OFlag::O_RDONLY,
        Open::Write => OFlag::O_RDWR,
        Open::Create => OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL,
    };
    if mode != Open::Create {
        refuse_special(path)?;
    }
    let permissions = Mode::from_bits_truncate(0o666);
    Ok(nix::fcntl::open(path, how | OFlag::O_CLOEXEC, permissions)?)
}

/// Opens what is open once more, for the runtime. By its descriptor, since the runtime asks for the path again when
/// the file is open, and ends the process if it has another name, or none, by then.
async fn open_again(file: &OwnedFd, is_writable: bool, flags: i32) -> io::Result<DmaFile> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let mut options = OpenOptions::new();
    // Reading is always asked for: opening probes the device with a read.
    options.read(true).write(is_writable).custom_flags(flags);
    let opened = options.dma_open(path).await.map_err(io_error)?;
    let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
    // In a namespace of processes with another's /proc, the number is somebody else's.
    if identity(fstat(file)?) != identity(fstat(fd::borrow(&opened))?) {
        return Err(io::Error::other(
            "/proc tells of other processes than this one",
        ));
    }
    Ok(opened)
}

fn zeroed(bytes: u64) -> io::Result<Rc<DmaBuffer>> {
    let mut zeros = UringBuf::alloc(memory_bytes(bytes)?);
    zeros.as_mut_slice().fill(0);
    Ok(zeros.memory)
}

/// Writes all of `memory` or fails.
async fn write(file: &DmaFile, memory: &Rc<DmaBuffer>, position: u64) -> io::Result<()> {
    let bytes = memory.len();
    assert!(
        bytes.is_multiple_of(BLOCK_BYTES),
        "{bytes} bytes are not whole blocks"
    );
    assert!(
        position.is_multiple_of(BLOCK_BYTES as u64),
        "position {position} is not a block's"
    );
    let written = file.write_rc_at(Rc::clone(memory), position).await;
    match written.map_err(io_error)? {
        written if written == bytes => Ok(()),
        written => {
            let message = format!("{written} of {bytes} bytes were written");
            Err(io::Error::new(io::ErrorKind::WriteZero, message))
        }
    }
}

impl File for UringFile {
    type Buf = UringBuf;
    type Bytes = UringBytes;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<UringBytes> {
        let _read = outstanding(Work::Read);
        #[cfg(test)]
        super::unreadable::check(fd::borrow(self.file()), position, len)?;
        let block = BLOCK_BYTES as u64;
        let start = position - position % block;
        let lead = memory_bytes(position - start)?;
        let whole = lead.saturating_add(len).next_multiple_of(BLOCK_BYTES);
        if len == 0 {
            return Ok(UringBytes(ReadResult::default()));
        }
        if whole > READ_BYTES_MAX {
            let message = "a read is larger than the kernel serves at once";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        for _ in 0..SHORT_READS_MAX {
            let read = self
                .file()
                .read_at_aligned(start, whole)
                .await
                .map_err(io_error)?;
            let usable = read.len().saturating_sub(lead).min(len);
            let is_short = read.len() < lead + len;
            // The kernel may also stop short of the end, for instance when the file just grew.
            if is_short && start + (read.len() as u64) < self.len_now()? {
                continue;
            }
            let bytes = if usable == 0 {
                None
            } else {
                ReadResult::slice(&read, lead, usable)
            };
            return Ok(UringBytes(bytes.unwrap_or_default()));
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "reads keep stopping short of the end",
        ))
    }

    async fn write_at(&self, buf: Rc<UringBuf>, position: u64) -> io::Result<()> {
        self.write(&buf.memory, position).await
    }

    async fn write_durably_at(&self, buf: Rc<UringBuf>, position: u64) -> io::Result<()> {
        match self.for_durable_writes().await {
            Some(file) => {
                let _sync = outstanding(Work::Sync);
                write(file, &buf.memory, position).await
            }
            None => {
                self.write_at(buf, position).await?;
                self.fdatasync().await
            }
        }
    }

    async fn fdatasync(&self) -> io::Result<()> {
        let _sync = outstanding(Work::Sync);
        self.file().fdatasync().await.map_err(io_error)
    }

    async fn sync_all(&self) -> io::Result<()> {
        let handle = self.handle()?;
        Ok(blocking(move || nix::unistd::fsync(handle)).await?)
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let is_reserved = match how {
            Space::Reserved => {
                let (handle, range) = (self.handle()?, range.clone());
                blocking(move || reserve(handle, &range)).await?
            }
            Space::Zeroed => false,
        };
        match is_reserved {
            true => Ok(()),
            false => self.write_zeros(range).await,
        }
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let handle = self.handle()?;
        let bytes = file_offset(bytes)?;
        Ok(blocking(move || nix::unistd::ftruncate(handle, bytes)).await?)
    }

    async fn len(&self) -> io::Result<u64> {
        self.len_now()
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        if let Some(mut last) = Rc::into_inner(self) {
            let files = last.take();
            blocking(move || drop(files)).await;
        }
        Ok(())
    }
}

impl Drop for UringFile {
    fn drop(&mut self) {
        let files = self.take();
        if !files.is_empty() {
            POOL.run_detached(move || drop(files));
        }
    }
}

fn memory_bytes(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}

fn file_offset(bytes: u64) -> io::Result<i64> {
    i64::try_from(bytes).map_err(io::Error::other)
}

/// Zeros are written in pieces of this size, one at a time: a device does one thing after the other, and
/// the write and the flush of a durable group each wait for the piece before them. With 1 MiB before them
/// acknowledgements took ten times as long for as long as space was prepared.
const ZERO_BYTES: u64 = 128 << 10;

/// The kernel reads at most 2 GiB less a page at once; half of that is far more than anyone asks.
const READ_BYTES_MAX: usize = 1 << 30;

/// A read that stops short of the end is repeated this often before it is an error.
const SHORT_READS_MAX: u32 = 4;
