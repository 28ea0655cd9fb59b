//! The end of what goes on beside a test.

use std::sync::atomic::{AtomicBool, Ordering};

/// Says that it is over when dropped, also when the test fails: a scope waits for its threads before
/// it lets the failure out.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
