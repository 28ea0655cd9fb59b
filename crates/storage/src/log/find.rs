//! Lookup by time.

use std::fmt;
use std::rc::Rc;

use corelog_record::{Offset, Timestamp};

use super::Log;
use super::due::INDEX_CHECKS;
use super::fetch::read_error;
use super::origin::Origin;
use super::read::ReadError;
use crate::disk::Dir;
use crate::index::{self, Sealed};
use crate::scan::{Scanner, Step};
use crate::segment::{Index, Point, Segment, Stage};
use crate::store::Store;

/// A planned lookup by time. It may be dropped at any time.
pub struct TimePlan<D: Dir> {
    time: Timestamp,
    log_start: Offset,
    limit: Offset,
    places: Vec<Place<D>>,
}

/// Where to start looking: known, or in an index to be loaded.
enum Start<D: Dir> {
    At(Point),
    Look(Rc<Sealed<D>>),
}

/// A segment that may hold what is looked for.
struct Place<D: Dir> {
    store: Rc<Store<D>>,
    base: Point,
    end: Offset,
    end_bytes: u64,
    start: Start<D>,
}

impl<D: Dir> fmt::Debug for TimePlan<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimePlan")
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
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
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Removed`], [`ReadError::Disk`].
    pub async fn run(&self) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        for place in &self.places {
            if let Some(found) = self.look(place).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn look(&self, place: &Place<D>) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        let segment = place.base.offset;
        let failed = |source| read_error(segment, source);
        let (start, rows) = match &place.start {
            Start::At(point) => (*point, None),
            Start::Look(sealed) => {
                let rows = sealed.load().await.map_err(failed)?;
                let start = index::before_time(&place.base, &*rows, self.time);
                (start, Some(rows))
            }
        };
        let file = place.store.file().await.map_err(failed)?;
        let mut scanner = Scanner::new(&place.store, file, start, place.end_bytes);
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
                Step::Unread(unread) => return Err(failed(unread.error)),
                Step::Bad => match scanner.behind_bad().await.map_err(failed)? {
                    Some(behind) => scanner.move_to(behind),
                    // What one read says is not remembered for good: a scrub looks again.
                    None => {
                        let bad = scanner.point();
                        let behind = rows.as_ref().and_then(|rows| {
                            index::after_position(&place.base, &**rows, bad.position.get())
                        });
                        let to = behind.map_or(place.end, |behind| behind.offset);
                        let (from, to) = (bad.offset, to.max(bad.offset.plus(1)));
                        return Err(ReadError::Damaged { from, to, segment });
                    }
                },
            }
        }
    }
}

impl<D: Dir> Log<D> {
    /// Plans a lookup by time among the batches below `upto`.
    pub fn plan_find_time(&self, time: Timestamp, upto: Offset) -> TimePlan<D> {
        let limit = upto.min(self.durable());
        self.index_checks.set(INDEX_CHECKS);
        // What a damaged segment holds at most is not always known.
        let may_hold = |segment: &&Segment<D>| {
            time <= segment.end.max_timestamp || segment.stage == Stage::Damaged
        };
        let places = self.segments_at(time).filter(may_hold);
        // Two sound ones at most: only in the one that holds log start may the batch be out of reach.
        let mut left = SOUND_PLACES_MAX;
        let places = places.take_while(|segment| {
            let is_wanted = left > 0;
            left -= usize::from(is_wanted && segment.stage != Stage::Damaged);
            is_wanted
        });
        let places = places.filter_map(|segment| {
            let below = segment.below.as_ref();
            let below = below.filter(|below| time <= below.end.max_timestamp);
            let start = match (&segment.index, below) {
                (_, Some(below)) => Start::Look(below.index.clone()),
                (Index::Growing(rows), None) => {
                    Start::At(index::before_time(&segment.base, rows, time))
                }
                (Index::File(sealed), None) => Start::Look(sealed.clone()),
            };
            Some(Place {
                store: segment.store.clone()?,
                base: segment.base,
                end: segment.end.offset.min(limit),
                end_bytes: self.durable_bytes(segment),
                start,
            })
        });
        TimePlan {
            time,
            log_start: self.log_start(),
            limit,
            places: places.collect(),
        }
    }
}

/// How many undamaged segments a lookup looks at.
const SOUND_PLACES_MAX: usize = 2;
