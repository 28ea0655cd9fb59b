//! Wake-ups that say what they are about: whoever has many things to look at looks at those that changed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::rt::Notify;

/// The places of one task that are to be looked at, and what wakes it.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Rc<State>);

#[derive(Debug)]
struct State {
    woken: Notify,
    places: RefCell<VecDeque<usize>>,
}

/// How somebody has one place looked at.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    calls: Calls,
    place: usize,
}

impl Calls {
    /// No place so far; whoever goes through them waits for `woken`.
    pub(crate) fn new(woken: Notify) -> Self {
        let places = RefCell::default();
        Self(Rc::new(State { woken, places }))
    }

    /// Whoever has this place looked at.
    pub(crate) fn at(&self, place: usize) -> Caller {
        let calls = self.clone();
        Caller { calls, place }
    }

    /// Takes a place that is to be looked at, the first one first. One may be taken more than once.
    pub(crate) fn take(&self) -> Option<usize> {
        self.0.places.borrow_mut().pop_front()
    }

    /// What wakes whoever goes through the places.
    #[cfg(test)]
    pub(super) fn woken(&self) -> &Notify {
        &self.0.woken
    }

    /// Forgets the places.
    pub(crate) fn clear(&self) {
        self.0.places.take();
    }
}

impl Caller {
    /// Has the place looked at.
    pub(crate) fn call(&self) {
        let State { woken, places } = &*self.calls.0;
        places.borrow_mut().push_back(self.place);
        woken.notify();
    }
}
