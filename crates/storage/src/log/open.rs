//! Opening a log: what a clean stop left is believed, everything else is recovered.

use corelog_record::{LeaderEpoch, Offset, Position, Timestamp};

use super::{Damage, Identity, Log, Options};
use crate::Error;
use crate::disk::Dir;

/// What opening found and did; worth one log line if anything but `is_clean` is unusual.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// The oldest readable offset.
    pub log_start: Offset,
    /// The end of the log.
    pub log_end: Offset,
    /// The epoch that appends are stamped with.
    pub epoch: LeaderEpoch,
    /// Whether the log was closed cleanly, or has no files.
    pub is_clean: bool,
    /// Bytes that were never promised, cut from the end.
    pub torn: Option<Torn>,
    /// Bytes that were promised and cannot be trusted.
    pub damage: Vec<Damage>,
    /// Names of the files that went to quarantine.
    pub quarantined: Vec<String>,
    /// Whether the log accepts no appends, because damage at its end could not be stepped over.
    pub is_read_only: bool,
}

/// A torn tail: bytes behind the last whole batch, which were never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The base offset of the segment.
    pub segment: Offset,
    /// The log end, at which they were cut.
    pub offset: Offset,
    /// Where in the store they began.
    pub position: Position,
    /// How many bytes.
    pub bytes: u64,
    /// How many bytes of whole batches lay between the last mark and the cut.
    pub bytes_since_mark: u64,
}

impl<D: Dir> Log<D> {
    /// Opens the log in `dir`, which need not exist: a partition without records has no files.
    /// Quarantined bytes go to `quarantine`. `seed` feeds the random ids, `now` the times.
    ///
    /// # Errors
    /// Any error of the disk; a manifest or mark that is not this partition's, or that needs a
    /// newer program.
    #[expect(clippy::unused_async, reason = "the signature comes first")]
    pub async fn open(
        dir: D,
        quarantine: D,
        identity: Identity,
        options: Options,
        seed: u64,
        now: Timestamp,
    ) -> Result<(Self, OpenReport), Error> {
        let _ = (dir, quarantine, identity, options, seed, now);
        Err(Error::Fenced)
    }
}
