//! Plain threads beside the cores, which do what is handed to them in the order in which it comes.

use std::sync::OnceLock;
use std::thread;

use flume::{Receiver, Sender};

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
        let answer = match self.start().send_async(job).await {
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
        if let Err(refused) = self.start().try_send(Box::new(work)) {
            refused.into_inner()();
        }
    }

    /// Starts them unless they run; one at least, or there is no node. Called by a thread that is not pinned: threads
    /// inherit that.
    pub(super) fn start(&'static self) -> &'static Sender<Job> {
        self.jobs.get_or_init(|| {
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
                assert!(
                    spawned.is_ok() || index > 0,
                    "the system refuses a single thread: {spawned:?}"
                );
            }
            jobs
        })
    }
}

fn run(queue: &Receiver<Job>, begin: fn()) {
    begin();
    while let Ok(job) = queue.recv() {
        job();
    }
}

type Job = Box<dyn FnOnce() + Send>;
