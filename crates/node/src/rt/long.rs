//! Work that takes minutes: on a thread of its own, behind everything that clients wait for.

use std::sync::OnceLock;
use std::thread;

use flume::{Receiver, Sender};

use crate::sys::priority;

/// Runs `work` on the process's one thread for long work and gives its value; what is given while
/// that works waits. If the returned future is dropped, the work still runs to its end, once the queue has taken it and unless
/// the process ends before.
///
/// # Panics
/// If `work` panicked (in a build that unwinds).
pub async fn long<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = flume::bounded(1);
    let job: Job = Box::new(move || {
        // The caller may have gone; its work is done all the same.
        let _ = done.send(work());
    });
    let answer = match start().send_async(job).await {
        Ok(()) => result.recv_async().await,
        Err(_) => unreachable!("the thread lives as long as the process"),
    };
    match answer {
        Ok(value) => value,
        Err(flume::RecvError::Disconnected) => panic!("long work panicked"),
    }
}

/// Starts the thread unless it runs. Called by a thread that is not pinned: threads inherit that.
pub(super) fn start() -> &'static Sender<Job> {
    static LONG: OnceLock<Sender<Job>> = OnceLock::new();
    LONG.get_or_init(|| {
        let (jobs, queue) = flume::bounded::<Job>(QUEUE_JOBS_MAX);
        let spawned = thread::Builder::new()
            .name("long-work".to_owned())
            .spawn(move || run(&queue));
        assert!(
            spawned.is_ok(),
            "the system refuses a single thread: {spawned:?}"
        );
        jobs
    })
}

fn run(queue: &Receiver<Job>) {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "long work keeps its priority");
    }
    while let Ok(job) = queue.recv() {
        job();
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait before callers do.
const QUEUE_JOBS_MAX: usize = 16;
