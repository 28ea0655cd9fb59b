//! Which task a core is in, told by where that task was started.
//!
//! A core writes it by a relaxed store around each poll of a task; who finds that the core does not
//! turn reads it, and can say who does not yield.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{slice, vitals};

/// A line of the source that starts tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// The place of a location: the same for the same line.
    pub(super) fn of(location: &'static Location<'static>) -> Self {
        KNOWN.with_borrow_mut(|known| {
            *known
                .entry(std::ptr::from_ref(location))
                .or_insert_with(|| register(location))
        })
    }

    /// What stands for it in an atomic; zero stands for none.
    pub(super) const fn number(self) -> u32 {
        self.0
    }

    /// The place that such a number stands for.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let index = (self.0 as usize).checked_sub(1);
        match index.and_then(|index| all.get(index)) {
            Some(location) => write!(f, "{}:{}", location.file(), location.line()),
            None => f.write_str("unknown"),
        }
    }
}

fn register(location: &'static Location<'static>) -> Place {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.iter().position(|known| *known == location);
    let index = known.unwrap_or_else(|| {
        all.push(location);
        all.len() - 1
    });
    Place(u32::try_from(index + 1).unwrap_or(0))
}

/// Every place, in the order of their numbers. A thread takes the lock once for each place that it
/// meets, and whoever prints one.
static ALL: Mutex<Vec<&'static Location<'static>>> = Mutex::new(Vec::new());

thread_local! {
    static KNOWN: RefCell<HashMap<*const Location<'static>, Place>> = RefCell::default();
}

pin_project! {
    /// A future that tells its core where it is while it is polled.
    pub(super) struct Placed<F> {
        place: Place,
        #[pin]
        future: F,
    }
}

impl<F> Placed<F> {
    /// The future of a task that was started at `location`.
    pub(super) fn new(location: &'static Location<'static>, future: F) -> Self {
        let place = Place::of(location);
        Self { place, future }
    }
}

impl<F: Future> Future for Placed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A task that starts another is in that one until its first poll is over.
        let before = vitals::enter(Some(*this.place));
        let polled = this.future.poll(cx);
        vitals::enter(before);
        slice::look_at_clock();
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_place_on_every_thread() {
        #[track_caller]
        fn here() -> Place {
            Place::of(Location::caller())
        }
        let places = || (0..2).map(|_| here()).collect::<Vec<_>>();
        let mine = places();
        assert_eq!(mine[0], mine[1]);
        assert_eq!(std::thread::spawn(places).join().unwrap(), mine);
        let other = here();
        assert_ne!(mine[0], other);
        let line = line!() - 2;
        assert!(other.to_string().ends_with(&format!("place.rs:{line}")));
        assert_eq!(Place::from_number(other.number()), Some(other));
        assert_eq!(Place::from_number(0), None);
    }
}
