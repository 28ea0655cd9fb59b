//! The room of indexes: where to start looking for an offset, a position or a time.
//!
//! Lives here: lookups over [`Rows`], the rows of an active segment in memory ([`Builder`]), the
//! index file of a sealed one ([`Sealed`]), mapped when it is first used. Never lives here: the
//! layout of the file, which is `format::index`.
//!
//! Law kept: an index is a hint. What it says is checked against the store by whoever goes there,
//! and a missing or wrong one is rebuilt from the store.

mod builder;
mod sealed;

pub(crate) use builder::Builder;
pub(crate) use sealed::{Loaded, Of, Sealed};

use corelog_record::{Offset, Timestamp};

use crate::format::index::Row;
use crate::segment::Point;

/// The rows of an index, in order, wherever they lie.
pub(crate) trait Rows {
    /// How many there are.
    fn count(&self) -> usize;

    /// The row `number`, from 0; `None` if it cannot be read.
    fn row(&self, number: usize) -> Option<Row>;
}

impl Rows for [Row] {
    fn count(&self) -> usize {
        self.len()
    }

    fn row(&self, number: usize) -> Option<Row> {
        self.get(number).copied()
    }
}

/// The last known point at or before `offset` of the segment that starts at `base`.
pub(crate) fn before_offset<R: Rows + ?Sized>(base: &Point, rows: &R, offset: Offset) -> Point {
    let relative = offset.checked_since(base.offset).unwrap_or(0);
    last(base, rows, |row| u64::from(row.relative_offset) <= relative)
}

/// The last known point with only timestamps lower than `time` before it.
pub(crate) fn before_time<R: Rows + ?Sized>(base: &Point, rows: &R, time: Timestamp) -> Point {
    last(base, rows, |row| row.max_timestamp < time)
}

/// The first known point behind the store position `position`, if there is one.
pub(crate) fn after_position<R: Rows + ?Sized>(
    base: &Point,
    rows: &R,
    position: u64,
) -> Option<Point> {
    let number = partition(rows, |row| u64::from(row.position) <= position);
    rows.row(number).and_then(|row| point(base, &row))
}

/// The last row for which `is_before` holds, which it does for the rows up to some number and for
/// none behind; the start of the segment if it holds for none.
fn last<R: Rows + ?Sized>(base: &Point, rows: &R, is_before: impl Fn(&Row) -> bool) -> Point {
    let number = partition(rows, is_before);
    let row = number.checked_sub(1).and_then(|number| rows.row(number));
    row.and_then(|row| point(base, &row)).unwrap_or(*base)
}

/// How many rows from the first one on `is_before` holds for.
fn partition<R: Rows + ?Sized>(rows: &R, is_before: impl Fn(&Row) -> bool) -> usize {
    let (mut low, mut high) = (0, rows.count());
    while low < high {
        let middle = low + (high - low) / 2;
        if rows.row(middle).is_some_and(|row| is_before(&row)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The point that `row` stands for; `None` for numbers that no log reaches.
fn point(base: &Point, row: &Row) -> Option<Point> {
    Some(Point {
        offset: base.offset.checked_add(row.relative_offset.into())?,
        position: base.position.checked_add(row.position.into())?,
        ordinal: base.ordinal.checked_add(row.relative_ordinal.into())?,
        chain: row.chain,
        max_timestamp: row.max_timestamp,
    })
}
