//! The room of segments: a store and its index, with what the log knows of them.
//!
//! Lives here: `Segment`, the `Point`s between batches, the names of files ([`name`]), which tools ask for too. Never
//! lives here: what moves bytes to the disk, which is the log's.
//!
//! Law kept: a segment's stage only goes forward, and a sealed one never changes.

mod finish;
pub mod name;
mod point;

use std::rc::Rc;

use corelog_record::{HistoryId, Offset, Timestamp};

use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Seal;
use crate::index::{Builder, Of, Sealed};
use crate::store::Store;

pub(crate) use finish::{Finishing, finish_all, seal};
pub(crate) use point::{NO_TIMESTAMP, Point};

/// How far a segment is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Appended to.
    Active,
    /// Not appended to any more.
    Rolled,
    /// Not as it was promised: it stays as it is, and is not sealed.
    Damaged,
    /// Cut to its length, synced, its index written; the manifest does not say so yet.
    Finished,
    /// Sealed, at this time by the node's clock.
    Sealed(Timestamp),
}

/// Where a segment's index is.
pub(crate) enum Index<D: Dir> {
    /// In memory, while it grows and until it is written.
    Growing(Builder),
    /// In its file.
    File(Rc<Sealed<D>>),
}

/// The lower part of an index, of which only the upper part is in memory.
pub(crate) struct Below<D: Dir> {
    /// Where the upper part begins.
    pub(crate) end: Point,
    pub(crate) index: Rc<Sealed<D>>,
}

impl<D: Dir> Clone for Below<D> {
    fn clone(&self) -> Self {
        Self {
            end: self.end,
            index: self.index.clone(),
        }
    }
}

/// One segment of a log.
pub(crate) struct Segment<D: Dir> {
    /// The log's point at its start.
    pub(crate) base: Point,
    /// The log's point at its end, as appended.
    pub(crate) end: Point,
    /// Which file it is: each cut or repair makes a new one.
    pub(crate) generation: u32,
    pub(crate) stage: Stage,
    /// Its file; `None` as long as it is only in memory.
    pub(crate) store: Option<Rc<Store<D>>>,
    /// How much of the file is prepared for writing, in bytes.
    pub(crate) space_bytes: u64,
    /// How much of it a sync has covered since it was prepared, in bytes.
    pub(crate) synced_bytes: u64,
    pub(crate) index: Index<D>,
    /// Where to find the rows that the index in memory does not hold: those below where opening
    /// began to read. Nothing is read for them before they are used.
    pub(crate) below: Option<Below<D>>,
    /// Whether the index in memory was written to its file, too.
    pub(crate) is_index_written: bool,
    /// When its first batch was appended.
    pub(crate) born: Option<Timestamp>,
}

/// The generation behind `generation` of the segment based at `segment`, whose files lie in `dir`.
///
/// # Errors
/// [`Error::GenerationsExhausted`]: by itself no log comes there.
pub(crate) fn next_generation<D: Dir>(
    dir: &D,
    segment: Offset,
    generation: u32,
) -> Result<u32, Error> {
    let next = generation.checked_add(1);
    next.ok_or_else(|| Error::GenerationsExhausted {
        dir: dir.describe(),
        segment,
    })
}

impl<D: Dir> Segment<D> {
    /// A new segment at the end of the log, in memory only.
    pub(crate) fn new(base: Point) -> Self {
        Self {
            base,
            end: base,
            generation: 0,
            stage: Stage::Active,
            store: None,
            space_bytes: 0,
            synced_bytes: 0,
            index: Index::Growing(Builder::default()),
            below: None,
            is_index_written: false,
            born: None,
        }
    }

    /// A sealed one, whose files have their names in `dir`: its index is to be [taken from there](Segment::index_in_file).
    pub(crate) fn sealed(dir: &D, generation: u32, seal: &Seal) -> Self {
        let mut segment = Self {
            end: Point::sealed(seal),
            generation,
            stage: Stage::Sealed(seal.sealed),
            space_bytes: seal.digest.bytes,
            is_index_written: true,
            ..Self::new(Point::starting(seal.digest.start()))
        };
        segment.store = Some(Store::closed(dir, segment.store_name()));
        segment
    }

    /// Whether it has no batches.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.position == self.base.position
    }

    /// Bytes of batches, those not yet flushed included.
    pub(crate) fn bytes(&self) -> u64 {
        self.end.position.get()
    }

    /// Whether the record `offset` is, or will be, one of this segment's.
    pub(crate) fn holds(&self, offset: Offset) -> bool {
        self.base.offset <= offset && offset < self.end.offset
    }

    /// Whether it was sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        self.seal_time().is_some()
    }

    /// When it was sealed.
    pub(crate) fn seal_time(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Sealed(time) => Some(time),
            Stage::Active | Stage::Rolled | Stage::Damaged | Stage::Finished => None,
        }
    }

    /// What gives it its final files; `None` without a store, or if its index is in its file.
    pub(crate) fn finishing(&self, dir: &D, history: HistoryId) -> Option<Finishing<D>> {
        let Index::Growing(rows) = &self.index else {
            return None;
        };
        Some(Finishing {
            dir: dir.clone(),
            history,
            base: self.base,
            store: self.store.clone()?,
            bytes: self.bytes(),
            index_name: self.index_name(),
            rows: rows.clone(),
            below: self.below.clone(),
            is_index_written: false,
        })
    }

    /// Takes what is known of the index once it was written, or was to be.
    pub(crate) fn finished(&mut self, part: &Finishing<D>) {
        self.index = Index::Growing(part.rows.clone());
        self.below.clone_from(&part.below);
        self.is_index_written = part.is_index_written;
    }

    /// Lets the index in memory go; if its file is not written, once it is.
    pub(crate) fn index_in_file(&mut self, dir: &D, history: HistoryId, interval_bytes: u32) {
        let (Some(store), Index::Growing(rows)) = (self.store.clone(), &self.index) else {
            return;
        };
        // Without the lower part the rows are no index of their own: it is made when it is used.
        let rows = Some(rows.clone()).filter(|_| self.below.take().is_none());
        let of = Of {
            history,
            base: self.base,
            store,
            store_bytes: self.bytes(),
            end: Some((self.end.offset, self.end.chain)),
            interval_bytes,
            is_lower: false,
        };
        let sealed = Sealed::new(dir, self.index_name(), of);
        if let Some(rows) = rows.filter(|_| !self.is_index_written) {
            sealed.replace(rows);
        }
        self.index = Index::File(sealed);
    }

    /// The name of its store's file.
    pub(crate) fn store_name(&self) -> String {
        name::store(self.base.offset, self.generation)
    }

    /// The name of its index's file.
    pub(crate) fn index_name(&self) -> String {
        name::index(self.base.offset, self.generation)
    }
}
