//! Operations of files that go on beside the thread that asked for them.
//!
//! A synchronous program has one thread and no runtime, yet need not wait for its disk: what it polls
//! with [`poll`] is handed to a helper thread, and looked after by the polls that follow. What it polls
//! otherwise, with [`block_on`](super::super::block_on), is done before that returns, and what was
//! handed over before is waited for.
//!
//! Helpers belong to the thread that asks, and wait for its next operation when they have done one.
//!
//! An operation that was begun is never left behind: dropping it waits for its end, so that nothing is
//! written behind the back of who reopens the file.

use ::std::cell::{Cell, RefCell};
use ::std::future::Future;
use ::std::io;
use ::std::mem;
use ::std::pin::{Pin, pin};
use ::std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use ::std::task::{Context, Poll};
use ::std::thread::{self, Builder, Thread};

use super::super::poll_once;

/// Polls `future` once. What std files are asked for meanwhile is left to helper threads: poll again
/// to take it up and go on, or run the rest with [`block_on`](super::super::block_on).
pub fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    let before = IS_BESIDE.replace(true);
    assert!(!before, "a poll is not nested in another");
    let _until = Until;
    poll_once(future)
}

/// Runs `future` to its end. What std files are asked for is left to helper threads, so that one
/// operation goes on while another is done here; this thread waits where all that is left is theirs.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        HAS_WAITED.set(false);
        match poll(future.as_mut()) {
            Poll::Ready(done) => return done,
            // What was waited for meanwhile may have taken another helper's word that it is done.
            Poll::Pending if HAS_WAITED.get() => {}
            // A helper that has come to the end of its work says so.
            Poll::Pending => thread::park(),
        }
    }
}

/// Ends a poll, also one that panics.
struct Until;

impl Drop for Until {
    fn drop(&mut self) {
        IS_BESIDE.set(false);
    }
}

/// Runs `work`, here or beside.
pub(super) fn run(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Operation {
    Operation(State::New(Box::new(work)))
}

/// An operation of a file.
pub(super) struct Operation(State);

enum State {
    New(Work),
    Begun(Helper),
    Over,
}

type Work = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl Future for Operation {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_beside = IS_BESIDE.get();
        match mem::replace(&mut self.0, State::Over) {
            State::New(work) if !is_beside => Poll::Ready(work()),
            State::New(work) => match Helper::begin(work) {
                Ok(helper) => {
                    self.0 = State::Begun(helper);
                    Poll::Pending
                }
                // No thread is to be had: that is no failure of the disk.
                Err(work) => Poll::Ready(work()),
            },
            State::Begun(helper) if is_beside => match helper.look() {
                Ok(outcome) => Poll::Ready(outcome),
                Err(helper) => {
                    self.0 = State::Begun(helper);
                    Poll::Pending
                }
            },
            State::Begun(helper) => Poll::Ready(helper.wait()),
            State::Over => unreachable!("an operation is not polled behind its end"),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let State::Begun(helper) = mem::replace(&mut self.0, State::Over) {
            // Nobody is left who asks for the outcome.
            let _outcome = helper.wait();
        }
    }
}

/// A thread that does one operation after the other, until this is dropped.
struct Helper {
    work: Sender<Work>,
    outcome: Receiver<io::Result<()>>,
}

impl Helper {
    /// Has a helper do `work`, which comes back if there is none to do it.
    fn begin(work: Work) -> Result<Self, Work> {
        let idle = IDLE.with_borrow_mut(Vec::pop);
        let Some(helper) = idle.or_else(|| Self::new().ok()) else {
            return Err(work);
        };
        match helper.work.send(work) {
            Ok(()) => Ok(helper),
            Err(mpsc::SendError(work)) => Err(work),
        }
    }

    fn new() -> io::Result<Self> {
        let (work, asked) = mpsc::channel::<Work>();
        let (done, outcome) = mpsc::channel();
        let owner = Woken(thread::current());
        Builder::new().name(NAME.to_owned()).spawn(move || {
            // In this order: whoever is woken by a panic finds that nothing comes any more.
            let owner = owner;
            let done = done;
            for work in asked {
                if done.send(work()).is_err() {
                    break;
                }
                owner.0.unpark();
            }
        })?;
        Ok(Self { work, outcome })
    }

    /// The outcome of its work, if it has come to its end.
    fn look(self) -> Result<io::Result<()>, Self> {
        match self.outcome.try_recv() {
            Ok(outcome) => {
                self.rest();
                Ok(outcome)
            }
            Err(TryRecvError::Empty) => Err(self),
            Err(TryRecvError::Disconnected) => Ok(Err(panicked())),
        }
    }

    /// The outcome of its work, once it has come to its end.
    fn wait(self) -> io::Result<()> {
        HAS_WAITED.set(true);
        let Ok(outcome) = self.outcome.recv() else {
            return Err(panicked());
        };
        self.rest();
        outcome
    }

    /// Lets it wait for the next operation.
    fn rest(self) {
        // A thread that ends keeps none.
        let _kept = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < IDLE_MAX {
                idle.push(self);
            }
        });
    }
}

