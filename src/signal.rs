//! SIGTERM, SIGINT and SIGHUP, for the server: blocked before any other thread exists, so that every
//! thread inherits the mask, and waited for by one. That one ends a server that does not serve yet by itself:
//! opening the topics can take long, and whoever does it hears nobody.
//! SIGXFSZ is blocked as well, and nobody waits for it: a write beyond the limit of a file's size (setrlimit(2)) is an
//! error like any other, where its signal ended the server without a word.

use std::process;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use crate::exit::{Exit, no_thread};
use crate::telemetry;

/// Signals that wait for whoever acts on them; what comes meanwhile waits in the kernel, as one of its kind.
const ASKED_MAX: usize = 1;

/// What the signals ask for, from now on.
pub(crate) struct Heard {
    asked: Receiver<Asked>,
    reached: Reached,
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

/// How far a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It is told what to do, also how to log.
    #[default]
    Told,
    /// It logs, and does not serve yet.
    Logging,
    /// It serves, and stops in order.
    Serving,
}

/// Locked while a server that does not serve yet is ended, so that it does not begin to meanwhile.
#[derive(Clone, Default)]
struct Reached(Arc<Mutex<Stage>>);

/// Blocks the signals in this thread and in all that it starts from now on, and has a thread wait for them. Until
/// [`Heard::serving`], who asks to stop ends the process, as a kill would: the next start finds all that was
/// acknowledged, and opens it.
///
/// # Errors
/// If the system refuses the thread.
pub(crate) fn hear() -> anyhow::Result<Heard> {
    let all = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let signals: SigSet = all.into_iter().collect();
    let mut blocked = signals;
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block()?;
    let (ask, asked) = sync_channel(ASKED_MAX);
    let reached = Reached::default();
    let theirs = reached.clone();
    let thread = thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(move || pass_on(&signals, &ask, &theirs))
        .map_err(|source| no_thread("signals", source))?;
    Ok(Heard {
        asked,
        reached,
        ignores_hangup: ignores_hangup(),
    })
}

fn pass_on(signals: &SigSet, ask: &SyncSender<Asked>, reached: &Reached) {
    loop {
        let asked = match signals.wait() {
            Ok(Signal::SIGHUP) => Asked::Reload,
            Ok(signal) => Asked::Stop(signal),
            Err(error) => {
                tracing::error!(%error, "signals are not heard any more");
                return;
            }
        };
        let stage = reached.lock();
        match (asked, *stage) {
            (_, Stage::Serving) => {
                drop(stage);
                if ask.send(asked).is_err() {
                    return;
                }
            }
            (Asked::Stop(signal), stage) => give_up(signal, stage),
            // One that waits already reads the file as late as this one would.
            (Asked::Reload, _) => drop(ask.try_send(asked)),
        }
    }
}

impl Heard {
    /// From now on the server logs.
    pub(crate) fn logging(&self) {
        *self.reached.lock() = Stage::Logging;
    }

    /// From now on the server serves, and is asked to stop in order.
    pub(crate) fn serving(&self) {
        *self.reached.lock() = Stage::Serving;
    }

    /// Waits until a signal comes, and says what it asks for.
    ///
    /// # Errors
    /// If none can come any more; no such case is known.
    pub(crate) fn wait(&self) -> anyhow::Result<Asked> {
        self.asked.recv().context("signals are not heard any more")
    }
}

impl Reached {
    fn lock(&self) -> MutexGuard<'_, Stage> {
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
fn give_up(signal: Signal, stage: Stage) -> ! {
    const WHY: &str = "stopped before it served: the next start begins anew";
    if stage == Stage::Told {
        telemetry::say(WHY);
    } else {
        tracing::info!(%signal, "{WHY}");
        telemetry::wait_written();
    }
    process::exit(Exit::Done as i32);
}
