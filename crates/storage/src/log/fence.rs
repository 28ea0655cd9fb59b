//! The fence: no more writes until the log is reopened.

use std::cell::Cell;
use std::rc::Rc;

/// Whether a log is fenced; shared with the plans under way, which set it when they are dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fence(Rc<Cell<bool>>);

/// What a plan carries: unless it comes back to the log that made it, that log is fenced.
#[derive(Debug)]
pub(crate) struct Guard {
    fence: Fence,
    is_back: bool,
}

impl Fence {
    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get()
    }

    /// Sets it, for good.
    pub(crate) fn set(&self) {
        self.0.set(true);
    }

    /// A guard for a plan.
    pub(crate) fn guard(&self) -> Guard {
        Guard {
            fence: self.clone(),
            is_back: false,
        }
    }

    /// Takes a guard back.
    ///
    /// # Panics
    /// If it is another log's: completing a plan of an earlier opening is an error of the program.
    pub(crate) fn take_back(&self, mut guard: Guard) {
        assert!(
            Rc::ptr_eq(&self.0, &guard.fence.0),
            "a plan is completed by the log that made it"
        );
        guard.is_back = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_back {
            self.fence.set();
        }
    }
}
