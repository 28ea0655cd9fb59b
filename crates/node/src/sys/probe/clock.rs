//! What the kernel knows of its clock.
#![expect(
    unsafe_code,
    reason = "adjtimex has no safe wrapper; the public face is safe"
)]

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::unknown;
use crate::sys::Error;

/// A clock, as the kernel that keeps it judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether somebody keeps it in step with another clock.
    pub is_synchronised: bool,
    /// How wrong it can be at most; grows while nobody keeps it in step.
    pub error_max: Duration,
}

/// Asks the kernel, and changes nothing.
///
/// # Errors
/// [`Error::Unknown`] if it does not tell.
pub fn clock() -> Result<Clock, Error> {
    let mut told = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the kernel reads and writes one `struct timex`, which is what `told` has room for; no
    // mode is set, so that nothing is changed.
    let state = unsafe { libc::adjtimex(told.as_mut_ptr()) };
    let state = Errno::result(state).map_err(|errno| unknown("the clock")(errno.into()))?;
    // SAFETY: all zeros is a valid `struct timex`, and the kernel has filled in its own.
    let told = unsafe { told.assume_init() };
    Ok(Clock {
        is_synchronised: state != libc::TIME_ERROR && told.status & libc::STA_UNSYNC == 0,
        error_max: Duration::from_micros(u64::try_from(told.maxerror).unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_gets_an_answer() {
        // The kernel stops counting at 16 seconds.
        assert!(clock().unwrap().error_max <= Duration::from_secs(16));
    }
}