/// A thread that is woken in any case when this is dropped.
struct Woken(Thread);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

fn panicked() -> io::Error {
    io::Error::other("the thread of an operation panicked")
}

thread_local! {
    /// Whether this thread polls for operations that are to go on beside it.
    static IS_BESIDE: Cell<bool> = const { Cell::new(false) };

    /// Whether this thread has waited for a helper since it was last asked.
    static HAS_WAITED: Cell<bool> = const { Cell::new(false) };

    /// Helpers of this thread that have nothing to do.
    static IDLE: RefCell<Vec<Helper>> = const { RefCell::new(Vec::new()) };
}

/// The most helpers that are kept: a log has a group under way and a piece of background work, which
/// may finish several segments at once.
const IDLE_MAX: usize = 4;

/// The name of a helper thread.
const NAME: &str = "corelog-disk";

#[cfg(test)]
mod tests {
    use ::std::future::poll_fn;
    use ::std::sync::mpsc::{Receiver, channel};
    use ::std::thread::{self, ThreadId};

    use super::super::super::block_on;
    use super::*;

    /// An operation, and where it ran.
    fn operation() -> (Operation, Receiver<ThreadId>) {
        let (here, place) = channel();
        let work = move || here.send(thread::current().id()).map_err(io::Error::other);
        (run(work), place)
    }

    fn ended(mut operation: Operation) -> io::Result<()> {
        loop {
            match poll(Pin::new(&mut operation)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::yield_now(),
            }
        }
    }

    #[test]
    fn an_operation_that_is_waited_for_is_done_here() {
        let (operation, place) = operation();
        block_on(operation).unwrap();
        assert_eq!(place.recv().unwrap(), thread::current().id());
    }

    #[test]
    fn a_helper_does_one_operation_after_the_other() {
        let mut places = Vec::new();
        for _ in 0..3 {
            let (operation, place) = operation();
            ended(operation).unwrap();
            places.push(place.recv().unwrap());
        }
        assert_ne!(places[0], thread::current().id());
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    }

    #[test]
    fn operations_at_the_same_time_have_a_helper_each() {
        let (to_one, from_other) = channel::<()>();
        let mut one = run(move || from_other.recv().map_err(io::Error::other));
        assert!(poll(Pin::new(&mut one)).is_pending());
        ended(run(move || to_one.send(()).map_err(io::Error::other))).unwrap();
        ended(one).unwrap();
    }

    #[test]
    fn what_is_begun_together_is_done_together_and_waited_for() {
        let (to_one, from_other) = channel::<()>();
        let mut one = run(move || from_other.recv().map_err(io::Error::other));
        let mut other = run(move || to_one.send(()).map_err(io::Error::other));
        super::block_on(async {
            let begun = poll_fn(|context| Poll::Ready(Pin::new(&mut one).poll(context)));
            assert!(begun.await.is_pending());
            Pin::new(&mut other).await.unwrap();
            Pin::new(&mut one).await.unwrap();
        });
        let failed = super::block_on(run(|| panic!("beside"))).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn a_panic_beside_is_a_failed_operation_and_the_next_one_has_another_helper() {
        let failed = ended(run(|| panic!("beside"))).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::Other);
        let failed = ended(run(|| Err(io::ErrorKind::StorageFull.into()))).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        ended(operation().0).unwrap();
    }

    #[test]
    fn an_operation_that_is_dropped_has_come_to_its_end() {
        let (mut operation, place) = operation();
        let _either = poll(Pin::new(&mut operation));
        drop(operation);
        assert!(place.try_recv().is_ok());
    }
}
