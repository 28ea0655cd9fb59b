//! How a partition is replicated: decides only where the high watermark is and who may append.

use corelog_record::Offset;
use corelog_storage::format::replica::{Replica, Role};

/// How a partition is replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Replication {
    /// This node is the owner: clients append, what is durable here may be read.
    #[default]
    Owner,
    /// Another node is: nobody appends here but what that one has, and only what may be read there
    /// ever comes, so what is durable here may be read.
    Follower,
    /// Another node became the owner, and this one does not follow it: nobody appends here, nothing comes, and
    /// readers are sent there.
    Replaced,
}

impl Replication {
    /// That of a partition of which this is known as a replica; of one that is this node's alone, nothing.
    pub(crate) fn of(replica: Option<&Replica>) -> Self {
        match replica.map(|replica| replica.role) {
            None | Some(Role::Owner) => Self::Owner,
            Some(Role::Fenced) => Self::Replaced,
            Some(Role::Follower | Role::HandingOver | Role::Unknown) => Self::Follower,
        }
    }

    /// All below this may be read, given what is durable here.
    pub(super) fn high_watermark(self, durable: Offset) -> Offset {
        match self {
            Self::Owner | Self::Follower | Self::Replaced => durable,
        }
    }

    /// If clients may append.
    pub(super) fn takes_appends(self) -> bool {
        self == Self::Owner
    }
}
