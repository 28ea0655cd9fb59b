//! Which files are being written, so that each of them has one writer.
//!
//! An order that nobody wants any more ends when its threads see that: one may still be connecting to a
//! source, with bytes in hand that it will write then. The next order of the same segments begins before
//! that, and may have had them installed by then.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corelog_record::Offset;

use super::Order;
use super::paces::Paces;
use crate::rt;
use crate::sys::NodeFile;

/// The segments that a node's threads are receiving, by the file that each of them comes into.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    taken: Mutex<Taken>,
    /// Notified when one is given back.
    given_back: Condvar,
    /// How fast those of one topic may come.
    pub(super) paces: Paces,
}

#[derive(Debug, Default)]
struct Taken {
    places: HashSet<Place>,
    /// None of them is given any more.
    is_closed: bool,
    /// The lock on the data directory, until none of them is written or will be.
    lock: Option<Arc<NodeFile>>,
}

/// The directory of a log, and the base and generation of a segment in it.
type Place = (PathBuf, Offset, u32);

/// The right to write the file of a segment, which ends with this.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    place: Place,
}

impl Claims {
    /// Keeps the data directory from others for as long as a file in it may be written, also if a node that stops does not
    /// wait for that: who opens a log beside it may install the file.
    pub(crate) fn keep(&self, lock: Arc<NodeFile>) {
        self.taken().lock = Some(lock);
    }

    /// The file of a segment of that base and generation, unless another thread writes it or none is to be written.
    pub(super) fn take(
        self: &Arc<Self>,
        order: &Order,
        (base, generation): (Offset, u32),
    ) -> Option<Claim> {
        self.claim((order.dir.path().to_owned(), base, generation))
    }

    fn claim(self: &Arc<Self>, place: Place) -> Option<Claim> {
        let is_free = {
            let mut taken = self.taken();
            !taken.is_closed && taken.places.insert(place.clone())
        };
        // Made for nothing, it would end that of whoever has the file.
        is_free.then(|| Claim {
            claims: Arc::clone(self),
            place,
        })
    }

    /// The first file of a log of that directory, for tests of who waits for it.
    #[cfg(test)]
    pub(crate) fn hold(self: &Arc<Self>, dir: &str) -> Option<impl Drop + use<>> {
        self.claim((dir.into(), Offset::ZERO, 0))
    }

    /// Gives no file to anybody any more, and waits until none is written, not beyond `deadline`. Those that wait in a queue
    /// would begin as soon as another ends.
    pub(crate) fn end(&self, deadline: Instant) {
        self.taken().is_closed = true;
        let left = deadline.saturating_duration_since(rt::now());
        if !self.wait_until_free(left.min(END_TIMEOUT)) {
            tracing::warn!("a segment is being received still");
        }
        self.taken().unlock_if_done();
    }

    /// Waits until no file is written any more, so long at most; false if one still is.
    pub(super) fn wait_until_free(&self, at_most: Duration) -> bool {
        let is_any = |taken: &mut Taken| !taken.places.is_empty();
        let waited = self
            .given_back
            .wait_timeout_while(self.taken(), at_most, is_any);
        let (taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        taken.places.is_empty()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn unlock_if_done(&mut self) {
        if self.is_closed && self.places.is_empty() {
            self.lock = None;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = self.claims.taken();
        taken.places.remove(&self.place);
        taken.unlock_if_done();
        drop(taken);
        self.claims.given_back.notify_all();
    }
}

/// How long a thread may take to see that it is to end: it may be connecting.
const END_TIMEOUT: Duration = Duration::from_secs(10);
