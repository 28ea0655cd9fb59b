//! The `snapshot` file of a snapshot: what it holds. It is written last; without it there is none.

use std::fmt;
use std::str::FromStr;

use corelog_record::{Chain, Offset, PartitionId, Timestamp, TopicId, TopicName, TopicNameError};
use serde::{Deserialize, Serialize};

use super::{Error, envelope};

/// The name of the file that makes a directory a snapshot.
pub const NAME: &str = "snapshot";

/// The longest `snapshot` file, in bytes: some 200,000 partitions.
pub const FILE_BYTES_MAX: u64 = envelope::file_bytes(BODY_BYTES_MAX);

/// A snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The name, which is also the name of the directory. Key `name`.
    pub name: Name,
    /// When it was begun, by the node's clock. Key `created`.
    pub created: Timestamp,
    /// Its topics. Key `topics`.
    pub topics: Vec<Topic>,
}

/// A topic in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// The name, which is also the name of the directory under `topics`. Key `name`.
    pub name: TopicName,
    /// The id. Key `id`.
    pub id: TopicId,
    /// The topic's file as it was, opaque here. Key `settings`.
    #[serde(with = "serde_bytes")]
    pub settings: Vec<u8>,
    /// Its partitions. Key `partitions`.
    pub partitions: Vec<Partition>,
}

/// A partition in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The number, which is also the name of the directory. Key `partition`.
    pub partition: PartitionId,
    /// The oldest readable offset. Key `log_start`.
    pub log_start: Offset,
    /// The offset behind the last record. Key `end`.
    pub end: Offset,
    /// The chain there, which tells whether a log still has what is in the snapshot. Key `chain`, absent
    /// where an earlier version took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// Bytes of all stores. Key `bytes`.
    pub bytes: u64,
    /// How many segments; without any, and an end of 0, there is no directory. Key `segments`.
    pub segments: u64,
}

/// The name of a snapshot, made like that of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(TopicName);

/// Why a text is no name for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot is named as a topic is")]
pub struct NameError(#[from] TopicNameError);

impl Name {
    /// The name, checked.
    ///
    /// # Errors
    /// What of the text no name has.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Ok(Self(TopicName::new(name)?))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl Partition {
    /// Whether there is nothing of it in the snapshot: it never had a record.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        self.segments == 0 && self.end == Offset::ZERO
    }
}

impl Summary {
    /// The bytes of the file.
    ///
    /// # Errors
    /// `TooLong` for more partitions than a file has room for.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        envelope::encode_requiring(WHAT, MAGIC, 0, self, BODY_BYTES_MAX)
    }

    /// The snapshot in the file `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        envelope::decode_within(WHAT, MAGIC, bytes, BODY_BYTES_MAX)
    }
}

const MAGIC: [u8; 8] = *b"CLOGSNAP";
const WHAT: &str = "snapshot file";
const BODY_BYTES_MAX: usize = 16 << 20;
