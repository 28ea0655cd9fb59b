//! SIGINT and SIGTERM, for a client command: being asked to stop, also while nobody takes what is printed.

use std::sync::mpsc;
use std::time::Duration;
use std::{process, thread};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::exit::Exit;
use crate::session;

/// How long it may take to hand over what was printed, and to remember it.
pub(crate) const HANDING_OVER: Duration = Duration::from_secs(5);

/// Whether SIGINT or SIGTERM came. A thread of its own hears them: the one that prints may wait for its reader. If that
/// does not end within `grace`, or another one comes, the process does, as `give_up` says; what it remembers is what was
/// handed over before.
///
/// # Errors
/// If the system refuses the thread.
pub(crate) fn asked(
    grace: Duration,
    give_up: impl FnOnce() -> Exit + Send + 'static,
) -> anyhow::Result<watch::Receiver<bool>> {
    let (tell, asked) = watch::channel(false);
    let (heard, hears) = mpsc::channel();
    let hear = move || async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        heard.send(())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tell.send_replace(true);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = sleep(grace) => {}
        }
        process::exit(give_up() as i32)
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(|| session::on_this_thread::<_, ()>(hear))
        .context("cannot start the thread that waits for signals")?;
    hears.recv().context("signals are not heard")?;
    Ok(asked)
}
