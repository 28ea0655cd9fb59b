//! What of a file is in the page cache, and what should be.
#![expect(
    unsafe_code,
    reason = "what is cached is told of a map only; the public face is safe"
)]

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// If the page at `position` is in the page cache (mincore(2)). Asking changes nothing, and waits for no disk.
///
/// # Errors
/// As the kernel says.
pub(crate) fn is_cached(file: &impl AsFd, position: u64) -> io::Result<bool> {
    let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
    let start = i64::try_from(position).map_err(io::Error::other)? / page * page;
    let bytes = usize::try_from(page).map_err(io::Error::other)?;
    let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
    let (access, kind) = (ProtFlags::PROT_NONE, MapFlags::MAP_SHARED);
    // SAFETY: a map at a place of the kernel's choice, which nobody reads or writes through.
    let map = unsafe { mmap(None, length, access, kind, file, start) }?;
    let mut told = 0;
    // SAFETY: the map is one page, for which the kernel writes one byte.
    let answer = Errno::result(unsafe { libc::mincore(map.as_ptr(), bytes, &raw mut told) });
    // SAFETY: the map of above, which ends here.
    unsafe { munmap(map, bytes) }?;
    answer?;
    Ok(told & 1 == 1)
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

/// Has the kernel read no more of a file than it is asked for.
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
