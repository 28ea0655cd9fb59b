//! Which files are being written, so that each of them has one writer.
//!
//! An order that nobody wants any more ends when its threads see that: one may still be connecting to a
//! source, with bytes in hand that it will write then. The next order of the same segments begins before
//! that, and may have had them installed by then.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Order, Wanted};

/// The segments that a node's threads are receiving, by the file that each of them comes into.
#[derive(Debug, Default)]
pub(super) struct Claims {
    taken: Mutex<HashSet<Place>>,
}

/// The directory of a log, and the base and generation of a segment in it.
type Place = (PathBuf, u64, u32);

/// The right to write the file of a segment, which ends with this.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    claims: &'a Claims,
    place: Place,
}

impl Claims {
    /// The file of a segment, unless another thread writes it.
    pub(super) fn take(&self, order: &Order, wanted: &Wanted) -> Option<Claim<'_>> {
        let (dir, base) = (order.dir.path().to_owned(), wanted.seal.digest.base.get());
        let place = (dir, base, wanted.generation);
        let is_free = self.taken().insert(place.clone());
        // Made for nothing, it would end that of whoever has the file.
        is_free.then(|| Claim {
            claims: self,
            place,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<Place>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claims.taken().remove(&self.place);
    }
}
