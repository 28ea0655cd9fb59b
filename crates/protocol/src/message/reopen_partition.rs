//! ReopenPartition: lifts a fence by recovering the partition from its disk.

use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::describe_topic::State;

super::call!(ReopenPartition);

/// Which partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
}

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The oldest readable offset.
    pub log_start: Offset,
    /// The next offset to be assigned; all below is durable.
    pub log_end: Offset,
    /// The leader epoch in force.
    pub epoch: LeaderEpoch,
    /// Whether it serves now; default ok.
    #[serde(default)]
    pub state: State,
    /// Bytes at the tail that were never promised, cut and kept in quarantine; default 0.
    #[serde(default)]
    pub torn_bytes: u64,
    /// What there is to say of it, for people; default empty.
    #[serde(default)]
    pub message: String,
}
