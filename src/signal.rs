//! SIGTERM, SIGINT and SIGHUP, for the server: blocked before any other thread exists, so that every
//! thread inherits the mask, and waited for by one. That one ends a server that does not serve yet by itself:
//! opening the topics can take long, and whoever does it hears nobody.

use std::process;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use crate::exit::Exit;
use crate::telemetry;

/// Signals that wait for whoever acts on them; what comes meanwhile waits in the kernel, as one of its kind.
const ASKED_MAX: usize = 1;

/// What the signals ask for, from now on.
pub(crate) struct Heard {
    asked: Receiver<Asked>,
    is_serving: IsServing,
    /// Whether whoever started it has it live on when the terminal goes (nohup(1)): one that is blocked comes although it is
    /// ignored.
    pub(crate) ignores_hangup: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To stop in order.
    Stop(Signal),
    /// To read the configuration again.
    Reload,
}

/// Locked while a server that does not serve yet is ended, so that it does not begin to meanwhile.
#[derive(Clone, Default)]
struct IsServing(Arc<Mutex<bool>>);

/// Blocks the signals in this thread and in all that it starts from now on, and has a thread wait for them. Until
/// [`Heard::serving`], who asks to stop ends the process, as a kill would: the next start finds all that was
/// acknowledged, and opens it.
///
/// # Errors
/// If the system refuses the thread.
pub(crate) fn hear() -> anyhow::Result<Heard> {
    let all = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let signals: SigSet = all.into_iter().collect();
    signals.thread_block()?;
    let (ask, asked) = sync_channel(ASKED_MAX);
    let is_serving = IsServing::default();
    let theirs = is_serving.clone();
    let thread = thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(move || pass_on(&signals, &ask, &theirs))
        .context("cannot start the thread that waits for signals")?;
    Ok(Heard {
        asked,
        is_serving,
        ignores_hangup: ignores_hangup(),
    })
}

fn pass_on(signals: &SigSet, ask: &SyncSender<Asked>, is_serving: &IsServing) {
    loop {
        let asked = match signals.wait() {
            Ok(Signal::SIGHUP) => Asked::Reload,
            Ok(signal) => Asked::Stop(signal),
            Err(error) => {
                tracing::error!(%error, "signals are not heard any more");
                return;
            }
        };
        let is_serving = is_serving.lock();
        match asked {
            Asked::Stop(signal) if !*is_serving => give_up(signal),
            // One that waits already reads the file as late as this one would.
            Asked::Reload if !*is_serving => drop(ask.try_send(asked)),
            _ => {
                drop(is_serving);
                if ask.send(asked).is_err() {
                    return;
                }
            }
        }
    }
}

impl Heard {
    /// From now on the server serves, and is asked to stop in order.
    pub(crate) fn serving(&self) {
        *self.is_serving.lock() = true;
    }

    /// Waits until a signal comes, and says what it asks for.
    ///
    /// # Errors
    /// If none can come any more; no such case is known.
    pub(crate) fn wait(&self) -> anyhow::Result<Asked> {
        self.asked.recv().context("signals are not heard any more")
    }
}

impl IsServing {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process was started with SIGHUP ignored, as proc_pid_status(5) tells.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (Signal::SIGHUP as u32 - 1)) != 0)
}

/// Ends the process, as a stop in order would.
fn give_up(signal: Signal) -> ! {
    tracing::info!(%signal, "stopped before it served: the next start begins anew");
    telemetry::wait_written();
    process::exit(Exit::Done as i32);
}
