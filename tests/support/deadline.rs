//! Nothing in a test waits for ever: a process that does not end in time is killed, and the test
//! fails with what it was waiting for.

use std::process::{Child, Output};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far beyond what anything takes on a slow, busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Kills a process unless dropped in time, and when the test fails meanwhile: it leaves none behind.
pub(crate) struct Watch {
    pid: u32,
    _done: mpsc::Sender<()>,
}

impl Watch {
    /// Over the process with the id `pid`, for [`DEADLINE`].
    pub(crate) fn over(pid: u32, what: &str) -> Self {
        Self::within(DEADLINE, pid, what)
    }

    /// Over the process with the id `pid`, for as long as `deadline`.
    pub(crate) fn within(deadline: Duration, pid: u32, what: &str) -> Self {
        let (done, is_done) = mpsc::channel::<()>();
        let what = what.to_owned();
        thread::spawn(move || {
            if is_done.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what}: not done after {deadline:?}, killed");
                end(pid);
            }
        });
        Self { pid, _done: done }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            end(self.pid);
        }
    }
}

/// Ends a process; one that has ended already is none.
fn end(pid: u32) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// Waits for `child` to end and collects what it printed.
pub(crate) fn output_of(child: Child, what: &str) -> Output {
    let _watch = Watch::over(child.id(), what);
    child.wait_with_output().unwrap()
}

/// Looks again and again until `is_so`, and fails with `what` if that takes too long.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not after {DEADLINE:?}: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
