//! What of a file is in the page cache, and what should be.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// If the page at `position` and its neighbour are in the page cache; also if the file system cannot tell
/// (`RWF_NOWAIT`, preadv2(2)).
///
/// Asking has a page read. Where that is over before the kernel looks again, because this thread stood still
/// meanwhile, the page seems to have been there; not so its neighbour.
pub(crate) fn are_cached(file: &impl AsFd, position: u64) -> bool {
    let is_cached = |position| {
        let mut byte = [0];
        let into = &mut [IoSliceMut::new(&mut byte)];
        preadv2(file, into, position, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
    };
    is_cached(position) && is_cached(position ^ 4096)
}

/// Whether a range begins with a byte that can be read, and the file is long enough for the rest of it.
/// Waits for the disk.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter, or as the kernel says.
pub(crate) fn are_readable(file: &impl AsFd, range: &Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let bytes = u64::try_from(nix::sys::stat::fstat(file)?.st_size).map_err(io::Error::other)?;
    let start = i64::try_from(range.start).map_err(io::Error::other)?;
    let read = nix::sys::uio::pread(file, &mut [0], start)?;
    match read == 1 && range.end <= bytes {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Has the kernel read no more of a file than it is asked for. Without this, asking if a page is cached
/// makes it read those behind.
///
/// # Errors
/// As the kernel says.
pub(crate) fn expect_no_order(file: &impl AsFd) -> io::Result<()> {
    advise(file, &(0..0), PosixFadviseAdvice::POSIX_FADV_RANDOM)
}

/// Has the kernel begin to read a range, and returns.
///
/// # Errors
/// As the kernel says.
pub(crate) fn will_need(file: &impl AsFd, range: &Range<u64>) -> io::Result<()> {
    advise(file, range, PosixFadviseAdvice::POSIX_FADV_WILLNEED)
}

/// Has the page cache forget a range, as far as nobody uses it.
///
/// # Errors
/// As the kernel says.
pub(crate) fn give_back(file: &impl AsFd, range: &Range<u64>) -> io::Result<()> {
    advise(file, range, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
}

fn advise(file: &impl AsFd, range: &Range<u64>, advice: PosixFadviseAdvice) -> io::Result<()> {
    let start = i64::try_from(range.start).map_err(io::Error::other)?;
    let bytes = i64::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    Ok(posix_fadvise(file, start, bytes, advice)?)
}
