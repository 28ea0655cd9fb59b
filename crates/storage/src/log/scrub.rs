//! Scrubbing a log: which segment is next, and what follows from what is found.

use std::rc::Rc;

use corelog_record::{Offset, Timestamp};

use super::due::INDEX_CHECKS;
use super::work::Work;
use super::{Damage, Log};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{self, Edit};
use crate::index::Builder;
use crate::scrub::{Target, Walk};
use crate::segment::{Index, Segment};
use crate::store::Store;

/// A piece of a scrub. It only reads, and may be dropped at any time.
pub struct ScrubPlan<D: Dir> {
    serial: u64,
    walk: Option<Walk<D>>,
    /// The store, whose file is not removed while the piece is read.
    store: Option<Rc<Store<D>>>,
    bytes_max: usize,
}

/// A piece that was read; give it to [`Log::complete_scrub`].
pub struct ScrubDone<D: Dir> {
    serial: u64,
    walk: Option<Walk<D>>,
    result: Result<(u64, Option<Error>), Error>,
}

/// What a piece of a scrub found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scrubbed {
    /// When the pass began.
    pub began: Timestamp,
    /// All sealed segments below were read in this pass.
    pub upto: Offset,
    /// Bytes of batches that this piece read.
    pub bytes: u64,
    /// Damage that was not known before.
    pub damage: Vec<Damage>,
    /// The segment whose index was found missing or wrong, and is made anew.
    pub index: Option<Offset>,
    /// Bytes of a store's file behind its segment's end, which belong to nothing.
    pub surplus_bytes: u64,
    /// The segment of which not all could be read, and why, if so. The pass goes on behind what the disk does not give, else
    /// with the next segment, or with what has its place by the next piece, and will not count as whole.
    pub error: Option<(Offset, Error)>,
    /// Whether all that the pass was to read so far could be read.
    pub is_whole: bool,
    /// Whether this piece was the pass's last. The next piece begins another pass.
    pub is_pass_complete: bool,
}

/// How far a log's scrub has come. The place is in memory only: after a restart a pass begins anew.
pub(super) struct Scrub<D: Dir> {
    /// In a box: a log is scrubbed once in days.
    pass: Option<Box<Pass<D>>>,
    /// Tells the piece under way from those that were dropped.
    serial: u64,
    /// The end of the last whole pass that the manifest knows of.
    last: Option<Timestamp>,
    /// The end of a whole pass that the manifest does not know of yet.
    pub(super) unwritten: Option<Timestamp>,
}

/// One pass over all segments that were sealed when it began.
struct Pass<D: Dir> {
    began: Timestamp,
    /// The end of the last segment.
    end: Offset,
    /// All below is done.
    next: Offset,
    walk: Option<Walk<D>>,
    /// The walk over a segment that could not all be read: its place may be another's by the next piece.
    left: Option<Walk<D>>,
    /// The damage of the walk's segment that was known when the walk began, and was not met since: the walk
    /// has seen all of it anew once it ends.
    known: Vec<Damage>,
    /// Whether all that was to be read could be read.
    is_whole: bool,
}

impl<D: Dir> Default for Scrub<D> {
    fn default() -> Self {
        Self {
            pass: None,
            serial: 0,
            last: None,
            unwritten: None,
        }
    }
}

impl<D: Dir> Scrub<D> {
    /// The state after opening a log whose manifest knows of a pass that ended at `last`.
    pub(super) fn since(last: Option<Timestamp>) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Notes that `found` was met: it may have come behind the walk, which then says nothing of it.
    pub(super) fn met(&mut self, found: &Damage) {
        if let Some(pass) = &mut self.pass {
            let is_apart = |known: &Damage| found.to <= known.from || known.to <= found.from;
            pass.known.retain(is_apart);
        }
    }

    /// Whether `known` is forgotten if the walk under way reads its segment right.
    pub(super) fn may_forget(&self, known: &Damage) -> bool {
        let pass = self.pass.as_ref();
        pass.is_some_and(|pass| pass.known.contains(known))
    }

    /// Notes that the manifest knows of a whole pass.
    pub(super) fn written(&mut self, time: Timestamp) {
        self.last = Some(time);
        self.unwritten = self.unwritten.filter(|unwritten| *unwritten != time);
    }
}

