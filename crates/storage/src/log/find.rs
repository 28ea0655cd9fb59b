//! Lookup by time.

use std::rc::Rc;

use corelog_record::{Offset, Timestamp};

use super::damage::Found;
use super::due::INDEX_CHECKS;
use super::fetch::{Known, Loaded, read_error};
use super::origin::Origin;
use super::read::ReadError;
use super::{Damage, Log};
use crate::disk::Dir;
use crate::index::{self, Builder};
use crate::scan::{Scanner, Step};
use crate::segment::{Index, Point, Segment, Stage};
use crate::store::Store;

/// A planned lookup by time. It may be dropped at any time.
pub struct TimePlan<D: Dir> {
    time: Timestamp,
    log_start: Offset,
    limit: Offset,
    places: Vec<Place<D>>,
    found: Found,
}

/// A segment that may hold what is looked for.
struct Place<D: Dir> {
    store: Rc<Store<D>>,
    base: Point,
    end: Offset,
    end_bytes: u64,
    rows: Known<D>,
    /// Where to begin, without rows, if all that its file of rows is of is known to be damaged.
    behind: Option<Point>,
    /// Whether it is known to hold a batch as late as that: of a damaged segment it may not be.
    is_sure: bool,
    /// Whether it lies between log start and the limit.
    is_within: bool,
    /// The first damage of it that is known.
    damage: Option<Damage>,
}

impl<D: Dir> TimePlan<D> {
    /// Where it read what it failed with.
    pub fn origin_of(&self, error: &ReadError) -> Option<Origin<D>> {
        let base = error.segment()?;
        let mut places = self.places.iter();
        let place = places.find(|place| place.base.offset == base)?;
        // It takes no batches.
        Some(Origin::new(&place.store, 0))
    }

    /// The base offset and largest timestamp of the first batch whose largest timestamp is at or
    /// after the time asked for.
    ///
    /// Rows of an index tell where to begin, at the last one below log start or above it, and not where to end: behind a batch
    /// of the segment that is late, and was let go of, all is read up to the first that is late, or the segment's end.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], also if there is none but in damage that was stepped over, by this or by the rows of an index: what
    /// lies behind that may not have been looked at. [`ReadError::Removed`], [`ReadError::Disk`].
    pub async fn run(&self) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        let mut stepped_over = None;
        for place in &self.places {
            if let Some(found) = self.look(place, &mut stepped_over).await? {
                return Ok(Some(found));
            }
            if place.is_sure && place.is_within {
                // Rows that were made over a damaged batch lead behind it.
                let whole = || Damage {
                    from: place.base.offset,
                    to: place.end,
                    segment: place.base.offset,
                };
                stepped_over.get_or_insert(place.damage.unwrap_or_else(whole));
            }
        }
        stepped_over.map_or(Ok(None), |damage| Err(damage.into()))
    }

    /// Looks at one place. The first damage that is stepped over within reach goes to `stepped_over`.
    async fn look(
        &self,
        place: &Place<D>,
        stepped_over: &mut Option<Damage>,
    ) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        let segment = place.base.offset;
        let failed = |source| read_error(segment, source);
        let rows = place.rows.load(&self.found).await.map_err(failed)?;
        // What lies below log start may be late, and is not searched for.
        let by_time = index::before_time(&place.base, &rows, self.time);
        let by_start = index::before_offset(&place.base, &rows, self.log_start);
        let start = match by_time.position < by_start.position {
            true => by_start,
            false => by_time,
        };
        let file = place.store.file().await.map_err(failed)?;
        let mut scanner = Scanner::new(&place.store, file, start, place.end_bytes);
        if place.behind.is_some() {
            self.step_over(place, &rows, &mut scanner, place.behind, stepped_over)?;
        }
        loop {
            match scanner.next().await.map_err(failed)? {
                Step::End => return Ok(None),
                Step::Batch(batch) if self.limit < batch.next_offset() => return Ok(None),
                Step::Batch(batch) => {
                    let is_late = self.time <= batch.max_timestamp();
                    if is_late && self.log_start < batch.next_offset() {
                        return Ok(Some((batch.base_offset(), batch.max_timestamp())));
                    }
                }
                Step::Unread(unread) => {
                    let error = unread.error;
                    if !scanner.read_again() {
                        return Err(failed(error));
                    }
                }
                // A byte may have turned over on its way: what is sound is not stepped over.
                Step::Bad => {
                    if !scanner.read_again() {
                        let behind = scanner.behind_bad().await.map_err(failed)?;
                        let behind = behind.map_err(|unread| failed(unread.error))?;
                        self.step_over(place, &rows, &mut scanner, behind, stepped_over)?;
                    }
                }
            }
        }
    }

    /// Steps over a batch that is bad. What this says is not remembered for good: a scrub looks again.
    fn step_over(
        &self,
        place: &Place<D>,
        rows: &Loaded<D>,
        scanner: &mut Scanner<D>,
        behind: Option<Point>,
        first: &mut Option<Damage>,
    ) -> Result<(), ReadError> {
        let (from, segment) = (scanner.point().offset, place.base.offset);
        let Some(behind) = behind else {
            let row = index::after_position(&place.base, rows, scanner.point().position.get());
            let to = row.map_or(place.end, |row| row.offset);
            let to = to.max(from.saturating_add(1));
            return Err(Damage { from, to, segment }.into());
        };
        scanner.move_to(behind);
        let to = behind.offset;
        if place.is_sure && self.log_start < to && from < self.limit {
            first.get_or_insert(Damage { from, to, segment });
        }
        Ok(())
    }
}

