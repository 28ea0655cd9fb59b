//! The stores that are not sealed: which one is the last, and what of those before it can be trusted.

use std::collections::VecDeque;

use corelog_record::{Chain, Offset, Timestamp};

use super::survey::{self, Survey};
use super::{BLOCK, OpenStore, Recovery};
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::quarantine::Reason;
use crate::log::Event;
use crate::planted::{self, Bug};
use crate::segment::{Index, Point, Segment, Stage};

impl<D: Dir> Recovery<D> {
    /// Recovers the stores that are not sealed. Returns where the log ends, and in which segment.
    pub(super) async fn recover_stores(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
    ) -> Result<(Point, Offset), Error> {
        let mut stores = Vec::new();
        for segment in segments.iter() {
            stores.push(match segment.seal_time() {
                Some(_) => None,
                None => Some(self.open_store(segment).await?),
            });
        }
        let promised = self.promised();
        let holds = |(segment, store): (&Segment<D>, &Option<OpenStore<D>>)| {
            let is_marked = self
                .marked_in(segment)
                .is_some_and(|at| at.position.get() > 0);
            let is_promised = is_marked || segment.base.offset < promised;
            store.as_ref().is_none_or(|store| store.end > 0) || is_promised
        };
        let last = segments.iter().zip(&stores).rposition(holds);
        let holds_bytes = |store: &OpenStore<D>| store.end > 0;
        if self.slot.is_none() && stores.iter().flatten().any(holds_bytes) {
            self.findings.events.note(Event::MarkLost);
        }
        let bases: Vec<Point> = segments.iter().map(|segment| segment.base).collect();
        let mut earlier = Vec::new();
        for (number, store) in stores.into_iter().enumerate() {
            let Some(store) = store else { continue };
            let segment = &mut segments[number];
            match last {
                Some(last) if number < last => {
                    let next = bases[number + 1];
                    let kept = self.recover_earlier(segment, &store, next).await?;
                    earlier.push((number, store, kept));
                }
                Some(last) if number == last => {
                    let next = bases.get(number + 1).copied();
                    self.recover_last(segment, &store, next).await?;
                }
                _ => {
                    segment.space_bytes = store.bytes / BLOCK * BLOCK;
                    segment.store = Some(store.store);
                }
            }
        }
        // Not before it is known that the log can be opened: nothing of the work would last.
        for (number, store, kept) in earlier {
            let next = &segments[number + 1];
            if !self.is_rolled(next) {
                self.settle_earlier(&mut segments[number], &store, kept)
                    .await?;
            }
        }
        let end = self.end_of(segments, last);
        self.drop_empty(segments, last, end.0).await?;
        Ok(end)
    }

    /// Where the log ends, if segment `last` is the last one that holds bytes.
    fn end_of(&self, segments: &VecDeque<Segment<D>>, last: Option<usize>) -> (Point, Offset) {
        if let Some(segment) = last.and_then(|last| segments.get(last)) {
            return (segment.end, segment.base.offset);
        }
        let chain = Chain::seed(self.context.identity.history);
        let point = segments.front().map(|segment| segment.base).or_else(|| {
            let floor = self.manifest.state().end()?;
            Some(Point::starting(floor))
        });
        let point = point.unwrap_or(Point::origin(chain));
        (point, point.offset)
    }

    /// The mark, if it speaks of `segment`, and counts as the manifest does: what is sealed goes by both.
    pub(super) fn marked_in(&self, segment: &Segment<D>) -> Option<Point> {
        let slot = self.slot?;
        let is_it = slot.is_of(segment.base.offset, segment.generation);
        let marked = Point::marked(&slot);
        (is_it && marked.may_follow(&segment.base)).then_some(marked)
    }

    /// The offset below which the manifest or the mark says that all was durable.
    pub(super) fn promised(&self) -> Offset {
        let mark = self.slot.as_ref();
        let mark = mark.filter(|_| !planted::is(Bug::DamageCutAsTorn));
        self.manifest.state().promised(mark)
    }

    /// Where a log ends of which nothing is sound behind `end`: where all was durable that was promised, by chain as well if the
    /// mark tells of that very place. What lies in the store leads nowhere near.
    pub(super) fn promised_end(&self, end: Point) -> Point {
        let offset = self.promised().max(end.offset);
        let marked = self.slot.as_ref().map(Point::marked);
        let told = marked.filter(|at| at.offset == offset && at.may_follow(&end));
        Point {
            position: end.position,
            max_timestamp: end.max_timestamp,
            ..told.unwrap_or(Point { offset, ..end })
        }
    }

    pub(super) fn survey_of(
        &self,
        segment: &Segment<D>,
        open: &OpenStore<D>,
        start: Point,
        known: Option<Point>,
    ) -> survey::Of<D> {
        survey::Of {
            store: open.store.clone(),
            base: segment.base,
            start,
            bytes: open.bytes,
            known,
            interval_bytes: self.context.interval_bytes,
            epochs: self.manifest.state().epochs().to_vec(),
            index: self.index_of(segment, open.store.clone(), open.bytes, None),
        }
    }

    /// Gives a segment what a survey of its store found.
    pub(super) async fn take_survey(
        &mut self,
        segment: &mut Segment<D>,
        open: &OpenStore<D>,
        survey: Survey<D>,
    ) -> Result<(), Error> {
        self.findings.unread.extend(survey.unread_damage());
        // What an opening before this one knew of it has copied.
        let base = segment.base.offset;
        let mut new = survey.bad();
        new.retain(|(from, _)| !self.findings.damage.covers(base, from.offset));
        let (rows, damage) = survey.into_parts();
        for damage in damage {
            self.note_damage(damage);
        }
        for (from, behind) in new {
            let range = from.position.get()..behind.position.get();
            self.quarantine_bytes(&open.store, range, Reason::Damaged)
                .await?;
        }
        segment.index = Index::Growing(rows);
        segment.space_bytes = round_up(open.end).max(open.bytes / BLOCK * BLOCK);
        segment.store = Some(open.store.clone());
        segment.born = self.born(segment);
        Ok(())
    }

    /// Makes sure that the last segment is the one to append to.
    pub(super) fn end_with_active(&self, segments: &mut VecDeque<Segment<D>>, durable: Point) {
        if segments
            .back()
            .is_none_or(|last| last.stage != Stage::Active)
        {
            segments.push_back(Segment::new(durable.rolled()));
        }
        let earlier = segments.len() - 1;
        for segment in segments.iter_mut().take(earlier) {
            if segment.stage == Stage::Active {
                segment.stage = Stage::Rolled;
            }
        }
    }

    /// Where the mark does not tell when the active segment got its first record, that was not before the one before it
    /// was sealed. Were it as young as each opening, a log that is opened often would never roll by age, nor let go of what
    /// is in it.
    pub(super) fn age_active(&self, segments: &mut VecDeque<Segment<D>>) {
        let now = self.context.now.time;
        let before = segments.iter().rev().nth(1);
        let sealed = before.and_then(Segment::seal_time);
        if let Some(active) = segments.back_mut().filter(|active| !active.is_empty()) {
            // By a clock that was ahead it is not in the future.
            let born = active.born.or(sealed).map_or(now, |born| born.min(now));
            active.born = Some(born);
        }
    }

    /// When a segment got its first record, if the mark tells.
    pub(super) fn born(&self, segment: &Segment<D>) -> Option<Timestamp> {
        let slot = self.slot.filter(|slot| slot.segment == segment.base.offset);
        slot.filter(|_| !segment.is_empty())?.born
    }
}
