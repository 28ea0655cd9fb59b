//! ScrubTopic: has sealed segments read and checked from the disk, or tells how far that is.

use corelog_record::{PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::describe_topic::Damage;

super::call!(ScrubTopic);

/// What to scrub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only this partition; default nil, all of them.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// Whether a pass begins where none goes on; default true. False only asks.
    #[serde(default = "start_default")]
    pub start: bool,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition's scrub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// Whether a pass goes on; default idle.
    #[serde(default)]
    pub state: State,
    /// Bytes checked in the pass that goes on, or in the last one since the server was started;
    /// default 0.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes of all its sealed segments; default 0.
    #[serde(default)]
    pub bytes_total: u64,
    /// When the last whole pass ended; default nil, never.
    #[serde(default)]
    pub scrubbed_at: Option<Timestamp>,
    /// How the last pass since the server was started ended; default never.
    #[serde(default)]
    pub outcome: Outcome,
    /// All damage that is known of the partition; default empty.
    #[serde(default)]
    pub damage: Vec<Damage>,
}

/// Whether a pass goes on. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// None does.
    #[default]
    Idle,
    /// One is to begin when those before it are done.
    Waiting,
    /// One goes on.
    Running,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a pass ended. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There was none.
    #[default]
    Never,
    /// All that there was to read was read.
    Whole,
    /// Not all: the disk or the system did not give it.
    Unread,
    /// It ended early: the partition is fenced, or was closed or reopened.
    Stopped,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

const fn start_default() -> bool {
    true
}
