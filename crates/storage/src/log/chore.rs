//! Background work, one chore at a time: what is due, and what its completion changes.

use std::fmt;

use corelog_record::{Offset, Timestamp};

use super::fence::Guard;
use super::work::{EditWork, Finish, Garbage, IndexWork, MarkWork, Next, Remove, Work};
use super::{Log, space};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Digest, Edit, Kind as DigestKind, Seal};
use crate::segment::{Index, Segment, Stage};

/// Background work on its way to the disk. Like a flush it must be run and completed: dropping it,
/// or its future, fences the log.
pub struct ChorePlan<D: Dir> {
    guard: Guard,
    work: Work<D>,
}

/// A chore that the disk has answered for; give it to [`Log::complete_chore`].
pub struct ChoreDone<D: Dir> {
    plan: ChorePlan<D>,
    result: Result<(), Error>,
}

/// What a chore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chore {
    /// Space for coming groups was prepared.
    SpacePrepared,
    /// The mark was written.
    Marked,
    /// A rolled segment was cut to its length and its index written.
    Finished {
        /// Its base offset.
        segment: Offset,
    },
    /// A rolled segment is sealed.
    Sealed {
        /// Its base offset.
        segment: Offset,
    },
    /// Log start moved up; the files go later.
    Expired {
        /// The new log start.
        log_start: Offset,
        /// How many segments went.
        segments: usize,
        /// How many bytes of batches went.
        bytes: u64,
    },
    /// The end of the log was cut off and quarantined.
    SuffixCut {
        /// The new log end.
        log_end: Offset,
    },
    /// Files that the log no longer names were removed.
    Removed {
        /// How many files.
        files: usize,
    },
    /// An index was rebuilt from its store.
    IndexRebuilt {
        /// The base offset of its segment.
        segment: Offset,
    },
}

/// What a chore under way keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It prepares a store or space.
    Prepare,
    /// Anything else; what it needs it has taken along.
    Other,
}

impl<D: Dir> fmt::Debug for ChorePlan<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.work {
            Work::Prepare(..) => "prepare",
            Work::Next(_) => "next",
            Work::Mark(_) => "mark",
            Work::Finish(_) => "finish",
            Work::Edit(_) => "edit",
            Work::Suffix(_) => "suffix",
            Work::Remove(_) => "remove",
            Work::Index(_) => "index",
        };
        f.debug_struct("ChorePlan")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> fmt::Debug for ChoreDone<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoreDone")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> ChorePlan<D> {
    /// Does the work.
    pub async fn run(mut self) -> ChoreDone<D> {
        let result = self.work.run().await;
        ChoreDone { plan: self, result }
    }
}

impl<D: Dir> Log<D> {
    /// Plans the next due background work; `None` while a chore is under way or nothing is due.
    /// `is_idle`: nothing was appended for about 100 ms, so the mark is written and synced.
    pub fn plan_chore(&mut self, now: Timestamp, is_idle: bool) -> Option<ChorePlan<D>> {
        if self.is_fenced() || self.chore.is_some() {
            return None;
        }
        let work = self
            .plan_space(now)
            .or_else(|| self.plan_mark(now, is_idle))
            .or_else(|| self.plan_seal(now))
            .or_else(|| self.plan_remove())
            .or_else(|| self.plan_next(now, is_idle))
            .or_else(|| self.plan_index(now))?;
        Some(self.chore(work))
    }

    /// What is left to do before the log can be closed.
    pub(super) fn plan_closing(&mut self, now: Timestamp) -> Option<ChorePlan<D>> {
        let work = self.plan_seal(now).or_else(|| self.plan_remove())?;
        Some(self.chore(work))
    }

    /// Takes the result of a chore. Ask for the next flush and chore afterwards.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there was no space; it is tried again later. Any other error
    /// fences the log.
    ///
    /// # Panics
    /// If another log made the plan.
    pub fn complete_chore(&mut self, done: ChoreDone<D>, now: Timestamp) -> Result<Chore, Error> {
        let ChoreDone {
            plan: ChorePlan { guard, work },
            result,
        } = done;
        self.fence.take_back(guard);
        self.chore = None;
        let is_space = matches!(work, Work::Prepare(..));
        // What these leave undone costs space or time, and says nothing about what was written.
        let is_harmless = matches!(work, Work::Remove(_) | Work::Index(_));
        let chore = self.take_in(work, result.is_ok(), now);
        match result {
            Ok(()) => {
                if is_space {
                    self.full_since = None;
                }
                Ok(chore)
            }
            Err(error @ Error::StorageFull { .. }) => {
                self.space_retry_at = now.saturating_add_millis(SPACE_RETRY_MS);
                Err(error)
            }
            // Damage is found by reading, before anything is changed.
            Err(error @ Error::Damaged { .. }) => Err(error),
            Err(error) => {
                if !is_harmless {
                    self.fence.set();
                }
                Err(error)
            }
        }
    }

