//! Files that the disk does not give, for tests: no real disk fails on demand.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use nix::libc::EIO;
use nix::sys::stat::fstat;

thread_local! {
    /// By their inodes.
    static FILES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Has each read of the file that is at `path` now fail from now on, on this thread.
pub(crate) fn lose(path: &Path) {
    let inode = fs::metadata(path).unwrap().ino();
    FILES.with_borrow_mut(|files| files.push(inode));
}

/// Has all be read again.
pub(crate) fn give_back() {
    FILES.with_borrow_mut(Vec::clear);
}

/// Fails as a disk does that has no such sectors any more, if the file is lost.
pub(super) fn check(file: BorrowedFd<'_>) -> io::Result<()> {
    let inode = fstat(file)?.st_ino;
    match FILES.with_borrow(|files| files.contains(&inode)) {
        true => Err(io::Error::from_raw_os_error(EIO)),
        false => Ok(()),
    }
}
