//! Background work, one chore at a time: its plan, its run, and what its completion changes.

use corelog_record::{Offset, Timestamp};

use super::Log;
use super::event::Event;
use super::fence::Guard;
use super::next::{NEXT_RETRY_MS, REUSE_RETRY_MS};
use super::outcome::Chore;
use super::work::{Garbage, Work};
use crate::disk::Dir;
use crate::format::edit::{Edit, Seals};
use crate::format::state;
use crate::segment::{Segment, Stage};
use crate::{Error, Now};

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

/// What a chore under way keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It prepares a store or space.
    Prepare,
    /// It makes the next store.
    Next,
    /// It syncs the store that is written to: nothing is flushed meanwhile.
    Sync,
    /// It changes the end of the log: nothing is appended or flushed meanwhile.
    End,
    /// It puts a segment's files in the place of others.
    Replace,
    /// Anything else; what it needs it has taken along.
    Other,
}

impl<D: Dir> ChorePlan<D> {
    /// Whether no group goes to the disk before it has ended: it is short, and appends may wait for it.
    pub fn holds_flushes(&self) -> bool {
        matches!(self.work, Work::SpaceSync(_))
    }

    /// Does the work.
    pub async fn run(mut self) -> ChoreDone<D> {
        let result = self.work.run().await;
        ChoreDone { plan: self, result }
    }
}

impl<D: Dir> Log<D> {
    /// Plans the next due background work; `None` while a chore is under way or nothing is due.
    /// `is_idle`: nothing was appended for a while, so the mark is written and synced.
    pub fn plan_chore(&mut self, now: impl Into<Now>, is_idle: bool) -> Option<ChorePlan<D>> {
        let now = now.into();
        self.time_heard = now.time;
        self.note_found();
        if self.is_fenced() || self.chore.is_some() {
            return None;
        }
        if is_idle {
            self.idle_total = self.durable_total;
        }
        let work = match self.is_full() {
            true => self
                .plan_give_back(is_idle)
                .or_else(|| self.plan_freeing(now, 0))
                .or_else(|| self.plan_space(now.time))
                .or_else(|| self.plan_mark(now.time, is_idle)),
            false => self
                .plan_space(now.time)
                .or_else(|| self.plan_mark(now.time, is_idle))
                .or_else(|| self.plan_freeing(now, self.spares(now.time, is_idle))),
        };
        let work = work
            .or_else(|| self.plan_give_back(is_idle))
            .or_else(|| self.plan_next(now.time, is_idle))
            .or_else(|| self.plan_index(now.time))?;
        Some(self.chore(work))
    }

    /// What can be done without space, and leads to it: what is sealed can expire. So many `spares` stay.
    pub(super) fn plan_freeing(&mut self, now: Now, spares: usize) -> Option<Work<D>> {
        self.plan_seal(now)
            .or_else(|| self.plan_left_below(now.time))
            .or_else(|| self.plan_found(now.time))
            .or_else(|| self.plan_remove(now.time, spares))
    }

