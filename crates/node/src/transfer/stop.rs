//! A wish that work on other threads ends, and waiting for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the [module](self). Once set it stays so.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Asks those who look at it to end.
    pub(crate) fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it is time to end.
    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
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
