//! Reading batches from a store: a stride after the other, each batch verified before it leaves.

use std::rc::Rc;

use corelog_record::Offset;

use super::damage::Found;
use super::look::{self, Look};
use super::read::{Fetched, Piece, ReadError};
use super::select::{Taken, Wanted};
use super::stride::{EDGE_BYTES, STRIDE_BYTES_MIN, Stride};
use super::{Damage, Log};
use crate::Error;
use crate::disk::{Dir, File};
use crate::format::edit::Epoch;
use crate::format::index::Row;
use crate::index::{self, Builder, Rows, Sealed};
use crate::segment::{Index, Point, Segment, Stage};
use crate::store::Store;

/// The rows of a segment, in memory or in its index.
pub(super) enum Known<D: Dir> {
    Memory(Builder),
    File(Rc<Sealed<D>>),
}

/// The same, loaded.
pub(super) enum Loaded<D: Dir> {
    Memory(Builder),
    File(Rc<Sealed<D>>, Rc<index::Loaded>),
}

/// A planned read of one store.
pub(super) struct DiskRead<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    pub(super) base: Point,
    /// The end of what may be read of the segment.
    pub(super) end: Point,
    /// Whether offset and chain of the end are those of what was appended: an opening that stepped over
    /// damage does not know them.
    is_end_true: bool,
    rows: Known<D>,
    /// Those of the log, oldest first.
    epochs: Rc<[Epoch]>,
    /// What of the segment is known to be bad.
    damage: Vec<Damage>,
    found: Found,
    /// What would take a larger read is left.
    read_max: usize,
}

impl<D: Dir> DiskRead<D> {
    /// The same, of a segment of which this is known to be bad.
    pub(super) fn knowing(self, damage: Vec<Damage>) -> Self {
        Self { damage, ..self }
    }

    /// Damage that is known at `from`.
    pub(super) fn damage_at(&self, from: Offset) -> Option<Damage> {
        let mut known = self.damage.iter();
        known.find(|bad| bad.from <= from && from < bad.to).copied()
    }

    /// Where what can be read from `from` on ends: where damage is known to begin, or the segment ends.
    pub(super) fn limit_behind(&self, from: Offset) -> Offset {
        let known = self.damage.iter().map(|bad| bad.from);
        let bad = known.filter(|bad| from < *bad).min();
        bad.map_or(self.end.offset, |bad| bad.min(self.end.offset))
    }

    /// The same, if it takes no more than so many bytes of memory.
    pub(super) fn within(self, bytes: usize) -> Self {
        let read_max = bytes.saturating_sub(EDGE_BYTES);
        Self { read_max, ..self }
    }

    /// The same, by a handle of its own: the file is open no longer than this is.
    pub(super) fn apart(self) -> Self {
        let store = self.store.apart();
        Self { store, ..self }
    }

    /// The last point at or below `offset` that is known without reading batches.
    pub(super) async fn row_before(&self, offset: Offset) -> Result<Point, Error> {
        let rows = self.rows.load(&self.found).await?;
        Ok(index::before_offset(&self.base, &rows, offset))
    }

    /// Reads the wanted batches at once. Each one's checksum and epoch are verified, and that the chain over the
    /// headers is right where an index row or the segment's end tells it: base offset and epoch lie
    /// outside the checksum, and another store's batches are as sound as this one's.
    ///
    /// What is bad is read once more, and a file of rows that the store contradicts is doubted,
    /// before it is called damage.
    ///
    /// # Errors
    /// [`Error::Damaged`] up to an offset behind the first wanted one; any error of reading.
    pub(super) async fn read(&self, wanted: Wanted) -> Result<Fetched<D>, Error> {
        let mut rows = self.rows.load(&self.found).await?;
        self.read_first(&mut rows, wanted, usize::MAX).await
    }

