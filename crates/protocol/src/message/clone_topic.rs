//! CloneTopic: makes partitions of another node's topic replicas here.

use corelog_record::{Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(CloneTopic);

/// What to clone, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name, at the sources and here.
    pub topic: TopicName,
    /// Only this partition; default nil, all of them.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// The addresses, `host:port`, of nodes that hold it, at least one; the first that answers is
    /// followed, the others lend it segments.
    pub from: Vec<String>,
    /// Only the sealed segments of these base offsets, which follow each other; default empty, all
    /// of the log. Needs `partition`, and goes with `follow` false.
    #[serde(default)]
    pub segments: Vec<Offset>,
    /// Whether it goes on to follow its source; default false: up to where the source ended when
    /// it began.
    #[serde(default)]
    pub follow: bool,
    /// Bytes per second at most; default nil, what the node allows.
    #[serde(default)]
    pub rate_bytes: Option<u64>,
}

/// It has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The topic's id, which is the source's.
    pub id: TopicId,
    /// The partitions that are replicas now, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<PartitionId>,
    /// Whether the topic was created for it; default false.
    #[serde(default)]
    pub created: bool,
}
