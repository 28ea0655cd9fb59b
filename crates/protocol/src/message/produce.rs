//! Produce: appends batches to one partition. The request's body is the batches.

use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::ack::Level;

super::call!(Produce, HAS_REQUEST_BODY);

/// Where to append, and when to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The ack level; default nil, the topic's. `durable` wins over whatever the topic says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The run; default 0. After an answer that was not applied, the rest of the run is aborted
    /// and the client sends all of it again, in order, under run + 1.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub run: u32,
}

/// Where the records are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The first record's offset.
    pub base: Offset,
    /// The last record's offset + 1.
    pub end: Offset,
    /// The leader epoch under which they were appended.
    pub epoch: LeaderEpoch,
    /// The level reached.
    pub level: Level,
}