    /// Wraps work up as the one chore under way.
    pub(super) fn chore(&mut self, work: Work<D>) -> ChorePlan<D> {
        assert!(self.chore.is_none(), "one chore at a time");
        self.chore = Some(match work {
            Work::Prepare(..) | Work::Next(_) => Kind::Prepare,
            _ => Kind::Other,
        });
        ChorePlan {
            guard: self.fence.guard(),
            work,
        }
    }

    /// A store for a rolled log's next group while the last one is on the disk; space where little
    /// is left; the space that a full disk refused.
    fn plan_space(&mut self, now: Timestamp) -> Option<Work<D>> {
        if self.is_full() {
            if self.in_flight_bytes > 0 || now < self.space_retry_at {
                return None;
            }
            let group = self.tail.first_pending()?;
            let (base, end, bytes) = (group.segment, group.end.position.get(), group.bytes);
            if !self.can_prepare(base, end) {
                return None;
            }
            return Some(Work::Prepare(
                base,
                Box::new(self.prepare(base, end, bytes)),
            ));
        }
        let (base, end, bytes) = self.waits_for_space(now)?;
        let is_free = self.can_prepare(base, end);
        is_free.then(|| Work::Prepare(base, Box::new(self.prepare(base, end, bytes))))
    }

    /// The segment that needs preparation while a group of it or its predecessor is on the disk.
    fn waits_for_space(&self, now: Timestamp) -> Option<(Offset, u64, usize)> {
        if now < self.space_retry_at {
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
        let extent = space::ahead(active, self.group_bytes, &self.options);
        let extent = extent.filter(|_| is_written && is_busy && !active.is_empty())?;
        Some((active.base.offset, extent.end, self.group_bytes))
    }

    /// The mark, if it lags behind what is durable.
    fn plan_mark(&mut self, now: Timestamp, is_idle: bool) -> Option<Work<D>> {
        let behind = self.durable.ordinal.checked_since(self.marked.ordinal) != Some(0);
        let is_unsynced = behind || !self.marked.is_synced;
        let bytes = self.durable_total.saturating_sub(self.marked.total);
        let is_due = MARK_BYTES_MAX <= bytes || MARK_AGE_MS <= now.millis_since(self.marked.time);
        let is_wanted = (is_idle && is_unsynced) || (behind && is_due);
        if !is_wanted || self.marked.is_clean || !self.mark.is_here() {
            return None;
        }
        let (slot, total) = (self.slot(), self.durable_total);
        let mark = self.mark.take()?;
        Some(Work::Mark(MarkWork {
            mark,
            slot,
            total,
            is_synced: is_idle,
        }))
    }

    /// The next step of sealing the oldest segment that is not sealed.
    fn plan_seal(&mut self, now: Timestamp) -> Option<Work<D>> {
        let durable = self.durable.offset;
        let is_due = |segment: &&Segment<D>| {
            matches!(segment.stage, Stage::Rolled | Stage::Finished)
                && segment.end.offset <= durable
        };
        let segment = self
            .segments
            .iter()
            .find(is_due)
            .filter(|_| self.space_retry_at <= now)?;
        let base = segment.base;
        if segment.stage == Stage::Finished {
            // A group that waits for its store's `add` goes first.
            let is_needed = self.tail.first_pending().map(|group| group.segment);
            if is_needed.is_some_and(|base| self.segment_at(base).store.is_none()) {
                return None;
            }
            let edit = Edit::Seal(seal(self.segment_at(base.offset), now));
            let manifest = self.manifest.take()?;
            return Some(Work::Edit(EditWork {
                manifest,
                edit,
                gone: Vec::new(),
            }));
        }
        let Index::Growing(rows) = &segment.index else {
            return None;
        };
        Some(Work::Finish(Finish {
            dir: self.dir.clone(),
            segment: base.offset,
            store: segment.store.clone()?,
            bytes: segment.bytes(),
            index_name: segment.index_name(),
            index: rows.encode(self.identity.history, &base),
        }))
    }

    fn plan_remove(&mut self) -> Option<Work<D>> {
        let garbage = std::mem::take(&mut self.garbage);
        let is_any = !garbage.is_empty();
        is_any.then(|| {
            Work::Remove(Remove {
                dir: self.dir.clone(),
                garbage,
                files: 0,
            })
        })
    }

    /// The next store, ahead of the roll.
    fn plan_next(&mut self, now: Timestamp, is_idle: bool) -> Option<Work<D>> {
        if is_idle || self.next.is_some() || now < self.space_retry_at || self.is_full() {
            return None;
        }
        let active = self.active();
        active.store.as_ref()?;
        let extent = space::next(active, self.group_bytes, &self.options)?;
        Some(Work::Next(Next {
            dir: self.dir.clone(),
            extent,
            made: None,
        }))
    }

    fn plan_index(&mut self, now: Timestamp) -> Option<Work<D>> {
        if now < self.index_retry_at {
            return None;
        }
        self.segments.iter().find_map(|segment| {
            let Index::File(sealed) = &segment.index else {
                return None;
            };
            Some(Work::Index(IndexWork {
                dir: self.dir.clone(),
                segment: segment.base.offset,
                sealed: sealed.clone(),
                bytes: sealed.rebuilt()?,
            }))
        })
    }

    /// Takes back what a chore took along, and in what it changed.
    fn take_in(&mut self, work: Work<D>, is_done: bool, now: Timestamp) -> Chore {
        match work {
            Work::Prepare(base, prepare) => {
                self.absorb(base, *prepare);
                Chore::SpacePrepared
            }
            Work::Next(next) => {
                self.next = next.made.map(|store| (store, next.extent.end));
                Chore::SpacePrepared
            }
            Work::Mark(work) => {
                if is_done {
                    self.marked.note(&work, now);
                }
                self.mark.give_back(Some(work.mark));
                Chore::Marked
            }
            Work::Finish(Finish { segment, .. }) => {
                if is_done {
                    self.segment_at_mut(segment).stage = Stage::Finished;
                }
                Chore::Finished { segment }
            }
            Work::Edit(work) => {
                self.manifest.give_back(Some(work.manifest));
                self.take_in_edit(&work.edit, &work.gone, is_done)
            }
            Work::Suffix(suffix) => self.take_in_suffix(*suffix, is_done),
            Work::Remove(work) => Chore::Removed { files: work.files },
            Work::Index(work) => {
                match is_done {
                    true => work.sealed.written(),
                    false => self.index_retry_at = now.saturating_add_millis(INDEX_RETRY_MS),
                }
                Chore::IndexRebuilt {
                    segment: work.segment,
                }
            }
        }
    }

    /// Takes an edit in that is now durable, or, if it is not, leaves all as it is.
    fn take_in_edit(
        &mut self,
        edit: &Edit,
        gone: &[crate::format::state::Segment],
        is_done: bool,
    ) -> Chore {
        match edit {
            Edit::Seal(seal) => {
                let base = seal.digest.base;
                if is_done {
                    self.seal_in_memory(base, seal.sealed);
                }
                Chore::Sealed { segment: base }
            }
            Edit::Expire(start) | Edit::Truncate(start) => {
                let (segments, bytes) = match is_done {
                    true => self.drop_front(start.start, gone),
                    false => (0, 0),
                };
                Chore::Expired {
                    log_start: self.log_start,
                    segments,
                    bytes,
                }
            }
            other => unreachable!("a chore never writes {other:?}"),
        }
    }

    fn seal_in_memory(&mut self, base: Offset, time: Timestamp) {
        let (dir, history) = (self.dir.clone(), self.identity.history);
        let interval_bytes = self.options.index_interval_bytes;
        let segment = self.segment_at_mut(base);
        assert_eq!(
            segment.stage,
            Stage::Finished,
            "a segment is finished before it is sealed"
        );
        segment.stage = Stage::Sealed(time);
        segment.index_in_file(&dir, history, interval_bytes);
    }

    /// Leaves a segment's files to be removed later.
    pub(super) fn discard(&mut self, segment: Segment<D>) {
        let names = vec![segment.store_name(), segment.index_name()];
        self.garbage
            .extend(segment.store.map(|store| Garbage { store, names }));
    }
}

/// What the manifest is told of a segment that will never change.
fn seal<D: Dir>(segment: &Segment<D>, now: Timestamp) -> Seal {
    let Segment { base, end, .. } = segment;
    Seal {
        digest: Digest {
            kind: DigestKind::Original,
            base: base.offset,
            end: end.offset,
            ordinal: base.ordinal,
            end_ordinal: end.ordinal,
            bytes: segment.bytes(),
            batches: end.ordinal.since(base.ordinal),
            chain: base.chain,
            end_chain: end.chain,
            hash: None,
        },
        max_timestamp: end.max_timestamp,
        sealed: now,
    }
}

/// While busy, the mark is written anew this often, in milliseconds, …
const MARK_AGE_MS: i64 = 500;

/// … and this often in bytes: a group that completes meanwhile stays within the 4 MiB promised.
const MARK_BYTES_MAX: u64 = 2 << 20;

/// How long preparing space is left alone after the disk was found full, in milliseconds.
const SPACE_RETRY_MS: i64 = 200;

/// How long a rebuilt index that could not be written stays in memory only, in milliseconds.
const INDEX_RETRY_MS: i64 = 60_000;
