//! Which sealed segments are in use: the others let their files and maps go.

use std::cell::RefCell;
use std::collections::VecDeque;

use corelog_record::Offset;

use super::Log;
use super::work::Garbage;
use crate::disk::Dir;
use crate::segment::{Index, Segment, Stage};

/// The sealed segments that were read lately, the latest last.
#[derive(Debug, Default)]
pub(super) struct Recent(RefCell<VecDeque<Offset>>);

impl Recent {
    /// Notes that the segment based at `base` is read.
    fn touch(&self, base: Offset) {
        let mut recent = self.0.borrow_mut();
        if recent.back() == Some(&base) {
            return;
        }
        recent.retain(|other| *other != base);
        recent.push_back(base);
    }

    /// Forgets the segment that was not read for the longest time, if there are too many.
    fn pop(&self) -> Option<Offset> {
        let mut recent = self.0.borrow_mut();
        (recent.len() > OPEN_MAX)
            .then(|| recent.pop_front())
            .flatten()
    }
}

impl<D: Dir> Log<D> {
    /// Notes that `segment` is read. Those still written to stay open anyway.
    pub(super) fn touch(&self, segment: &Segment<D>) {
        if matches!(segment.stage, Stage::Sealed(_)) {
            self.recent.touch(segment.base.offset);
        }
    }

    /// Leaves the files of segments that are not in use any more to be closed. Reads that have them
    /// open go on.
    pub(super) fn let_go(&mut self) {
        while let Some(base) = self.recent.pop() {
            let segment = self.segment_of(base);
            let is_it = segment.base.offset == base && matches!(segment.stage, Stage::Sealed(_));
            let Some(store) = segment.store.clone().filter(|_| is_it) else {
                continue;
            };
            if let Index::File(sealed) = &segment.index {
                sealed.unload();
            }
            self.garbage.push(Garbage {
                store,
                names: Vec::new(),
            });
        }
    }
}

/// Sealed segments of one log that keep their file open and their index mapped: as many as readers
/// at different places are likely to need at once, few enough for thousands of logs.
const OPEN_MAX: usize = 4;
