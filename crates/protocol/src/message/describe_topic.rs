//! DescribeTopic: the state of a topic and its partitions.

use corelog_record::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::bounded;
use super::replica_status::{Role, State as Copying};
use super::settings::TopicSettings;

super::call!(DescribeTopic);

/// Which topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub name: TopicName,
}

/// The topic as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its id.
    pub id: TopicId,
    /// The settings in force; default all defaults.
    #[serde(default)]
    pub settings: TopicSettings,
    /// Its partitions, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The core that owns it.
    pub core: CoreId,
    /// The oldest readable offset.
    pub log_start: Offset,
    /// All below may be read.
    pub high_watermark: Offset,
    /// All below was fsynced.
    pub durable: Offset,
    /// The next offset to be assigned.
    pub log_end: Offset,
    /// How many segments it has; default 0.
    #[serde(default)]
    pub segments: u32,
    /// Bytes of its batches; default 0.
    #[serde(default)]
    pub bytes: u64,
    /// The leader epoch in force.
    pub epoch: LeaderEpoch,
    /// Whether its log is not open: `log_start` to `epoch` are 0 then, and tell nothing; default false.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub closed: bool,
    /// Whether it serves; default ok.
    #[serde(default)]
    pub state: State,
    /// Copies that may own it by now: until each has told, it serves nobody; default empty.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<{ bounded::NODES }, _, _>"
    )]
    pub waits_for: Vec<Awaited>,
    /// Ranges of offsets whose bytes cannot be trusted, lowest first; default empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<Damage>,
    /// Whether damage keeps it from taking writes; default false.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub read_only: bool,
    /// When the last whole scrub of it ended; default nil, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrubbed_at: Option<Timestamp>,
    /// The last snapshot of it; default nil, none, or the log was cut below its end since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<LastSnapshot>,
    /// What the node is to it; default owner.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub role: Role,
    /// The source's address, or the owner's where it is known; default nil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What goes on with a replica; default idle.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub copying: Copying,
    /// Records that the source has and this does not; default nil, not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<u64>,
    /// Bytes of them; default nil, not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// Milliseconds since it was last level with the source; default nil, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
}

/// A copy that may own a partition by now, and is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Where it is reached.
    pub address: String,
    /// The address of the node that it has shown to own the partition, itself or another, which has to tell then; default
    /// nil, none.
    #[serde(default)]
    pub owner: Option<String>,
}

/// Bytes of one segment that were promised and cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The first offset that cannot be read.
    pub from: Offset,
    /// The offset from which on reading is possible again.
    pub to: Offset,
    /// The base offset of the segment.
    pub segment: Offset,
}

/// The last snapshot of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSnapshot {
    /// Its name.
    pub name: String,
    /// It holds the partition's records below this offset.
    pub end: Offset,
}

/// Whether a partition serves. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Reads and writes.
    #[default]
    Ok,
    /// Reads; a failed write or sync stopped the writes until it is reopened.
    Fenced,
    /// Reads outside the damage, and writes unless it is read-only; one that is closed could not be opened, and does neither.
    Damaged,
    /// Reads, unless it is closed: there was no room to open it; writes come back by themselves when there is room. It may
    /// be damaged, too.
    Full,
    /// Neither: it waits for copies that may own it by now.
    Held,
    /// Neither yet: it is being opened.
    Opening,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}
