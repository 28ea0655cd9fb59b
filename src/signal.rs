//! SIGTERM and SIGINT, for the server: blocked before any other thread exists, so that every
//! thread inherits the mask, then waited for by one.

use nix::sys::signal::{SigSet, Signal};

/// The signals that ask a server to stop, blocked.
pub(crate) struct StopSignals {
    set: SigSet,
}

impl StopSignals {
    /// Blocks them in this thread and in all that it starts from now on.
    ///
    /// # Errors
    /// What the kernel says; none is known.
    pub(crate) fn block() -> anyhow::Result<Self> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Waits until one of them comes, and says which.
    ///
    /// # Errors
    /// What the kernel says; none is known.
    pub(crate) fn wait(&self) -> anyhow::Result<Signal> {
        Ok(self.set.wait()?)
    }
}
