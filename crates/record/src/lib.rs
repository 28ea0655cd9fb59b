//! Records, the batches that carry them, and the words every other crate shares.
//!
//! What lives here: offsets, positions, ordinals, times, sizes, names and ids as types of their
//! own; Kafka v2 record batches byte for byte ([`batch`]); CRC-32C ([`checksum`]); the running hash
//! over batch headers ([`Chain`]).
//!
//! What never does: I/O, clocks, randomness, async, threads.
//!
//! The law of this room: bytes are checked before they are believed. A malformed batch of any kind
//! gives a typed [`Error`], never a panic, and never an allocation larger than its input justifies, but for what a codec
//! takes within the caller's bound.

pub mod batch;
pub mod checksum;

mod chain;
mod counter;
mod epoch;
mod error;
mod id;
mod offset;
mod ordinal;
mod partition;
mod position;
mod record;
mod size;
mod timestamp;
mod topic;

pub use chain::Chain;
pub use counter::CounterRangeError;
pub use epoch::{LeaderEpoch, LeaderEpochError};
pub use error::{Error, RecordFault};
pub use id::{CopyId, HistoryId, IdError, Lineage, NodeId, TopicId};
pub use offset::Offset;
pub use ordinal::Ordinal;
pub use partition::{CoreId, PartitionId};
pub use position::Position;
pub use record::Record;
pub use size::{ByteSize, ByteSizeError};
pub use timestamp::Timestamp;
pub use topic::{TopicName, TopicNameError};
