//! Work that takes minutes: on a thread of its own, behind everything that clients wait for.

use super::threads::Threads;
use crate::sys::priority;

/// One thread for all of the process.
pub(super) static LONG: Threads = Threads::new("long-work", 1, 16, || {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "long work keeps its priority");
    }
});

/// Runs `work` on the process's one thread for long work and gives its value; what is given while
/// that works waits. If the returned future is dropped, the work still runs to its end, once the queue has taken it and unless
/// the process ends before.
///
/// # Panics
/// If `work` panicked (in a build that unwinds).
pub async fn long<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    LONG.run(work).await
}
