//! An index that grows with its segment.

use std::rc::Rc;

use crate::format::index::{HEADER_BYTES, Header, ROW_BYTES, Row};
use crate::segment::Point;

use corelog_record::HistoryId;

/// The rows of a segment that is still written to, or was until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    rows: Rc<Vec<Row>>,
    /// The position of the last row, 0 for the start of the segment.
    position_last: u64,
}

impl Builder {
    /// The rows so far. Sharing them is cheap once the segment is not written to any more.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows from `start` on, of the segment that starts at `base`; the first stands at `start`.
    pub(crate) fn beginning_at(base: &Point, start: &Point) -> Self {
        let mut rows = Self::default();
        rows.note(base, start, 1);
        rows
    }

    /// Two parts of one index. The lower one may have a row where the upper one begins.
    pub(crate) fn joined(mut lower: Vec<Row>, upper: &[Row]) -> Self {
        lower.extend(upper);
        lower.dedup_by_key(|row| row.position);
        Self::from(lower)
    }

    /// Lets go of a row for what was to begin at the end of the store, which has so many bytes: nothing does any more.
    pub(crate) fn end(&mut self, bytes: u64) {
        if self
            .rows
            .last()
            .is_some_and(|row| bytes <= row.position.into())
        {
            Rc::make_mut(&mut self.rows).pop();
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
        Rc::make_mut(&mut self.rows).push(Row {
            relative_offset,
            position: position_u32,
            max_timestamp: start.max_timestamp,
            relative_ordinal,
            chain: start.chain,
        });
        self.position_last = position;
    }

    /// The bytes of the index file of the segment that starts at `base`.
    pub(crate) fn encode(&self, history: HistoryId, base: &Point) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.rows.len() * ROW_BYTES);
        bytes.extend_from_slice(&header(history, base).encode());
        for row in self.rows.iter() {
            bytes.extend_from_slice(&row.encode());
        }
        bytes
    }
}

impl From<Vec<Row>> for Builder {
    fn from(rows: Vec<Row>) -> Self {
        let position_last = rows.last().map_or(0, |row| row.position.into());
        Self {
            rows: Rc::new(rows),
            position_last,
        }
    }
}

/// The header of the index of the segment that starts at `base`.
pub(super) fn header(history: HistoryId, base: &Point) -> Header {
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
