//! Truncate: records below an offset go.

use corelog_record::{Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(Truncate);

/// Where the log shall start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The lowest offset that stays readable, at most the high watermark.
    pub lowest: Offset,
}

/// Where it starts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The oldest readable offset.
    pub log_start: Offset,
}
