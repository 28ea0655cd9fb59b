//! Requests whose answer comes later than the step that took them: parked fetches, truncations.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::Disk;
use crate::partition::{Answer, Refusal, Token};
use crate::rt::Notify;

/// What a step told a request.
pub(crate) type Told = Result<Answer<Disk>, Refusal>;

/// Requests that wait, by token.
#[derive(Default)]
pub(crate) struct Tickets {
    last: Cell<u64>,
    waiting: RefCell<HashMap<u64, Rc<Waiting>>>,
}

/// One request that waits; it is forgotten when this is dropped.
pub(crate) struct Ticket {
    tickets: Rc<Tickets>,
    token: Token,
    waiting: Rc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    told: RefCell<Option<Told>>,
    is_woken: Cell<bool>,
    changed: Notify,
}

impl Tickets {
    /// The token of requests that are answered by the step that takes them.
    pub(crate) const NOW: Token = Token(0);

    pub(crate) fn issue(self: &Rc<Self>) -> Ticket {
        self.last.set(self.last.get() + 1);
        let token = Token(self.last.get());
        let waiting = Rc::<Waiting>::default();
        self.waiting
            .borrow_mut()
            .insert(token.0, Rc::clone(&waiting));
        Ticket {
            tickets: Rc::clone(self),
            token,
            waiting,
        }
    }

    /// Whether somebody waits for what this one is told.
    pub(super) fn is_waiting(&self, token: Token) -> bool {
        self.waiting.borrow().contains_key(&token.0)
    }

    /// A step told a request something.
    pub(super) fn tell(&self, token: Token, told: Told) {
        if let Some(waiting) = self.waiting.borrow().get(&token.0) {
            *waiting.told.borrow_mut() = Some(told);
            waiting.changed.notify();
        }
    }

    /// A parked request is to ask again.
    pub(super) fn wake(&self, token: Token) {
        if let Some(waiting) = self.waiting.borrow().get(&token.0) {
            waiting.is_woken.set(true);
            waiting.changed.notify();
        }
    }
}

impl Ticket {
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// What a step has told already.
    pub(crate) fn take_told(&self) -> Option<Told> {
        self.waiting.told.borrow_mut().take()
    }

    /// Waits until a step has told something.
    pub(crate) async fn told(&self) -> Told {
        self.waiting.changed.some(|| self.take_told()).await
    }

    /// Waits until the request is to ask again.
    pub(crate) async fn woken(&self) {
        let is_woken = || self.waiting.is_woken.replace(false);
        self.waiting.changed.until(is_woken).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.waiting.borrow_mut().remove(&self.token.0);
    }
}
