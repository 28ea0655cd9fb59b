//! May io_uring be used; is the kernel new enough.
#![expect(
    unsafe_code,
    reason = "io_uring_setup has no safe wrapper; the public face is safe"
)]

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::libc;

use super::unknown;
use crate::sys::Error;

/// The kernel's release, as `uname -r` says it, if it is new enough.
///
/// # Errors
/// [`Error::Kernel`] if it is older than 5.11; [`Error::Unknown`] if it does not tell.
pub fn kernel() -> Result<String, Error> {
    let name = nix::sys::utsname::uname().map_err(|errno| unknown("the kernel")(errno.into()))?;
    let release = name.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(found) if found < KERNEL_MIN => Err(Error::Kernel { found: release }),
        // A release that does not begin with numbers is somebody's own, and likely new.
        _ => Ok(release),
    }
}

/// Whether a ring can be set up.
///
/// # Errors
/// [`Error::RingsMissing`], [`Error::RingsDisabled`] or [`Error::RingsForbidden`], which say what
/// to do; [`Error::Thread`] where none can be had to try it on; [`Error::Unknown`] for anything else.
pub fn rings() -> Result<(), Error> {
    match try_ring()? {
        Ok(()) => Ok(()),
        Err(Errno::ENOSYS) => Err(Error::RingsMissing),
        Err(errno @ (Errno::EPERM | Errno::EACCES)) => Err(match disabled_level() {
            0 => Error::RingsForbidden {
                source: errno.into(),
            },
            level => Error::RingsDisabled { level },
        }),
        Err(errno) => Err(unknown("io_uring")(errno.into())),
    }
}

/// Sets up a ring and tears it down, on a thread that ends with it: the kernel ends a ring behind our
/// back by interrupting the thread that made it, whose reads with a timeout then fail with `EINTR`.
fn try_ring() -> Result<Result<(), Errno>, Error> {
    let thread = thread::Builder::new().name("probe".to_owned());
    let tried = thread
        .spawn(|| set_up_ring().map(drop))
        .map_err(|source| Error::Thread { source })?;
    tried
        .join()
        .map_err(|_| unknown("io_uring")(io::Error::other("the probe panicked")))
}

/// Sets up the smallest ring there is; dropping the descriptor tears it down.
fn set_up_ring() -> Result<OwnedFd, Errno> {
    let mut params = [0_u64; PARAMS_WORDS];
    // SAFETY: the kernel reads and writes the 120 bytes of a `struct io_uring_params`, which
    // `params` has room and alignment for; all zeros is a valid request.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_io_uring_setup,
            RING_ENTRIES,
            (&raw mut params).cast::<u8>(),
        )
    };
    let raw = i32::try_from(Errno::result(answer)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel just opened this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// `kernel.io_uring_disabled`; 0 also where the kernel is too old to have it.
fn disabled_level() -> u8 {
    let text: io::Result<String> = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// Major and minor number at the start of a release such as `6.18.44-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The first kernel whose io_uring does not leave work to the submitting task's signals.
const KERNEL_MIN: (u32, u32) = (5, 11);

const RING_ENTRIES: u32 = 1;

/// `struct io_uring_params` has 120 bytes, from `linux/io_uring.h`.
const PARAMS_WORDS: usize = 15;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn releases_are_read_by_their_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("custom"), None);
    }

    #[test]
    fn this_machine_can_run_a_core() {
        kernel().unwrap();
        rings().unwrap();
    }

    #[test]
    fn who_asks_for_a_ring_is_not_interrupted_in_what_it_does_next() {
        let (mut silent, _other) = UnixStream::pair().unwrap();
        silent
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        for _ in 0..100 {
            rings().unwrap();
            let error = silent.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
