//! What can go wrong with an embedded log.

use std::ops::Range;

use corelog_record::Offset;

use crate::log::AppendError;

/// An error of an embedded log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory is open elsewhere, in this process or another one.
    #[error("the log in {dir} is open elsewhere")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// A record, or the records of one batch, that no batch can hold. Nothing was appended.
    #[error("{bytes} bytes of records exceed the {bytes_max} of a batch")]
    TooLarge {
        /// Bytes of the batch that they would have made.
        bytes: usize,
        /// Bytes that a batch may have.
        bytes_max: usize,
    },
    /// An offset that is not in the log (any more).
    #[error("offset {offset} is outside [{}, {}]", valid.start, valid.end)]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The offsets that can be asked for.
        valid: Range<Offset>,
    },
    /// Records that were promised and cannot be trusted. Those around them can still be read.
    #[error("offsets [{from}, {to}) of segment {segment} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The first offset behind the damage, as far as is known.
        to: Offset,
        /// The base offset of the segment, which names its files.
        segment: Offset,
    },
    /// The disk is full. What was appended before stays in memory and goes out with the next `sync`
    /// that finds space; the record of this call was not taken.
    #[error("the disk is full")]
    StorageFull,
    /// The process has no descriptor left to open a file with. As with a full disk, what was appended
    /// before stays in memory, and the record of this call was not taken.
    #[error("no descriptor is left to open files with")]
    OutOfFiles,
    /// A write or a sync failed. What was appended since the last `sync` may or may not be on the
    /// disk; only opening the log again tells.
    #[error("the log is fenced after a failed write or sync; open it again")]
    Fenced,
    /// Damage at the end of the log could not be stepped over: it can be read, not appended to.
    #[error("the log is read-only: damage from offset {from} on")]
    ReadOnly {
        /// The first offset that cannot be trusted.
        from: Offset,
    },
    /// The log has no offsets left.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
    /// A batch that another program wrote, of a kind that an embedded log does not have.
    #[error("the batch at offset {offset} is not readable here")]
    Foreign {
        /// Its base offset.
        offset: Offset,
        /// Why.
        #[source]
        source: corelog_record::Error,
    },
    /// Files or the disk: see the source.
    #[error("the log's files cannot be used as asked")]
    Storage {
        /// Which file, and why.
        #[source]
        source: crate::Error,
    },
}

impl From<crate::Error> for Error {
    fn from(source: crate::Error) -> Self {
        match source {
            crate::Error::StorageFull { .. } => Self::StorageFull,
            crate::Error::OutOfFiles { .. } => Self::OutOfFiles,
            crate::Error::Fenced => Self::Fenced,
            crate::Error::ReadOnly { from } => Self::ReadOnly { from },
            crate::Error::Damaged { from, to, segment } => Self::Damaged { from, to, segment },
            crate::Error::OutOfRange {
                offset,
                log_start,
                durable,
            } => Self::OutOfRange {
                offset,
                valid: log_start..durable,
            },
            source => Self::Storage { source },
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            AppendError::OffsetsExhausted => Self::OffsetsExhausted,
            AppendError::ReadOnly { from } => Self::ReadOnly { from },
            // What waits is written long before there is too much of it, unless the disk is full.
            AppendError::StorageFull | AppendError::Full { .. } => Self::StorageFull,
            AppendError::OutOfFiles => Self::OutOfFiles,
            AppendError::Fenced
            | AppendError::Cutting
            | AppendError::Following
            | AppendError::Copy(_)
            | AppendError::Empty
            | AppendError::TooManyRecords { .. }
            | AppendError::Invalid { .. } => Self::Fenced,
        }
    }
}
