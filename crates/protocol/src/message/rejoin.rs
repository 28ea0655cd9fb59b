//! Rejoin: makes a former owner a follower of the one that took its place.

use corelog_record::{Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(Rejoin);

/// What rejoins, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only this partition; default nil, all of them.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// The address, `host:port`, of the node that owns it now.
    pub to: String,
}

/// They follow now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions that rejoined, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition that rejoined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The offset at which the two logs parted; what lay above went to quarantine.
    pub common: Offset,
    /// Records that went there; default 0.
    #[serde(default)]
    pub records: u64,
    /// Bytes of their batches; default 0.
    #[serde(default)]
    pub bytes: u64,
    /// The file that holds them, within the data directory; default nil, there is none.
    #[serde(default)]
    pub file: Option<String>,
}
