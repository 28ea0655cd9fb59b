//! How much of the processor a thread gets beside others.
#![expect(
    unsafe_code,
    reason = "setpriority has no safe wrapper; the public face is safe"
)]

use std::io;

use nix::libc;

/// Has the calling thread step back behind all that clients wait for. On Linux a priority is a
/// thread's, although `setpriority(2)` speaks of processes.
///
/// # Errors
/// As the kernel says; the thread then runs as before.
pub(crate) fn step_back() -> io::Result<()> {
    // SAFETY: the call touches no memory; 0 names the calling thread.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A tenth of the share of an ordinary thread (sched(7)).
const NICENESS: i32 = 10;
