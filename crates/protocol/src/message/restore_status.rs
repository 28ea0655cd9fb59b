//! RestoreStatus: how far a restore is, and how it ended.

use corelog_record::{Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;

super::call!(RestoreStatus);

/// Which restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number, from the answer to RestoreTopic.
    pub restore: u64,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it goes on.
    pub state: State,
    /// The name of the new topic.
    pub topic: TopicName,
    /// Bytes that were verified and copied; default 0.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes of the whole; default 0, not known yet.
    #[serde(default)]
    pub bytes_total: u64,
    /// The new topic's id, once it serves; default nil.
    #[serde(default)]
    pub id: Option<TopicId>,
    /// What was restored, by number, once it serves; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
    /// Why it failed; default nil. Nothing of the topic is there then.
    #[serde(default)]
    pub failure: Option<ErrorBody>,
}

/// One restored partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The oldest readable offset.
    pub log_start: Offset,
    /// The next offset to be assigned.
    pub log_end: Offset,
}

/// Whether a restore goes on. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It goes on.
    Running,
    /// The topic serves.
    Done,
    /// It failed; nothing of the topic is there.
    Failed,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}
