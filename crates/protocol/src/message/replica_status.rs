//! ReplicaStatus: what a node is to each partition of a topic, and how far its replicas are.

use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::bounded;
use crate::error::ErrorBody;

super::call!(ReplicaStatus);

/// Which topic, or partition of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub topic: TopicName,
    /// Its id; default nil, whichever has the name.
    #[serde(default)]
    pub id: Option<TopicId>,
    /// Only this partition; default nil, all, of which a node tells as well that does not know this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionId>,
}

/// The topic's partitions as the node holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The topic's id.
    pub id: TopicId,
    /// Its partitions, by number; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::PARTITIONS }, _, _>"
    )]
    pub partitions: Vec<Partition>,
}

/// One partition as the node holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// What the node is to it; default owner.
    #[serde(default)]
    pub role: Role,
    /// What goes on; default idle.
    #[serde(default)]
    pub state: State,
    /// The source's address, or the owner's where it is known; default nil.
    #[serde(default)]
    pub source: Option<String>,
    /// Of one that is handed over or fenced, the node that it was given to or that owns it, whoever is at `source` by now;
    /// default nil, not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<NodeId>,
    /// The epoch by which another node came to own what this one owned: at an earlier one it does not take it over; default
    /// nil, it has not let go of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_go: Option<LeaderEpoch>,
    /// Why it stopped, or what it waits for; default nil.
    #[serde(default)]
    pub error: Option<ErrorBody>,
    /// Its end; all below is durable here. 0 while its log is not open.
    pub end: Offset,
    /// Whether its log is not open, and so its end not known; default false.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub closed: bool,
    /// Where it is done, of a copy that is not to follow; default nil, it follows, or is no copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Offset>,
    /// The source's high watermark when it was last heard; default nil, never heard.
    #[serde(default)]
    pub source_end: Option<Offset>,
    /// Milliseconds since the source was last heard; default nil, never.
    #[serde(default)]
    pub source_heard_ms: Option<u64>,
    /// Milliseconds since the owner was heard, by way of a source that is a copy itself; default nil, not known, or the
    /// source is the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_heard_ms: Option<u64>,
    /// Records that the source has and this does not; default nil, not known.
    #[serde(default)]
    pub lag_records: Option<u64>,
    /// Bytes of them; default nil, not known.
    #[serde(default)]
    pub lag_bytes: Option<u64>,
    /// Milliseconds since it was last level with the source; default nil, never.
    #[serde(default)]
    pub lag_ms: Option<u64>,
    /// Bytes of sealed segments that were received and verified; default 0.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes of the sealed segments to receive; default 0.
    #[serde(default)]
    pub bytes_total: u64,
    /// Sealed segments that stand in the log; default 0.
    #[serde(default)]
    pub segments_done: u32,
    /// Sealed segments to receive; default 0.
    #[serde(default)]
    pub segments_total: u32,
    /// The segments that are on their way, by base offset; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::SEALED }, _, _>"
    )]
    pub receiving: Vec<Receiving>,
    /// Sources that are not asked any more, each with the reason; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::NODES }, _, _>"
    )]
    pub dropped: Vec<Dropped>,
    /// Who follows it, by copy; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::NODES }, _, _>"
    )]
    pub followers: Vec<Follower>,
    /// Where it was copied from before it was promoted, of those who have yet to hear that another node owns it; default
    /// empty.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<{ bounded::NODES }, _, _>"
    )]
    pub outranked: Vec<String>,
    /// Segments that were replaced by a peer's since the server was started; default 0.
    #[serde(default)]
    pub repairs: u64,
}

impl Partition {
    /// One that the node owns and nobody follows; all below `end` is durable.
    #[must_use]
    pub const fn owned(id: PartitionId, end: Offset) -> Self {
        Self {
            id,
            role: Role::Owner,
            state: State::Idle,
            source: None,
            target: None,
            let_go: None,
            error: None,
            end,
            closed: false,
            until: None,
            source_end: None,
            source_heard_ms: None,
            owner_heard_ms: None,
            lag_records: None,
            lag_bytes: None,
            lag_ms: None,
            bytes_done: 0,
            bytes_total: 0,
            segments_done: 0,
            segments_total: 0,
            receiving: Vec::new(),
            dropped: Vec::new(),
            followers: Vec::new(),
            outranked: Vec::new(),
            repairs: 0,
        }
    }
}

/// A segment on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// Its base offset.
    pub segment: Offset,
    /// The address of the node that sends it; default empty.
    #[serde(default)]
    pub from: String,
    /// Bytes that were received and verified; default 0.
    #[serde(default)]
    pub bytes_done: u64,
    /// Its bytes.
    pub bytes_total: u64,
}

/// A source that is not asked any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its address.
    pub from: String,
    /// Why.
    pub error: ErrorBody,
}

/// A copy that follows this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// Its node; default nil, it did not say.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Where it is reached; default nil, it did not say.
    #[serde(default)]
    pub address: Option<String>,
    /// The copy.
    pub copy: CopyId,
    /// Its end, durable there, as it was last heard.
    pub end: Offset,
    /// Milliseconds since then.
    pub heard_ms: u64,
    /// True of one that is remembered and was not heard since the server was started, which `heard_ms`
    /// tells; its end is told as 0 then. Default false.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub is_silent: bool,
}

/// What a node is to a partition. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It takes writes.
    #[default]
    Owner,
    /// It holds a replica and takes what its source has.
    Follower,
    /// It owned it, takes no more writes, and waits for the next owner to begin.
    HandingOver,
    /// Another node owns it now; this one takes no writes and follows nobody.
    Fenced,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Role {
    /// Every role that this version knows.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Follower, Self::HandingOver, Self::Fenced];

    /// The word for it, as on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Follower => "follower",
            Self::HandingOver => "handing_over",
            Self::Fenced => "fenced",
            Self::Unknown => "unknown",
        }
    }

    /// True of an owner, also of one that gives the partition away: until it is gone nobody else owns it.
    #[must_use]
    pub const fn owns(self) -> bool {
        matches!(self, Self::Owner | Self::HandingOver)
    }
}

/// What goes on with a replica. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: an owner, or one that is fenced.
    #[default]
    Idle,
    /// Sealed segments are received as files.
    Copying,
    /// The rest is fetched, as it comes.
    Following,
    /// All that was asked for is here, and it was not asked to follow.
    Done,
    /// No source has compared its log with this one and answered; it goes on by itself when one has. An error says why the last
    /// try failed; without one a try is under way.
    Waiting,
    /// It does not go on by itself; the error says why.
    Stopped,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_role_is_the_one_on_the_wire() {
        for role in Role::ALL {
            let (wire, word) = (rmp_serde::to_vec(&role), rmp_serde::to_vec(role.as_str()));
            assert_eq!(wire.unwrap(), word.unwrap());
        }
    }
}
