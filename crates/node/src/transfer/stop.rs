//! A wish that work on other threads ends, and waiting for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use corelog_storage::log::CallOff;

/// See the [module](self). Once set it stays so.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
    /// Tells the storage, which looks at it between any two pieces of what it reads.
    call_off: CallOff,
}

impl Stop {
    /// Asks those who look at it to end.
    pub(crate) fn set(&self) {
        let mut is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        *is_set = true;
        // While it is locked: whoever is called off finds it set.
        self.call_off.call();
        drop(is_set);
        self.changed.notify_all();
    }

    /// Whether it is time to end.
    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the same wish calls off in the storage.
    pub(super) fn call_off(&self) -> &CallOff {
        &self.call_off
    }

    /// Waits for `pause`, or less if it is time to end.
    pub(crate) fn pause(&self, pause: Duration) {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it was set or time has passed is all the same to who looks again.
        let _ = self
            .changed
            .wait_timeout_while(is_set, pause, |is_set| !*is_set);
    }
}
