//! The kernel: its version, and whether it lets this process use io_uring.

use corelog_node::sys::{Error, probe};

use super::check::Check;

/// All checks of the kernel.
pub(super) fn checks() -> Vec<Check> {
    vec![kernel(), io_uring()]
}

fn kernel() -> Check {
    const NAME: &str = "kernel";
    match probe::kernel() {
        Ok(release) => Check::good(NAME, release),
        Err(error) => Check::bad(NAME, error.to_string(), "install Linux 5.11 or later"),
    }
}

fn io_uring() -> Check {
    const NAME: &str = "io_uring";
    match probe::rings() {
        Ok(()) => Check::good(NAME, "allowed"),
        Err(error) => {
            let mend = match &error {
                Error::RingsDisabled { .. } => "sysctl -w kernel.io_uring_disabled=0",
                Error::RingsForbidden { .. } => {
                    "docker run --security-opt seccomp=PROFILE with io_uring_setup, \
                     io_uring_enter and io_uring_register allowed"
                }
                _ => "install Linux 5.11 or later",
            };
            Check::bad(NAME, error.to_string(), mend)
        }
    }
}
