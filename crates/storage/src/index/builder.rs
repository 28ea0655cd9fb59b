//! An index that grows with its segment.

use std::mem::replace;
use std::rc::Rc;

use super::Rows;
use crate::format::index::{HEADER_BYTES, Header, ROW_BYTES, Row};
use crate::segment::Point;

use corelog_record::HistoryId;

/// The rows of a segment that is still written to, or was until now.
///
/// Each read of such a segment has a copy, of what there was when it was planned. Copies share all but what grows: the
/// first row behind a copy has at most one piece copied, and the list of pieces, not all rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    /// Pieces of [`PIECE_ROWS`] rows; `None` takes no memory, as for a segment of fewer.
    whole: Option<Rc<Vec<Rc<Vec<Row>>>>>,
    /// The rows behind them: fewer.
    last: Rc<Vec<Row>>,
    /// The position of the last row, 0 for the start of the segment.
    position_last: u64,
}

impl Builder {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The rows from `start` on, of the segment that starts at `base`; the first stands at `start`.
    pub(crate) fn beginning_at(base: &Point, start: &Point) -> Self {
        let mut rows = Self::default();
        rows.note(base, start, 1);
        rows
    }

    /// Two parts of one index. Where both have a row for a place the `known` one stays: what was made of a store may have come
    /// there by a header that is wrong, and tell another chain.
    pub(crate) fn joined(made: Vec<Row>, known: &Self) -> Self {
        let mut rows: Vec<Row> = known.iter().copied().chain(made).collect();
        rows.sort_by_key(|row| row.position);
        rows.dedup_by_key(|row| row.position);
        Self::from(rows)
    }

    /// Lets go of a row for what was to begin at the end of the store, which has so many bytes: nothing does any more.
    pub(crate) fn end(&mut self, bytes: u64) {
        let before = self.count().saturating_sub(1);
        if self
            .row(before)
            .is_some_and(|row| bytes <= row.position.into())
        {
            self.keep(before);
        }
    }

    /// Notes a batch that begins at `start`: every `interval_bytes` of store get a row.
    pub(crate) fn note(&mut self, base: &Point, start: &Point, interval_bytes: u32) {
        let position = start.position.get();
        if position - self.position_last < u64::from(interval_bytes) {
            return;
        }
        let (Some(relative_offset), Some(position_u32), Some(relative_ordinal)) = (
            relative(start.offset.get(), base.offset.get()),
            relative(position, 0),
            relative(start.ordinal.get(), base.ordinal.get()),
        ) else {
            return; // A lookup starts further ahead; the log rolls long before this.
        };
        self.push(Row {
            relative_offset,
            position: position_u32,
            max_timestamp: start.max_timestamp,
            relative_ordinal,
            chain: start.chain,
        });
    }

    /// Notes what lies on either side of bytes that are bad or cannot be read: whoever reads before them must not have to read
    /// them, and whoever reads behind them not begin before them.
    pub(crate) fn note_around(&mut self, base: &Point, [before, behind]: [&Point; 2]) {
        self.note(base, before, 1);
        self.note(base, behind, 1);
    }

    fn push(&mut self, row: Row) {
        self.position_last = row.position.into();
        Rc::make_mut(&mut self.last).push(row);
        if self.last.len() == PIECE_ROWS {
            // Where there is a whole one the next will be: it does not grow by doubling.
            let next = Rc::new(Vec::with_capacity(PIECE_ROWS));
            let mut piece = replace(&mut self.last, next);
            // One that was copied while it grew has room for up to twice as many.
            Rc::make_mut(&mut piece).shrink_to_fit();
            Rc::make_mut(self.whole.get_or_insert_default()).push(piece);
        }
    }

    /// Keeps only the first `count` rows.
    pub(super) fn keep(&mut self, count: usize) {
        while count < self.count() {
            self.pop();
        }
        let last = count.checked_sub(1).and_then(|number| self.row(number));
        self.position_last = last.map_or(0, |row| row.position.into());
    }

    fn pop(&mut self) {
        if self.last.is_empty() {
            let piece = self
                .whole
                .as_mut()
                .and_then(|whole| Rc::make_mut(whole).pop());
            self.last = piece.unwrap_or_default();
        }
        Rc::make_mut(&mut self.last).pop();
    }

    /// Whether it and `other` have all rows in common memory but for so many, if `other` goes on where it ends.
    #[cfg(test)]
    pub(super) fn shares_all_but(&self, other: &Self, rows: usize) -> bool {
        let pairs = self.whole().iter().zip(other.whole());
        let shared = pairs.filter(|(one, other)| Rc::ptr_eq(one, other)).count();
        self.count() - shared * PIECE_ROWS <= rows
    }

    fn whole(&self) -> &[Rc<Vec<Row>>] {
        self.whole.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        let whole = self.whole().iter().flat_map(|piece| piece.iter());
        whole.chain(self.last.iter())
    }

    /// The bytes of the index file of the segment that starts at `base`.
    pub(crate) fn encode(&self, history: HistoryId, base: &Point) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.count() * ROW_BYTES);
        bytes.extend_from_slice(&header(history, base).encode());
        for row in self.iter() {
            bytes.extend_from_slice(&row.encode());
        }
        bytes
    }
}

impl From<Vec<Row>> for Builder {
    fn from(rows: Vec<Row>) -> Self {
        let mut builder = Self::default();
        rows.into_iter().for_each(|row| builder.push(row));
        builder
    }
}

impl Rows for Builder {
    fn count(&self) -> usize {
        self.whole().len() * PIECE_ROWS + self.last.len()
    }

    fn row(&self, number: usize) -> Option<Row> {
        let (piece, at) = (number / PIECE_ROWS, number % PIECE_ROWS);
        let whole = self.whole();
        let rows = match whole.get(piece) {
            Some(rows) => rows,
            None if piece == whole.len() => &self.last,
            None => return None,
        };
        rows.get(at).copied()
    }

    fn count_before(&self, is_before: impl Fn(&Row) -> bool) -> usize {
        let whole = self.whole();
        let piece = whole.partition_point(|piece| piece.last().is_some_and(&is_before));
        let rows = whole.get(piece).unwrap_or(&self.last);
        piece * PIECE_ROWS + rows.partition_point(is_before)
    }
}

/// Of 32 B each: what is copied takes a core a microsecond or two.
const PIECE_ROWS: usize = 1024;

/// The header of the index of the segment that starts at `base`.
pub(crate) fn header(history: HistoryId, base: &Point) -> Header {
    Header {
        history,
        base: base.offset,
        ordinal: base.ordinal,
        chain: base.chain,
    }
}

fn relative(value: u64, base: u64) -> Option<u32> {
    u32::try_from(value.checked_sub(base)?).ok()
}
