//! What must not run on a core: the pool of directory threads.
//!
//! One pool per process, shared by its cores: directory operations, truncation, allocation and
//! mapping may wait for the disk's journal, and sixteen partitions that roll at once should not
//! wait for one another.

use std::sync::OnceLock;
use std::thread;

use flume::{Receiver, Sender};

use super::vitals::{self, Work};

/// Runs `work` on the pool and gives its value.
///
/// Pieces should be bounded: a piece occupies one of `THREADS` threads until it is done. If the
/// returned future is dropped, the work still runs to its end, once the pool's queue has taken it; not at all before.
///
/// # Panics
/// If `work` panicked (in a build that unwinds).
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _outstanding = vitals::outstanding(Work::Directory);
    let (done, result) = flume::bounded(1);
    let job: Job = Box::new(move || {
        // The caller may have gone; its work is done all the same.
        let _ = done.send(work());
    });
    let answer = match start().send_async(job).await {
        Ok(()) => result.recv_async().await,
        Err(_) => unreachable!("the pool's threads live as long as the process"),
    };
    match answer {
        Ok(value) => value,
        Err(flume::RecvError::Disconnected) => panic!("work on the pool panicked"),
    }
}

/// Runs `work` on the pool some time later, or right here if the pool is busy. For closing what is
/// dropped.
pub(super) fn run_detached(work: impl FnOnce() + Send + 'static) {
    if let Err(refused) = start().try_send(Box::new(work)) {
        refused.into_inner()();
    }
}

/// Starts the pool unless it runs. Called by a thread that is not pinned: threads inherit that.
pub(super) fn start() -> &'static Sender<Job> {
    static POOL: OnceLock<Sender<Job>> = OnceLock::new();
    POOL.get_or_init(|| {
        let (jobs, queue) = flume::bounded::<Job>(QUEUE_JOBS_MAX);
        for index in 0..THREADS {
            let queue = queue.clone();
            let spawned = thread::Builder::new()
                .name(format!("directory-{index}"))
                .spawn(move || run(&queue));
            assert!(
                spawned.is_ok() || index > 0,
                "the system refuses a single thread: {spawned:?}"
            );
        }
        jobs
    })
}

fn run(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        job();
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads of the pool: journal commits of several partitions overlap, and eight sleeping threads
/// cost nothing.
const THREADS: usize = 8;

/// Jobs that wait before callers do: more than all partitions of a busy node roll at once.
const QUEUE_JOBS_MAX: usize = 1024;
