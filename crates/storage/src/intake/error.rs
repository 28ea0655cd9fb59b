//! Why a segment does not come in.

use corelog_record::{Offset, Position};

/// Why a segment does not come in. What was verified of it stays in its file, but for
/// [`Error::Unlike`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that no batch of the segment can be: a bad checksum, another offset, an epoch that did
    /// not own the log there. Whoever sent them cannot be trusted.
    #[error("segment {segment}: the bytes from position {position} on, offset {offset}, are wrong")]
    Wrong {
        /// The base offset of the segment.
        segment: Offset,
        /// Where the first batch begins that is not what was sealed.
        position: Position,
        /// The offset that it should have.
        offset: Offset,
    },
    /// Sound batches, and yet not those that were sealed. The file is removed: no part of it can be
    /// trusted more than another.
    #[error("segment {segment}: sound batches, but not those that were sealed")]
    Unlike {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The segment ended before all of its bytes were there.
    #[error("segment {segment}: {found} of {expected} bytes came in")]
    Short {
        /// The base offset of the segment.
        segment: Offset,
        /// Bytes that the seal promises.
        expected: u64,
        /// Bytes that came in.
        found: u64,
    },
    /// A seal that no segment has.
    #[error("segment {segment}: no segment is sealed like that")]
    Seal {
        /// The base offset in it.
        segment: Offset,
    },
    /// Epochs that no log has: numbers that do not rise, or offsets that fall.
    #[error("segment {segment}: the epochs of its source do not follow each other")]
    Epochs {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The disk refuses; nothing is said about whoever sent the bytes.
    #[error(transparent)]
    Storage(#[from] crate::Error),
}
