//! Reading by offset: from the tail by reference, else from disk.

use std::fmt;
use std::ops::{Deref, Range};
use std::rc::Rc;

use corelog_record::Offset;

use super::due::INDEX_CHECKS;
use super::read_plan::{ReadPlan, Work};
use super::select::{self, Wanted};
use super::stride::EDGE_BYTES;
use super::tail::Frozen;
use super::{Damage, Log};
use crate::Error;
use crate::disk::{Buf, Dir};
use crate::index;
use crate::segment::{Index, Segment};

/// Why a read gives nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is below log start or beyond the log's end.
    #[error("offset {offset} is outside [{}, {}]", valid.start, valid.end)]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The offsets that can be read.
        valid: Range<Offset>,
    },
    /// The bytes were promised and cannot be trusted.
    #[error("offsets [{from}, {to}) of segment {segment} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The first offset behind the damage, as far as is known.
        to: Offset,
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The segment was cut off at the log's end, or got another file, after the read was planned.
    #[error("segment {segment} was removed while it was read")]
    Removed {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The disk failed.
    #[error("cannot read segment {segment}")]
    Disk {
        /// The base offset of the segment.
        segment: Offset,
        /// Why.
        #[source]
        source: Error,
    },
}

impl ReadError {
    /// The base offset of the segment that could not be read, if it is about one.
    #[must_use]
    pub fn segment(&self) -> Option<Offset> {
        match self {
            Self::OutOfRange { .. } => None,
            Self::Damaged { segment, .. }
            | Self::Removed { segment }
            | Self::Disk { segment, .. } => Some(*segment),
        }
    }
}

impl From<Damage> for ReadError {
    fn from(Damage { from, to, segment }: Damage) -> Self {
        Self::Damaged { from, to, segment }
    }
}

/// Whole verified batches in order, of one segment.
#[derive(Debug)]
pub struct Fetched<D: Dir> {
    /// The batches' bytes; a batch never spans two pieces.
    pub pieces: Vec<Piece<D>>,
    /// The base offset of their segment.
    pub segment_base: Offset,
    /// The offset to read from next.
    pub next: Offset,
    /// Bytes of all pieces.
    pub bytes: usize,
}

/// A run of whole batches: of the tail, by reference, or read from disk. It holds all of the memory that
/// it is a part of.
pub struct Piece<D: Dir>(Bytes<D>);

enum Bytes<D: Dir> {
    Tail {
        chunk: Rc<Frozen<D>>,
        range: Range<usize>,
    },
    Disk {
        bytes: D::Bytes,
        range: Range<usize>,
    },
    Copy(Rc<[u8]>),
}

impl<D: Dir> Piece<D> {
    /// Memory that stays taken as long as this lives: the chunk of the tail, or all that was read.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.0 {
            Bytes::Tail { chunk, .. } => chunk.alloc_bytes(),
            Bytes::Disk { bytes, .. } => bytes.as_ref().len() + EDGE_BYTES,
            Bytes::Copy(bytes) => bytes.len(),
        }
    }

    /// The same batches in memory of their own.
    fn copied(&self) -> Self {
        Self(Bytes::Copy(Rc::from(&**self)))
    }

    /// The part `range` of bytes read from disk.
    pub(super) fn disk(bytes: D::Bytes, range: Range<usize>) -> Self {
        Self(Bytes::Disk { bytes, range })
    }
}

impl<D: Dir> Clone for Piece<D> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Bytes::Tail { chunk, range } => Bytes::Tail {
                chunk: chunk.clone(),
                range: range.clone(),
            },
            Bytes::Disk { bytes, range } => Bytes::Disk {
                bytes: bytes.clone(),
                range: range.clone(),
            },
            Bytes::Copy(bytes) => Bytes::Copy(bytes.clone()),
        })
    }
}

impl<D: Dir> Deref for Piece<D> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Tail { chunk, range } => &chunk.buf.as_slice()[range.clone()],
            Bytes::Disk { bytes, range } => &bytes.as_ref()[range.clone()],
            Bytes::Copy(bytes) => bytes,
        }
    }
}

impl<D: Dir> fmt::Debug for Piece<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match self.0 {
            Bytes::Tail { .. } => "tail",
            Bytes::Disk { .. } => "disk",
            Bytes::Copy(_) => "a copy",
        };
        write!(f, "Piece({} bytes from {from})", self.len())
    }
}

impl<D: Dir> Fetched<D> {
    /// No batches of a segment, of which `next` is read next.
    pub(super) fn nothing(segment_base: Offset, next: Offset) -> Self {
        Self {
            pieces: Vec::new(),
            segment_base,
            next,
            bytes: 0,
        }
    }

