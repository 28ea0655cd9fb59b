//! How an edit can contradict those before it.

use corelog_record::{LeaderEpoch, Offset};

use crate::format::edit::Point;

/// Why an edit does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A point to which no log can come.
    #[error("more batches than records lie before {found:?}")]
    Impossible {
        /// The point.
        found: Point,
    },
    /// A segment that does not begin where the log ends.
    #[error("a segment begins at {found:?}, its predecessor ends at {expected:?}")]
    Gap {
        /// Where the log ends.
        expected: Point,
        /// Where the segment begins.
        found: Point,
    },
    /// A segment at or below the one before it.
    #[error("segment {found} does not lie above segment {last}")]
    Order {
        /// The last segment's base.
        last: Offset,
        /// The new one's.
        found: Offset,
    },
    /// An edit of a segment that is not there.
    #[error("there is no segment {base}")]
    NoSegment {
        /// The base offset.
        base: Offset,
    },
    /// A second seal of one segment.
    #[error("segment {base} is already sealed")]
    Sealed {
        /// The base offset.
        base: Offset,
    },
    /// A digest whose numbers do not add up, or are another segment's.
    #[error("the digest of segment {base} does not add up")]
    Digest {
        /// The base offset.
        base: Offset,
    },
    /// A generation that does not rise, or is missing where a segment is cut.
    #[error("segment {base} is in generation {present}, the edit names {found:?}")]
    GenerationOrder {
        /// The base offset.
        base: Offset,
        /// The generation in force.
        present: u32,
        /// The one in the edit.
        found: Option<u32>,
    },
    /// A log start that would move backwards.
    #[error("the log starts at {present}, it cannot move back to {found}")]
    StartMovesBack {
        /// The log start.
        present: Offset,
        /// The one in the edit.
        found: Offset,
    },
    /// A place beyond the end of the log.
    #[error("the log ends at {end}, the edit names {found}")]
    BeyondEnd {
        /// The log end.
        end: Offset,
        /// The offset in the edit.
        found: Offset,
    },
    /// An epoch that does not rise, or begins before the one before it.
    #[error("epoch {found} at {offset} does not follow epoch {last}")]
    EpochOrder {
        /// The last epoch.
        last: LeaderEpoch,
        /// The one in the edit.
        found: LeaderEpoch,
        /// Where it begins.
        offset: Offset,
    },
}
