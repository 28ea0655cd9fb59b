//! Operations of files that go on beside the thread that asked for them.
//!
//! A synchronous program has one thread and no runtime, yet need not wait for its disk: what it polls
//! with [`poll`] is handed to a helper thread, one for each operation, and looked after by the polls
//! that follow. What it polls otherwise, with [`block_on`](super::super::block_on), is done before
//! that returns, and what was handed over before is waited for.
//!
//! An operation that was begun is never left behind: dropping it waits for its end, so that nothing is
//! written behind the back of who reopens the file.

use ::std::cell::Cell;
use ::std::future::Future;
use ::std::io;
use ::std::pin::Pin;
use ::std::sync::Arc;
use ::std::task::{Context, Poll};
use ::std::thread::{Builder, JoinHandle};

use super::super::poll_once;

/// Polls `future` once. What std files are asked for meanwhile is left to helper threads: poll again
/// to take it up and go on, or run the rest with [`block_on`](super::super::block_on).
pub fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    let before = IS_BESIDE.replace(true);
    assert!(!before, "a poll is not nested in another");
    let _until = Until;
    poll_once(future)
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
    Begun(JoinHandle<io::Result<()>>),
    Over,
}

type Work = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

impl Future for Operation {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_beside = IS_BESIDE.get();
        match ::std::mem::replace(&mut self.0, State::Over) {
            State::New(work) if !is_beside => Poll::Ready(work()),
            State::New(work) => {
                let theirs = Arc::clone(&work);
                match Builder::new().name(NAME.to_owned()).spawn(move || theirs()) {
                    Ok(helper) => {
                        self.0 = State::Begun(helper);
                        Poll::Pending
                    }
                    // No thread is to be had: that is no failure of the disk.
                    Err(_none) => Poll::Ready(work()),
                }
            }
            State::Begun(helper) if is_beside && !helper.is_finished() => {
                self.0 = State::Begun(helper);
                Poll::Pending
            }
            State::Begun(helper) => Poll::Ready(join(helper)),
            State::Over => unreachable!("an operation is not polled behind its end"),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let State::Begun(helper) = ::std::mem::replace(&mut self.0, State::Over) {
            // Nobody is left who asks for the outcome.
            let _outcome = join(helper);
        }
    }
}

/// The outcome of what a helper does, once it is there.
fn join(helper: JoinHandle<io::Result<()>>) -> io::Result<()> {
    match helper.join() {
        Ok(outcome) => outcome,
        Err(_panic) => Err(io::Error::other("the thread of an operation panicked")),
    }
}

thread_local! {
    /// Whether this thread polls for operations that are to go on beside it.
    static IS_BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// The name of a helper thread.
const NAME: &str = "corelog-disk";
