//! SIGTERM, SIGINT and SIGHUP, for the server: blocked before any other thread exists, so that every
//! thread inherits the mask, then waited for by one.

use nix::sys::signal::{SigSet, Signal};

/// The signals that ask a server for something, blocked.
pub(crate) struct Signals {
    set: SigSet,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To stop in order.
    Stop(Signal),
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Blocks them in this thread and in all that it starts from now on.
    ///
    /// # Errors
    /// What the kernel says; none is known.
    pub(crate) fn block() -> anyhow::Result<Self> {
        let all = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        let set: SigSet = all.into_iter().collect();
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Waits until one of them comes, and says what it asks for.
    ///
    /// # Errors
    /// What the kernel says; none is known.
    pub(crate) fn wait(&self) -> anyhow::Result<Asked> {
        Ok(match self.set.wait()? {
            Signal::SIGHUP => Asked::Reload,
            signal => Asked::Stop(signal),
        })
    }
}
