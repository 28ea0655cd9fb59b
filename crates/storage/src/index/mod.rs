//! The room of indexes: where to start looking for an offset, a position or a time.
//!
//! Lives here: lookups over [`Rows`], the rows of an active segment in memory ([`Builder`]), the
//! index file of a sealed one ([`Sealed`]), mapped when it is first used. Never lives here: the
//! layout of the file, which is `format::index`.
//!
//! Law kept: an index is a hint. What it says is checked against the store by whoever goes there,
//! and a missing or wrong one is rebuilt from the store.

mod builder;
mod loaded;
mod made;
mod remains;
mod sealed;
mod whole;

pub(crate) use builder::{Builder, header};
pub(crate) use loaded::Loaded;
use loaded::Lost;
pub(crate) use sealed::{Of, Sealed};

use corelog_record::{Offset, Timestamp};

use crate::format::index::Row;
use crate::segment::Point;

/// So many rows behind bad bytes are tried: rot comes in blocks, and a row stands every 4 KiB.
pub(crate) const ROW_TRIES: usize = 1024;
/// And so many at which the disk does not give what stands there: it may take seconds for each.
pub(crate) const UNREAD_TRIES: usize = 64;

/// The rows of an index, in order, wherever they lie.
pub(crate) trait Rows {
    /// How many there are.
    fn count(&self) -> usize;

    /// The row `number`, from 0; `None` if it cannot be read.
    fn row(&self, number: usize) -> Option<Row>;

    /// How many rows from the first one on `is_before` holds for, which it does for none behind those.
    fn count_before(&self, is_before: impl Fn(&Row) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle).is_some_and(|row| is_before(&row)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The last known point at or before `offset` of the segment that starts at `base`.
pub(crate) fn before_offset(base: &Point, rows: &impl Rows, offset: Offset) -> Point {
    let relative = offset.checked_since(base.offset).unwrap_or(0);
    last(base, rows, |row| u64::from(row.relative_offset) <= relative)
}

/// The last known point with only timestamps lower than `time` before it.
pub(crate) fn before_time(base: &Point, rows: &impl Rows, time: Timestamp) -> Point {
    last(base, rows, |row| row.max_timestamp < time)
}

/// The last known point at or below the store position `position`, or the segment's beginning.
pub(crate) fn before_position(base: &Point, rows: &impl Rows, position: u64) -> Point {
    last(base, rows, |row| u64::from(row.position) <= position)
}

/// The first known point behind the store position `position`, if there is one.
pub(crate) fn after_position(base: &Point, rows: &impl Rows, position: u64) -> Option<Point> {
    let number = rows.count_before(|row| u64::from(row.position) <= position);
    rows.row(number).and_then(|row| point(base, &row))
}

/// The last row for which `is_before` holds, which it does for the rows up to some number and for
/// none behind; the start of the segment if it holds for none.
fn last(base: &Point, rows: &impl Rows, is_before: impl Fn(&Row) -> bool) -> Point {
    let number = rows.count_before(is_before);
    let row = number.checked_sub(1).and_then(|number| rows.row(number));
    row.and_then(|row| point(base, &row)).unwrap_or(*base)
}

/// The point that `row` stands for; `None` for numbers that no log reaches.
pub(crate) fn point(base: &Point, row: &Row) -> Option<Point> {
    Some(Point {
        offset: base.offset.checked_add(row.relative_offset.into())?,
        position: base.position.checked_add(row.position.into())?,
        ordinal: base.ordinal.checked_add(row.relative_ordinal.into())?,
        chain: row.chain,
        max_timestamp: row.max_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelog_record::{Chain, Ordinal, Position};

    fn at(count: u64) -> Point {
        let ordinal = Ordinal::new(100 + count).unwrap();
        Point {
            offset: Offset::new(1_000 + 10 * count).unwrap(),
            position: Position::new(500 * count).unwrap(),
            ordinal,
            chain: Chain::from_raw(count),
            max_timestamp: Timestamp::from_millis(count.cast_signed() * 7),
        }
    }

    fn builder(count: u64) -> Builder {
        let mut rows = Builder::default();
        (0..count).for_each(|number| rows.note(&at(0), &at(number), 1_000));
        rows
    }

    #[test]
    fn every_interval_of_store_gets_one_row() {
        let rows = builder(10);
        let numbers = 0..rows.count();
        let positions: Vec<_> = numbers.map(|at| rows.row(at).unwrap().position).collect();
        assert_eq!(positions, [1_000, 2_000, 3_000, 4_000]);
    }

    #[test]
    fn a_lookup_starts_at_the_last_row_that_is_not_behind() {
        let (rows, base) = (builder(10), at(0));
        let offset = |value| before_offset(&base, &rows, Offset::new(value).unwrap());
        assert_eq!((offset(0), offset(1_019)), (base, base));
        assert_eq!((offset(1_020), offset(1_039)), (at(2), at(2)));
        assert_eq!(offset(9_999), at(8));
        let time = |millis| before_time(&base, &rows, Timestamp::from_millis(millis));
        assert_eq!((time(14), time(15), time(999)), (base, at(2), at(8)));
        assert_eq!(after_position(&base, &rows, 999), Some(at(2)));
        assert_eq!(after_position(&base, &rows, 4_000), None);
    }

    /// The first row behind a copy had all of them copied, which readers of a segment that is written to have made all the time.
    #[test]
    fn a_copy_stays_as_it_is_and_shares_what_grows_no_more() {
        let mut rows = Builder::default();
        let mut copies = Vec::new();
        for number in 1..=2_500 {
            rows.note(&at(0), &at(number), 1);
            copies.push(rows.clone());
        }
        for (copy, count) in copies.iter().zip(1..) {
            assert_eq!(copy.count(), count);
            let last = copy.row(count - 1).unwrap();
            assert_eq!(point(&at(0), &last), Some(at(count as u64)));
            assert_eq!(copy.row(count), None);
            assert!(copy.shares_all_but(&rows, 1_024), "{count}");
        }
        rows.end(500 * 2_500);
        rows.end(500 * 2_500);
        assert_eq!((rows.count(), copies[2_499].count()), (2_499, 2_500));
    }

    #[test]
    fn a_lookup_finds_each_row_of_every_piece() {
        let (mut rows, base) = (Builder::default(), at(0));
        (1..=2_500).for_each(|number| rows.note(&base, &at(number), 1));
        for number in 1..=2_500 {
            let (before, this) = (at(number - 1), at(number));
            assert_eq!(before_offset(&base, &rows, this.offset), this);
            let position = this.position.get();
            assert_eq!(before_position(&base, &rows, position - 1), before);
            assert_eq!(after_position(&base, &rows, position - 1), Some(this));
        }
    }

    #[test]
    fn the_end_of_a_store_takes_the_last_row_also_from_a_whole_piece() {
        for count in [1_023, 1_024, 1_025, 2_048] {
            let mut rows = Builder::default();
            (1..=count).for_each(|number| rows.note(&at(0), &at(number), 1));
            rows.end(500 * count);
            assert_eq!(rows.count() as u64, count - 1);
            rows.note(&at(0), &at(count + 1), 1);
            let last = rows.row(rows.count() - 1).unwrap();
            assert_eq!(point(&at(0), &last), Some(at(count + 1)));
        }
    }

    #[test]
    fn rows_that_no_log_reaches_are_not_believed() {
        let base = Point {
            offset: Offset::MAX,
            ..at(0)
        };
        assert_eq!(before_offset(&base, &builder(10), Offset::MAX), base);
    }
}
