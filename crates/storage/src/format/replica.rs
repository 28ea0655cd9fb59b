//! What a `topic` file says of a partition that is not this node's alone.

use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset, PartitionId};
use serde::{Deserialize, Serialize};

/// One partition that follows, is followed, or changes hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Which partition. Key `partition`.
    pub partition: PartitionId,
    /// What this node is to it. Key `role`: `"owner"`, `"follower"`, `"handing-over"` or `"fenced"`.
    pub role: Role,
    /// Where a follower copies from, the first that answers; where the partition went, for one that
    /// hands it over, unless it takes that back, or is fenced. Each `host:port`. Key `sources`; absent for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The node that a handover gives the partition to, also while that is taken back, or that owns one that is fenced,
    /// whoever is at its address by now; `None` if a version that did not write it down changed the role. Key `target`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<NodeId>,
    /// A follower copies up to here and no further; `None` follows for ever. Key `until`; absent for
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Offset>,
    /// A follower copies no faster than so many bytes a second; `None` as fast as it goes. Key
    /// `rate`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// A follower copies the sealed segments with these base offsets only; empty for all. Key
    /// `segments`; absent for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Offset>,
    /// Where an owner copied from before it was promoted, until it is known that nobody there owns the partition any
    /// more, also once another owns it in its place. Each `host:port`. Key `outranked`; absent for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outranked: Vec<String>,
    /// The epoch by which another node owns a partition that this one owned before: who owned it by an earlier one does not give it
    /// back. Key `let_go`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_go: Option<LeaderEpoch>,
    /// The nodes that follow this one. Key `followers`; absent for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<Peer>,
}

/// What a node is to a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It takes appends and begins epochs.
    #[default]
    Owner,
    /// It holds what its source appended.
    Follower,
    /// It was the owner, takes no more appends, and waits for the target to take over.
    HandingOver,
    /// It was the owner; another node is.
    Fenced,
    /// A word of a later version: nobody who does not know it may append.
    #[serde(other)]
    Unknown,
}

impl Role {
    /// True of an owner, also of one that gives the partition away: until it is gone nobody else is to own it.
    #[must_use]
    pub const fn owns(self) -> bool {
        matches!(self, Self::Owner | Self::HandingOver)
    }
}

/// A node that follows a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id. Key `node`.
    pub node: NodeId,
    /// The name of its copy. Key `copy`.
    pub copy: CopyId,
    /// Where it is reached, `host:port`. Key `address`.
    pub address: String,
}

impl Replica {
    /// What there is to say of a partition that nobody follows and that follows nobody.
    #[must_use]
    pub const fn owner(partition: PartitionId) -> Self {
        Self {
            partition,
            role: Role::Owner,
            sources: Vec::new(),
            target: None,
            until: None,
            rate: None,
            segments: Vec::new(),
            outranked: Vec::new(),
            let_go: None,
            followers: Vec::new(),
        }
    }

    /// True if there is nothing to write down.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.role == Role::Owner && self.outranked.is_empty() && self.followers.is_empty()
    }
}
