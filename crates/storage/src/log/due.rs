//! What background work is due, and whether any is left.

use corelog_record::{Offset, Timestamp};

use super::Log;
use super::tail::SMALL_BYTES;
use super::work::{EditWork, Garbage, IndexWork, MarkWork, Remove, SpaceSync, Work};
use crate::Now;
use crate::disk::Dir;
use crate::format::edit::{Edit, SEALS_MAX, Seals};
use crate::segment::{self, Index, Segment, Stage};

impl<D: Dir> Log<D> {
    /// Whether nothing is left to do but what is asked for or falls due: nothing pending, in flight or
    /// under way, every rolled segment sealed, none left below the log start, the mark written and synced
    /// as far as it may tell, the manifest told of what was found. Nothing is ever left to do for a fenced log.
    pub fn is_settled(&self) -> bool {
        if self.is_fenced() {
            return true;
        }
        let is_busy = self.in_flight_bytes > 0 || self.chore.is_some() || self.is_full();
        let is_marked = self.is_mark_held()
            || (self.marked.is_synced && self.durable.ordinal == self.marked.ordinal);
        let is_marked = is_marked && self.is_heard_marked();
        let before = self.segments.len().saturating_sub(2);
        // Segments are sealed in order: the one before the active one is the last to be.
        let is_sealed = self.segments.get(before).is_none_or(|segment| {
            matches!(
                segment.stage,
                Stage::Sealed(_) | Stage::Active | Stage::Damaged
            )
        });
        let is_told = self.unwritten.is_empty() && self.scrub.unwritten.is_none();
        let is_idle = !is_busy && is_told && self.pending_bytes() == 0;
        let is_sealed = is_sealed && !self.is_any_left_below();
        is_idle && is_marked && is_sealed && self.garbage.is_empty() && self.index_checks.get() == 0
    }

    /// A store for a rolled log's next group while the last one is on the disk; space where little
    /// is left, and a sync of it; the space that a full disk refused.
    pub(super) fn plan_space(&mut self, now: Timestamp) -> Option<Work<D>> {
        if self.is_full() {
            if self.in_flight_bytes > 0 || now < self.space_retry_at {
                return None;
            }
            let group = self.tail.first_pending()?;
            let (base, end, bytes) = (group.segment, group.end.position.get(), group.bytes);
            if !self.can_prepare(base, end) {
                return None;
            }
            let mut prepare = self.prepare(base, end, bytes);
            prepare.extent = prepare.extent.map(|extent| extent.once_full(end));
            return Some(Work::Prepare(base, Box::new(prepare)));
        }
        let Some((base, end, bytes)) = self.waits_for_space(now) else {
            return self.plan_space_sync(now);
        };
        let is_free = self.can_prepare(base, end);
        is_free.then(|| Work::Prepare(base, Box::new(self.prepare(base, end, bytes))))
    }

    /// A sync of space that lies ahead of small groups: the first one in it would have to do that, and whoever
    /// waits for it wait. Only where nobody waits, and while no group is under way: after a sync that failed nothing
    /// is known of what was written before.
    fn plan_space_sync(&self, now: Timestamp) -> Option<Work<D>> {
        let is_at_rest = self.in_flight_bytes == 0 && self.pending_bytes() == 0;
        let is_small = 0 < self.group_bytes && self.group_bytes <= SMALL_BYTES;
        if !D::DURABLE_IN_ONE_CALL || !is_at_rest || !is_small || now < self.space_retry_at {
            return None;
        }
        let active = self.active();
        let store = active.store.clone()?;
        (active.synced_bytes < active.space_bytes).then(|| {
            Work::SpaceSync(SpaceSync {
                store,
                segment: active.base.offset,
                bytes: active.space_bytes,
            })
        })
    }

    /// The segment that needs preparation while a group of it or its predecessor is on the disk. None while a group waits for
    /// space, which then prepares its own: it would wait for one part after the other.
    fn waits_for_space(&self, now: Timestamp) -> Option<(Offset, u64, usize)> {
        if now < self.space_retry_at || self.hurry.is_on() {
            return None;
        }
        if let Some(group) = self.tail.first_pending()
            && self.in_flight_bytes > 0
            && self.has_files()
            && self.segment_at(group.segment).store.is_none()
        {
            return Some((group.segment, group.end.position.get(), group.bytes));
        }
        let active = self.active();
        let is_written = active.store.is_some() && self.durable_segment == active.base.offset;
        // A log that was just opened has no group yet: whether it is slow or fast is not known.
        let is_busy = self.group_bytes > 0;
        let least = self
            .filled(active)
            .low(self.identity.history, &self.options);
        let least = least.filter(|_| is_written && is_busy && !active.is_empty())?;
        Some((active.base.offset, least, self.group_bytes))
    }