impl<D: Dir> Log<D> {
    /// Plans a lookup by time among the batches below `upto`.
    pub fn plan_find_time(&self, time: Timestamp, upto: Offset) -> TimePlan<D> {
        let (log_start, limit) = (self.log_start(), upto.min(self.durable()));
        self.index_checks.set(INDEX_CHECKS);
        // What a damaged segment holds at most is not always known.
        let may_hold = |segment: &&Segment<D>| {
            time <= segment.end.max_timestamp || segment.stage == Stage::Damaged
        };
        let places = self.segments_at(time).filter(may_hold);
        // Two sound ones at most: only in the one that holds log start may the batch be out of reach.
        let damage_of = |segment: &Segment<D>| self.damage.of(segment.base.offset).first().copied();
        let is_known_bad =
            |segment: &Segment<D>| segment.stage == Stage::Damaged || damage_of(segment).is_some();
        let is_empty = |segment: &Segment<D>| segment.base.offset == segment.end.offset;
        let mut left = SOUND_PLACES_MAX;
        let places = places.take_while(|segment| {
            let is_wanted = left > 0;
            left -= usize::from(is_wanted && !is_known_bad(segment));
            is_wanted
        });
        let places = places.filter_map(|segment| {
            let below = segment.below.as_ref();
            let below = below.filter(|below| time <= below.end.max_timestamp);
            let end = below.map_or(segment.end, |below| below.end);
            let is_lost = |bad: &Damage| bad.from <= segment.base.offset && end.offset <= bad.to;
            let behind = damage_of(segment).filter(is_lost).map(|_| end);
            let rows = match (&segment.index, below) {
                _ if behind.is_some() => Known::Memory(Builder::default()),
                (_, Some(below)) => Known::File(below.index.clone()),
                (Index::Growing(rows), None) => Known::Memory(rows.clone()),
                (Index::File(sealed), None) => Known::File(sealed.clone()),
            };
            Some(Place {
                store: segment.store.clone()?,
                base: segment.base,
                end: segment.end.offset.min(limit),
                end_bytes: self.durable_bytes(segment),
                rows,
                behind,
                is_sure: time <= segment.end.max_timestamp && !is_empty(segment),
                is_within: log_start <= segment.base.offset && segment.end.offset <= limit,
                damage: damage_of(segment),
            })
        });
        TimePlan {
            time,
            log_start,
            limit,
            places: places.collect(),
            found: self.found.clone(),
        }
    }
}

/// How many undamaged segments a lookup looks at.
const SOUND_PLACES_MAX: usize = 2;
