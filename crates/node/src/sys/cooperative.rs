//! Rings that do not interrupt their core.
//!
//! What another processor completes (a client on the loopback that sends, a disk that is done), the
//! kernel posts on the thread that owns the ring. By default it interrupts that thread at once, wherever
//! it is: with 64 clients of one record each every seventh microsecond of a core went into it, and each
//! client paid for the interrupt that it sent. A core looks for completions between its tasks only, and
//! goes through the kernel often enough for them to be there by then. `IORING_SETUP_COOP_TASKRUN`
//! (`io_uring_setup(2)`, Linux 5.19) says so.
//!
//! glommio 0.9 has no way to set it. Its liburing asks the kernel through `__sys_io_uring_setup`, and the
//! build script of the `corelog` binary has the linker put [`__wrap___sys_io_uring_setup`] in that place.
//! Programs that do not (the tests of this crate, say) have rings as glommio makes them.
#![expect(
    unsafe_code,
    reason = "liburing calls this as C does, and the kernel fills the memory that it hands over"
)]

use std::cell::Cell;
use std::ffi::{c_int, c_uint};

use nix::errno::Errno;
use nix::libc;

thread_local! {
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
    static RINGS: Cell<u32> = const { Cell::new(0) };
}

/// Rings that this thread makes from now on do not interrupt it.
pub(crate) fn ask() {
    IS_ASKED.set(true);
}

/// How many such rings this thread has made.
pub(crate) fn rings() -> u32 {
    RINGS.get()
}

/// The first fields of `struct io_uring_params` (`linux/io_uring.h`).
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
}

/// `IORING_SETUP_COOP_TASKRUN`.
const COOP_TASKRUN: u32 = 1 << 8;

/// `io_uring_setup(2)`, with the flag added where that was asked for and the kernel knows it.
///
/// # Safety
/// `params` points to a whole `struct io_uring_params`, as the system call demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap___sys_io_uring_setup(entries: c_uint, params: *mut Params) -> c_int {
    if IS_ASKED.get() {
        // SAFETY: the caller hands over a whole structure, which begins with these fields.
        unsafe { (*params).flags |= COOP_TASKRUN };
        // SAFETY: the caller keeps what the call demands.
        let ring = unsafe { set_up(entries, params) };
        if ring >= 0 {
            RINGS.set(RINGS.get() + 1);
        }
        if ring >= 0 || Errno::last() != Errno::EINVAL {
            return ring;
        }
        // Linux before 5.19 refuses what it does not know.
        // SAFETY: as above.
        unsafe { (*params).flags &= !COOP_TASKRUN };
    }
    // SAFETY: the caller keeps what the call demands.
    unsafe { set_up(entries, params) }
}

/// The system call itself.
///
/// # Safety
/// As for [`__wrap___sys_io_uring_setup`].
unsafe fn set_up(entries: c_uint, params: *mut Params) -> c_int {
    // SAFETY: the caller keeps what the call demands.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) };
    c_int::try_from(ring).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use super::*;

    /// `struct io_uring_params` is 120 bytes long.
    fn params(flags: u32) -> [u32; 30] {
        let mut params = [0; 30];
        params[2] = flags;
        params
    }

    fn ring(params: &mut [u32; 30]) -> c_int {
        // SAFETY: the array is as large as the structure.
        unsafe { __wrap___sys_io_uring_setup(2, params.as_mut_ptr().cast()) }
    }

    fn close(ring: c_int) {
        assert!(ring >= 0, "{}", Errno::last());
        // SAFETY: nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(ring) });
    }

    /// If this kernel has the flag.
    fn is_known() -> bool {
        let mut params = params(COOP_TASKRUN);
        // SAFETY: the array is as large as the structure.
        let ring = unsafe { set_up(2, params.as_mut_ptr().cast()) };
        let is_known = ring >= 0 || Errno::last() != Errno::EINVAL;
        if is_known {
            close(ring);
        }
        is_known
    }

    #[test]
    fn a_ring_has_the_flag_only_where_it_was_asked_for() {
        let mut plain = params(0);
        close(ring(&mut plain));
        ask();
        let mut asked = params(0);
        close(ring(&mut asked));
        let (flag, count) = if is_known() {
            (COOP_TASKRUN, 1)
        } else {
            (0, 0)
        };
        assert_eq!((plain[2], asked[2], rings()), (0, flag, count));
    }

    /// As an older kernel does, this one refuses the flag beside `IORING_SETUP_SQPOLL`.
    #[test]
    fn where_the_kernel_refuses_the_flag_the_ring_is_made_without() {
        const SQPOLL: u32 = 1 << 1;
        ask();
        let mut refused = params(SQPOLL);
        close(ring(&mut refused));
        assert_eq!((refused[2], rings()), (SQPOLL, 0));
    }
}
