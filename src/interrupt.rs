//! SIGINT and SIGTERM, for a client command: being asked to stop, also while nobody takes what is printed.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::{io, process, thread};

use anyhow::Context as _;
use nix::libc::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tokio::sync::watch;

use crate::exit::Exit;

/// How long it may take to hand over what was printed, and to remember it.
pub(crate) const HANDING_OVER: Duration = Duration::from_secs(5);

/// Signals that come in so much time are one asking.
const TOGETHER: Duration = Duration::from_millis(200);

/// Whether SIGINT or SIGTERM came. A thread of its own hears them: the one that prints may wait for its reader. If that
/// does not end within `grace` and a moment, or another one comes behind that, the process does, as `give_up` says; what it remembers is what was
/// handed over before.
///
/// # Errors
/// If the system refuses the pipe or the thread.
pub(crate) fn asked(
    grace: Duration,
    give_up: impl FnOnce() -> Exit + Send + 'static,
) -> anyhow::Result<watch::Receiver<bool>> {
    let (tell, asked) = watch::channel(false);
    let mut heard = hear().context("signals are not heard")?;
    let thread = thread::Builder::new().name("signals".to_owned());
    let wait = move || {
        await_one(&mut heard);
        tell.send_replace(true);
        forget_those_with_it(&mut heard, TOGETHER.min(grace));
        // A time limit of zero is refused, and means at once.
        if heard.set_read_timeout(Some(grace)).is_ok() {
            await_one(&mut heard);
        }
        process::exit(give_up() as i32)
    };
    thread
        .spawn(wait)
        .context("cannot start the thread that waits for signals")?;
    Ok(asked)
}

/// Where a byte comes for each signal, from the moment on in which the process no longer dies of it. Not by the runtime's
/// own: with two runtimes in a process, what comes while one begins to listen may be taken by the other, and lost.
fn hear() -> io::Result<UnixStream> {
    let (hears, tells) = UnixStream::pair()?;
    pipe::register(SIGINT, tells.try_clone()?)?;
    pipe::register(SIGTERM, tells)?;
    Ok(hears)
}

/// Takes what comes in that time for the same asking: timeout(1) tells its child, and then its group, of which that is one; what
/// runs several programs tells each beside the terminal. A person who asks again takes longer.
fn forget_those_with_it(heard: &mut UnixStream, time: Duration) {
    thread::sleep(time);
    if heard.set_nonblocking(true).is_ok() {
        while heard.read(&mut [0; 16]).is_ok_and(|bytes| bytes > 0) {}
        // Else it would end at once.
        let _ = heard.set_nonblocking(false);
    }
}

/// Waits for a signal, or until its time limit has passed.
fn await_one(heard: &mut UnixStream) {
    while let Err(error) = heard.read(&mut [0]) {
        if error.kind() != ErrorKind::Interrupted {
            return;
        }
    }
}
