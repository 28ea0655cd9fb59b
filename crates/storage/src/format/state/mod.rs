//! What the edits of a manifest add up to.

mod behind;
mod broken;
mod compact;
mod damage;
mod front;
mod seals;
mod segment;

use std::collections::BTreeMap;

use corelog_record::{HistoryId, Offset, Timestamp};

pub use self::broken::Broken;
pub use self::segment::Segment;
use super::edit::{Add, Edit, End, Epoch, Generation, Point, Settings, Start};

/// The segments of a log, its start, its epochs, its settings and its last scrub. Its laws:
///
/// - segments lie in order; each begins where its predecessor ends, by offset, ordinal and chain,
///   as far as that end is known; before each lie no more batches than records;
/// - the log start lies at or above the first segment's base, and below every removed one's end;
/// - epochs rise, and so do, weakly, the places where they began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    segments: Vec<Segment>,
    log_start: Offset,
    /// Where the first segment begins, or is to begin.
    floor: Point,
    epochs: Vec<Epoch>,
    settings: BTreeMap<String, String>,
    scrubbed: Option<Timestamp>,
}

impl State {
    /// The state of a log without any edit, with room for the one segment and epoch that most logs have.
    #[must_use]
    pub fn new(history: HistoryId) -> Self {
        Self {
            segments: Vec::with_capacity(1),
            log_start: Offset::ZERO,
            floor: Point::origin(history),
            epochs: Vec::with_capacity(1),
            settings: BTreeMap::new(),
            scrubbed: None,
        }
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The oldest readable offset.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The epochs that still have a say, oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The settings of the partition.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// When the last whole pass of the scrub ended.
    #[must_use]
    pub fn scrubbed(&self) -> Option<Timestamp> {
        self.scrubbed
    }

    /// Where the next segment begins: `None` while the last one is open, for only its store knows.
    #[must_use]
    pub fn end(&self) -> Option<Point> {
        match self.segments.last() {
            None => Some(self.floor),
            Some(last) => last.seal.as_ref().map(|seal| seal.digest.end()),
        }
    }

    /// Applies `edit`, and returns the segments whose files are not named any more: removed ones,
    /// and those replaced by another generation, as they were. After an error nothing has changed.
    ///
    /// # Errors
    /// Why the edit does not follow from those before it.
    pub fn apply(&mut self, edit: &Edit) -> Result<Vec<Segment>, Broken> {
        let gone = match edit {
            Edit::Add(add) => self.add(*add).map(|()| Vec::new()),
            Edit::Seal(seal) => self.seal(seal).map(|()| Vec::new()),
            Edit::Seals(seals) => self.seal_all(&seals.seals).map(|()| Vec::new()),
            Edit::Generation(change) => self.change_generation(*change).map(|old| vec![old]),
            Edit::Expire(start) | Edit::Truncate(start) => self.move_start(*start),
            Edit::TruncateSuffix(end) => self.cut(*end),
            Edit::Restart(point) => self.restart(*point),
            Edit::Epoch(epoch) => self.begin_epoch(*epoch).map(|()| Vec::new()),
            Edit::Settings(settings) => {
                self.change_settings(settings);
                Ok(Vec::new())
            }
            Edit::Scrubbed(scrubbed) => {
                self.scrubbed = Some(scrubbed.time);
                Ok(Vec::new())
            }
        }?;
        if let Some(first) = self.segments.first() {
            self.floor = first.start();
        }
        self.assert_laws();
        Ok(gone)
    }

    fn add(&mut self, add: Add) -> Result<(), Broken> {
        let found = Point::from(add);
        found.check()?;
        if let Some(expected) = self.end()
            && expected != found
        {
            return Err(Broken::Gap { expected, found });
        }
        if let Some(last) = self.segments.last()
            && (add.base <= last.base || add.ordinal <= last.ordinal)
        {
            return Err(Broken::Order {
                last: last.base,
                found: add.base,
            });
        }
        self.end_at(add.base)?;
        self.segments.push(Segment::of(add));
        Ok(())
    }

    fn change_generation(&mut self, change: Generation) -> Result<Segment, Broken> {
        let Generation { base, generation } = change;
        let segment = self.find_mut(base)?;
        let present = segment.generation;
        if generation <= present {
            return Err(Broken::GenerationOrder {
                base,
                present,
                found: Some(generation),
            });
        }
        let old = segment.clone();
        segment.generation = generation;
        Ok(old)
    }

    fn move_start(&mut self, Start { start }: Start) -> Result<Vec<Segment>, Broken> {
        if start < self.log_start {
            return Err(Broken::StartMovesBack {
                present: self.log_start,
                found: start,
            });
        }
        let end = self.end();
        if let Some(end) = end
            && end.offset < start
        {
            return Err(Broken::BeyondEnd {
                end: end.offset,
                found: start,
            });
        }
        let ends = self.segments.iter().skip(1).map(|next| Some(next.base));
        let ends = ends.chain([end.map(|end| end.offset)]);
        let count = ends
            .take_while(|end| end.is_some_and(|end| end <= start))
            .count();
        let gone: Vec<_> = self
            .segments
            .drain(..count.min(self.segments.len()))
            .collect();
        if let (true, Some(end)) = (self.segments.is_empty(), end) {
            self.floor = end;
        }
        self.log_start = start;
        self.forget_epochs();
        self.forget_damage_of(&gone);
        Ok(gone)
    }

    fn cut(&mut self, cut: End) -> Result<Vec<Segment>, Broken> {
        let End {
            offset,
            ordinal,
            chain,
            generation,
            epoch,
        } = cut;
        let point = Point {
            offset,
            ordinal,
            chain,
        };
        point.check()?;
        if let Some(end) = self.end()
            && end.offset < offset
        {
            return Err(Broken::BeyondEnd {
                end: end.offset,
                found: offset,
            });
        }
        let kept = self
            .segments
            .partition_point(|segment| segment.base < offset);
        let mut shortened = None;
        if let Some(last) = kept
            .checked_sub(1)
            .and_then(|last| self.segments.get_mut(last))
        {
            let present = last.generation;
            let end = last.seal.as_ref().map(|seal| seal.digest.end());
            let must_change = end.is_some_and(|end| end != point);
            match generation {
                Some(found) if found > present => {
                    shortened = Some(last.clone());
                    last.generation = found;
                    last.seal = None;
                }
                None if !must_change => {}
                found => {
                    return Err(Broken::GenerationOrder {
                        base: last.base,
                        present,
                        found,
                    });
                }
            }
        }
        let mut gone: Vec<_> = shortened.into_iter().collect();
        gone.extend(self.segments.drain(kept..));
        if self.segments.is_empty() {
            self.floor = point;
        }
        self.log_start = self.log_start.min(offset);
        self.epochs.retain(|began| Some(began.epoch) <= epoch);
        self.cut_damage(offset);
        Ok(gone)
    }

    fn restart(&mut self, point: Point) -> Result<Vec<Segment>, Broken> {
        point.check()?;
        if point.offset < self.log_start {
            return Err(Broken::StartMovesBack {
                present: self.log_start,
                found: point.offset,
            });
        }
        self.floor = point;
        self.log_start = point.offset;
        let gone = ::std::mem::take(&mut self.segments);
        self.forget_epochs();
        self.forget_damage_of(&gone);
        Ok(gone)
    }

    fn begin_epoch(&mut self, began: Epoch) -> Result<(), Broken> {
        if let Some(last) = self.epochs.last()
            && (began.epoch <= last.epoch
                || began.offset < last.offset
                || began.ordinal < last.ordinal)
        {
            let (found, offset) = (began.epoch, began.offset);
            return Err(Broken::EpochOrder {
                last: last.epoch,
                found,
                offset,
            });
        }
        self.epochs.push(began);
        Ok(())
    }

    fn change_settings(&mut self, settings: &Settings) {
        for (key, value) in &settings.changes {
            match value {
                Some(value) => self.settings.insert(key.clone(), value.clone()),
                None => self.settings.remove(key),
            };
        }
    }

    /// Epochs that ended at or below the first batch that is left have none to speak for. Below log
    /// start in the first segment are some that copies still take.
    fn forget_epochs(&mut self) {
        let first = self.segments.first().map_or(self.floor.offset, |s| s.base);
        let later = self.epochs.iter().skip(1);
        let count = later.take_while(|next| next.offset <= first).count();
        self.epochs.drain(..count);
    }

    /// Refuses an end of the log below its start.
    fn end_at(&self, end: Offset) -> Result<(), Broken> {
        let found = self.log_start;
        if end < found {
            Err(Broken::BeyondEnd { end, found })
        } else {
            Ok(())
        }
    }

    fn find(&self, base: Offset) -> Result<usize, Broken> {
        let found = self.segments.binary_search_by_key(&base, |s| s.base);
        found.ok().ok_or(Broken::NoSegment { base })
    }

    fn find_mut(&mut self, base: Offset) -> Result<&mut Segment, Broken> {
        let index = self.find(base)?;
        let segment = self.segments.get_mut(index);
        segment.ok_or(Broken::NoSegment { base })
    }

    /// Of all segments where that costs nobody anything, else of the last two: to look at each of them at each edit of
    /// a manifest took a core minutes where there are a hundred thousand.
    fn assert_laws(&self) {
        let from = match cfg!(debug_assertions) {
            true => 0,
            false => self.segments.len().saturating_sub(2),
        };
        for pair in self.segments.get(from..).unwrap_or_default().windows(2) {
            let [segment, next] = pair else { continue };
            assert!(segment.base < next.base, "segments rise");
            if let Some(seal) = &segment.seal {
                assert!(seal.digest.end() == next.start(), "segments meet");
            }
        }
        assert!(
            self.floor.offset <= self.log_start,
            "the log starts where there is a segment"
        );
        if self.segments.is_empty() {
            assert!(
                self.log_start == self.floor.offset,
                "an empty log starts where it ends"
            );
        }
        if let Some(end) = self.end() {
            assert!(
                self.log_start <= end.offset,
                "the log starts before it ends"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{LeaderEpoch, Lineage};

    use super::*;

    /// A list that grows by itself begins with four, and a node has thousands of logs.
    #[test]
    fn a_log_of_one_segment_and_one_epoch_has_no_room_for_more() {
        let history = HistoryId::from_bytes([7; 16]);
        let origin = Point::origin(history);
        let lineage = Lineage::from_bytes([1; 16]);
        let epoch = Epoch::behind(None, origin, LeaderEpoch::ZERO, lineage);
        let mut state = State::new(history);
        for edit in [Edit::Epoch(epoch), Edit::Add(origin.into())] {
            state.apply(&edit).expect("it follows");
        }
        assert_eq!((state.segments.len(), state.epochs.len()), (1, 1));
        let room = (state.segments.capacity(), state.epochs.capacity());
        assert_eq!(room, (1, 1));
    }
}