    /// Takes the result of a chore. Ask for the next flush and chore afterwards.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there was no space, [`Error::OutOfFiles`] if there was no
    /// descriptor; it is tried again later. [`Error::Damaged`], [`Error::ReceivedGone`], and any of a cut that could not
    /// read what it was to cut: nothing was changed. [`Error::Fenced`] if the log was fenced meanwhile. Any other error
    /// fences it.
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
        let is_next = matches!(work, Work::Next(_));
        let is_ahead = is_next || matches!(work, Work::SpaceSync(_));
        // What these leave undone costs space or time, and says nothing about what was written.
        let is_harmless = matches!(work, Work::Remove(_) | Work::Index(_));
        let is_mark = matches!(work, Work::Mark(_));
        let is_snapshot = matches!(work, Work::Snapshot(_));
        let is_unbegun = matches!(&work, Work::Suffix(suffix) if !suffix.has_begun);
        // What failed beside it may have taken what it wrote along.
        let result = match result {
            Ok(()) if self.is_fenced() => Err(Error::Fenced),
            result => result,
        };
        let chore = self.take_in(work, result.is_ok(), now);
        match result {
            Ok(()) => {
                if is_space {
                    self.is_full = false;
                }
                Ok(chore)
            }
            // It is another directory's space, and whoever asked for the snapshot may ask again.
            Err(error) if is_snapshot => Err(error),
            Err(error) if error.is_shortage() => {
                let retry_at = now.saturating_add_millis(SPACE_RETRY_MS);
                if is_next && matches!(error, Error::StorageFull { .. }) {
                    self.next_retry_at = now.saturating_add_millis(NEXT_RETRY_MS);
                }
                if is_space {
                    self.is_out_of_files = matches!(error, Error::OutOfFiles { .. });
                }
                match is_space || is_ahead {
                    true => self.space_retry_at = retry_at,
                    false if is_mark => self.marked.retry_at = retry_at,
                    false if is_harmless => {}
                    false => self.seal_retry_at = retry_at,
                }
                Err(error)
            }
            // These are found by reading, before anything is changed, as is what a cut cannot read.
            Err(error @ (Error::Damaged { .. } | Error::ReceivedGone { .. })) => Err(error),
            Err(error) if is_unbegun => Err(error),
            Err(error) => {
                if !is_harmless {
                    self.set_fence();
                }
                Err(error)
            }
        }
    }

    /// Wraps work up as the one chore under way.
    pub(super) fn chore(&mut self, work: Work<D>) -> ChorePlan<D> {
        assert!(self.chore.is_none(), "one chore at a time");
        self.chore = Some(match work {
            Work::Prepare(..) => Kind::Prepare,
            Work::Next(_) => Kind::Next,
            Work::SpaceSync(_) => Kind::Sync,
            Work::Suffix(_) | Work::Install(_) | Work::Adopt(_) | Work::Begin(_) => Kind::End,
            Work::Replace(_) => Kind::Replace,
            _ => Kind::Other,
        });
        ChorePlan {
            guard: self.fence.guard(),
            work,
        }
    }

    /// Takes back what a chore took along, and in what it changed.
    fn take_in(&mut self, work: Work<D>, is_done: bool, now: Timestamp) -> Chore {
        match work {
            Work::Prepare(base, prepare) => {
                self.absorb(base, *prepare);
                Chore::SpacePrepared
            }
            Work::SpaceSync(sync) => {
                if is_done {
                    self.segment_at_mut(sync.segment).synced_bytes = sync.bytes;
                }
                Chore::SpacePrepared
            }
            Work::Next(next) => {
                if next.is_refused {
                    self.reuse_retry_at = now.saturating_add_millis(REUSE_RETRY_MS);
                }
                self.garbage.extend(next.used);
                self.next = next.made;
                Chore::SpacePrepared
            }
            Work::Mark(work) => {
                if is_done {
                    self.marked.note(&work, now);
                }
                self.mark.give_back(Some(work.mark));
                Chore::Marked
            }
            Work::Finish(parts) => {
                for part in parts.iter().filter(|_| is_done) {
                    let segment = self.segment_at_mut(part.segment());
                    segment.stage = Stage::Finished;
                    segment.finished(part);
                }
                Chore::Finished
            }
            Work::Edit(work) => {
                let work = *work;
                self.give_back(Some(work.manifest), work.mark.mark);
                self.take_in_edit(&work.edit, &work.gone, is_done, now)
            }
            Work::Suffix(suffix) => self.take_in_suffix(*suffix, is_done),
            Work::Install(install) => self.take_in_install(*install, is_done),
            Work::Replace(replace) => self.take_in_replace(*replace, is_done),
            Work::Adopt(adopt) => self.take_in_adopt(*adopt, is_done),
            Work::Begin(begin) => self.take_in_epoch(*begin),
            Work::Remove(work) => {
                if !is_done {
                    self.remove_retry_at = now.saturating_add_millis(HARMLESS_RETRY_MS);
                }
                self.garbage.extend(work.garbage);
                // What is left is in its place again: of those that may be used again the newest wait.
                self.garbage
                    .sort_by(|a, b| a.store.name().cmp(b.store.name()));
                Chore::Removed
            }
            Work::Snapshot(snapshot) => Chore::Snapshotted {
                log_start: snapshot.log_start,
                end: snapshot.end.offset,
                chain: snapshot.end.chain,
                segments: snapshot.segments(),
                bytes: snapshot.bytes,
            },
            Work::Index(work) => {
                match is_done {
                    true => {
                        work.sealed.written();
                        let segment = work.segment;
                        self.events.note(Event::IndexRebuilt { segment });
                    }
                    false => self.index_retry_at = now.saturating_add_millis(HARMLESS_RETRY_MS),
                }
                Chore::IndexRebuilt
            }
        }
    }

    /// Takes an edit in that is now durable, or, if it is not, leaves all as it is.
    fn take_in_edit(
        &mut self,
        edit: &Edit,
        gone: &[state::Segment],
        is_done: bool,
        now: Timestamp,
    ) -> Chore {
        match edit {
            Edit::Seals(Seals { seals }) => {
                for seal in seals.iter().filter(|_| is_done) {
                    self.seal_in_memory(seal.digest.base, seal.sealed, now);
                }
                Chore::Sealed {
                    segments: seals.len(),
                }
            }
            Edit::Expire(start) | Edit::Truncate(start) => {
                if is_done {
                    self.drop_front(start.start, gone);
                }
                Chore::Expired {
                    log_start: self.log_start,
                }
            }
            Edit::Settings(_) => Chore::DamageNoted,
            Edit::Scrubbed(scrubbed) => {
                if is_done {
                    self.scrub.written(scrubbed.time);
                }
                Chore::Scrubbed {
                    time: scrubbed.time,
                }
            }
            other => unreachable!("a chore never writes {other:?}"),
        }
    }

    fn seal_in_memory(&mut self, base: Offset, time: Timestamp, now: Timestamp) {
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
        let (bytes, is_index_written) = (segment.bytes(), segment.is_index_written);
        self.sums.seal(bytes);
        if !is_index_written {
            self.write_index_later(now);
        }
    }

    /// Has an index be written for which there was no room when its segment was sealed: nobody may read there for long.
    pub(super) fn write_index_later(&mut self, now: Timestamp) {
        self.index_retry_at = now.saturating_add_millis(HARMLESS_RETRY_MS);
        let checks = self.index_checks.get().max(1);
        self.index_checks.set(checks);
    }

    /// Lets go of a segment whose file is away, and its name may come to mean another: only the handle is left, for those who
    /// use it.
    pub(super) fn retire(&mut self, segment: Segment<D>) {
        if let Some(store) = segment.store {
            store.retire();
            self.garbage.push(Garbage {
                store,
                names: Vec::new(),
                is_reusable: false,
            });
        }
    }

    /// Leaves a segment's files to be removed later, when no read uses them any more. Their names do not
    /// come to mean other files meanwhile: a log that is cut goes on above its expired segments, and one
    /// that begins anew below them waits until they are gone.
    pub(super) fn discard(&mut self, segment: Segment<D>) {
        self.leave(segment, false);
    }

    /// As [`Log::discard`], of a segment whose store may become the next one if it `is_reusable`.
    pub(super) fn leave(&mut self, segment: Segment<D>, is_reusable: bool) {
        let names = vec![segment.store_name(), segment.index_name()];
        self.garbage.extend(segment.store.map(|store| Garbage {
            store,
            names,
            is_reusable,
        }));
    }
}

/// How long preparing space, or sealing, is left alone after it found none, in milliseconds.
pub(super) const SPACE_RETRY_MS: i64 = 200;

/// How long a rebuilt index that could not be written stays in memory only, and files that could not be removed
/// stay, in milliseconds.
const HARMLESS_RETRY_MS: i64 = 60_000;
