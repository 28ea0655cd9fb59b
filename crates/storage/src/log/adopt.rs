//! What stands at the end of a log changes owner: it becomes an empty copy of another log, or an
//! epoch begins.
//!
//! A log without files gets them by this, as it does by its first group. Of one that has files all is
//! given up by one edit; what a crash leaves of it opening removes, as it does for what expired.

use std::collections::{BTreeSet, VecDeque};

use corelog_record::{HistoryId, Offset};

use super::begun::{Begun, tell};
use super::birth::Birth;
use super::chore::ChorePlan;
use super::damage::Found;
use super::mark::TakenMark;
use super::outcome::Chore;
use super::sums::Sums;
use super::work::{Garbage, Work};
use super::{Identity, Log};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{self, Edit, End};
use crate::format::mark::Slot;
use crate::intake::partial;
use crate::manifest::Manifest;
use crate::segment::{Point, Segment, name};
use crate::steps;

/// Making an empty copy of another log.
pub(super) struct Adopt<D: Dir> {
    dir: D,
    birth: Birth,
    untold: Option<Begun<D>>,
    start: edit::Point,
    manifest: Option<Manifest<D>>,
    /// It is to say something first if it is clean, or does not tell of all epochs that are
    /// forgotten, or if the log begins anew below: of files whose names come again it says nothing.
    mark: TakenMark<D>,
    /// Files of empty segments: their names may come again.
    in_way: Vec<String>,
}

impl<D: Dir> Adopt<D> {
    /// Does what is left to do.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        self.mark.say_first().await?;
        if let Some(manifest) = &mut self.manifest {
            // First, as the edits may need the space.
            remove_received(&self.dir, self.start.offset).await;
            // Behind the edits there is no way back to try again.
            tell(&mut self.untold).await?;
            let state = manifest.state();
            let is_new = !state.segments().is_empty() || state.end() != Some(self.start);
            if is_new && state.log_start() <= self.start.offset {
                manifest.append(&Edit::Restart(self.start)).await?;
            }
            let state = manifest.state();
            if !state.epochs().is_empty() || self.start.offset < state.log_start() {
                // No epoch stays of a log without records.
                let edit = Edit::TruncateSuffix(End::at(self.start, None));
                let appended = manifest.append(&edit).await;
                appended.map_err(Error::for_good)?;
            }
        }
        // The old mark spoke of files that are given up. Where their names come again it was taken back.
        if let Some(mark) = &mut self.mark.mark {
            let written = mark.write_durably(self.birth.slot).await;
            written.map_err(Error::for_good)?;
        }
        for name in &self.in_way {
            let removed = steps::remove(&self.dir, name).await;
            removed.map_err(Error::for_good)?;
        }
        let Self {
            dir,
            birth,
            manifest,
            untold,
            mark,
            ..
        } = self;
        birth.make(dir, manifest, untold, &mut mark.mark).await
    }
}

/// Removes what was received of segments below `start`, of which nothing comes in any more. What cannot be
/// removed now an opening removes, and the log does without.
async fn remove_received<D: Dir>(dir: &D, start: Offset) {
    for entry in dir.list().await.unwrap_or_default() {
        let of = partial::segment(&entry.name);
        let Some((base, generation)) = of.filter(|(base, _)| *base < start) else {
            continue;
        };
        for file in [&entry.name, &name::index(base, generation)] {
            let _ = steps::remove(dir, file).await;
        }
    }
}

