//! Plain threads beside the cores, which do what is handed to them in the order in which it comes.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};
use nix::unistd::gettid;

/// Threads of one kind, for the whole process; they live as long as it.
pub(super) struct Threads {
    jobs: OnceLock<Sender<Job>>,
    /// The first thread's name is this, the others' have their number behind it.
    name: &'static str,
    count: usize,
    /// Jobs that wait before callers do.
    queue_jobs_max: usize,
    /// What each thread does first.
    begin: fn(),
}

impl Threads {
    pub(super) const fn new(
        name: &'static str,
        count: usize,
        queue_jobs_max: usize,
        begin: fn(),
    ) -> Self {
        Self {
            jobs: OnceLock::new(),
            name,
            count,
            queue_jobs_max,
            begin,
        }
    }

    /// Runs `work` on one of them and gives its value. If the returned future is dropped, the work still runs to its end,
    /// once the queue has taken it and unless the process ends before; not at all before that.
    ///
    /// # Panics
    /// If `work` panicked (in a build that unwinds).
    pub(super) async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (done, result) = flume::bounded(1);
        let job: Job = Box::new(move || {
            // The caller may have gone; its work is done all the same.
            let _ = done.send(work());
        });
        let answer = match self.jobs().send_async(job).await {
            Ok(()) => result.recv_async().await,
            Err(_) => unreachable!("the threads live as long as the process"),
        };
        match answer {
            Ok(value) => value,
            Err(flume::RecvError::Disconnected) => panic!("work on {} panicked", self.name),
        }
    }

    /// Runs `work` on one of them some time later, or right here if the queue is full.
    pub(super) fn run_detached(&'static self, work: impl FnOnce() + Send + 'static) {
        if let Err(refused) = self.jobs().try_send(Box::new(work)) {
            refused.into_inner()();
        }
    }

    /// Starts them unless they run; one at least, or there is no node. Called by a thread that is not pinned: threads
    /// inherit that.
    ///
    /// # Errors
    /// If the system refuses a single one.
    pub(super) fn start(&'static self) -> io::Result<&'static Sender<Job>> {
        if let Some(jobs) = self.jobs.get() {
            return Ok(jobs);
        }
        let (jobs, queue) = flume::bounded::<Job>(self.queue_jobs_max);
        for index in 0..self.count {
            let name = match index {
                0 => self.name.to_owned(),
                _ => format!("{}-{index}", self.name),
            };
            let (queue, begin) = (queue.clone(), self.begin);
            let spawned = thread::Builder::new()
                .name(name)
                .spawn(move || run(&queue, begin));
            match spawned {
                Err(error) if index == 0 => return Err(error),
                // Fewer do the same work.
                _ => {}
            }
        }
        // If somebody else was faster, these end with their queue.
        Ok(self.jobs.get_or_init(|| jobs))
    }

    #[cfg(test)]
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The way to them, which a core finds open.
    fn jobs(&'static self) -> &'static Sender<Job> {
        match self.start() {
            Ok(jobs) => jobs,
            Err(error) => panic!("the system refuses a single thread: {error}"),
        }
    }
}

/// Looks whether the system lets the process have so many threads more, for who cannot be refused one. They have ended by
/// then; what others take meanwhile is not known.
///
/// # Errors
/// If it refuses one of them.
pub(super) fn try_some(count: usize) -> io::Result<()> {
    let (keep, kept) = flume::bounded::<()>(0);
    let mut threads = Vec::with_capacity(count);
    let tried = (0..count).try_for_each(|_| {
        let kept = kept.clone();
        let wait = move || {
            // Until they are let go.
            let _ = kept.recv();
            gettid()
        };
        threads.push(thread::Builder::new().spawn(wait)?);
        Ok(())
    });
    drop(keep);
    let ended = threads.into_iter().filter_map(|thread| thread.join().ok());
    // The kernel counts a thread for a moment after its end has been told.
    let deadline = Instant::now() + GONE_WITHIN;
    for id in ended {
        let path = format!("/proc/self/task/{id}");
        while Path::new(&path).exists() && Instant::now() < deadline {
            thread::yield_now();
        }
    }
    tried
}

/// Far longer than the kernel takes to forget a thread that has ended.
const GONE_WITHIN: Duration = Duration::from_secs(1);

fn run(queue: &Receiver<Job>, begin: fn()) {
    begin();
    while let Ok(job) = queue.recv() {
        job();
    }
}

type Job = Box<dyn FnOnce() + Send>;