    /// The mark, if it lags behind what is durable.
    pub(super) fn plan_mark(&mut self, now: Timestamp, is_idle: bool) -> Option<Work<D>> {
        let behind = self.durable.ordinal.checked_since(self.marked.ordinal) != Some(0);
        let is_unsynced = behind || !self.marked.is_synced || !self.is_heard_marked();
        let is_aged = MARK_AGE_MS <= now.millis_since(self.marked.time);
        let is_due = MARK_BYTES_MAX <= self.unmarked_bytes() || is_aged;
        let is_wanted = (is_idle && is_unsynced) || (behind && is_due);
        let is_held = self.is_mark_held() && self.is_heard_marked();
        let is_held = is_held || now < self.marked.retry_at;
        if !is_wanted || is_held || !self.mark.is_here() {
            return None;
        }
        let (slot, total) = (self.slot(), self.durable_total);
        let is_sync_due = MARK_SYNC_MS <= now.millis_since(self.marked.synced_at);
        let mark = self.mark.take()?;
        Some(Work::Mark(MarkWork {
            mark,
            slot,
            total,
            is_synced: is_idle || is_sync_due,
        }))
    }

    /// Whether the mark lags behind by more than it may.
    pub(crate) fn is_mark_late(&self) -> bool {
        !self.is_mark_held() && MARK_BYTES_LATE <= self.unmarked_bytes()
    }

    /// Whether the mark stays as it is. What a read-only log promises is more than its last store holds:
    /// its old mark says so.
    pub(super) fn is_mark_held(&self) -> bool {
        self.marked.is_clean || self.read_only_from.is_some() || self.is_end_unread()
    }

    /// What became durable since the mark was written.
    fn unmarked_bytes(&self) -> u64 {
        self.durable_total.saturating_sub(self.marked.total)
    }

    /// The next step of sealing the oldest segments that are not sealed, several at once.
    pub(super) fn plan_seal(&mut self, now: Now) -> Option<Work<D>> {
        if now.time < self.seal_retry_at {
            return None;
        }
        let finished = self.unsealed(Stage::Finished);
        if finished.is_empty() {
            let rolled = self.unsealed(Stage::Rolled);
            let (dir, history) = (&self.dir, self.identity.history);
            let parts = rolled.into_iter();
            let parts: Vec<_> = parts.filter_map(|s| s.finishing(dir, history)).collect();
            return (!parts.is_empty()).then_some(Work::Finish(parts));
        }
        if self.is_add_waiting() {
            return None;
        }
        let seals = finished
            .into_iter()
            .map(|s| segment::seal(s, now.stamp))
            .collect();
        self.edit(Edit::Seals(Seals { seals }))
    }

    /// Appending `edit` to the manifest, if nothing that it needs is with another plan.
    pub(super) fn edit(&mut self, edit: Edit) -> Option<Work<D>> {
        let (manifest, mark) = self.take_for_edit()?;
        Some(Work::Edit(Box::new(EditWork {
            manifest,
            edit,
            gone: Vec::new(),
            mark,
        })))
    }

    /// The oldest segments that are durable and wait in this stage, as many as one edit seals.
    fn unsealed(&self, stage: Stage) -> Vec<&Segment<D>> {
        let durable = self.durable.offset;
        let newest = self.newest_unsealed();
        let due = newest.filter(|s| s.stage == stage && s.end.offset <= durable);
        let mut due: Vec<_> = due.collect();
        due.reverse();
        due.truncate(SEALS_MAX);
        due
    }

    /// The segments behind the last sealed one, newest first: of those before it none is to be
    /// sealed, whatever their number.
    pub(super) fn newest_unsealed(&self) -> impl Iterator<Item = &Segment<D>> {
        let is_sealed = |segment: &&Segment<D>| segment.is_sealed();
        self.segments
            .iter()
            .rev()
            .take_while(move |s| !is_sealed(s))
    }

