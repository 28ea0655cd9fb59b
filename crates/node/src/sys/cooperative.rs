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

use nix::libc;

thread_local! {
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
    static RINGS: Cell<u32> = const { Cell::new(0) };
}

/// Rings that this thread makes from now on do not interrupt it, if `is_asked`; not for a thread that
/// watches the memory that it shares with the kernel and stays away from the kernel itself.
pub(crate) fn ask(is_asked: bool) {
    IS_ASKED.set(is_asked);
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

/// `io_uring_setup(2)`, with the flag added where that was asked for.
///
/// # Safety
/// `params` points to a whole `struct io_uring_params`, as the system call demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap___sys_io_uring_setup(entries: c_uint, params: *mut Params) -> c_int {
    let is_asked = IS_ASKED.get();
    if is_asked {
        // SAFETY: the caller hands over a whole structure, which begins with these fields.
        unsafe { (*params).flags |= COOP_TASKRUN };
    }
    // SAFETY: the caller keeps what the call demands.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) };
    if is_asked && ring >= 0 {
        RINGS.set(RINGS.get() + 1);
    }
    c_int::try_from(ring).unwrap_or(-1)
}
