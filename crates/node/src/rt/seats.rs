//! A bounded number of seats for the whole process, for any thread to take; none is waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are, and how many are taken.
#[derive(Debug)]
pub(crate) struct Seats {
    max: usize,
    taken: AtomicUsize,
}

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(&'static Seats);

impl Seats {
    /// So many seats, all of them free.
    pub(crate) const fn new(max: usize) -> Self {
        let taken = AtomicUsize::new(0);
        Self { max, taken }
    }

    /// Takes a seat if one is free.
    pub(crate) fn take(&'static self) -> Option<Seat> {
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max).then(|| taken + 1)
            });
        took.ok().map(|_| Seat(self))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