impl<D: Dir> ScrubPlan<D> {
    /// Reads the piece.
    pub async fn run(mut self) -> ScrubDone<D> {
        let result = match (&mut self.walk, &self.store) {
            (Some(walk), Some(store)) => walk.run(store, self.bytes_max).await,
            _ => Ok((0, None)),
        };
        let Self { serial, walk, .. } = self;
        ScrubDone {
            serial,
            walk,
            result,
        }
    }
}

impl<D: Dir> Log<D> {
    /// Plans to read the next piece of the sealed segments, about `bytes_max` bytes of it: whether
    /// every batch is sound, the chain and the length are those of the segment's digest, and the rows
    /// of its index are true. `None` without sealed segments. A scrub goes on beside flushes, chores
    /// and reads, and needs no file or map that these hold.
    ///
    /// # Errors
    /// [`Error::Fenced`]: what it would find could not be remembered.
    pub fn plan_scrub(
        &mut self,
        now: Timestamp,
        bytes_max: usize,
    ) -> Result<Option<ScrubPlan<D>>, Error> {
        if self.is_fenced() {
            return Err(Error::Fenced);
        }
        let Some(mut pass) = self.scrub.pass.take().or_else(|| self.begin_pass(now)) else {
            return Ok(None);
        };
        if let Some(left) = pass.left.take().filter(|left| self.has(left.target())) {
            pass.next = left.target().end.offset;
        }
        let segment = self.next_to_scrub(&pass);
        let is_same = |walk: &Walk<D>| segment.is_some_and(|segment| is_of(segment, walk.target()));
        let walk = pass.walk.take().filter(is_same);
        let store = segment.and_then(|segment| Some(segment.store.as_ref()?.apart()));
        match walk {
            Some(walk) => pass.walk = Some(walk),
            None => {
                let target = segment.and_then(|segment| self.target(segment));
                if let Some(target) = target {
                    self.walk(&mut pass, Walk::new(Rc::new(target)));
                }
            }
        }
        self.scrub.serial += 1;
        let plan = ScrubPlan {
            serial: self.scrub.serial,
            walk: pass.walk.clone(),
            store,
            bytes_max,
        };
        self.scrub.pass = Some(pass);
        Ok(Some(plan))
    }

    /// Takes in what a piece found: damage is known to readers from now on, and to the manifest after
    /// the next chores; so is the end of a whole pass, and an index that has to be made anew. What it
    /// says of a segment that was removed or replaced meanwhile is let go.
    pub fn complete_scrub(&mut self, done: ScrubDone<D>, now: Timestamp) -> Scrubbed {
        let ScrubDone {
            serial,
            walk,
            result,
        } = done;
        let pass = self.scrub.pass.take();
        let Some(mut pass) = pass.filter(|_| serial == self.scrub.serial) else {
            return Scrubbed::nothing(now, self.log_start);
        };
        self.scrub.serial += 1;
        let mut scrubbed = Scrubbed::nothing(pass.began, pass.next);
        pass.walk = None;
        if let Some(walk) = walk.filter(|walk| self.has(walk.target())) {
            self.take_piece(walk, result, &mut pass, &mut scrubbed, now);
        }
        (scrubbed.upto, scrubbed.is_whole) = (pass.next, pass.is_whole);
        let is_open = pass.walk.is_some() || pass.left.is_some();
        if !is_open && self.next_to_scrub(&pass).is_none() {
            scrubbed.is_pass_complete = true;
            self.scrub.unwritten = Some(now).filter(|_| pass.is_whole);
        } else {
            self.scrub.pass = Some(pass);
        }
        scrubbed
    }

    /// When the last whole pass of the scrub ended, restarts included.
    pub fn scrubbed_at(&self) -> Option<Timestamp> {
        self.scrub.last
    }

    /// The end of a whole pass that the manifest does not know of yet.
    pub(super) fn plan_scrubbed(&mut self) -> Option<Work<D>> {
        let time = self.scrub.unwritten?;
        self.edit(Edit::Scrubbed(edit::Scrubbed { time }))
    }

