//! The threads that send.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

use super::budget::Budget;
use super::places::{Place, Places};
use super::receive::Receivers;
use super::turn::{Over, Turn};
use crate::rate::Rate;
use crate::sys::priority;

/// Turns that are taken at once, and so files that are open for it, over the whole node: enough to
/// keep a disk and a network busy, few enough that each is a stream and not a step.
pub(crate) const PLACES: usize = 8;

/// A node's threads for sending, and those for receiving. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Transfers {
    jobs: Sender<Job>,
    places: Arc<Places>,
    copies: Receivers,
    repairs: Receivers,
}

#[derive(Debug)]
struct Job {
    turn: Turn,
    over: Sender<Over>,
}

impl Transfers {
    /// Starts the threads, which send so many bytes in a second together; 0: as many as they can.
    /// Called by a thread that is not pinned: threads inherit that.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn start(rate: Rate) -> io::Result<Self> {
        let budget = Arc::new(Budget::new(rate));
        let (jobs, queue) = flume::bounded::<Job>(PLACES);
        let places = Places::new(PLACES);
        for index in 0..PLACES {
            let (queue, budget) = (queue.clone(), Arc::clone(&budget));
            let places = Arc::clone(&places);
            let thread = thread::Builder::new().name(format!("transfer-{index}"));
            thread.spawn(move || run(&queue, &budget, &places))?;
        }
        let (copies, repairs) = Receivers::start()?;
        Ok(Self {
            jobs,
            places,
            copies,
            repairs,
        })
    }

    /// The threads that receive what a copy of a log has not yet.
    pub(crate) fn copies(&self) -> &Receivers {
        &self.copies
    }

    /// The threads that receive anew what is damaged.
    pub(crate) fn repairs(&self) -> &Receivers {
        &self.repairs
    }

    /// Waits for a place; who waits longest gets the next one.
    pub(super) async fn place(&self) -> Place {
        self.places.next().await
    }

    /// Has a thread take a turn; it ends soon if the future is dropped.
    pub(super) async fn take(&self, _place: Place, turn: Turn) -> Over {
        let (over, told) = flume::bounded(1);
        let ended = || Over::Cut(io::ErrorKind::BrokenPipe.into());
        match self.jobs.send_async(Job { turn, over }).await {
            Ok(()) => told.recv_async().await.unwrap_or_else(|_gone| ended()),
            Err(_gone) => ended(),
        }
    }
}

fn run(queue: &Receiver<Job>, budget: &Budget, places: &Places) {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "segments are sent with the priority of a core");
    }
    // What sockets refer to cannot leave the page cache: the last turn's goes after the next one.
    let mut behind = None;
    loop {
        let next = match behind {
            Some(_) => queue.recv_timeout(LINGER),
            None => queue.recv().map_err(|_gone| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Job { turn, over }) => {
                let (ended, footprint) = turn.take(budget, places, || over.is_disconnected());
                behind = Some(footprint);
                // Whoever waited for it may have gone.
                let _ = over.send(ended);
            }
            Err(RecvTimeoutError::Timeout) => behind = None,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// How long after the last turn its pages are given back.
const LINGER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rt;

    /// The niceness of this process's threads whose name begins so.
    fn niceness_of(name: &str) -> Vec<i32> {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let stats = threads.filter_map(|thread| {
            // It may have ended.
            let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            let (before, behind) = stat.rsplit_once(") ")?;
            let is_it = before.split_once('(')?.1.starts_with(name);
            // The 19th field of proc_pid_stat(5), of which the third is the first behind the name.
            is_it.then(|| behind.split(' ').nth(16)?.parse().ok())?
        });
        stats.collect()
    }

    #[test]
    fn who_sends_segments_steps_back_as_who_receives_them_does() {
        let transfers = Transfers::start(Rate::default()).unwrap();
        for name in ["transfer-", "receive-copy-", "receive-repair-"] {
            // Each has its name and does so once it runs.
            let has_stepped_back = || {
                let found = niceness_of(name);
                !found.is_empty() && found.iter().all(|niceness| *niceness == 10)
            };
            let deadline = rt::now() + Duration::from_secs(60);
            while !has_stepped_back() {
                assert!(rt::now() < deadline, "{name}: {:?}", niceness_of(name));
                thread::yield_now();
            }
        }
        drop(transfers);
    }
}
