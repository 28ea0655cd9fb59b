//! What background work has changed.

use corelog_record::{Chain, Offset, Timestamp};

/// What a chore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chore {
    /// Space for coming groups was prepared.
    SpacePrepared,
    /// The mark was written.
    Marked,
    /// Rolled segments were cut to their length and their indexes written.
    Finished,
    /// Rolled segments are sealed.
    Sealed {
        /// How many.
        segments: usize,
    },
    /// Log start moved up; the files go later.
    Expired {
        /// The new log start.
        log_start: Offset,
    },
    /// The end of the log was cut off and quarantined.
    SuffixCut {
        /// The new log end.
        log_end: Offset,
        /// The names of the stores in quarantine, the first of which begins with what stayed.
        quarantined: Vec<String>,
    },
    /// The log goes on in its last segment, which had ended.
    Unrolled,
    /// Segments that a peer sent are part of the log.
    Installed,
    /// A segment has new files; its old store is in quarantine, or one that was damaged before it.
    Replaced {
        /// The name of the old store in quarantine; `None` if there was none, or another one is there, or it could not
        /// be moved yet: opening the log does that.
        quarantined: Option<String>,
    },
    /// The log is an empty copy of another one.
    Adopted {
        /// Where it begins, and ends.
        start: Offset,
    },
    /// An epoch began at the end of the log.
    EpochBegun,
    /// Files that the log no longer names were removed.
    Removed,
    /// The manifest remembers damage that was found since opening.
    DamageNoted,
    /// The manifest knows of a whole pass of the scrub.
    Scrubbed {
        /// When it ended.
        time: Timestamp,
    },
    /// Sealed segments are linked into a snapshot.
    Snapshotted {
        /// The log start in the snapshot.
        log_start: Offset,
        /// Where the snapshot ends.
        end: Offset,
        /// The chain there.
        chain: Chain,
        /// How many segments it has.
        segments: usize,
        /// How many bytes of batches.
        bytes: u64,
    },
    /// An index was rebuilt from its store.
    IndexRebuilt,
}
