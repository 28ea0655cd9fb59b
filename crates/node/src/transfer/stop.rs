//! A wish that work on other threads ends, and waiting for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelog_storage::log::CallOff;

/// See the [module](self). Once set it stays so.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    called: CallOff,
    /// Held by who sets it, so that nobody begins to wait meanwhile.
    setting: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Asks those who look at it to end.
    pub(crate) fn set(&self) {
        let setting = self.setting();
        self.called.call();
        drop(setting);
        self.changed.notify_all();
    }

    /// Whether it is time to end.
    pub(crate) fn is_set(&self) -> bool {
        self.called.is_called()
    }

    /// The same for what looks at it within the storage.
    pub(super) fn call_off(&self) -> &CallOff {
        &self.called
    }

    /// Waits for `pause`, or less if it is time to end.
    pub(crate) fn pause(&self, pause: Duration) {
        let is_unset = |_: &mut ()| !self.is_set();
        // Whether it was set or time has passed is all the same to who looks again.
        let _ = self
            .changed
            .wait_timeout_while(self.setting(), pause, is_unset);
    }

    fn setting(&self) -> MutexGuard<'_, ()> {
        self.setting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
