//! ChainAt: the batch boundary at or below an offset, and the chain there.

use corelog_record::{Chain, LeaderEpoch, Offset, Ordinal, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(ChainAt);

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The offset, from the log start up to the high watermark.
    pub offset: Offset,
}

/// The greatest batch boundary that is not above the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The boundary: the base offset of the batch that holds the offset asked for, or the high
    /// watermark.
    pub offset: Offset,
    /// How many batches the log had before it, from its first one on.
    pub ordinal: Ordinal,
    /// The chain after the last of them.
    pub chain: Chain,
    /// The leader epoch of the batch at the boundary; default nil, there is none yet.
    #[serde(default)]
    pub epoch: Option<LeaderEpoch>,
}
