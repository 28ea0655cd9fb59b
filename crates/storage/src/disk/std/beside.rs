//! Operations of files that go on beside the thread that asked for them.
//!
//! A synchronous program has one thread and no runtime, yet need not wait for its disk: what it polls
//! with [`poll`] is handed to a helper thread, one for each operation, and looked after by the polls
//! that follow. What it polls otherwise, with [`block_on`](super::super::block_on), is done before
//! that returns, and what was handed over before is waited for. [`block_on`] is for who has nothing else
//! to do: it begins at once what a future asks for at once, and waits for all of it.
//!
//! An operation that was begun is never left behind: dropping it waits for its end, so that nothing is
//! written behind the back of who reopens the file.

use ::std::cell::Cell;
use ::std::future::Future;
use ::std::io;
use ::std::panic::{AssertUnwindSafe, catch_unwind};
use ::std::pin::{Pin, pin};
use ::std::sync::Arc;
use ::std::sync::mpsc::{Receiver, RecvError, TryRecvError, sync_channel};
use ::std::task::{Context, Poll, Wake, Waker};
use ::std::thread::{self, Builder, Thread};

/// Polls `future` once. What std files are asked for meanwhile is left to helper threads: poll again
/// to take it up and go on, or run the rest with [`block_on`](super::super::block_on).
pub fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_within(future, Waker::noop())
}

/// Runs `future` to its end. What it asks of std files at once goes on at once: what changes or syncs
/// them on helper threads, reads on this one.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Asleep(thread::current())));
    let mut future = pin!(future);
    loop {
        match poll_within(future.as_mut(), &waker) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// A thread that waits for its helpers.
struct Asleep(Thread);

impl Wake for Asleep {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn poll_within<T>(future: Pin<&mut impl Future<Output = T>>, waker: &Waker) -> Poll<T> {
    let before = IS_BESIDE.replace(true);
    assert!(!before, "a poll is not nested in another");
    let _until = Until;
    future.poll(&mut Context::from_waker(waker))
}

/// Ends a poll, also one that panics.
struct Until;

impl Drop for Until {
    fn drop(&mut self) {
        IS_BESIDE.set(false);
    }
}

/// Runs `work`, here or beside.
pub(super) fn run(work: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Operation {
    Operation(State::New(Arc::new(work)))
}

/// An operation of a file.
pub(super) struct Operation(State);

enum State {
    New(Work),
    Begun(Receiver<io::Result<()>>),
    Over,
}

type Work = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

impl Future for Operation {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_beside = IS_BESIDE.get();
        match ::std::mem::replace(&mut self.0, State::Over) {
            State::New(work) if !is_beside => Poll::Ready(work()),
            State::New(work) => match begin(&work, context.waker()) {
                Ok(outcome) => {
                    self.0 = State::Begun(outcome);
                    Poll::Pending
                }
                // No thread is to be had: that is no failure of the disk.
                Err(_none) => Poll::Ready(work()),
            },
            State::Begun(outcome) if is_beside => match outcome.try_recv() {
                Ok(outcome) => Poll::Ready(outcome),
                Err(TryRecvError::Empty) => {
                    self.0 = State::Begun(outcome);
                    Poll::Pending
                }
                Err(TryRecvError::Disconnected) => Poll::Ready(Err(gone())),
            },
            State::Begun(outcome) => Poll::Ready(wait(&outcome)),
            State::Over => unreachable!("an operation is not polled behind its end"),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let State::Begun(outcome) = ::std::mem::replace(&mut self.0, State::Over) {
            // Nobody is left who asks for the outcome.
            let _outcome = wait(&outcome);
        }
    }
}

/// Has a helper do `work` and wake whoever waits for it. Fails without a thread to be had.
fn begin(work: &Work, waker: &Waker) -> io::Result<Receiver<io::Result<()>>> {
    let (sender, receiver) = sync_channel(1);
    let (work, waker) = (Arc::clone(work), waker.clone());
    let helper = move || {
        let done = catch_unwind(AssertUnwindSafe(|| work()));
        // Before anyone hears of it: what it held, a file and a buffer, is its own no more.
        drop(work);
        // Nobody may be left who asks.
        let _sent = sender.send(done.unwrap_or_else(|_panic| Err(gone())));
        waker.wake();
    };
    Builder::new().name(NAME.to_owned()).spawn(helper)?;
    Ok(receiver)
}

/// The outcome of what a helper does, once it is there.
fn wait(outcome: &Receiver<io::Result<()>>) -> io::Result<()> {
    let outcome = outcome.recv();
    outcome.unwrap_or_else(|RecvError| Err(gone()))
}

fn gone() -> io::Error {
    io::Error::other("the thread of an operation panicked")
}

thread_local! {
    /// Whether this thread polls for operations that are to go on beside it.
    static IS_BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// The name of a helper thread.
const NAME: &str = "corelog-disk";

#[cfg(test)]
mod tests {
    use ::std::future::poll_fn;
    use ::std::sync::Barrier;

    use super::*;

    #[test]
    fn what_is_asked_for_at_once_goes_on_at_once() {
        let met = Arc::new(Barrier::new(2));
        let operation = || {
            let met = Arc::clone(&met);
            run(move || {
                met.wait();
                Ok(())
            })
        };
        let mut left = vec![operation(), operation()];
        // Either would wait for ever if it were alone.
        block_on(poll_fn(|context| {
            left.retain_mut(|one| Pin::new(one).poll(context).is_pending());
            match left.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
    }

    #[test]
    fn a_helper_that_panics_is_an_error_of_its_operation() {
        let outcome = block_on(run(|| panic!("as if the disk had done it")));
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::Other);
    }
}