impl<D: Dir> Log<D> {
    /// Plans to make this log an empty copy of the log `history`, which goes on at `start`. It has files
    /// from then on. All that it holds is given up, and its files removed, as is what was received of
    /// segments below `start`; the caller has checked that nobody wants it any more. The log start moves back only if the log is empty: it had expired more
    /// than its source.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight, or, if the log
    /// start is to move back, while somebody reads what expired; [`Error::Fenced`];
    /// [`Error::OutOfRange`] if the log holds records at or above `start`;
    /// [`Error::Foreign`] for a log with files of another history; [`Error::Contradicts`] for a start that no log has.
    pub fn plan_adopt(
        &mut self,
        history: HistoryId,
        start: edit::Point,
    ) -> Result<ChorePlan<D>, Error> {
        start.check().map_err(|source| Error::Contradicts {
            segment: start.offset,
            source,
        })?;
        self.ready_to_change_end()?;
        let is_empty = self.floor_place().offset == self.log_end();
        if start.offset < self.log_end() && !is_empty {
            return Err(self.not_within(start.offset));
        }
        // The names of what expired would come to mean other files.
        let is_left = |garbage: &Garbage<D>| !garbage.names.is_empty();
        if start.offset < self.log_end() && self.garbage.iter().any(is_left) {
            return Err(Error::Busy);
        }
        self.note_found();
        let Identity {
            topic,
            partition,
            history: own,
        } = self.identity;
        if self.manifest.is_here() && history != own {
            return Err(Error::Foreign {
                dir: self.dir.describe(),
                topic,
                partition,
                history: own,
            });
        }
        let header = self.header(history);
        let slot = Slot {
            epoch: self.epoch_used,
            ..Point::starting(start).slot(&header, (start.offset, 0))
        };
        let in_way = self.empty_files();
        let adopt = Adopt {
            dir: self.dir.clone(),
            birth: Birth {
                header,
                edits: vec![Edit::Restart(start)],
                slot,
            },
            untold: self.untold.clone(),
            start,
            in_way,
            mark: TakenMark {
                first: match start.offset < self.log_end() {
                    true => Some(slot),
                    false => self.unset_slot().or_else(|| self.used_slot()),
                },
                mark: self.mark.take(),
            },
            manifest: self.manifest.take(),
        };
        Ok(self.chore(Work::Adopt(Box::new(adopt))))
    }

    /// The files of segments without records: of the active one, and of those that the manifest names
    /// behind the end of a read-only log, which has forgotten them.
    fn empty_files(&self) -> Vec<String> {
        let is_held = |base| {
            let found = self.segments.binary_search_by_key(&base, |s| s.base.offset);
            found.is_ok_and(|at| !self.segments[at].is_empty())
        };
        let active = self.segments.iter().filter(|s| s.is_empty());
        let active = active.flat_map(|s| [s.store_name(), s.index_name()]);
        let named = self.manifest.get().map(|manifest| manifest.state());
        let named = named.map_or(&[][..], |state| state.segments());
        let named = named.iter().filter(|named| !is_held(named.base));
        let named = named.flat_map(|named| name::files(named.base, named.generation));
        active
            .chain(named)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Takes in that the log is an empty copy now: also if there was no space for its mark, behind its manifest.
    pub(super) fn take_in_adopt(&mut self, adopt: Adopt<D>, is_done: bool) -> Chore {
        let Adopt {
            start,
            manifest,
            mark,
            untold,
            ..
        } = adopt;
        let offset = start.offset;
        self.give_back(manifest, mark.mark);
        let is_without_mark = self.mark.is_missing()
            && self.manifest.get().is_some_and(|manifest| {
                let state = manifest.state();
                let is_empty = state.segments().is_empty() && state.epochs().is_empty();
                is_empty && state.end() == Some(start)
            });
        self.untold = untold;
        if !is_done && !is_without_mark {
            return Chore::Adopted { start: offset };
        }
        let point = Point::starting(start);
        let given_up = std::mem::replace(&mut self.segments, VecDeque::from([Segment::new(point)]));
        for segment in given_up {
            if segment.is_empty() {
                segment.store.iter().for_each(|store| store.retire());
                continue;
            }
            self.discard(segment);
        }
        self.sums = Sums::over(&self.segments);
        (self.log_start, self.durable, self.durable_segment) = (offset, point, offset);
        self.tail.reset();
        // What reads of the old files still find says nothing about the new ones.
        self.found = Found::default();
        self.keep_damage(|_| false);
        self.unwritten.clear();
        self.read_only_from = None;
        self.marked.note_durable(point.ordinal, self.durable_total);
        Chore::Adopted { start: offset }
    }

    /// Whether what stands at the end of the log can be changed now.
    pub(super) fn ready_to_change_end(&self) -> Result<(), Error> {
        self.ready_to_change()?;
        let is_busy = self.pending_bytes() > 0 || self.in_flight_bytes > 0 || self.mark.is_away();
        match is_busy {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }
}