    /// Takes in a piece of a segment that is still there.
    fn take_piece(
        &mut self,
        mut walk: Walk<D>,
        result: Result<(u64, Option<Error>), Error>,
        pass: &mut Pass<D>,
        scrubbed: &mut Scrubbed,
        now: Timestamp,
    ) {
        let (base, end) = (walk.target().base.offset, walk.target().end.offset);
        let mut note = |log: &mut Self, from, to| {
            let segment = base;
            let damage = Damage { from, to, segment };
            scrubbed
                .damage
                .extend(Some(damage).filter(|damage| log.note_damage(*damage)));
        };
        match result {
            Ok((bytes, None)) => scrubbed.bytes = bytes,
            // What lies behind it is read all the same.
            Ok((_, Some(error))) => {
                pass.is_whole = false;
                scrubbed.error = Some((base, error));
            }
            // Its file is being moved: what takes its place is read, from the beginning.
            Err(error) if error.is_missing() && self.is_moving_files() => return,
            Err(error) if error.is_missing() => {
                pass.next = end;
                return note(self, base, end);
            }
            Err(error) => {
                pass.is_whole = false;
                scrubbed.error = Some((base, error));
                pass.left = Some(walk);
                return;
            }
        }
        for bad in walk.take_bad() {
            note(self, bad.start, bad.end);
        }
        if !walk.is_done() {
            pass.walk = Some(walk);
            return;
        }
        if walk.has_unread() {
            // What the chain covers was not read: whether the store is wrong or a row cannot be told.
            scrubbed.surplus_bytes = walk.surplus_bytes();
            pass.left = Some(walk);
            return;
        }
        let (again, second) = (walk.indexing(), walk.second());
        let (is_second, surplus_bytes) = (walk.is_second(), walk.surplus_bytes());
        let (verdict, rows) = walk.conclude();
        if !verdict.replaced.is_empty() && !is_second {
            return self.walk(pass, second);
        }
        scrubbed.surplus_bytes = surplus_bytes;
        if verdict.is_whole {
            self.forget_damage(&pass.known);
        }
        for replaced in verdict.replaced {
            note(self, replaced.start, replaced.end);
        }
        match rows {
            Some(rows) if verdict.is_whole => self.take_rows(base, rows, now),
            // That of a store which is not whole is made where it is used, by the rows that are left of it.
            None if !verdict.is_index_right && verdict.is_whole => {
                scrubbed.index = Some(base);
                return self.walk(pass, again);
            }
            _ => {}
        }
        pass.next = end;
    }

    /// Has a pass begin a walk, which sees anew what is known by now of its segment's damage.
    fn walk(&self, pass: &mut Pass<D>, walk: Walk<D>) {
        pass.known = self.damage_of(walk.target().base.offset);
        pass.walk = Some(walk);
    }

    /// Puts the rows of an index in the place of those that are wrong.
    fn take_rows(&mut self, base: Offset, rows: Builder, now: Timestamp) {
        if let Index::File(sealed) = &self.segment_at(base).index {
            sealed.replace(rows);
            self.index_retry_at = now;
            self.index_checks.set(INDEX_CHECKS);
        }
    }

    fn begin_pass(&self, now: Timestamp) -> Option<Box<Pass<D>>> {
        let last = self.segments.iter().rfind(|segment| segment.is_sealed())?;
        Some(Box::new(Pass {
            began: now,
            end: last.end.offset,
            next: Offset::ZERO,
            walk: None,
            left: None,
            known: Vec::new(),
            is_whole: true,
        }))
    }

    /// The first segment that a pass has not read yet.
    fn next_to_scrub(&self, pass: &Pass<D>) -> Option<&Segment<D>> {
        let first = self
            .segments
            .partition_point(|segment| segment.base.offset < pass.next);
        let mut left = self.segments.range(first..);
        left.find(|segment| segment.is_sealed() && segment.end.offset <= pass.end)
    }

    fn target(&self, segment: &Segment<D>) -> Option<Target<D>> {
        Some(Target {
            dir: self.dir.clone(),
            history: self.identity.history,
            store: Rc::downgrade(segment.store.as_ref()?),
            base: segment.base,
            end: segment.end,
            epochs: self.epochs.clone(),
            index_name: segment.index_name(),
            interval_bytes: self.options.index_interval_bytes,
        })
    }

    /// Whether the log still has the very segment that was read.
    fn has(&self, target: &Target<D>) -> bool {
        let segment = self.segment_of(target.base.offset);
        segment.is_sealed() && is_of(segment, target)
    }
}

impl Scrubbed {
    fn nothing(began: Timestamp, upto: Offset) -> Self {
        Self {
            began,
            upto,
            bytes: 0,
            damage: Vec::new(),
            index: None,
            surplus_bytes: 0,
            error: None,
            is_whole: true,
            is_pass_complete: false,
        }
    }
}

/// Whether it is this segment that is walked over.
fn is_of<D: Dir>(segment: &Segment<D>, target: &Target<D>) -> bool {
    let store = segment.store.as_ref();
    store.is_some_and(|store| Rc::as_ptr(store) == target.store.as_ptr())
}
