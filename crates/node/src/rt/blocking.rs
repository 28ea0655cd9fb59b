//! What must not run on a core: the pool of directory threads.
//!
//! One pool per process, shared by its cores: directory operations, truncation, allocation and
//! mapping may wait for the disk's journal, and sixteen partitions that roll at once should not
//! wait for one another.

use super::threads::Threads;
use super::vitals::{self, Work};

/// Journal commits of several partitions overlap, and eight sleeping threads cost nothing. More jobs wait than all
/// partitions of a busy node roll at once.
pub(super) static POOL: Threads = Threads::new("directory", 8, 1024, || ());

/// Runs `work` on the pool and gives its value.
///
/// Pieces should be bounded: a piece occupies one of the threads until it is done. If the
/// returned future is dropped, the work still runs to its end, once the pool's queue has taken it; not at all before.
///
/// # Panics
/// If `work` panicked (in a build that unwinds).
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _outstanding = vitals::outstanding(Work::Directory);
    unwatched(work).await
}

/// The same of what may take minutes on a disk that is well, for how much it is, or for whoever else is to answer: its age says
/// nothing of the node's disk.
///
/// # Panics
/// If `work` panicked (in a build that unwinds).
pub async fn unwatched<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    POOL.run(work).await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Instant;

    use futures_lite::future::{block_on, poll_once};

    use super::super::vitals::{Vitals, install};
    use super::*;

    /// The removal of a large topic, and a source that did not answer, would have had operators look at a disk that was well.
    #[test]
    fn what_may_take_minutes_on_a_disk_that_is_well_has_no_age() {
        let vitals = Arc::new(Vitals::new("unwatched"));
        install(Arc::clone(&vitals));
        let age = || vitals.oldest(Instant::now());
        let (end, ended) = flume::bounded::<()>(0);
        let wait = move || ended.recv().unwrap_or_default();
        let mut removal = pin!(unwatched(wait.clone()));
        assert!(block_on(poll_once(&mut removal)).is_none());
        assert_eq!(age(), None);
        let mut look = pin!(blocking(wait));
        assert!(block_on(poll_once(&mut look)).is_none());
        assert!(age().is_some_and(|(work, _)| work == Work::Directory));
        drop(end);
        block_on(removal);
        block_on(look);
        assert_eq!(age(), None);
    }
}
