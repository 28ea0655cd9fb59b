//! RepairTopic: has damaged segments replaced by those of other nodes.

use corelog_record::{Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;

super::call!(RepairTopic);

/// What to repair, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only this partition; default nil, all of them.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// The addresses, `host:port`, of nodes that hold it; default empty, the peers that are known.
    #[serde(default)]
    pub from: Vec<String>,
}

/// What was repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions asked for, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition's repairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The segments that were replaced, by base offset; default empty.
    #[serde(default)]
    pub segments: Vec<Replaced>,
    /// Ranges that are damaged still; default 0.
    #[serde(default)]
    pub damage_left: u32,
    /// Why they are; default nil.
    #[serde(default)]
    pub error: Option<ErrorBody>,
}

/// A segment that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its base offset.
    pub base: Offset,
    /// Its bytes.
    pub bytes: u64,
    /// The address of the node that sent it.
    pub from: String,
    /// Milliseconds from asking for it to reading from it.
    pub took_ms: u64,
}
