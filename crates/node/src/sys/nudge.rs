//! Making a sleeping thread look around.
#![expect(
    unsafe_code,
    reason = "signals have no safe wrapper; the public face is safe"
)]

use std::io;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getpid, gettid};

/// A thread of this process that can be nudged: a system call that it sleeps in, such as waiting
/// for completions, ends with `EINTR` or is restarted, and nothing else happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nudge(Pid);

impl Nudge {
    /// The calling thread.
    ///
    /// # Errors
    /// As the kernel says, if it does not take the handler that ignores a nudge.
    pub(crate) fn of_this_thread() -> io::Result<Self> {
        // Without a handler a nudge would be ignored before it wakes anyone.
        static INSTALLED: OnceLock<Result<(), Errno>> = OnceLock::new();
        (*INSTALLED.get_or_init(install))?;
        Ok(Self(gettid()))
    }

    /// Nudges the thread. If it has ended, nothing happens, or a younger thread of this process
    /// is nudged, which does it no harm.
    pub(crate) fn nudge(self) {
        // SAFETY: the call touches no memory; the signal has a handler that does nothing.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                getpid().as_raw(),
                self.0.as_raw(),
                SIGNAL as i32,
            )
        };
    }
}

fn install() -> Result<(), Errno> {
    let action = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, so it may run at any moment on any thread; nobody else in
    // this process uses the signal.
    unsafe { sigaction(SIGNAL, &action) }.map(drop)
}

extern "C" fn ignore(_signal: libc::c_int) {}

/// Ignored by default, so that a nudge that comes before its handler does nothing.
const SIGNAL: Signal = Signal::SIGURG;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_is_woken_and_one_that_ended_is_not_missed() {
        let (awake, woken) = std::sync::mpsc::channel();
        let (ready, start) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            ready.send(Nudge::of_this_thread().unwrap()).unwrap();
            // Never restarted after a handler, whatever its flags.
            awake
                .send(nix::poll::poll(&mut [], nix::poll::PollTimeout::NONE))
                .unwrap();
        });
        let nudge = start.recv().unwrap();
        let answer = loop {
            nudge.nudge();
            let patience = std::time::Duration::from_millis(10);
            if let Ok(answer) = woken.recv_timeout(patience) {
                break answer;
            }
        };
        assert_eq!(answer, Err(Errno::EINTR));
        thread.join().unwrap();
        nudge.nudge();
    }
}
