//! What of a planned read goes to the disk at once.

use super::fetch::{DiskRead, Loaded};
use super::read::Fetched;
use super::select::Wanted;
use crate::disk::{BLOCK_BYTES, Dir};
use crate::index;
use crate::segment::Point;

/// What is read at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stride {
    /// Where it begins.
    pub(super) start: Point,
    /// How long it is, if that is enough for a batch that is wanted.
    pub(super) bytes: u64,
    pub(super) wanted: Wanted,
}

impl<D: Dir> DiskRead<D> {
    /// From where what is wanted is known to lie, to a row that is no further away than `stride_bytes`,
    /// if there is one, or than all that is wanted. Who wants little, or less than lies between two
    /// rows, gets a little more read.
    pub(super) fn first_stride(
        &self,
        rows: &Loaded<D>,
        wanted: Wanted,
        stride_bytes: usize,
    ) -> Stride {
        let start = index::before_offset(&self.base, rows, wanted.from);
        let is_much = LITTLE_BYTES < wanted.bytes_max;
        let whole = is_much.then(|| self.whole(rows, &start, wanted.bytes_max, stride_bytes));
        let enough = wanted.bytes_max.min(stride_bytes);
        let enough = enough.saturating_add(AHEAD_BYTES) as u64;
        Stride {
            start,
            bytes: whole.flatten().unwrap_or(enough),
            wanted,
        }
    }

    /// What follows behind `fetched`, in whole batches, if so much more is wanted that it is worth a read.
    pub(super) fn next_stride(
        &self,
        rows: &Loaded<D>,
        wanted: Wanted,
        stride_bytes: usize,
        fetched: &Fetched<D>,
    ) -> Option<Stride> {
        let from = fetched.next;
        let start = index::before_offset(&self.base, rows, from);
        let bytes_max = wanted.bytes_max.saturating_sub(fetched.bytes);
        let is_much = 0 < fetched.bytes && LITTLE_BYTES < bytes_max;
        let is_going_on = is_much && start.offset == from && from < wanted.limit;
        let whole = is_going_on.then(|| self.whole(rows, &start, bytes_max, stride_bytes));
        let wanted = Wanted {
            from,
            bytes_max,
            ..wanted
        };
        whole.flatten().map(|bytes| Stride {
            start,
            bytes,
            wanted,
        })
    }

    /// Bytes from `start` to the last row within `stride_bytes`; to the first row if that is further. `None`
    /// if that is more than `bytes_max`, or nothing.
    fn whole(
        &self,
        rows: &Loaded<D>,
        start: &Point,
        bytes_max: usize,
        stride_bytes: usize,
    ) -> Option<u64> {
        let position = start.position.get();
        let end = self.end.position.get();
        let upto = match position.saturating_add(stride_bytes.min(bytes_max) as u64) {
            within if end <= within => end,
            within => match index::before_position(&self.base, rows, within).position {
                last if start.position < last => last.get(),
                _ => index::after_position(&self.base, rows, position)
                    .map_or(end, |row| end.min(row.position.get())),
            },
        };
        let bytes = upto.saturating_sub(position);
        (0 < bytes && bytes <= bytes_max as u64).then_some(bytes)
    }
}

/// Where others want the disk no less is read at once, if it is wanted: what a read takes besides its bytes would be
/// most of it.
pub(super) const STRIDE_BYTES_MIN: usize = 256 << 10;

/// No more is not worth a read of its own.
const LITTLE_BYTES: usize = 64 << 10;

/// Bytes read behind the wanted ones, of whom little is wanted: an index points a little before them.
const AHEAD_BYTES: usize = 16 << 10;

/// Whole blocks are read: up to one more on either side.
pub(super) const EDGE_BYTES: usize = 2 * BLOCK_BYTES;

/// What a read of at most `bytes_max` takes of memory, if its first batch is not larger: the batches, what
/// lies around them from the index row before to the one behind, and the edges of each stride. Two
/// strides that follow each other are more than [`STRIDE_BYTES_MIN`].
pub(super) const fn held_max(bytes_max: usize) -> usize {
    let strides = 2 + 2 * (bytes_max / STRIDE_BYTES_MIN);
    bytes_max + 2 * AHEAD_BYTES + strides * EDGE_BYTES
}