    /// The same, a stride of `stride_bytes` after the other: whoever else wants the disk gets it in between. `turn` is
    /// waited for before each stride, and what it gives is kept until that was read. Where it gives none the read ends,
    /// with what was read by then.
    ///
    /// # Errors
    /// As [`read`](DiskRead::read), of the first stride.
    pub(super) async fn read_by_turns<T>(
        &self,
        wanted: Wanted,
        stride_bytes: usize,
        turn: impl AsyncFn() -> Option<T>,
    ) -> Result<Fetched<D>, Error> {
        let stride_bytes = stride_bytes.max(STRIDE_BYTES_MIN);
        let mut rows = self.rows.load(&self.found).await?;
        let mut fetched = {
            let Some(_turn) = turn().await else {
                return Ok(self.nothing(wanted));
            };
            self.read_first(&mut rows, wanted, stride_bytes).await?
        };
        while let Some(next) = self.next_stride(&rows, wanted, stride_bytes, &fetched) {
            let Some(_turn) = turn().await else {
                break;
            };
            match self.read_stride(&mut rows, next).await {
                Ok(more) if more.bytes > 0 => fetched.append(more),
                // Whoever goes on from there is told.
                Ok(_) | Err(_) => break,
            }
        }
        Ok(fetched)
    }

    /// Reads what begins with the first wanted batch; up to the next row, if the disk does not give more at once: a sector
    /// that cannot be read hides nothing that lies before it.
    async fn read_first(
        &self,
        rows: &mut Loaded<D>,
        wanted: Wanted,
        stride_bytes: usize,
    ) -> Result<Fetched<D>, Error> {
        let first = self.first_stride(rows, wanted, stride_bytes);
        let start = first.start.position.get();
        let bytes_left = self.end.position.get().saturating_sub(start);
        let bytes = first.bytes.min(bytes_left);
        let read = self.read_stride(rows, first).await;
        if !matches!(read, Err(Error::Io { .. })) {
            return read;
        }
        let least = self.first_stride(rows, wanted, 1);
        match least.bytes < bytes {
            true => self.read_stride(rows, least).await,
            false => read,
        }
    }

