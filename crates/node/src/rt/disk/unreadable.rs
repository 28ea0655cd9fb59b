//! Files that the disk does not give, for tests: no real disk fails on demand.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use nix::libc::EIO;
use nix::sys::stat::fstat;

thread_local! {
    /// Which bytes of them, by their inodes.
    static FILES: RefCell<Vec<(u64, Range<u64>)>> = const { RefCell::new(Vec::new()) };
    /// Whether it is all bytes of all of them.
    static IS_ALL: Cell<bool> = const { Cell::new(false) };
}

/// Has each read of the file that is at `path` now fail from now on, on this thread.
pub(crate) fn lose(path: &Path) {
    lose_part(path, 0..u64::MAX);
}

/// The same of each read of some of these bytes.
pub(crate) fn lose_part(path: &Path, bytes: Range<u64>) {
    let inode = fs::metadata(path).unwrap().ino();
    FILES.with_borrow_mut(|files| files.push((inode, bytes)));
}

/// The same of each read of any file, also of those that are made later.
pub(crate) fn lose_all() {
    IS_ALL.set(true);
}

/// Has all be read again.
pub(crate) fn give_back() {
    IS_ALL.set(false);
    FILES.with_borrow_mut(Vec::clear);
}

/// Fails as a disk does that has no such sectors any more, if some of the bytes to read are lost.
pub(super) fn check(file: BorrowedFd<'_>, position: u64, len: usize) -> io::Result<()> {
    let inode = fstat(file)?.st_ino;
    let end = position.saturating_add(len as u64);
    let is_lost =
        |(of, lost): &(u64, Range<u64>)| *of == inode && lost.start < end && position < lost.end;
    match IS_ALL.get() || FILES.with_borrow(|files| files.iter().any(is_lost)) {
        true => Err(io::Error::from_raw_os_error(EIO)),
        false => Ok(()),
    }
}
