//! Holding the rows of an index against the walk over its store.

use std::io;

use super::finding::{Finding, What};
use super::store::End;
use super::survey::is_refused;
use super::walker::Walker;
use crate::disk::std::StdDir;
use crate::disk::{Dir, block_on};
use crate::format::index::{self as format, Row};
use crate::index;
use crate::segment::Point;

impl Walker<'_> {
    /// Reads the index, if there is to be one.
    pub(super) fn load_index(&mut self) {
        let Some(index) = &self.check.index else {
            return;
        };
        let read = block_on(StdDir::new(&self.check.dir).read(&index.name, format::BYTES_MAX));
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !index.is_due => return,
            Err(error) if is_refused(&error) => {
                let file = self.check.dir.join(&index.name);
                return self.find(Finding::of(
                    What::Unreadable,
                    file,
                    "an index",
                    error.to_string(),
                ));
            }
            Err(error) => return self.wrong_index(error.to_string()),
        };
        let header = match format::Header::decode(&bytes) {
            Ok(header) => header,
            Err(error) => return self.wrong_index(error.to_string()),
        };
        let base = &self.check.base;
        let is_alone = matches!(self.check.end, End::Unknown);
        if is_alone && header.base == base.offset {
            // A store without a log: its index is all that tells of the chain.
            (self.base.ordinal, self.base.chain) = (header.ordinal, header.chain);
            self.point = self.base;
        } else if (header.base, header.ordinal, header.chain)
            != (base.offset, base.ordinal, base.chain)
            || index
                .history
                .is_some_and(|history| history != header.history)
        {
            return self.wrong_index("the header of another segment's index".to_owned());
        }
        if !(bytes.len() - format::HEADER_BYTES).is_multiple_of(format::ROW_BYTES) {
            return self.wrong_index(format!("{} bytes, which are not whole rows", bytes.len()));
        }
        self.index = bytes;
    }

    pub(super) fn wrong_index(&mut self, why: String) {
        self.index_fault.get_or_insert(why);
        self.audit.wrong_row();
        self.index = Vec::new();
        self.row_ahead = None;
    }

    /// Notes that a row is missing, or is none any more.
    fn lacks_row(&mut self, why: String) {
        self.index_fault.get_or_insert(why);
        self.audit.lacking_row();
    }

    /// Compares the rows that point to here.
    pub(super) fn meet_rows(&mut self) {
        while let Some(row) = self.peek_row() {
            let (at, position) = (self.point, u64::from(row.position));
            if at.position.get() < position {
                break;
            }
            let point = index::point(&self.base, &row);
            let is_in_order = self.row_position < position && position == at.position.get();
            let Some(point) = point.filter(|_| is_in_order) else {
                let text = format!("row {} points into a batch, at {position}", self.row);
                return self.wrong_index(text);
            };
            if let Some(mended) = self.audit.row(&at, &point) {
                self.point = mended;
            } else if self.audit.has_wrong_row() {
                let text = format!("row {} is not what the store has at {position}", self.row);
                return self.wrong_index(text);
            }
            (self.row, self.row_ahead, self.row_position) = (self.row + 1, None, position);
        }
        let at = self.point.position.get();
        let is_whole = matches!(self.check.end, End::Sealed(_)) && !self.index.is_empty();
        if is_whole && at < self.limit && self.row_position + ROW_GAP_BYTES_MAX <= at {
            let text = format!("no row between {} and {at}", self.row_position);
            self.lacks_row(text);
        }
    }

    pub(super) fn peek_row(&mut self) -> Option<Row> {
        // Each has a checksum of its own.
        while self.row_ahead.is_none() {
            match format::row(&self.index, self.row)? {
                Ok(row) => self.row_ahead = Some(row),
                Err(error) => {
                    let text = format!("row {}: {error}", self.row);
                    self.lacks_row(text);
                    self.row += 1;
                }
            }
        }
        self.row_ahead
    }

    /// The first of the next rows at which a sound batch stands, before `until`.
    pub(super) fn row_behind(&mut self, until: &Point, tries: usize) -> Option<Point> {
        let at = self.point;
        for _ in 0..tries {
            let row = self.peek_row()?;
            let point = index::point(&self.base, &row);
            let is_behind =
                |point: &Point| at.position < point.position && at.offset < point.offset;
            let point = point.filter(|point| is_behind(point) && point.position < until.position);
            if let Some(point) = point.filter(|point| self.is_sound_at(point)) {
                return Some(point);
            }
            (self.row, self.row_ahead) = (self.row + 1, None);
            self.row_position = row.position.into();
        }
        None
    }
}

/// So far apart rows of an index never stand, unless a batch is larger.
const ROW_GAP_BYTES_MAX: u64 = 64 << 10;
