//! Going over one sealed segment, piece by piece.

mod over;

use std::ops::Range;
use std::rc::{Rc, Weak};

use corelog_record::{HistoryId, Offset};

use super::audit::{Audit, Verdict};
use super::rows::{Rows, Unreadable};
use crate::Error;
use crate::disk::{Dir, File, Open};
use crate::epochs::is_of_its_epoch;
use crate::format::edit::Epoch;
use crate::format::index::Row;
use crate::index::{self, Builder};
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// The segment to go over, as the log knew it when the walk began.
pub(crate) struct Target<D: Dir> {
    pub(crate) dir: D,
    pub(crate) history: HistoryId,
    /// The log's own handle, which is not held: it tells this segment from a later one of its name.
    pub(crate) store: Weak<Store<D>>,
    pub(crate) base: Point,
    pub(crate) end: Point,
    /// Those of the log, oldest first.
    pub(crate) epochs: Rc<[Epoch]>,
    pub(crate) index_name: String,
    pub(crate) interval_bytes: u32,
}

/// A walk that goes on where its last piece ended.
pub(crate) struct Walk<D: Dir> {
    target: Rc<Target<D>>,
    point: Point,
    audit: Audit,
    /// The number of the next row of the index, and its bytes if they were read.
    row: usize,
    row_ahead: Option<Row>,
    /// The number of the row behind the last one that was met.
    row_met: usize,
    /// Where the last row stood, in bytes of the store.
    row_position: u64,
    /// The rows as they should be, if those in the file are of no use.
    rows: Option<Builder>,
    /// Offsets without a sound batch, not yet taken.
    bad: Vec<Range<Offset>>,
    surplus_bytes: u64,
    is_done: bool,
    /// Whether it stepped over what the disk does not give.
    has_unread: bool,
    /// Whether one before it found sound batches that are not those of the log.
    is_second: bool,
}

impl<D: Dir> Target<D> {
    async fn rows(&self) -> Result<Option<Rows<D>>, Error> {
        Rows::open(&self.dir, &self.index_name, self.history, &self.base).await
    }
}

impl<D: Dir> Clone for Walk<D> {
    fn clone(&self) -> Self {
        Self {
            target: self.target.clone(),
            audit: self.audit.clone(),
            rows: self.rows.clone(),
            bad: self.bad.clone(),
            ..*self
        }
    }
}

impl<D: Dir> Walk<D> {
    /// A walk from the start of a segment.
    pub(crate) fn new(target: Rc<Target<D>>) -> Self {
        Self {
            point: target.base,
            audit: Audit::new(target.base.offset),
            row: 0,
            row_ahead: None,
            row_met: 0,
            row_position: 0,
            rows: None,
            bad: Vec::new(),
            surplus_bytes: 0,
            is_done: false,
            has_unread: false,
            is_second: false,
            target,
        }
    }

    /// Another walk over the same segment, as this one found sound batches that are not those of the log: what no checksum
    /// covers may have turned over on its way from the disk.
    pub(crate) fn second(&self) -> Self {
        Self {
            is_second: true,
            ..Self::new(self.target.clone())
        }
    }

    /// Whether it is one.
    pub(crate) fn is_second(&self) -> bool {
        self.is_second
    }

    /// Another walk over the same segment, which makes its index anew.
    pub(crate) fn indexing(&self) -> Self {
        Self {
            rows: Some(Builder::default()),
            is_second: self.is_second,
            ..Self::new(self.target.clone())
        }
    }

    /// What it goes over.
    pub(crate) fn target(&self) -> &Target<D> {
        &self.target
    }

    /// Whether it came to the end.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether it stepped over what the disk does not give.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// Bytes of the file behind the segment's end.
    pub(crate) fn surplus_bytes(&self) -> u64 {
        self.surplus_bytes
    }

    /// Gives away the offsets found without a sound batch.
    pub(crate) fn take_bad(&mut self) -> Vec<Range<Offset>> {
        std::mem::take(&mut self.bad)
    }

    /// What a walk that is done says, and the rows, if it made them.
    pub(crate) fn conclude(self) -> (Verdict, Option<Builder>) {
        assert!(self.is_done, "a verdict is given at the end");
        let verdict = self.audit.conclude(&self.point, &self.target.end);
        (verdict, self.rows)
    }

