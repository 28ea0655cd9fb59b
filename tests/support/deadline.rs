//! Nothing in a test waits for ever: a process that does not end in time is killed, and the test
//! fails with what it was waiting for.

use std::process::{Child, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far beyond what anything takes on a slow, busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Kills the process with the id `pid` unless dropped within [`DEADLINE`].
pub(crate) struct Watch {
    _done: mpsc::Sender<()>,
}

impl Watch {
    pub(crate) fn over(pid: u32, what: &str) -> Self {
        let (done, is_done) = mpsc::channel::<()>();
        let what = what.to_owned();
        thread::spawn(move || {
            if is_done.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what}: not done after {DEADLINE:?}, killed");
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
        });
        Self { _done: done }
    }
}

/// Waits for `child` to end and collects what it printed.
pub(crate) fn output_of(child: Child, what: &str) -> Output {
    let _watch = Watch::over(child.id(), what);
    child.wait_with_output().unwrap()
}
