//! Promote: makes a follower the owner of its partition.

use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(Promote);

/// What to promote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only this partition; default nil, all that follow.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// Whether it may be that records of the source are missing here; default false, then none is
    /// promoted unless nothing can be missing.
    #[serde(default)]
    pub accept_loss: bool,
}

/// They own their partitions now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions that were promoted, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One promoted partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// Where the new epoch begins: every record below is here.
    pub end: Offset,
    /// The source's high watermark when it was last heard; default nil, never heard.
    #[serde(default)]
    pub source_end: Option<Offset>,
    /// Milliseconds since the source was last heard; default nil, never.
    #[serde(default)]
    pub source_heard_ms: Option<u64>,
    /// The leader epoch in force now.
    pub epoch: LeaderEpoch,
    /// Whether it is certain that nothing is missing; default false.
    #[serde(default)]
    pub is_lossless: bool,
}
