//! TakeOver: an owner asks its follower to own the partition from here on.

use corelog_record::{
    Chain, HistoryId, LeaderEpoch, Lineage, Offset, PartitionId, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};

super::call!(TakeOver);

/// What the owner holds; it takes no more writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The log's name.
    pub history: HistoryId,
    /// The owner's end, all of it durable.
    pub end: Offset,
    /// The owner's chain at that end.
    pub chain: Chain,
    /// The owner's leader epoch.
    pub epoch: LeaderEpoch,
}

/// The follower is the owner; the epoch is durable there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The leader epoch that it began at the end.
    pub epoch: LeaderEpoch,
    /// The 16 random bytes that name the epoch's owner.
    pub lineage: Lineage,
}
