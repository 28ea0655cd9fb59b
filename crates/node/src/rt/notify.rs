//! "Something changed" among tasks of one core.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use slab::Slab;

/// Wakes the tasks that wait for a change.
///
/// No wake-up is lost if a waiter takes its [`Notified`] first, then looks at the state, and only
/// then awaits.
#[derive(Debug, Clone, Default)]
pub struct Notify(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts notifications: a waiter is done when it has moved on.
    generation: Cell<u64>,
    wakers: RefCell<Slab<Waker>>,
    /// Empty, with the room of those that were woken last.
    spare: RefCell<Slab<Waker>>,
}

impl Notify {
    /// A notifier nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes everyone who waits now.
    pub fn notify(&self) {
        self.0.generation.set(self.0.generation.get() + 1);
        // Taken out first: a waker may run code that waits anew.
        let mut wakers = self.0.wakers.replace(self.0.spare.take());
        wakers.drain().for_each(Waker::wake);
        *self.0.spare.borrow_mut() = wakers;
    }

    /// Waits until `is_so`, which is looked at now and after each notification.
    pub fn until(&self, is_so: impl Fn() -> bool) -> Found<'_, impl FnMut() -> Option<()>> {
        self.some(move || is_so().then_some(()))
    }

    /// Waits for what is to be found, which is looked for now and after each notification.
    ///
    /// No `async fn`: that has twice the room, and thousands wait for several of these each.
    pub fn some<T, F: FnMut() -> Option<T>>(&self, find: F) -> Found<'_, F> {
        Found {
            notify: self,
            find,
            notified: None,
        }
    }

    /// A future that is ready after the next [`notify`](Notify::notify), counted from this call.
    #[must_use = "a future does nothing unless awaited"]
    pub fn notified(&self) -> Notified {
        Notified {
            state: Rc::clone(&self.0),
            seen: self.0.generation.get(),
            waker: None,
        }
    }
}

/// What [`Notify::some`] gives. May be dropped at any time.
#[must_use = "a future does nothing unless awaited"]
#[derive(Debug)]
pub struct Found<'n, F> {
    notify: &'n Notify,
    find: F,
    notified: Option<Notified>,
}

/// What is looked for with is never pinned.
impl<F> Unpin for Found<'_, F> {}

impl<T, F: FnMut() -> Option<T>> Future for Found<'_, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        loop {
            if let Some(notified) = &mut self.notified {
                ready!(Pin::new(notified).poll(cx));
            }
            let next = self.notify.notified();
            if let Some(found) = (self.find)() {
                return Poll::Ready(found);
            }
            self.notified = Some(next);
        }
    }
}

/// Ready after the next notification. May be dropped at any time.
#[derive(Debug)]
pub struct Notified {
    state: Rc<State>,
    seen: u64,
    /// Where its waker is, until the next notification.
    waker: Option<usize>,
}

impl Notified {
    fn is_ready(&self) -> bool {
        self.state.generation.get() != self.seen
    }
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ready() {
            return Poll::Ready(());
        }
        // A waker that is dropped may run code, too: not while the others are borrowed.
        let waker = cx.waker();
        let mut wakers = self.state.wakers.borrow_mut();
        match self.waker {
            Some(at) if wakers[at].will_wake(waker) => {}
            Some(at) => {
                let before = std::mem::replace(&mut wakers[at], waker.clone());
                drop(wakers);
                drop(before);
            }
            None => {
                let at = wakers.insert(waker.clone());
                drop(wakers);
                self.waker = Some(at);
            }
        }
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        // A notification has taken it out, and another's may be in its place.
        if let Some(at) = self.waker
            && !self.is_ready()
        {
            let waker = self.state.wakers.borrow_mut().remove(at);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_notification_between_looking_and_waiting_is_not_lost() {
        let notify = Notify::new();
        let notified = notify.notified();
        notify.notify();
        assert!(block_on(poll_once(notified)).is_some());
    }

    #[test]
    fn a_notification_wakes_every_waiter_and_no_later_one() {
        block_on(async {
            let notify = Notify::new();
            let (mut a, mut b) = (pin!(notify.notified()), pin!(notify.notified()));
            assert!(poll_once(&mut a).await.is_none());
            assert!(poll_once(&mut b).await.is_none());
            notify.notify();
            assert!(poll_once(a).await.is_some());
            assert!(poll_once(b).await.is_some());
            assert!(poll_once(notify.notified()).await.is_none());
        });
    }

    #[test]
    fn whoever_waits_until_something_is_so_looks_at_once_and_after_each_notification() {
        block_on(async {
            let notify = Notify::new();
            let count = Cell::new(0);
            assert!(poll_once(notify.until(|| count.get() == 0)).await.is_some());
            let mut two = pin!(notify.until(|| count.get() == 2));
            assert!(poll_once(&mut two).await.is_none());
            count.set(1);
            notify.notify();
            assert!(poll_once(&mut two).await.is_none());
            count.set(2);
            assert!(poll_once(&mut two).await.is_none(), "nobody said so");
            notify.notify();
            assert!(poll_once(&mut two).await.is_some());
        });
    }

    #[test]
    fn who_waits_for_a_change_takes_little() {
        let notify = Notify::new();
        let count = Cell::new(0);
        let waits = notify.until(|| count.get() == 1);
        assert!(size_of_val(&waits) <= 48, "{}", size_of_val(&waits));
    }

    #[test]
    fn who_waits_in_another_task_is_woken_there() {
        #[derive(Default)]
        struct Wakes(AtomicU32);
        impl Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let notify = Notify::new();
        let mut notified = pin!(notify.notified());
        let tasks: [Arc<Wakes>; 2] = Default::default();
        for task in [&tasks[0], &tasks[1], &tasks[1]] {
            let waker = Waker::from(Arc::clone(task));
            let polled = notified.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        notify.notify();
        assert_eq!(tasks.map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind() {
        block_on(async {
            let notify = Notify::new();
            for _ in 0..10 {
                assert!(poll_once(notify.notified()).await.is_none());
            }
            assert!(notify.0.wakers.borrow().is_empty());
        });
    }

    #[test]
    fn a_waiter_that_is_dropped_after_its_notification_takes_nobody_elses_place() {
        block_on(async {
            let notify = Notify::new();
            let mut woken = Box::pin(notify.notified());
            assert!(poll_once(&mut woken).await.is_none());
            notify.notify();
            let mut waits = pin!(notify.notified());
            assert!(poll_once(&mut waits).await.is_none());
            drop(woken);
            assert_eq!(notify.0.wakers.borrow().len(), 1);
            notify.notify();
            assert!(poll_once(waits).await.is_some());
        });
    }
}
