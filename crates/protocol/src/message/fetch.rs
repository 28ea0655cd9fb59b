//! Fetch: reads batches of one partition, waiting for them if asked to. The answer's body is whole
//! batches.

use corelog_record::{Chain, CopyId, LeaderEpoch, NodeId, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::epoch::Epoch;

super::call!(Fetch, HAS_ANSWER_BODY);

/// What to read, how much, how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The first offset wanted; the first batch may begin below it.
    pub offset: Offset,
    /// About how many bytes to answer at most; one batch comes even if larger. Default 1 MiB.
    #[serde(default = "max_bytes_default")]
    pub max_bytes: u32,
    /// How many bytes to wait for; default 1.
    #[serde(default = "min_bytes_default")]
    pub min_bytes: u32,
    /// How long to wait for them, in milliseconds, at most 60,000; default 0.
    #[serde(default)]
    pub max_wait_ms: u32,
    /// The leader epoch of the batch that was read last, behind which `offset` goes on or within which: where another one
    /// ruled, this log is not the one that was read. Default nil: none was, or whoever asks does not care.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_epoch: Option<LeaderEpoch>,
    /// Present if a follower asks; default nil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follower: Option<Follower>,
}

/// What a follower says of its own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// The follower's copy.
    pub copy: CopyId,
    /// Its end, durable at the follower.
    pub end: Offset,
    /// Its chain at that end.
    pub chain: Chain,
    /// Its node; default nil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The address, `host:port`, at which its node is reached; default nil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its epochs, newest first, at most 1,000; default empty, as in all but its first Fetch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
}

/// What the body is and what lies around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The oldest readable offset.
    pub log_start: Offset,
    /// All below may be read.
    pub high_watermark: Offset,
    /// The base offset of the segment that the body's batches stand in; an answer never spans two.
    pub segment_base: Offset,
    /// The offset to fetch next: behind the body's last batch, or the offset asked for.
    pub next: Offset,
    /// The source's epochs, newest first, when a follower sent its own; default empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
    /// About how many bytes the batches behind a follower's end have; default 0.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub lag_bytes: u64,
}

const fn max_bytes_default() -> u32 {
    1024 * 1024
}

const fn min_bytes_default() -> u32 {
    1
}
