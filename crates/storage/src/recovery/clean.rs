//! What needs no recovery: sealed segments, and a log that was closed in order.

use std::collections::VecDeque;
use std::rc::Rc;

use corelog_record::{Chain, Offset, Position};

use super::{BLOCK, OpenStore, Recovery, partial_block, settle};
use crate::Error;
use crate::disk::{Dir, File, round_up};
use crate::format::damage::Damage;
use crate::format::state;
use crate::index::{Builder, Of, Sealed};
use crate::log::Event;
use crate::planted::{self, Bug};
use crate::segment::{Below, Index, Point, Segment, Stage};
use crate::store::Store;

impl<D: Dir> Recovery<D> {
    /// A segment as the manifest names it.
    pub(super) fn segment(&mut self, named: &state::Segment) -> Segment<D> {
        let dir = &self.context.way.dir;
        let Some(seal) = &named.seal else {
            let mut segment = Segment::new(Point::starting(named.start()));
            segment.generation = named.generation;
            segment.store = Some(Store::closed(dir, segment.store_name()));
            return segment;
        };
        let mut segment = Segment::sealed(dir, named.generation, seal);
        let (history, interval_bytes) =
            (self.context.identity.history, self.context.interval_bytes);
        segment.index_in_file(dir, history, interval_bytes);
        let length = self.length(&segment.store_name());
        if let Some(bytes) = length.and_then(|length| length.checked_sub(seal.digest.bytes))
            && bytes > 0
        {
            let segment = named.base;
            let event = Event::Surplus { segment, bytes };
            self.findings.events.note(event);
        }
        if length.is_none_or(|bytes| bytes < seal.digest.bytes) {
            let (from, to) = (named.base, segment.end.offset);
            self.note_damage(Damage {
                from,
                to,
                segment: from,
            });
        }
        segment
    }

    /// The index of a segment whose store has `store_bytes` bytes; `end` is what it ends with, if
    /// that is known.
    pub(super) fn index_of(
        &self,
        segment: &Segment<D>,
        store: Rc<Store<D>>,
        store_bytes: u64,
        end: Option<(Offset, Chain)>,
    ) -> Rc<Sealed<D>> {
        let of = Of {
            history: self.context.identity.history,
            base: segment.base,
            store,
            store_bytes,
            end,
            interval_bytes: self.context.interval_bytes,
            is_lower: segment.stage == Stage::Active,
        };
        Sealed::new(&self.context.way.dir, segment.index_name(), of)
    }

    /// Leaves the rows below `end` of a segment to be loaded when they are used.
    pub(super) fn index_from(&self, segment: &mut Segment<D>, store: &Rc<Store<D>>, end: Point) {
        let bytes = end.position.get();
        // What is shorter than the way to the first row has none.
        if bytes < u64::from(self.context.interval_bytes) {
            return;
        }
        let known = Some((end.offset, end.chain));
        let index = self.index_of(segment, store.clone(), bytes, known);
        segment.index = Index::Growing(Builder::beginning_at(&segment.base, &end));
        segment.below = Some(Below { end, index });
    }

    /// The length of the file `name`, if there is one.
    pub(super) fn length(&self, name: &str) -> Option<u64> {
        let entries = &self.entries;
        let at = entries.binary_search_by(|entry| entry.name.as_str().cmp(name));
        at.ok().map(|at| entries[at].bytes)
    }

