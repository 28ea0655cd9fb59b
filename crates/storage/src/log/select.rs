//! Selecting whole batches from a run of bytes that begins with one.

use std::ops::Range;

use corelog_record::Offset;
use corelog_record::batch::Header;

/// Which batches are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// From the batch that holds this offset, or the first behind it.
    pub(super) from: Offset,
    /// Up to the last batch that ends at or below this offset.
    pub(super) limit: Offset,
    /// No more than this, but at least one batch.
    pub(super) bytes_max: usize,
}

/// A run of whole batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where they lie.
    pub(super) range: Range<usize>,
    /// The offset after the last one.
    pub(super) next: Offset,
}

/// The wanted batches of `bytes`, which are trusted; one begins at `start`. `None` if there are
/// none. What comes from disk is verified first, in pieces of its own.
pub(super) fn take(bytes: &[u8], start: usize, wanted: Wanted) -> Option<Taken> {
    let mut at = start;
    let mut taken: Option<Taken> = None;
    while let Some(header) = bytes.get(at..).and_then(|rest| Header::parse(rest).ok()) {
        let Some(next) = header.offsets().map(|offsets| offsets.end) else {
            break;
        };
        let end = at + header.total_bytes();
        if end > bytes.len() || wanted.limit < next {
            break;
        }
        if wanted.from < next {
            let begin = taken.as_ref().map_or(at, |taken| taken.range.start);
            if taken.is_some() && end - begin > wanted.bytes_max {
                break;
            }
            taken = Some(Taken {
                range: begin..end,
                next,
            });
        }
        at = end;
    }
    taken
}