    /// Memory that the pieces hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.pieces.iter().map(Piece::held_bytes).sum()
    }

    /// Takes what follows behind it.
    pub(super) fn append(&mut self, more: Self) {
        self.pieces.extend(more.pieces);
        self.next = more.next;
        self.bytes += more.bytes;
    }

    /// Copies pieces that hold much more memory than they are, and such as hold any more while all
    /// together hold more than `held_max`. Gives what they hold then.
    pub fn hold_at_most(&mut self, held_max: usize) -> usize {
        let mut held = self.held_bytes();
        for piece in &mut self.pieces {
            let (bytes, before) = (piece.len(), piece.held_bytes());
            let is_small = bytes < before / COPIED_BELOW;
            if is_small || (held_max < held && bytes < before) {
                *piece = piece.copied();
                held -= before - bytes;
            }
        }
        held
    }
}

impl<D: Dir> Log<D> {
    /// Plans to read whole batches from the one that holds `from` (its base may be lower), below
    /// `upto` and what is durable, of one segment; at most `bytes_max` bytes, but at least one batch.
    /// At the end there are no pieces.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below log start or beyond log end, [`ReadError::Damaged`].
    pub fn plan_read(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<ReadPlan<D>, ReadError> {
        if from < self.log_start() {
            return Err(self.out_of_range(from));
        }
        self.plan_copy(from, upto, bytes_max)
    }

    /// The same for who copies the log, and so needs whole segments: from where the first one begins,
    /// which may be below log start.
    ///
    /// # Errors
    /// As for [`Log::plan_read`].
    pub fn plan_copy(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<ReadPlan<D>, ReadError> {
        if from < self.floor_place().offset || self.log_end() < from {
            return Err(self.out_of_range(from));
        }
        if let Some(damage) = self.damage.iter().find(|d| d.from <= from && from < d.to) {
            return Err((*damage).into());
        }
        // What is known to be bad is no answer, also where nothing else tells.
        let bad = self.damage.iter().map(|damage| damage.from);
        let bad = bad.filter(|bad| from < *bad).min();
        let limit = upto.min(self.durable()).min(bad.unwrap_or(Offset::MAX));
        let segment = self.segment_of(from);
        let segment_base = segment.base.offset;
        if limit <= from {
            let fetched = Fetched::nothing(segment_base, from);
            return Ok(ReadPlan(Work::Ready(fetched)));
        }
        let wanted = Wanted {
            from,
            limit,
            bytes_max,
        };
        if let Some(fetched) = self.read_tail(segment, wanted) {
            return Ok(ReadPlan(Work::Ready(fetched)));
        }
        self.index_checks.set(INDEX_CHECKS);
        // Batches are on disk if they are durable, and those have a store.
        match self.disk_read(segment, from) {
            Some(read) => Ok(ReadPlan(Work::Disk(read, wanted))),
            None => Err(self.out_of_range(from)),
        }
    }

    fn out_of_range(&self, offset: Offset) -> ReadError {
        let valid = self.readable();
        ReadError::OutOfRange { offset, valid }
    }

    /// What is wanted, if the retained chunks hold its beginning.
    fn read_tail(&self, segment: &Segment<D>, wanted: Wanted) -> Option<Fetched<D>> {
        let retained = self.tail.retained();
        let count = retained.partition_point(|chunk| chunk.base <= wanted.from);
        let first = count.checked_sub(1)?;
        let segment_base = segment.base.offset;
        let mut fetched = Fetched::nothing(segment_base, wanted.from);
        let chunks = retained.range(first..);
        for chunk in chunks.take_while(|chunk| chunk.segment == segment_base) {
            let left = Wanted {
                from: fetched.next,
                limit: wanted.limit,
                bytes_max: wanted.bytes_max.saturating_sub(fetched.bytes),
            };
            if left.bytes_max == 0 && fetched.bytes > 0 {
                break;
            }
            let known = known_before(segment, chunk, left.from);
            let Some(taken) = select::take(&chunk.buf.as_slice()[..chunk.len], known, left) else {
                break;
            };
            let is_too_large = taken.range.len() > left.bytes_max;
            if is_too_large && fetched.bytes > 0 {
                break;
            }
            let is_used_up = taken.range.end == chunk.len;
            fetched.next = taken.next;
            fetched.bytes += taken.range.len();
            fetched.pieces.push(Piece(Bytes::Tail {
                chunk: chunk.clone(),
                range: taken.range,
            }));
            if !is_used_up {
                break;
            }
        }
        (fetched.bytes > 0).then_some(fetched)
    }
}

/// A piece that is less than this part of the memory that it holds is copied: a copy takes time as well.
const COPIED_BELOW: usize = 4;

/// Where in `chunk` a batch begins at or before `from`: by the index if it is at hand, else the
/// first.
fn known_before<D: Dir>(segment: &Segment<D>, chunk: &Frozen<D>, from: Offset) -> usize {
    let Index::Growing(rows) = &segment.index else {
        return chunk.first;
    };
    let known = index::before_offset(&segment.base, rows, from)
        .position
        .get();
    let in_chunk = known
        .checked_sub(chunk.position)
        .and_then(|at| usize::try_from(at).ok());
    in_chunk
        .filter(|at| chunk.first <= *at && *at < chunk.len)
        .unwrap_or(chunk.first)
}
