//! Handover: gives partitions to a follower without losing a record, or takes that back.

use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(Handover);

/// What to hand over, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only this partition; default nil, all that this node owns.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// The address, `host:port`, of the follower; default nil, the only one there is.
    #[serde(default)]
    pub to: Option<String>,
    /// Whether a handover that has not ended is called off instead; default false.
    #[serde(default)]
    pub abort: bool,
    /// Whether to call it off also without the target's word that it does not own the partition: then
    /// two nodes may, and what one of them takes is lost; default false.
    #[serde(default)]
    pub accept_loss: bool,
}

/// Who owns them now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition and its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// Where the epoch in force begins; both have every record below.
    pub end: Offset,
    /// The leader epoch in force now.
    pub epoch: LeaderEpoch,
    /// The address at which the owner is reached.
    pub owner: String,
}
