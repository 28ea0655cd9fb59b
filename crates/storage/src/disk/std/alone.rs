//! Whether a file is nobody else's.
#![expect(
    unsafe_code,
    reason = "leases have no safe wrapper; the public face is safe"
)]

use ::std::fs::File;
use ::std::io;
use ::std::os::fd::{AsRawFd, RawFd};
use ::std::os::unix::fs::MetadataExt;

use nix::libc;

/// Whether `file`, which is open for writing, has no more than so many `names` and nobody else has it open: the
/// kernel [lends](hold) it only then. Without a name nobody can get hold of it any more, with one that only the caller
/// uses nobody will. It is given back at once.
///
/// # Errors
/// As the kernel says, for instance of a file system that knows no leases.
pub fn is_alone(file: &File, names: u64) -> io::Result<bool> {
    if file.metadata()?.nlink() > names || !hold(file)? {
        return Ok(false);
    }
    set(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK).map(|()| true)
}

/// Takes a lease for writing of `file` (fcntl(2), `F_SETLEASE`); false if anyone else has it open. Who opens it from then on
/// waits until it is closed here, or until the kernel's patience ends (`fs.lease-break-time`).
///
/// # Errors
/// As the kernel says, for instance of a file system that knows no leases.
pub fn hold(file: &File) -> io::Result<bool> {
    let fd = file.as_raw_fd();
    // Who opens it, by way of /proc at least, has a signal sent that ends nobody, not SIGIO.
    set(fd, F_SETSIG, libc::SIGURG)?;
    match set(fd, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn set(fd: RawFd, what: libc::c_int, to: libc::c_int) -> io::Result<()> {
    // SAFETY: both commands take a number and touch no memory; the caller borrows the open file.
    match unsafe { libc::fcntl(fd, what, to) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `fcntl.h`: which signal tells of a lease that somebody wants.
const F_SETSIG: libc::c_int = 10;
