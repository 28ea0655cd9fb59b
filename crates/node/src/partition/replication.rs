//! How a partition is replicated: decides only where the high watermark is and who may append.

use corelog_record::Offset;

/// How a partition is replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Replication {
    /// This node is the owner: clients append, what is durable here may be read.
    #[default]
    Owner,
    /// Another node is: nobody appends here but what that one has, and only what may be read there
    /// ever comes, so what is durable here may be read.
    Follower,
}

impl Replication {
    /// All below this may be read, given what is durable here.
    pub(super) fn high_watermark(self, durable: Offset) -> Offset {
        match self {
            Self::Owner | Self::Follower => durable,
        }
    }

    /// If clients may append.
    pub(super) fn takes_appends(self) -> bool {
        self == Self::Owner
    }
}
