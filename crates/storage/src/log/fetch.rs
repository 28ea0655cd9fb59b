//! Reading batches from a store: one read, each batch verified before it leaves.

use std::io;
use std::rc::Rc;

use corelog_record::Offset;

use super::Damage;
use super::damage::Found;
use super::look::{self, Look};
use super::read::{Fetched, Piece, ReadError};
use super::select::{Taken, Wanted};
use crate::Error;
use crate::disk::{Dir, File};
use crate::index::{self, Builder, Sealed};
use crate::segment::{Index, Point, Segment, Stage};
use crate::store::Store;

/// The rows of a segment, in memory or in its index.
enum Known<D: Dir> {
    Memory(Builder),
    File(Rc<Sealed<D>>),
}

/// The same, loaded.
enum Loaded<D: Dir> {
    Memory(Builder),
    File(Rc<Sealed<D>>, Rc<index::Loaded>),
}

/// A planned read of one store.
pub(super) struct DiskRead<D: Dir> {
    store: Rc<Store<D>>,
    base: Point,
    /// The end of what may be read of the segment.
    end: Point,
    /// Whether offset and chain of the end are those of what was appended: not behind damage.
    is_end_true: bool,
    known: Known<D>,
    wanted: Wanted,
    found: Found,
}

impl<D: Dir> DiskRead<D> {
    /// A read of `segment`, of which all below `end` is durable. `None` without a store. Damage goes
    /// to `found`. `is_end_true`: the end is where a batch that was appended ends.
    pub(super) fn new(
        segment: &Segment<D>,
        end: Point,
        wanted: Wanted,
        is_end_true: bool,
        found: Found,
    ) -> Option<Self> {
        let below = segment.below.as_ref();
        let below = below.filter(|below| wanted.from < below.end.offset);
        let (known, end) = match (&segment.index, below) {
            (_, Some(below)) => (Known::File(below.index.clone()), below.end),
            (Index::Growing(rows), None) => (Known::Memory(rows.clone()), end),
            (Index::File(sealed), None) => (Known::File(sealed.clone()), end),
        };
        Some(Self {
            store: segment.store.clone()?,
            base: segment.base,
            end,
            is_end_true: is_end_true && segment.stage != Stage::Damaged,
            known,
            wanted,
            found,
        })
    }

    /// Reads the wanted batches. Each one's checksum is verified, and that the chain over the headers
    /// is right where an index row or the segment's end tells it: base offset and epoch lie outside
    /// the checksum, and another store's batches are as sound as this one's.
    ///
    /// What is bad is read once more, and a file of rows that the store contradicts is doubted,
    /// before it is called damage.
    pub(super) async fn run(self) -> Result<Fetched<D>, ReadError> {
        let failed = |source| self.failed(source);
        let mut rows = self.load().await.map_err(failed)?;
        let file = self.store.file().await.map_err(failed)?;
        let mut start = rows.before(&self.base, self.wanted.from);
        let enough = self.wanted.bytes_max.saturating_add(AHEAD_BYTES) as u64;
        let (mut wanted_bytes, mut is_second) = (enough, false);
        loop {
            let available = self.end.position.get().saturating_sub(start.position.get());
            let len = usize::try_from(wanted_bytes.min(available)).unwrap_or(usize::MAX);
            let read = file.read_at(start.position.get(), len).await;
            let bytes = read.map_err(|source| failed(self.store.at().io("read", source)))?;
            let look = Look::at(bytes.as_ref(), start, self.wanted, |point| {
                self.check_behind(&rows, point)
            });
            let (sure, check) = match look {
                Look::Taken(taken) => return Ok(self.fetched(bytes, taken)),
                Look::None => return Ok(self.nothing()),
                Look::Short { sure, .. } if start.position < sure.position => {
                    (start, wanted_bytes) = (sure, enough);
                    continue;
                }
                Look::Short { needed, .. } if len < needed && needed as u64 <= available => {
                    wanted_bytes = needed as u64;
                    continue;
                }
                Look::Bad { .. } if !is_second => {
                    is_second = true;
                    continue;
                }
                Look::Bad { from, to } => return Err(self.damaged(from, to)),
                Look::Short { sure, .. } => (sure, None),
                Look::Doubt { sure, check } => (sure, check),
            };
            if !std::mem::replace(&mut is_second, true) {
                continue;
            }
            if let Some(anew) = rows.doubt().await.map_err(failed)? {
                rows = anew;
                start = rows.before(&self.base, self.wanted.from);
                (wanted_bytes, is_second) = (enough, false);
                continue;
            }
            // Which of the batches in between bent the chain cannot be known: the others may be as
            // sound and yet not those that were appended.
            let at = usize::try_from(sure.position.get() - start.position.get());
            let rest = at.ok().and_then(|at| bytes.as_ref().get(at..));
            let known = check.map(|check| check.offset);
            let known = known.or_else(|| look::behind(rest?).filter(|to| sure.offset < *to));
            return Err(self.damaged(sure.offset, known.unwrap_or(self.end.offset)));
        }
    }

    fn damaged(&self, from: Offset, to: Offset) -> ReadError {
        let (to, segment) = (to.max(from.plus(1)), self.base.offset);
        self.found.note(Damage { from, to, segment }).into()
    }

    async fn load(&self) -> Result<Loaded<D>, Error> {
        Ok(match &self.known {
            Known::Memory(rows) => Loaded::Memory(rows.clone()),
            Known::File(sealed) => Loaded::File(sealed.clone(), sealed.load().await?),
        })
    }

    /// The next point behind `point` at which the chain is known.
    fn check_behind(&self, rows: &Loaded<D>, point: &Point) -> Option<Point> {
        let position = point.position.get();
        let row = match rows {
            Loaded::Memory(rows) => index::after_position(&self.base, rows.rows(), position),
            Loaded::File(_, rows) => index::after_position(&self.base, &**rows, position),
        };
        let row = row.filter(|row| row.position < self.end.position);
        let end = Some(self.end).filter(|end| self.is_end_true && point.position < end.position);
        row.or(end)
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

    fn nothing(&self) -> Fetched<D> {
        Fetched {
            pieces: Vec::new(),
            segment_base: self.base.offset,
            next: self.wanted.from,
            bytes: 0,
        }
    }

    fn failed(&self, source: Error) -> ReadError {
        if let Error::Damaged { from, to, segment } = source {
            self.found.note(Damage { from, to, segment });
        }
        read_error(self.base.offset, source)
    }
}

impl<D: Dir> Loaded<D> {
    fn before(&self, base: &Point, from: Offset) -> Point {
        match self {
            Self::Memory(rows) => index::before_offset(base, rows.rows(), from),
            Self::File(_, rows) => index::before_offset(base, &**rows, from),
        }
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

/// A failed read of `segment`: a file that is gone was removed on purpose.
pub(super) fn read_error(segment: Offset, source: Error) -> ReadError {
    match source {
        Error::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            ReadError::Removed { segment }
        }
        Error::Damaged { from, to, segment } => ReadError::Damaged { from, to, segment },
        source => ReadError::Disk { segment, source },
    }
}

/// Bytes read ahead of the wanted ones: an index points a little before them.
const AHEAD_BYTES: usize = 16 << 10;
