//! Reading the rows of an index file in order, a few at a time, apart from those who look up in it.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use corelog_record::HistoryId;

use crate::Error;
use crate::disk::{BLOCK_BYTES, Dir, File, Open};
use crate::error::At;
use crate::format::index::{self as format, Header, Row};
use crate::index;
use crate::segment::Point;

/// An index file, read from its first row to its last.
pub(super) struct Rows<D: Dir> {
    file: Rc<D::File>,
    count: usize,
    /// Rows in memory, and the number of the first of them.
    window: D::Bytes,
    window_first: usize,
    /// Below this row the disk did not give a whole window: no more than a block is asked for.
    hard_until: usize,
    /// Why a block was not given.
    unread: Option<io::Error>,
}

impl<D: Dir> Rows<D> {
    /// The rows of the index `name`; `None` if it is missing, or not that of the segment at `base`.
    ///
    /// # Errors
    /// Any error of opening and reading it.
    pub(super) async fn open(
        dir: &D,
        name: &str,
        history: HistoryId,
        base: &Point,
    ) -> Result<Option<Self>, Error> {
        let at = || At::new(dir, name);
        let file = match dir.open(name, Open::Read).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => Rc::new(opened.map_err(|error| at().io("open", error))?),
        };
        let rows = Self::check(file.clone(), history, base).await;
        if !matches!(rows, Ok(Some(_))) {
            let _closed = file.close().await;
        }
        rows.map_err(|error| at().io("read", error))
    }

    async fn check(
        file: Rc<D::File>,
        history: HistoryId,
        base: &Point,
    ) -> io::Result<Option<Self>> {
        let bytes = usize::try_from(file.len().await?).unwrap_or(usize::MAX);
        let header = file.read_at(0, format::HEADER_BYTES).await?;
        let expected = index::header(history, base);
        let is_ours = Header::decode(header.as_ref()).is_ok_and(|header| header == expected);
        let row_bytes = bytes.saturating_sub(format::HEADER_BYTES);
        let is_whole = row_bytes.is_multiple_of(format::ROW_BYTES);
        let is_whole = is_whole && bytes as u64 <= format::BYTES_MAX;
        let window = file.read_at(0, 0).await?;
        Ok((is_ours && is_whole).then_some(Self {
            file,
            count: row_bytes / format::ROW_BYTES,
            window,
            window_first: 0,
            hard_until: 0,
            unread: None,
        }))
    }

    /// The row `number`; `None` behind the last one.
    ///
    /// # Errors
    /// `Unreadable` if its bytes cannot be had, or are not right.
    pub(super) async fn row(&mut self, number: usize) -> Result<Option<Row>, Unreadable> {
        if self.count <= number {
            return Ok(None);
        }
        let held = self.window.as_ref().len() / format::ROW_BYTES;
        let is_held = self.window_first <= number && number < self.window_first + held;
        if !is_held {
            self.read(number).await?;
        }
        let start = (number - self.window_first) * format::ROW_BYTES;
        let bytes = self.window.as_ref().get(start..start + format::ROW_BYTES);
        match bytes.map(Row::decode) {
            Some(Ok(row)) => Ok(Some(row)),
            _ => Err(Unreadable { rows: 1 }),
        }
    }

    /// Reads rows from `number` on, those of its block alone where the disk does not give more.
    async fn read(&mut self, number: usize) -> Result<(), Unreadable> {
        let position = format::HEADER_BYTES + number * format::ROW_BYTES;
        let block_rows = (BLOCK_BYTES - position % BLOCK_BYTES) / format::ROW_BYTES;
        let mut rows = match number < self.hard_until {
            true => block_rows,
            false => WINDOW_ROWS,
        };
        let bytes = |rows: usize| rows.min(self.count - number) * format::ROW_BYTES;
        let mut read = self.file.read_at(position as u64, bytes(rows)).await;
        if read.is_err() && block_rows < rows {
            self.hard_until = number + rows;
            rows = block_rows;
            read = self.file.read_at(position as u64, bytes(rows)).await;
        }
        match read {
            Ok(window) => {
                (self.window, self.window_first) = (window, number);
                Ok(())
            }
            Err(error) => {
                self.unread = Some(error);
                Err(Unreadable { rows })
            }
        }
    }

    /// Closes the file; what comes of that is nobody's concern. Returns why rows were not given, if some were not.
    pub(super) async fn close(self) -> Option<io::Error> {
        let _closed = self.file.close().await;
        self.unread
    }
}

/// A row that is of no use.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// How many there are up to the next that may be of some.
    pub(super) rows: usize,
}

/// So many rows are read at once: the index of some 8 MiB of store.
const WINDOW_ROWS: usize = 2048;
