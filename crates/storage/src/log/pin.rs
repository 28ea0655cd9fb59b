//! The log as files, for those who send them away: its sealed segments, and how far the active one is.

use std::ops::Range;
use std::rc::Rc;

use corelog_record::{Offset, Position};

use super::Log;
use crate::disk::Dir;
use crate::format::edit::{Point, Seal};
use crate::segment::{self, Segment, Stage, name};
use crate::store::Store;

/// The segment that is appended to, as far as it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Where it begins.
    pub start: Point,
    /// Bytes of its store that are durable.
    pub position: Position,
    /// Where they end.
    pub durable: Point,
}

/// The store of a sealed segment. Until this is dropped retention leaves the file its name, and no other
/// file gets it: whoever opens it meanwhile has the right one, and keeps it even after this is dropped.
/// What is cut off, gone on with or replaced is moved away nonetheless: the name is not found then, and
/// the log has no such segment of that generation any more once the change is complete.
pub struct Pinned<D: Dir> {
    store: Rc<Store<D>>,
    seal: Seal,
}

impl<D: Dir> Pinned<D> {
    /// The name of the file within the log's directory.
    #[must_use]
    pub fn name(&self) -> &str {
        self.store.name()
    }

    /// What the segment holds.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        &self.seal
    }
}

impl<D: Dir> Log<D> {
    /// The sealed segments, oldest first, each with the generation of its files.
    pub fn sealed(&self) -> impl Iterator<Item = (u32, Seal)> + '_ {
        let sealed = |segment: &Segment<D>| {
            let time = segment.seal_time()?;
            Some((segment.generation, segment::seal(segment, time)))
        };
        self.segments.iter().filter_map(sealed)
    }

    /// The segments that ended and could not be sealed because they are damaged: where each begins, and
    /// where the next one does. What a peer has sealed of the same may take the place of one.
    pub fn damaged_unsealed(&self) -> impl Iterator<Item = Range<Point>> + '_ {
        let behind = self.segments.iter().skip(1);
        let damaged = self.segments.iter().zip(behind);
        let damaged = damaged.filter(|(segment, _)| segment.stage == Stage::Damaged);
        damaged.map(|(segment, next)| segment.base.place()..next.base.place())
    }

    /// The active segment; `None` as long as it has no records, but for a log whose records have all gone: a copy
    /// learns from nothing else where that goes on.
    #[must_use]
    pub fn active_segment(&self) -> Option<Active> {
        let active = self.active();
        let is_all = self.floor_place() == active.base.place();
        let has_lost_all = is_all && Offset::ZERO < active.base.offset;
        if active.is_empty() && !has_lost_all {
            return None;
        }
        let durable = self.durable_end(active);
        Some(Active {
            start: active.base.place(),
            position: durable.position,
            durable: durable.place(),
        })
    }

    /// Keeps the file of a sealed segment from retention; `None` if there is no such segment, or it has another
    /// generation by now.
    #[must_use]
    pub fn pin(&self, base: Offset, generation: u32) -> Option<Pinned<D>> {
        let segment = self.segment_of(base);
        let is_it = segment.base.offset == base && segment.generation == generation;
        let time = segment.seal_time().filter(|_| is_it)?;
        Some(Pinned {
            store: segment.store.as_ref()?.apart(),
            seal: segment::seal(segment, time),
        })
    }

    /// The generation that files of a segment at `base` are to have if they are to come into this log:
    /// one more than those that are there. Behind the last one there is none, and it is told again: no log takes files of it.
    #[must_use]
    pub fn generation_next(&self, base: Offset) -> u32 {
        let segment = self.segment_of(base);
        let is_there = segment.base.offset == base && segment.store.is_some();
        let first = name::store(base, 0);
        // One that was made for it and never added waits under that name.
        let is_waiting = self
            .next
            .as_ref()
            .is_some_and(|(next, _)| next.name() == first);
        match is_there {
            true => segment.generation.saturating_add(1),
            false => u32::from(is_waiting),
        }
    }
}