    async fn read_stride(&self, rows: &mut Loaded<D>, stride: Stride) -> Result<Fetched<D>, Error> {
        let Stride {
            mut start,
            bytes: enough,
            wanted,
        } = stride;
        let file = self.store.file().await?;
        let (mut wanted_bytes, mut is_second) = (enough, false);
        let (mut is_chain_known, mut is_asked) = (true, false);
        loop {
            let available = self.end.position.get().saturating_sub(start.position.get());
            let len = usize::try_from(wanted_bytes.min(available)).unwrap_or(usize::MAX);
            if self.read_max < len {
                return Ok(self.nothing(wanted));
            }
            let read = file.read_at(start.position.get(), len).await;
            let bytes = read.map_err(|source| self.store.at().io("read", source))?;
            // All that these rows do not lead over would be read each time.
            if !is_asked && rows.wait_for(start.position.get(), len) {
                is_asked = true;
                match self.doubt(rows, wanted).await {
                    Ok(Some(again)) => {
                        (start, wanted_bytes, is_second, is_chain_known) =
                            (again, enough, false, true);
                        continue;
                    }
                    Err(error @ Error::Damaged { .. }) => return self.found.met(Err(error)),
                    Ok(None) | Err(_) => {}
                }
            }
            let look = Look::at(bytes.as_ref(), start, wanted, &self.epochs, |point| {
                let end = || self.end_behind(rows, point, wanted.from);
                let row = self.row_behind(rows, point);
                row.or_else(|| end().filter(|_| is_chain_known))
            });
            let (sure, check) = match look {
                Look::Taken(taken) => return Ok(self.fetched(bytes, taken)),
                Look::None => return Ok(self.nothing(wanted)),
                Look::Short { sure, .. } if start.position < sure.position => {
                    (start, wanted_bytes) = (sure, enough);
                    continue;
                }
                Look::Short { sure, needed } if len < needed && needed as u64 <= available => {
                    if needed <= LOOK_BYTES_MAX {
                        wanted_bytes = needed as u64;
                        continue;
                    }
                    (sure, self.row_behind(rows, &sure))
                }
                Look::Bad { .. } if !is_second => {
                    is_second = true;
                    continue;
                }
                Look::Bad { from, to } => {
                    return self.found.met(Err(self.damaged(wanted, from, to)));
                }
                Look::Short { sure, .. } => (sure, None),
                Look::Doubt { sure, check } => (sure, check),
            };
            if !std::mem::replace(&mut is_second, true) {
                continue;
            }
            match self.doubt(rows, wanted).await {
                Ok(None) => {}
                Ok(Some(again)) => {
                    (start, wanted_bytes, is_second, is_chain_known) = (again, enough, false, true);
                    continue;
                }
                // Rows that may be missing would show that less is damaged: it is told, and not remembered.
                Err(error @ Error::Io { .. }) => {
                    let near = check.filter(|row| {
                        let ahead = row.position.get() - sure.position.get();
                        let is_near = ahead <= LOOK_BYTES_MAX as u64;
                        rows.is_partial() && row.position < self.end.position && is_near
                    });
                    let damaged = |row: Point| self.damaged(wanted, sure.offset, row.offset);
                    return Err(near.map_or(error, damaged));
                }
                Err(error) => return self.found.met(Err(error)),
            }
            // Which of the batches in between bent the chain cannot be known: the others may be as
            // sound and yet not those that were appended.
            let at = usize::try_from(sure.position.get() - start.position.get());
            let rest = at.ok().and_then(|at| bytes.as_ref().get(at..));
            let behind = || look::behind(rest?, &sure);
            let known = check.or_else(behind).unwrap_or(self.end);
            if check.is_none() && known.offset <= wanted.from && known.position < self.end.position
            {
                // What is wanted lies behind the damage.
                (start, wanted_bytes, is_second) = (known, enough, false);
                is_chain_known = false;
                continue;
            }
            let damaged = self.damaged(wanted, sure.offset, known.offset);
            return self.found.met(Err(damaged));
        }
    }

    /// Has rows be made anew that may be what is wrong. Returns where to look for what is wanted, if others were made.
    async fn doubt(&self, rows: &mut Loaded<D>, wanted: Wanted) -> Result<Option<Point>, Error> {
        let Some(anew) = rows.doubt().await? else {
            return Ok(None);
        };
        *rows = anew;
        Ok(Some(index::before_offset(&self.base, &*rows, wanted.from)))
    }

    fn damaged(&self, wanted: Wanted, from: Offset, to: Offset) -> Error {
        let behind = from.max(wanted.from).saturating_add(1);
        Error::Damaged {
            from,
            to: to.max(behind),
            segment: self.base.offset,
        }
    }

    /// The next row behind `point`.
    fn row_behind(&self, rows: &Loaded<D>, point: &Point) -> Option<Point> {
        let row = index::after_position(&self.base, rows, point.position.get());
        row.filter(|row| row.position < self.end.position)
    }

    /// The end, if it lies behind `point` and the chain is known there: not if a walk on to `from` passes
    /// over known damage, which may bend the chain. A file of rows may have been made anew from the
    /// damaged store: then no row ends that.
    fn end_behind(&self, rows: &Loaded<D>, point: &Point, from: Offset) -> Option<Point> {
        let is_behind = self.is_end_true && point.position < self.end.position;
        let sure = match rows {
            Loaded::Memory(rows) => index::before_offset(&self.base, rows, point.offset).offset,
            Loaded::File(..) => self.base.offset,
        };
        let is_bent = |bad: &Damage| bad.from < from && sure < bad.to;
        let is_known = is_behind && !self.damage.iter().any(is_bent);
        is_known.then_some(self.end)
    }

