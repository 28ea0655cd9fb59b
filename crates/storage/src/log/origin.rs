//! Whether batches that were read ahead are what a plan made since would read.

use std::rc::{Rc, Weak};

use corelog_record::Offset;

use super::Log;
use super::read::Fetched;
use super::read_plan::{ReadPlan, Work};
use crate::disk::Dir;
use crate::store::Store;

/// Where a plan reads from the disk, and how many bytes of batches at most.
pub struct Origin<D: Dir> {
    store: Weak<Store<D>>,
    bytes_max: usize,
}

impl<D: Dir> Origin<D> {
    pub(super) fn new(store: &Rc<Store<D>>, bytes_max: usize) -> Self {
        let store = Rc::downgrade(store);
        Self { store, bytes_max }
    }
}

impl<D: Dir> Log<D> {
    /// Whether the segment at `base` is still read from `origin`: not once it was cut, gone on with or replaced.
    pub fn is_read_from(&self, base: Offset, origin: &Origin<D>) -> bool {
        let segment = self.segment_of(base);
        let store = segment
            .store
            .as_ref()
            .filter(|_| segment.base.offset == base);
        store.is_some_and(|store| Weak::ptr_eq(&origin.store, &Rc::downgrade(store)))
    }
}

impl<D: Dir> ReadPlan<D> {
    /// Where it reads from the disk; `None` if it reads nothing there.
    pub fn origin(&self) -> Option<Origin<D>> {
        match &self.0 {
            Work::Ready(_) => None,
            Work::Disk(read, wanted) => Some(Origin::new(&read.store, wanted.bytes_max)),
        }
    }

    /// Whether `fetched`, which an earlier plan from the same offset on read from `origin`, may stand for
    /// what this one would read: the store is the same, its end was not cut off since, and there is
    /// something, but no more than is wanted now or was wanted then: one batch may be larger than either.
    pub fn is_met_by(&self, origin: &Origin<D>, fetched: &Fetched<D>) -> bool {
        let Work::Disk(read, wanted) = &self.0 else {
            return false;
        };
        let is_same = Weak::ptr_eq(&origin.store, &Rc::downgrade(&read.store));
        let end = read.end.offset.min(wanted.limit);
        let fits = fetched.bytes.min(origin.bytes_max) <= wanted.bytes_max;
        is_same && 0 < fetched.bytes && fetched.next <= end && fits
    }
}
