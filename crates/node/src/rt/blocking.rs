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
    POOL.run(work).await
}
