//! Places in a log, and the chain at an offset: for those who copy it, or compare two.

use corelog_record::batch::Batches;
use corelog_record::{Chain, Offset};

use super::Log;
use super::due::INDEX_CHECKS;
use super::fetch::{self, DiskRead};
use super::origin::Origin;
use super::read::ReadError;
use super::select::Wanted;
use crate::Error;
use crate::disk::{Buf, Dir};
use crate::format::edit;
use crate::index;
use crate::mark::Mark;
use crate::segment::{Index, Point, Segment};

/// A planned lookup of a chain. It may be dropped at any time.
pub struct ChainPlan<D: Dir>(Work<D>);

enum Work<D: Dir> {
    Known(edit::Point),
    Disk(DiskRead<D>, Offset),
}

impl<D: Dir> ChainPlan<D> {
    /// Where it reads from the disk; `None` if it reads nothing there.
    pub fn origin(&self) -> Option<Origin<D>> {
        match &self.0 {
            Work::Known(_) => None,
            Work::Disk(read, _) => Some(Origin::new(&read.store, READ_BYTES)),
        }
    }

    /// The start of the batch that holds the offset asked for, or what is durable's end, and the chain
    /// there. What is read for it, from an index row on, is verified up to the next row.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Removed`], [`ReadError::Disk`].
    pub async fn run(self) -> Result<edit::Point, ReadError> {
        match self.0 {
            Work::Known(place) => Ok(place),
            Work::Disk(read, offset) => {
                let found = read.point_before(offset).await;
                let found = found.map_err(|source| fetch::read_error(read.base.offset, source));
                Ok(found?.place())
            }
        }
    }
}

impl<D: Dir> DiskRead<D> {
    /// The last point between two batches at or below `offset`.
    async fn point_before(&self, offset: Offset) -> Result<Point, Error> {
        let mut start = self.row_before(offset).await?;
        loop {
            let wanted = Wanted {
                from: start.offset,
                limit: self.end.offset,
                bytes_max: READ_BYTES,
            };
            let fetched = self.read(wanted).await?;
            // An index that the store contradicted is another one now.
            let again = self.row_before(offset).await?;
            if again != start && start.offset <= again.offset {
                start = again;
                continue;
            }
            let before = start.offset;
            for piece in &fetched.pieces {
                start = walk(start, piece, offset);
            }
            let is_passed = start.offset == before || offset < fetched.next;
            if is_passed || start.offset == offset {
                return Ok(start);
            }
        }
    }
}

impl<D: Dir> Log<D> {
    /// Where the oldest segment begins, at or below log start: a copy of this log can begin there.
    pub fn floor_place(&self) -> edit::Point {
        self.segments
            .front()
            .unwrap_or_else(|| self.active())
            .base
            .place()
    }

    /// Where what is durable ends.
    pub fn durable_place(&self) -> edit::Point {
        self.durable.place()
    }

    /// Where the log ends.
    pub fn end_place(&self) -> edit::Point {
        self.active().end.place()
    }

    /// The chain at `offset`, if a segment begins there.
    pub fn chain_at_border(&self, offset: Offset) -> Option<Chain> {
        let base = &self.segment_of(offset).base;
        (base.offset == offset).then_some(base.chain)
    }

    /// Plans to look up the place at or below `offset` between two batches, and the chain there.
    /// `offset` lies between where the oldest segment begins and what is durable, both included.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`]; [`ReadError::Damaged`] at or behind damage of its segment.
    pub fn plan_chain_at(&self, offset: Offset) -> Result<ChainPlan<D>, ReadError> {
        let (floor, durable) = (self.floor_place(), self.durable_place());
        let valid = floor.offset..durable.offset;
        let out_of_range = ReadError::OutOfRange { offset, valid };
        if offset < floor.offset || durable.offset < offset {
            return Err(out_of_range);
        }
        let segment = self.segment_of(offset);
        let durable = Some(durable).filter(|_| self.is_end_known());
        let mut known = [Some(segment.base.place()), durable].into_iter().flatten();
        if let Some(known) = known.find(|known| known.offset == offset) {
            return Ok(ChainPlan(Work::Known(known)));
        }
        // What was bent by damage is bent up to the segment's end.
        let damage = self.damage.of(segment.base.offset).first();
        if let Some(damage) = damage.filter(|damage| damage.from < offset) {
            return Err((*damage).into());
        }
        if let Some(point) = self.point_in_tail(segment, offset) {
            return Ok(ChainPlan(Work::Known(point.place())));
        }
        self.index_checks.set(INDEX_CHECKS);
        let read = self.disk_read(segment, offset).ok_or(out_of_range)?;
        Ok(ChainPlan(Work::Disk(read, offset)))
    }

    /// Whether the chain is known where what is durable ends: behind damage that nothing leads over, only a mark of that very place
    /// tells it.
    fn is_end_known(&self) -> bool {
        let is_sound = |from| self.durable.offset <= from;
        let marked = || self.mark.get().and_then(Mark::last).map(Point::marked);
        self.read_only_from.is_none_or(is_sound)
            || marked().is_some_and(|at| at.place() == self.durable_place())
    }

    /// The last point between two batches at or below `offset`, if the tail holds what lies between
    /// the index row before it and it.
    fn point_in_tail(&self, segment: &Segment<D>, offset: Offset) -> Option<Point> {
        let Index::Growing(rows) = &segment.index else {
            return None;
        };
        let mut point = index::before_offset(&segment.base, rows, offset);
        let retained = self.tail.retained();
        loop {
            let count = retained.partition_point(|chunk| chunk.base <= point.offset);
            let chunk = retained.get(count.checked_sub(1)?)?;
            let at = point.position.get().checked_sub(chunk.position)?;
            let at = usize::try_from(at).ok().filter(|at| *at < chunk.len)?;
            let is_here = chunk.segment == segment.base.offset;
            let bytes = is_here.then(|| &chunk.buf.as_slice()[at..chunk.len])?;
            let next = point.after_header(bytes)?;
            if offset < next.offset {
                return Some(point);
            }
            point = next;
            if offset == point.offset {
                return Some(point);
            }
        }
    }
}

/// The last point at or below `offset` that the batches of `bytes` lead to from `start`.
fn walk(start: Point, bytes: &[u8], offset: Offset) -> Point {
    let mut point = start;
    for batch in Batches::over(bytes) {
        let next = batch.ok().and_then(|batch| point.after_header(batch));
        match next.filter(|next| next.offset <= offset) {
            Some(next) => point = next,
            None => break,
        }
    }
    point
}

/// How much is read at once: the way from one row of an index to the next, generously.
const READ_BYTES: usize = 16 << 10;