    /// The end of a log that was closed in order; `None` if it was not, or if that cannot be told.
    ///
    /// Unless `has_waited`, nothing is opened for it but the active store, and that only for its last
    /// block: its length must be the very one that closing cut it to. As long as the mark says clean,
    /// neither the manifest nor a store that it names is written to (see `Log::take_for_edit`), so what a killed process may still
    /// have on its way to the disk is a mark at most: the slot that says clean is read whole, so it
    /// has arrived; a later one that is still on its way says what the clean one says but for that
    /// bit, and if it destroys a newer one, the older is true as well.
    pub(super) async fn clean_end(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
        has_waited: bool,
    ) -> Result<Option<Point>, Error> {
        let slot = self.slot.filter(|_| self.is_marked_clean);
        let Some(slot) = slot.filter(|_| self.manifest.torn().is_none()) else {
            return Ok(None);
        };
        let marked = Point::marked(&slot);
        if marked.offset < self.promised() || !self.are_known(segments) {
            return Ok(None);
        }
        let is_same = |end: &Point| end.offset == marked.offset && end.chain == marked.chain;
        let Some(last) = segments.back_mut() else {
            let floor = self.manifest.state().end();
            let is_end = floor == Some(marked.place());
            return Ok(Some(marked.rolled()).filter(|_| is_end));
        };
        if last.seal_time().is_some() {
            return Ok(Some(last.end).filter(is_same));
        }
        let end = self.marked_in(last).unwrap_or(last.base);
        let position = end.position.get();
        let name = last.store_name();
        let bytes = self.length(&name);
        let (store, is_exact) = match has_waited {
            // Nothing lies behind the end, and so there is nothing to look at.
            false => {
                let store = Store::unopened(&self.context.way.dir, name);
                (store, bytes == Some(position))
            }
            true => {
                let open = self.open_store(last).await?;
                let is_exact = open.end <= position && position <= open.bytes;
                (open.store, is_exact)
            }
        };
        let is_exact = is_exact || planted::is(Bug::StaleCleanMark);
        if !is_exact || !is_same(&end) {
            return Ok(None);
        }
        last.end = end;
        last.space_bytes = bytes.unwrap_or(0).max(round_up(position)) / BLOCK * BLOCK;
        if self.is_damaged(last) {
            let known = Some((end.offset, end.chain));
            last.index = Index::File(self.index_of(last, store.clone(), position, known));
            last.stage = Stage::Damaged;
        } else {
            // Appends go on in the last block. If the disk does not give it, the log needs recovery.
            self.partial = match partial_block(&store, position).await {
                Err(error) if error.is_unreadable() => return Ok(None),
                partial => Some(partial?),
            };
            self.index_from(last, &store, end);
        }
        last.store = Some(store);
        last.born = self.born(last);
        Ok(Some(end))
    }

    /// Whether all segments before the last one are sealed, or known to be damaged. The latter get
    /// the end that their successor's beginning is.
    fn are_known(&self, segments: &mut VecDeque<Segment<D>>) -> bool {
        for number in 1..segments.len() {
            let next = segments[number].base;
            let segment = &segments[number - 1];
            if segment.seal_time().is_some() {
                continue;
            }
            let bytes = self.length(&segment.store_name()).and_then(Position::new);
            let Some(position) = bytes.filter(|_| self.is_damaged(segment)) else {
                return false;
            };
            let store = Store::closed(&self.context.way.dir, segment.store_name());
            let index = self.index_of(segment, store.clone(), position.get(), None);
            let segment = &mut segments[number - 1];
            segment.stage = Stage::Damaged;
            segment.end = Point { position, ..next };
            segment.store = Some(store);
            segment.index = Index::File(index);
        }
        true
    }

    /// Whether damage of a segment is known.
    pub(super) fn is_damaged(&self, segment: &Segment<D>) -> bool {
        !self.findings.damage.of(segment.base.offset).is_empty()
    }

    /// Opens the store of a segment that is not sealed.
    pub(super) async fn open_store(&self, segment: &Segment<D>) -> Result<OpenStore<D>, Error> {
        let name = segment.store_name();
        let Some(bytes) = self.length(&name) else {
            let store = Store::closed(&self.context.way.dir, name);
            return Ok(OpenStore {
                store,
                bytes: 0,
                end: 0,
            });
        };
        let store = Store::unopened(&self.context.way.dir, name);
        settle::check_length(&store, bytes)?;
        let waited = store.file().await?.outwait().await;
        waited.map_err(|e| store.at().space("outwait", e))?;
        let end = self.reading(settle::data_end(&store, bytes)).await?;
        Ok(OpenStore { store, bytes, end })
    }
}
