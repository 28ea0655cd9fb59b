//! ListOffsets: the earliest, the latest, or the first offset at a time.

use corelog_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(ListOffsets);

/// Which offset to find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// Which one; default the latest.
    #[serde(default)]
    pub at: At,
}

/// A place in a log. On the wire: `"earliest"`, `"latest"` or `{"time": ms}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// The log start.
    Earliest,
    /// The high watermark: the next record that becomes readable.
    #[default]
    Latest,
    /// The first batch whose greatest timestamp is at or after this.
    Time(Timestamp),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The offset; by time, the base offset of the batch that holds the record, or the high
    /// watermark if there is none.
    pub offset: Offset,
    /// By time: the greatest timestamp of that batch; default nil, not by time or none found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The oldest readable offset.
    pub log_start: Offset,
    /// All below may be read.
    pub high_watermark: Offset,
    /// The leader epoch of the record below `offset`; default nil, not known or by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<LeaderEpoch>,
}