    /// Whether so much waits to be sealed that the log is not rolled: what is not sealed is read
    /// again after a kill.
    pub(super) fn is_sealing_behind(&self) -> bool {
        let newest = self.newest_unsealed();
        let waiting = newest.filter(|s| matches!(s.stage, Stage::Rolled | Stage::Finished));
        let (count, bytes) =
            waiting.fold((0, 0), |(count, bytes), s| (count + 1, bytes + s.bytes()));
        UNSEALED_MAX <= count || (UNSEALED_MIN <= count && UNSEALED_BYTES_MAX <= bytes)
    }

    /// What the manifest is to be told of what was found: damage, the end of a scrub.
    pub(super) fn plan_found(&mut self, now: Timestamp) -> Option<Work<D>> {
        if now < self.seal_retry_at || self.is_add_waiting() {
            return None;
        }
        self.plan_damage().or_else(|| self.plan_scrubbed())
    }

    /// Whether a group waits for its store's `add`, which goes before other edits. On a full disk it
    /// waits for space, and space for the edits that let it go.
    pub fn is_add_waiting(&self) -> bool {
        let waiting = self.tail.first_pending().map(|group| group.segment);
        !self.is_full() && waiting.is_some_and(|base| self.segment_at(base).store.is_none())
    }

    /// Removing what nothing names any more, but for so many `spares` that may become the next store. The newest of them stay:
    /// between those and the log there is no gap to whoever knows of stores alone.
    pub(super) fn plan_remove(&mut self, now: Timestamp, spares: usize) -> Option<Work<D>> {
        if now < self.remove_retry_at {
            return None;
        }
        let waiting = self.garbage.iter().filter(|garbage| garbage.is_spare());
        let mut surplus = waiting.count().saturating_sub(spares);
        let is_free = |garbage: &mut Garbage<D>| {
            if garbage.is_spare() {
                let is_surplus = surplus > 0;
                surplus -= usize::from(is_surplus);
                return is_surplus;
            }
            // Reads finish: what they use goes when they are done with it.
            !garbage.store.is_pinned()
        };
        let garbage: Vec<_> = self.garbage.extract_if(.., is_free).collect();
        let is_any = !garbage.is_empty();
        is_any.then(|| {
            Work::Remove(Remove {
                dir: self.dir.clone(),
                garbage,
            })
        })
    }

    pub(super) fn plan_index(&mut self, now: Timestamp) -> Option<Work<D>> {
        let checks = self.index_checks.get();
        if now < self.index_retry_at || checks == 0 {
            return None;
        }
        let found = self.segments.iter().find_map(|segment| {
            let Index::File(sealed) = &segment.index else {
                return None;
            };
            // First: of many segments, next to none has any.
            let bytes = sealed.rebuilt()?;
            Some(Work::Index(IndexWork {
                dir: self.dir.clone(),
                segment: segment.base.offset,
                sealed: sealed.clone(),
                bytes,
            }))
        });
        if found.is_none() {
            self.index_retry_at = now.saturating_add_millis(INDEX_CHECK_MS);
            self.index_checks.set(checks - 1);
        }
        found
    }
}

/// While busy, the mark is written anew this often, in milliseconds, …
const MARK_AGE_MS: i64 = 500;

/// … and this often in bytes: a group that completes meanwhile stays within the 4 MiB promised.
const MARK_BYTES_MAX: u64 = 2 << 20;

/// A log that is never idle syncs its mark this often, in milliseconds.
const MARK_SYNC_MS: i64 = 60_000;

/// How far it lags behind at most where no group is under way.
const MARK_BYTES_LATE: u64 = 2 * MARK_BYTES_MAX;

/// After a read from the disk it is looked so often for an index that had to be rebuilt for it: a
/// read that takes longer leaves that to the next one.
pub(super) const INDEX_CHECKS: u8 = 30;

/// How often it is looked for indexes that were rebuilt, in milliseconds: there may be thousands.
const INDEX_CHECK_MS: i64 = 1_000;

/// So many segments may wait to be sealed, …
const UNSEALED_MAX: usize = 16;

/// … or so many bytes of them, …
const UNSEALED_BYTES_MAX: u64 = 512 << 20;

/// … but so many in any case, however large: one is sealed while the next one fills.
const UNSEALED_MIN: usize = 2;
