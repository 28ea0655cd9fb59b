//! Reading a store from its start, for all that it tells.

use std::error::Error as _;

use corelog_record::{HistoryId, Offset};

use super::epochs::{self, Run};
use super::plan::{self, unreadable};
use crate::Error;
use crate::disk::{Dir, File};
use crate::format::index as format;
use crate::format::mark::Slot;
use crate::index::{self, Builder};
use crate::recovery::data_end;
use crate::scan::{Scanner, Step};
use crate::segment::{Point, name};
use crate::store::Store;

/// What a store tells.
pub(super) struct Walked {
    pub(super) base: Offset,
    pub(super) generation: u32,
    pub(super) start: Point,
    /// Behind the last sound batch.
    pub(super) end: Point,
    /// The length of the file.
    pub(super) bytes: u64,
    /// Whether nothing but zeros, if anything, lies behind the last sound batch.
    pub(super) is_whole: bool,
    /// Of which epochs its batches are.
    pub(super) runs: Vec<Run>,
    pub(super) rows: Builder,
    /// Whether the index in the file is this store's.
    pub(super) is_index_right: bool,
    /// Whether the mark, if it speaks of this file, agrees.
    pub(super) agrees_with_mark: bool,
    /// That the disk does not give what lies behind the end, if that is what ends it.
    pub(super) unread: Option<plan::Step>,
}

/// How a store is walked.
pub(super) struct From<'a, D: Dir> {
    pub(super) dir: &'a D,
    pub(super) history: HistoryId,
    pub(super) start: Point,
    pub(super) generation: u32,
    pub(super) mark: Option<&'a Slot>,
    pub(super) interval_bytes: u32,
}

impl<D: Dir> From<'_, D> {
    /// Walks it.
    pub(super) async fn walk(&self) -> Result<Walked, Error> {
        let start = self.start;
        let store = Store::closed(self.dir, name::store(start.offset, self.generation));
        let file = store.file().await?;
        let bytes = file.len().await;
        let bytes = bytes.map_err(|e| store.at().io("measure", e))?;
        let index = self.index().await;
        let mark = self.mark;
        let mark = mark.filter(|slot| slot.is_of(start.offset, self.generation));
        let mut walked = Walked {
            base: start.offset,
            generation: self.generation,
            start,
            end: start,
            bytes,
            is_whole: true,
            runs: Vec::new(),
            rows: Builder::default(),
            is_index_right: index.is_some(),
            agrees_with_mark: true,
            unread: None,
        };
        let (mut row, mut last_row) = (0, None);
        let mut scanner = Scanner::new(&store, file, start, bytes);
        loop {
            let at = scanner.point();
            if let Some(index) = &index
                && let Some(read) = format::row(index, row)
            {
                match read.ok().and_then(|row| index::point(&start, &row)) {
                    Some(point) if at.position < point.position => {}
                    Some(point) if at == point => (row, last_row) = (row + 1, Some(at)),
                    _ => walked.is_index_right = false,
                }
            }
            if let Some(mark) = mark.filter(|mark| mark.position == at.position) {
                walked.agrees_with_mark =
                    (mark.offset, mark.ordinal, mark.chain) == (at.offset, at.ordinal, at.chain);
            }
            walked.end = at;
            match scanner.next().await? {
                Step::Batch(batch) => {
                    epochs::note(&mut walked.runs, &batch, &at);
                    walked.rows.note(&start, &at, self.interval_bytes);
                }
                Step::End => break,
                Step::Unread(unread) => {
                    walked.is_whole = false;
                    let (file, why) = (walked.name(), unread.error.source());
                    walked.unread = why.map(|why| unreadable(&file, at.position.get(), why));
                    break;
                }
                Step::Bad => {
                    walked.is_whole = data_end(&store, bytes).await? <= at.position.get();
                    break;
                }
            }
        }
        let has_more = index.is_some_and(|index| row < format::row_count(&index));
        // One that closing wrote may have a row at the end; that of a sealed store has none.
        walked.is_index_right &= !has_more && last_row != Some(walked.end);
        store.close().await?;
        Ok(walked)
    }

    /// The whole index, if its header is right.
    async fn index(&self) -> Option<Vec<u8>> {
        let name = name::index(self.start.offset, self.generation);
        let bytes = self.dir.read(&name, format::BYTES_MAX).await.ok()?;
        let expected = index::header(self.history, &self.start);
        let is_ours = format::Header::decode(&bytes).is_ok_and(|header| header == expected);
        let is_whole =
            (bytes.len() - format::HEADER_BYTES.min(bytes.len())).is_multiple_of(format::ROW_BYTES);
        (is_ours && is_whole).then_some(bytes)
    }
}

impl Walked {
    /// The name of the file.
    pub(super) fn name(&self) -> String {
        name::store(self.base, self.generation)
    }

    /// Whether the file ends exactly behind the last sound batch.
    pub(super) fn is_exact(&self) -> bool {
        self.is_whole && self.bytes == self.end.position.get() && self.base < self.end.offset
    }
}
