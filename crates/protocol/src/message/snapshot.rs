//! What a snapshot holds, as CreateSnapshot and ListSnapshots tell it.

use corelog_record::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was taken, by the node's clock.
    pub created: Timestamp,
    /// The topics in it, by name; default empty.
    #[serde(default)]
    pub topics: Vec<Topic>,
}

/// One topic in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name when the snapshot was taken.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it had; default 0.
    #[serde(default)]
    pub partition_count: u32,
    /// Segments of all its partitions; default 0.
    #[serde(default)]
    pub segments: u64,
    /// Bytes of their batches; default 0.
    #[serde(default)]
    pub bytes: u64,
    /// Each partition, by number, where a single snapshot is told; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The oldest offset in it.
    pub log_start: Offset,
    /// The offset behind the newest.
    pub end: Offset,
    /// How many segments it holds; default 0.
    #[serde(default)]
    pub segments: u32,
    /// Bytes of their batches; default 0.
    #[serde(default)]
    pub bytes: u64,
}