    /// Reads the next piece of `store`: about `bytes_max` bytes, but at least one batch. Returns how many bytes it went over,
    /// and why the disk did not give all of them, if it did not: the walk goes on behind that.
    ///
    /// # Errors
    /// Any other error of reading the store.
    pub(crate) async fn run(
        &mut self,
        store: &Rc<Store<D>>,
        bytes_max: usize,
    ) -> Result<(u64, Option<Error>), Error> {
        // Not by the store's own handle: the thread's other files need not make room for it.
        let opened = self.target.dir.open(store.name(), Open::Read).await;
        let file = Rc::new(opened.map_err(|e| store.at().io("open", e))?);
        let mut rows = match self.open_rows().await {
            Ok(rows) => rows,
            Err(error) => {
                let _closed = file.close().await;
                return Err(error);
            }
        };
        let start = self.point.position;
        let scanner = Scanner::new(
            store,
            file.clone(),
            self.point,
            self.target.end.position.get(),
        );
        let mut scanner = scanner.with_window(bytes_max.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX));
        let walked = self.go(&file, &mut scanner, &mut rows).await;
        self.point = scanner.point();
        drop(scanner);
        if let Some(rows) = rows {
            rows.close().await;
        }
        let closed = file.close().await;
        let unread = walked?;
        closed.map_err(|e| store.at().io("close", e))?;
        let bytes = self.point.position.get().saturating_sub(start.get());
        Ok((bytes, unread))
    }

    async fn open_rows(&mut self) -> Result<Option<Rows<D>>, Error> {
        if self.rows.is_some() || self.audit.has_wrong_row() {
            return Ok(None);
        }
        let rows = match self.target.rows().await {
            // With descriptors it may be had.
            Err(error) if error.is_shortage() => return Err(error),
            // It is made anew.
            Err(_) => None,
            Ok(rows) => rows,
        };
        if rows.is_none() {
            self.audit.wrong_row();
        }
        Ok(rows)
    }

    /// Goes on until what was read in one go is used up, or behind what the disk does not give. Returns why, if that is it.
    async fn go(
        &mut self,
        file: &D::File,
        scanner: &mut Scanner<D>,
        rows: &mut Option<Rows<D>>,
    ) -> Result<Option<Error>, Error> {
        if self.point == self.target.base {
            let bytes = file.len().await;
            let bytes = bytes.map_err(|e| scanner.at().io("measure", e))?;
            self.surplus_bytes = bytes.saturating_sub(self.target.end.position.get());
        }
        let (mut is_first, mut unread_error) = (true, None);
        while is_first || scanner.has_next() {
            is_first = false;
            self.meet_rows(scanner, rows).await;
            let at = scanner.point();
            match scanner.next().await? {
                Step::Batch(batch) => {
                    self.audit.batch(batch.header_bytes());
                    if !is_of_its_epoch(&batch, &self.target.epochs) {
                        self.audit.stray(at.offset..batch.next_offset());
                    }
                    if let Some(rows) = &mut self.rows {
                        rows.note(&self.target.base, &at, self.target.interval_bytes);
                    }
                }
                Step::Bad => match scanner.read_again() {
                    true => is_first = true,
                    false => unread_error = self.step_over(scanner, None).await?,
                },
                Step::Unread(unread) => match scanner.read_again() {
                    true => is_first = true,
                    // An index made anew would lack what lies behind it.
                    false if self.rows.is_some() => return Err(unread.error),
                    false => unread_error = self.step_over(scanner, Some(unread.error)).await?,
                },
                Step::End => {}
            }
            if self.target.end.position <= scanner.point().position {
                self.meet_rows(scanner, rows).await;
                if self.peek_row(rows).await.is_some() {
                    self.audit.wrong_row(); // It points behind the end.
                }
                self.is_done = true;
                break;
            }
            if unread_error.is_some() {
                break;
            }
        }
        self.has_unread |= unread_error.is_some();
        Ok(unread_error)
    }

    /// Compares the rows that point to where the scanner is.
    async fn meet_rows(&mut self, scanner: &mut Scanner<D>, rows: &mut Option<Rows<D>>) {
        while let Some(row) = self.peek_row(rows).await {
            let at = scanner.point();
            let position = u64::from(row.position);
            if at.position.get() < position {
                break;
            }
            let point = index::point(&self.target.base, &row);
            let is_in_order = self.row_position < position && position == at.position.get();
            let Some(point) = point.filter(|_| is_in_order) else {
                return self.audit.wrong_row();
            };
            if let Some(mended) = self.audit.row(&at, &point) {
                scanner.move_to(mended);
            }
            (self.row, self.row_ahead, self.row_position) = (self.row + 1, None, position);
            self.row_met = self.row;
        }
        let at = scanner.point().position.get();
        let is_inside = at < self.target.end.position.get();
        let interval = u64::from(self.target.interval_bytes);
        if rows.is_some() && is_inside && self.row_position + interval <= at {
            self.audit.lacking_row(); // One should stand here.
        }
    }

    /// The next row, if there is one that can be used.
    async fn peek_row(&mut self, rows: &mut Option<Rows<D>>) -> Option<Row> {
        if self.audit.has_wrong_row() {
            return None;
        }
        while self.row_ahead.is_none() {
            match rows.as_mut()?.row(self.row).await {
                Ok(row) => {
                    self.row_ahead = row;
                    break;
                }
                Err(Unreadable { rows }) => {
                    self.audit.lacking_row();
                    self.row += rows;
                }
            }
        }
        self.row_ahead
    }
}

const WINDOW_BYTES_MIN: usize = 64 << 10;
const WINDOW_BYTES_MAX: usize = 4 << 20;