    fn fetched(&self, bytes: D::Bytes, taken: Taken) -> Fetched<D> {
        let (next, count) = (taken.next, taken.range.len());
        Fetched {
            pieces: vec![Piece::disk(bytes, taken.range)],
            segment_base: self.base.offset,
            next,
            bytes: count,
        }
    }

    fn nothing(&self, wanted: Wanted) -> Fetched<D> {
        Fetched::nothing(self.base.offset, wanted.from)
    }
}

impl<D: Dir> Log<D> {
    /// A read of what is durable of `segment`, from `from` on; `None` without a store.
    pub(super) fn disk_read(&self, segment: &Segment<D>, from: Offset) -> Option<DiskRead<D>> {
        let (end, below) = (self.durable_end(segment), segment.below.as_ref());
        let below = below.filter(|below| from < below.end.offset);
        let (rows, end) = match (&segment.index, below) {
            (_, Some(below)) => (Known::File(below.index.clone()), below.end),
            (Index::Growing(rows), None) => (Known::Memory(rows.clone()), end),
            (Index::File(sealed), None) => (Known::File(sealed.clone()), end),
        };
        Some(DiskRead {
            store: segment.store.clone()?,
            base: segment.base,
            end,
            is_end_true: self.read_only_from.is_none() && segment.stage != Stage::Damaged,
            rows,
            epochs: self.epochs.clone(),
            damage: self.damage_of(segment.base.offset),
            found: self.found.clone(),
            read_max: usize::MAX,
        })
    }
}

impl<D: Dir> Known<D> {
    /// The rows; damage of all that they are of goes to `found`.
    pub(super) async fn load(&self, found: &Found) -> Result<Loaded<D>, Error> {
        let sealed = match self {
            Self::Memory(rows) => return Ok(Loaded::Memory(rows.clone())),
            Self::File(sealed) => sealed,
        };
        let loaded = found.met(sealed.load().await)?;
        Ok(Loaded::File(sealed.clone(), loaded))
    }
}

impl<D: Dir> Loaded<D> {
    /// Whether there may be more once the disk gives all.
    fn is_partial(&self) -> bool {
        matches!(self, Self::File(_, rows) if rows.is_partial())
    }

    /// Whether there may be more now that the disk gives these bytes of the store.
    fn wait_for(&self, start: u64, bytes: usize) -> bool {
        matches!(self, Self::File(_, rows) if rows.wait_for(&(start..start + bytes as u64)))
    }

    /// Rows made anew, if these may be what is wrong.
    async fn doubt(&self) -> Result<Option<Self>, Error> {
        let Self::File(sealed, rows) = self else {
            return Ok(None);
        };
        let anew = sealed.doubt(rows).await?;
        Ok(anew.map(|anew| Self::File(sealed.clone(), anew)))
    }
}

impl<D: Dir> Rows for Loaded<D> {
    fn count(&self) -> usize {
        match self {
            Self::Memory(rows) => rows.count(),
            Self::File(_, rows) => rows.count(),
        }
    }

    fn row(&self, number: usize) -> Option<Row> {
        match self {
            Self::Memory(rows) => rows.row(number),
            Self::File(_, rows) => rows.row(number),
        }
    }

    fn count_before(&self, is_before: impl Fn(&Row) -> bool) -> usize {
        match self {
            Self::Memory(rows) => rows.count_before(is_before),
            Self::File(_, rows) => rows.count_before(is_before),
        }
    }
}

/// No more lies between two rows if no header between them leads nowhere: one interval and the largest batch.
const LOOK_BYTES_MAX: usize = 20 << 20;

/// A failed read of `segment`: a file that is gone was removed on purpose.
pub(super) fn read_error(segment: Offset, source: Error) -> ReadError {
    match source {
        source if source.is_missing() => ReadError::Removed { segment },
        Error::Damaged { from, to, segment } => ReadError::Damaged { from, to, segment },
        source => ReadError::Disk { segment, source },
    }
}
