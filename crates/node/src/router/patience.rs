//! How long a client waits: until it hangs up, or what it sends next may not.

use std::cell::Cell;

use crate::rt::Notify;

/// Whether a connection's client still waits for what may come, of some of its requests.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    is_over: Cell<bool>,
    ended: Notify,
}

impl Patience {
    /// The client waits no longer: these long polls are answered with what there is.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        self.ended.notify();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Ready when the client waits no longer.
    pub(super) fn over(&self) -> impl Future<Output = ()> {
        self.ended.until(|| self.is_over())
    }
}
