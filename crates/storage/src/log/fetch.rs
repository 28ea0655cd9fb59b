//! Reading batches from a store: one read, each batch verified before it leaves.

use std::io;
use std::rc::Rc;

use corelog_record::Offset;
use corelog_record::batch::{HEADER_BYTES, View};

use super::read::{Fetched, Piece, ReadError};
use super::select::{Extent, Taken, Wanted};
use crate::Error;
use crate::disk::{Dir, File};
use crate::index::{self, Loaded, Sealed};
use crate::segment::{Index, Point, Segment};
use crate::store::Store;

/// Where to start looking: known, or in an index to be loaded.
pub(super) enum Start<D: Dir> {
    At(Point),
    Look(Rc<Sealed<D>>),
}

/// A planned read of one store.
pub(super) struct DiskRead<D: Dir> {
    store: Rc<Store<D>>,
    base: Point,
    /// The offset after the segment's last record that may be read.
    end: Offset,
    /// Bytes of the store that may be read.
    end_bytes: u64,
    start: Start<D>,
    wanted: Wanted,
}

/// What a look at some bytes gave.
enum Look {
    Taken(Taken),
    /// The first wanted batch ends behind these bytes: so many are needed.
    Short(usize),
    /// No batch, or one that cannot be trusted: where it begins, and the offset it should have.
    Bad(usize, Offset),
    /// There is no wanted batch.
    None,
}

impl<D: Dir> DiskRead<D> {
    /// A read of `segment`, of which `end_bytes` are durable. `None` without a store.
    pub(super) fn new(segment: &Segment<D>, end_bytes: u64, wanted: Wanted) -> Option<Self> {
        let start = match &segment.index {
            Index::Growing(rows) => Start::At(index::before_offset(
                &segment.base,
                rows.rows(),
                wanted.from,
            )),
            Index::File(sealed) => Start::Look(sealed.clone()),
        };
        Some(Self {
            store: segment.store.clone()?,
            base: segment.base,
            end: segment.end.offset.min(wanted.limit),
            end_bytes,
            start,
            wanted,
        })
    }

    /// Reads the wanted batches.
    pub(super) async fn run(self) -> Result<Fetched<D>, ReadError> {
        let segment = self.base.offset;
        let failed = |source| read_error(segment, source);
        let (start, rows) = match &self.start {
            Start::At(point) => (*point, None),
            Start::Look(sealed) => {
                let rows = sealed.load().await.map_err(failed)?;
                (
                    index::before_offset(&self.base, &*rows, self.wanted.from),
                    Some(rows),
                )
            }
        };
        let file = self.store.file().await.map_err(failed)?;
        let position = start.position.get();
        let available = self.end_bytes.saturating_sub(position);
        let mut wanted_bytes = self.wanted.bytes_max.saturating_add(AHEAD_BYTES) as u64;
        // Twice at most: the second time the first batch fits.
        loop {
            let len = usize::try_from(wanted_bytes.min(available)).unwrap_or(usize::MAX);
            let read = file.read_at(position, len).await;
            let bytes = read.map_err(|source| failed(self.store.at().io("read", source)))?;
            match look(bytes.as_ref(), start.offset, self.wanted) {
                Look::Taken(taken) => {
                    let (next, bytes_taken) = (taken.next, taken.range.len());
                    let pieces = vec![Piece::disk(bytes, taken.range)];
                    return Ok(Fetched {
                        pieces,
                        segment_base: segment,
                        next,
                        bytes: bytes_taken,
                    });
                }
                Look::None => return Ok(self.nothing()),
                Look::Short(needed) if len < needed && needed as u64 <= available => {
                    wanted_bytes = needed as u64;
                }
                Look::Short(_) => {
                    return Err(self.damaged(self.wanted.from, self.end));
                }
                Look::Bad(at, from) => {
                    let behind = behind(bytes.as_ref(), at, from).map(|(_, offset)| offset);
                    let known = rows.as_deref().and_then(|rows: &Loaded| {
                        index::after_position(&self.base, rows, position + at as u64)
                    });
                    let known = known.map_or(self.end, |point| point.offset);
                    return Err(self.damaged(from, behind.unwrap_or(known)));
                }
            }
        }
    }

    fn nothing(&self) -> Fetched<D> {
        let segment_base = self.base.offset;
        Fetched {
            pieces: Vec::new(),
            segment_base,
            next: self.wanted.from,
            bytes: 0,
        }
    }

    fn damaged(&self, from: Offset, to: Offset) -> ReadError {
        ReadError::Damaged {
            from,
            to: to.max(from.plus(1)),
            segment: self.base.offset,
        }
    }
}

/// The wanted batches at the front of `bytes`, which begin with the batch `offset`. Those before
/// the wanted ones are stepped over; the wanted ones are verified. The base offset is not covered by
/// a batch's checksum: each batch must begin where the one before ended.
fn look(bytes: &[u8], offset: Offset, wanted: Wanted) -> Look {
    let (mut at, mut expected) = (0, offset);
    let mut taken: Option<Taken> = None;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.len() < HEADER_BYTES {
            return taken.map_or(Look::Short(at + HEADER_BYTES), Look::Taken);
        }
        // What is bad before the wanted batches does not keep them back, if its own length leads to
        // one behind it: else who is told of the damage and goes on behind it is told of it again.
        let stepped = || behind(bytes, at, expected).filter(|next| next.1 <= wanted.from);
        let Some(batch) = Extent::parse(rest).filter(|batch| expected == batch.base) else {
            if let Some(next) = stepped() {
                (at, expected) = next;
                continue;
            }
            return taken.map_or(Look::Bad(at, expected), Look::Taken);
        };
        if wanted.from < batch.next {
            let is_beyond = wanted.limit < batch.next;
            let begin = taken.as_ref().map_or(at, |taken| taken.range.start);
            let is_too_much = at + batch.bytes - begin > wanted.bytes_max;
            if taken.is_some() && (is_beyond || is_too_much) {
                return taken.map_or(Look::None, Look::Taken);
            }
            let Some(bytes) = rest.get(..batch.bytes) else {
                return taken.map_or(Look::Short(at + batch.bytes), Look::Taken);
            };
            if View::verify(bytes).is_err() {
                if let Some(next) = stepped() {
                    (at, expected) = next;
                    continue;
                }
                return taken.map_or(Look::Bad(at, expected), Look::Taken);
            }
            if is_beyond {
                return Look::None;
            }
            taken = Some(Taken {
                range: begin..at + batch.bytes,
                next: batch.next,
            });
        }
        at += batch.bytes;
        expected = batch.next;
    }
    taken.map_or(Look::Short(at + HEADER_BYTES), Look::Taken)
}

/// Where the valid batch behind the bad one at `at` begins, by the bad one's own length, and its
/// offset.
fn behind(bytes: &[u8], at: usize, from: Offset) -> Option<(usize, Offset)> {
    let bad = Extent::parse(bytes.get(at..)?)?;
    let next_at = at + bad.bytes;
    let next = bytes.get(next_at..)?;
    let extent = Extent::parse(next)?;
    let view = View::verify(next.get(..extent.bytes)?).ok()?;
    Some((next_at, view.base_offset())).filter(|(_, base)| from < *base)
}

/// A failed read of `segment`: a file that is gone was removed on purpose.
pub(super) fn read_error(segment: Offset, source: Error) -> ReadError {
    match source {
        Error::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            ReadError::Removed { segment }
        }
        source => ReadError::Disk { segment, source },
    }
}

/// Bytes read ahead of the wanted ones: an index points a little before them.
const AHEAD_BYTES: usize = 16 << 10;
