//! The end of the log is cut off: what a plan takes along, and what its completion changes.

use corelog_record::{Offset, Timestamp};

use super::Log;
use super::chore::ChorePlan;
use super::cut::{Aim, Behind, Cut, Done, Kept, Suffix};
use super::damage::Found;
use super::outcome::Chore;
use super::segments::back;
use super::sums::Sums;
use super::tail::Tail;
use super::work::Work;
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::damage;
use crate::segment::{Index, Point, Segment, Stage, name};

impl<D: Dir> Log<D> {
    /// Plans to cut the log at the batch that holds `from`: it and all behind it go to quarantine.
    /// The caller has checked that this is allowed below the high watermark.
    ///
    /// # Errors
    /// As for [`Log::plan_truncate`]; [`Error::Busy`] also while bytes are pending or in flight.
    pub fn plan_truncate_suffix(
        &mut self,
        from: Offset,
        now: Timestamp,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_cut(from, self.log_start)?;
        let aim = Aim::End(self.epoch_above(1)?, self.draw_lineage());
        let cut = self.segments.iter().position(|segment| segment.holds(from));
        match cut.filter(|cut| self.segments[*cut].store.is_some()) {
            Some(cut) => self.suffix(from, Some(cut), aim, now).map(Some),
            None => Ok(None),
        }
    }

    /// Takes along what a cut of the segment number `cut` needs.
    pub(super) fn suffix(
        &mut self,
        from: Offset,
        cut: Option<usize>,
        aim: Aim,
        now: Timestamp,
    ) -> Result<ChorePlan<D>, Error> {
        self.note_found();
        let end = self.active().end;
        let first = cut.map_or(end.offset, |cut| self.segments[cut].base.offset);
        self.wait_for_names(first, now)?;
        let behind = self.segments.iter().filter(|s| first <= s.base.offset);
        let behind = behind.filter_map(|segment| {
            // The log, its index, and this.
            let is_indexed = matches!(segment.index, Index::File(_));
            Some(Behind {
                store: segment.store.clone()?,
                holders: 2 + usize::from(is_indexed),
                index: segment.index_name(),
                is_empty: segment.is_empty(),
            })
        });
        let behind = behind.collect();
        let cut = cut.and_then(|cut| {
            let segment = &self.segments[cut];
            let base = segment.base.offset;
            let is_bent = segment.stage == Stage::Damaged;
            let first = self.damage.of(base).first().copied();
            Some(Cut {
                store: segment.store.clone()?,
                base: segment.base,
                end: segment.end,
                generation: segment.generation,
                reader: self.judge_of(segment),
                bent: first.filter(|_| is_bent),
            })
        });
        let slot = self.slot();
        let Some(manifest) = self.manifest.take() else {
            return Err(Error::Busy);
        };
        let Some(mark) = self.mark.take() else {
            self.give_back(Some(manifest), None);
            return Err(Error::Busy);
        };
        let suffix = Suffix {
            way: self.way(now),
            from,
            aim,
            manifest,
            mark,
            slot,
            end,
            cut,
            behind,
            open: Vec::new(),
            interval_bytes: self.options.index_interval_bytes,
            quarantined: Vec::new(),
            has_begun: false,
            done: None,
        };
        Ok(self.chore(Work::Suffix(Box::new(suffix))))
    }

    /// Checks that no file is left to be removed whose name may come to mean another one, in a log that is cut at `first`:
    /// one that a received, or repaired, segment took the place of.
    ///
    /// # Errors
    /// [`Error::Busy`] until they are gone, which is tried at once.
    fn wait_for_names(&mut self, first: Offset, now: Timestamp) -> Result<(), Error> {
        let comes_again = |name: &String| name::base(name).is_some_and(|base| first <= base);
        let mut garbage = self.garbage.iter();
        if !garbage.any(|garbage| garbage.names.iter().any(comes_again)) {
            return Ok(());
        }
        self.remove_retry_at = self.remove_retry_at.min(now);
        Err(Error::Busy)
    }

    /// Takes a cut in that is now durable.
    pub(super) fn take_in_suffix(&mut self, suffix: Suffix<D>, is_done: bool) -> Chore {
        let Suffix {
            way,
            aim,
            manifest,
            mark,
            cut,
            quarantined,
            done,
            ..
        } = suffix;
        self.give_back(Some(manifest), Some(mark));
        if let Some(Done { point, kept }) = done.filter(|_| is_done) {
            match cut {
                Some(cut) => self.end_at(point, &cut, kept, (aim, way.time)),
                None => self.forget_empty_store(),
            }
            self.marked
                .note_durable(self.durable.ordinal, self.durable_total);
        }
        match aim {
            Aim::Unroll => Chore::Unrolled,
            Aim::End(..) | Aim::Rejoin(_) => Chore::SuffixCut {
                log_end: self.log_end(),
                quarantined,
            },
        }
    }

    /// Ends the log at `point`, in the segment that was cut, of which `kept` is left.
    fn end_at(
        &mut self,
        point: Point,
        cut: &Cut<D>,
        kept: Option<Kept<D>>,
        (aim, now): (Aim, Timestamp),
    ) {
        let keep = self
            .segments
            .partition_point(|s| s.base.offset < cut.base.offset);
        let gone = self.segments.split_off(keep);
        // Its first record stays.
        let born = gone.front().and_then(|cut| cut.born);
        gone.into_iter().for_each(|segment| self.retire(segment));
        self.durable_segment = cut.base.offset;
        self.tail.reset();
        let goes_on = aim.goes_on() && kept.is_some();
        if let Some(kept) = kept {
            self.segments.push_back(Segment {
                end: point,
                generation: kept.generation,
                stage: if goes_on {
                    Stage::Active
                } else {
                    Stage::Rolled
                },
                store: Some(kept.store),
                space_bytes: round_up(point.position.get()),
                index: Index::Growing(kept.rows),
                born: born.or(Some(now)),
                ..Segment::new(cut.base)
            });
            if goes_on {
                self.tail = Tail::new(kept.partial);
            }
        }
        if !goes_on {
            self.segments.push_back(Segment::new(point.rolled()));
        }
        self.sums = Sums::over(&self.segments);
        self.durable = point;
        self.log_start = self.log_start.min(point.offset);
        // It may lie below.
        self.note_found();
        self.damage.cut(point.offset);
        damage::cut(&mut self.unread, point.offset);
        // What reads still find in what was cut says nothing about what comes there.
        self.found = Found::default();
    }

    /// Forgets the store of an active segment without records, which the manifest does not name any
    /// more.
    fn forget_empty_store(&mut self) {
        let active = back(&mut self.segments);
        if active.is_empty() {
            active.store.take().iter().for_each(|store| store.retire());
            (active.space_bytes, active.synced_bytes) = (0, 0);
            active.generation = 0;
        }
    }
}
