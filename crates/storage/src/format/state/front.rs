//! The older part of a state, and a state in another copy: what snapshots and restores say.

use corelog_record::Timestamp;

use super::State;
use crate::format::edit::{Add, Point};
use crate::format::state::Segment;

impl State {
    /// The part of the log below `end`, where a segment begins or the log ends: its segments, and
    /// the epochs that had begun. Settings and scrubs are of one copy and stay with it.
    ///
    /// If the last segment is not sealed, an empty one follows: only a successor tells where such a
    /// segment ends.
    #[must_use]
    pub fn front(&self, end: Point) -> Self {
        let mut front = self.clone();
        front.segments.retain(|segment| segment.base < end.offset);
        front.epochs.retain(|began| began.offset <= end.offset);
        front.log_start = self.log_start.min(end.offset);
        front.forget_copy();
        match front.segments.last() {
            None => (front.floor, front.log_start) = (end, end.offset),
            Some(last) if last.seal.is_none() => front.segments.push(Segment::of(end.into())),
            Some(_) => {}
        }
        front.assert_laws();
        front
    }

    /// The same log in a copy of its own, whose segments were sealed at `sealed`.
    #[must_use]
    pub fn copied(&self, sealed: Timestamp) -> Self {
        let mut copied = self.clone();
        copied.forget_copy();
        let seals = copied.segments.iter_mut().filter_map(|s| s.seal.as_mut());
        seals.for_each(|seal| seal.sealed = sealed);
        copied
    }

    fn forget_copy(&mut self) {
        self.settings.clear();
        self.scrubbed = None;
    }
}

impl Segment {
    /// A segment that begins at a point.
    pub(super) fn of(add: Add) -> Self {
        let Add {
            base,
            ordinal,
            chain,
        } = add;
        Self {
            base,
            ordinal,
            chain,
            generation: 0,
            seal: None,
        }
    }
}
