//! What ends the sending: a batch that was not acknowledged, or that there is no more time. What follows must not be sent.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use corelog_client::{BatchReport, Observer};
use tokio::sync::Notify;

/// Set once a batch of any partition was not acknowledged, or nobody waits for more. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Halt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    set: Notify,
}

impl Halt {
    /// What sets it and then tells `next`. A producer tells its observer before anybody else: whoever
    /// sends after that can know of it, whatever other partitions are waited for.
    pub(super) fn observer(&self, next: Option<Observer>) -> Observer {
        let halt = self.clone();
        Arc::new(move |report: &BatchReport| {
            if report.result.is_err() {
                halt.set();
            }
            if let Some(next) = &next {
                next(report);
            }
        })
    }

    /// As a batch that was not acknowledged would.
    pub(super) fn set(&self) {
        self.0.is_set.store(true, Ordering::Relaxed);
        self.0.set.notify_waiters();
    }

    fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Relaxed)
    }

    /// What `waiting` comes to; none once this is set. It is looked at each time that `waiting` could go on: a send
    /// that waits for memory may have begun before.
    pub(super) async fn unless_set<F: Future>(&self, waiting: F) -> Option<F::Output> {
        let (mut waiting, mut set) = (pin!(waiting), pin!(self.0.set.notified()));
        poll_fn(|context| {
            if self.is_set() {
                return Poll::Ready(None);
            }
            match waiting.as_mut().poll(context) {
                Poll::Ready(come) => Poll::Ready(Some(come)),
                // What is waited for may be long in coming.
                Poll::Pending => set.as_mut().poll(context).map(|()| None),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_is_not_done_when_it_is_set_is_never_done() {
        let (halt, is_sent) = (Halt::default(), Cell::new(false));
        let mut context = Context::from_waker(Waker::noop());
        let (room, has_room) = oneshot::channel();
        let mut sending = pin!(halt.unless_set(async {
            has_room.await.unwrap();
            is_sent.set(true);
        }));
        assert_eq!(sending.as_mut().poll(&mut context), Poll::Pending);
        halt.set();
        // The memory that it waited for is that of what failed.
        room.send(()).unwrap();
        assert_eq!(sending.poll(&mut context), Poll::Ready(None));
        assert!(!is_sent.get());
    }
}
