//! Things that are due a fixed time after they were put in: first in, first out, one timer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rt::{self, Notify};

/// Things that are due a fixed time after they were put in.
#[derive(Debug)]
pub(super) struct Delay<T> {
    after: Duration,
    queue: RefCell<VecDeque<(Instant, T)>>,
    added: Notify,
}

impl<T> Delay<T> {
    pub(super) fn new(after: Duration) -> Self {
        Self {
            after,
            queue: RefCell::default(),
            added: Notify::new(),
        }
    }

    pub(super) fn put(&self, thing: T) {
        let due = rt::now() + self.after;
        self.queue.borrow_mut().push_back((due, thing));
        self.added.notify();
    }

    /// Waits for the next thing to be due.
    pub(super) async fn next(&self) -> T {
        loop {
            let added = self.added.notified();
            let due = self.queue.borrow().front().map(|(due, _)| *due);
            let Some(due) = due else {
                added.await;
                continue;
            };
            let wait = due.saturating_duration_since(rt::now());
            if !wait.is_zero() {
                rt::sleep(wait).await;
            }
            if let Some((_, thing)) = self.queue.borrow_mut().pop_front() {
                return thing;
            }
        }
    }
}
