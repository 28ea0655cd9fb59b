//! Bounded resources, first come first served.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Units of something bounded (bytes in flight, slots of a lane), shared by tasks of one core.
///
/// Served strictly in order: a large request that does not fit holds up later small ones, so that
/// nobody starves.
#[derive(Debug, Clone)]
pub struct Semaphore(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    units: u64,
    available: u64,
    waiter_next: u64,
    /// In order of arrival.
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    units: u64,
    is_granted: bool,
    waker: Waker,
}

impl Semaphore {
    /// A semaphore of `units`, all of them free.
    #[must_use]
    pub fn new(units: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            units,
            available: units,
            waiter_next: 0,
            waiters: BTreeMap::new(),
        })))
    }

    /// Units that nobody holds.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.0.borrow().available
    }

    /// How many wait, or have not yet taken what they were granted.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.borrow().waiters.len()
    }

    /// Waits for `units`. May be dropped at any time.
    ///
    /// # Panics
    /// If `units` is more than the semaphore has: it would wait for ever.
    #[must_use = "a future does nothing unless awaited"]
    pub fn acquire(&self, units: u64) -> Acquire {
        assert!(
            units <= self.0.borrow().units,
            "asked for more units than there are"
        );
        Acquire {
            state: Rc::clone(&self.0),
            units,
            waiter: None,
        }
    }

    /// Takes `units` if they are free and nobody waits before.
    #[must_use]
    pub fn try_acquire(&self, units: u64) -> Option<Permit> {
        let mut state = self.0.borrow_mut();
        if !state.waiters.is_empty() || state.available < units {
            return None;
        }
        state.available -= units;
        Some(Permit {
            state: Rc::clone(&self.0),
            units,
        })
    }
}

/// Units taken from a [`Semaphore`]; they are given back when this is dropped.
pub struct Permit {
    state: Rc<RefCell<State>>,
    units: u64,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("units", &self.units)
            .finish()
    }
}

impl Permit {
    /// The units held.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Gives back all but `units`.
    ///
    /// # Panics
    /// If that is more than is held.
    pub fn shrink_to(&mut self, units: u64) {
        assert!(units <= self.units, "a permit never grows");
        release(&self.state, self.units - units);
        self.units = units;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        release(&self.state, self.units);
    }
}

/// Waits for units; see [`Semaphore::acquire`].
#[derive(Debug)]
pub struct Acquire {
    state: Rc<RefCell<State>>,
    units: u64,
    waiter: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let this = &mut *self;
        let mut state = this.state.borrow_mut();
        let is_ready = match this.waiter {
            None if state.waiters.is_empty() && this.units <= state.available => {
                state.available -= this.units;
                true
            }
            None => {
                let waiter = state.waiter_next;
                state.waiter_next += 1;
                let waker = cx.waker().clone();
                state.waiters.insert(
                    waiter,
                    Waiter {
                        units: this.units,
                        is_granted: false,
                        waker,
                    },
                );
                this.waiter = Some(waiter);
                false
            }
            Some(id) => {
                let waiter = state.waiters.get_mut(&id);
                let is_granted = waiter.as_ref().is_some_and(|waiter| waiter.is_granted);
                match waiter {
                    Some(waiter) if !is_granted => waiter.waker.clone_from(cx.waker()),
                    _ => {
                        state.waiters.remove(&id);
                        this.waiter = None;
                    }
                }
                is_granted
            }
        };
        if !is_ready {
            return Poll::Pending;
        }
        drop(state);
        // Who came while this grant was not yet taken may fit as well.
        release(&this.state, 0);
        Poll::Ready(Permit {
            state: Rc::clone(&this.state),
            units: this.units,
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(id) = self.waiter else { return };
        let waiter = self.state.borrow_mut().waiters.remove(&id);
        // Units granted but never taken go on; without them the next in line may fit now.
        let units = waiter
            .filter(|waiter| waiter.is_granted)
            .map_or(0, |waiter| waiter.units);
        release(&self.state, units);
    }
}

/// Gives `units` back and grants to those in front what fits.
fn release(state: &RefCell<State>, units: u64) {
    let mut woken = Vec::new();
    {
        let state = &mut *state.borrow_mut();
        state.available += units;
        assert!(
            state.available <= state.units,
            "more units were given back than taken"
        );
        for waiter in state
            .waiters
            .values_mut()
            .filter(|waiter| !waiter.is_granted)
        {
            if waiter.units > state.available {
                break;
            }
            state.available -= waiter.units;
            waiter.is_granted = true;
            woken.push(waiter.waker.clone());
        }
    }
    woken.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn units_come_back_when_the_permit_is_dropped() {
        let semaphore = Semaphore::new(10);
        let permit = semaphore.try_acquire(7).expect("ten are free");
        assert!(semaphore.try_acquire(4).is_none());
        drop(permit);
        assert_eq!(semaphore.available(), 10);
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_small_ones() {
        block_on(async {
            let semaphore = Semaphore::new(10);
            let held = semaphore.try_acquire(5).expect("ten are free");
            let mut large = pin!(semaphore.acquire(8));
            assert!(poll_once(&mut large).await.is_none());
            let mut small = pin!(semaphore.acquire(1));
            assert!(poll_once(&mut small).await.is_none());
            assert!(semaphore.try_acquire(1).is_none());
            drop(held);
            assert!(poll_once(&mut small).await.is_some());
            assert!(poll_once(&mut large).await.is_some());
        });
    }

    #[test]
    fn a_waiter_that_goes_away_passes_its_turn_on() {
        block_on(async {
            let semaphore = Semaphore::new(4);
            let held = semaphore.try_acquire(3).expect("four are free");
            let mut second = {
                let mut first = pin!(semaphore.acquire(4));
                assert!(poll_once(&mut first).await.is_none());
                let mut second = Box::pin(semaphore.acquire(1));
                assert!(poll_once(&mut second).await.is_none());
                second
            };
            assert!(poll_once(&mut second).await.is_some());
            drop(held);
            assert_eq!(semaphore.available(), 4);
        });
    }

    #[test]
    fn a_grant_that_is_never_taken_comes_back() {
        block_on(async {
            let semaphore = Semaphore::new(2);
            let held = semaphore.try_acquire(2).expect("two are free");
            let mut waiting = Box::pin(semaphore.acquire(2));
            assert!(poll_once(&mut waiting).await.is_none());
            drop(held);
            assert_eq!(semaphore.available(), 0);
            drop(waiting);
            assert_eq!(semaphore.available(), 2);
        });
    }

    #[test]
    fn who_arrives_while_a_grant_is_not_yet_taken_is_served_if_units_are_free() {
        block_on(async {
            let semaphore = Semaphore::new(100);
            let held = semaphore.try_acquire(100);
            let mut first = pin!(semaphore.acquire(10));
            assert!(poll_once(&mut first).await.is_none());
            drop(held);
            let mut second = pin!(semaphore.acquire(10));
            assert!(poll_once(&mut second).await.is_none());
            let first = poll_once(&mut first).await;
            assert!(first.is_some());
            assert!(poll_once(&mut second).await.is_some());
        });
    }

    #[test]
    fn a_permit_shrinks() {
        let semaphore = Semaphore::new(8);
        let mut permit = semaphore.try_acquire(8).expect("eight are free");
        permit.shrink_to(3);
        assert_eq!((permit.units(), semaphore.available()), (3, 5));
    }
}
