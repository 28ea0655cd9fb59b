//! Frame kinds: what a frame asks for or answers.

use std::fmt;

/// What a frame is about; a request and its answers share one kind.
///
/// The numbers are the wire's, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Kind {
    /// The first frame of a connection: versions, limits, addresses.
    Hello = 1,
    /// Reserved: proves who the client is.
    Authenticate = 2,
    /// Asks for a sign of life.
    Ping = 3,
    /// Asks which topics there are and where their partitions live.
    Metadata = 4,
    /// Creates a topic.
    CreateTopic = 10,
    /// Changes a topic's settings or adds partitions.
    AlterTopic = 11,
    /// Deletes a topic and its records.
    DeleteTopic = 12,
    /// Asks for the state of a topic and its partitions.
    DescribeTopic = 13,
    /// Appends batches to a partition.
    Produce = 20,
    /// Reads batches of a partition, waiting for them if asked to.
    Fetch = 21,
    /// Asks for an offset: the earliest, the latest, or by time.
    ListOffsets = 22,
    /// Moves a partition's log start up.
    Truncate = 23,
    /// Lifts a partition's fence by recovering it.
    ReopenPartition = 24,
    /// Asks for a partition's segments and their digests.
    Segments = 30,
    /// Asks for the bytes of segments.
    CopySegments = 31,
    /// Asks for the chain at an offset.
    ChainAt = 32,
    /// Takes a snapshot of topics.
    CreateSnapshot = 40,
    /// Asks which snapshots there are.
    ListSnapshots = 41,
    /// Deletes a snapshot.
    DeleteSnapshot = 42,
    /// Begins to restore a topic from a snapshot.
    RestoreTopic = 43,
    /// Asks how far a restore is.
    RestoreStatus = 44,
    /// Has the sealed segments of a topic read and checked, or asks how far that is.
    ScrubTopic = 50,
    /// Makes partitions of another node's topic replicas.
    CloneTopic = 60,
    /// Asks what a node is to the partitions of a topic, and how far replicas are.
    ReplicaStatus = 61,
    /// Makes a follower the owner.
    Promote = 62,
    /// Gives partitions to a follower, or takes that back.
    Handover = 63,
    /// Asks a follower to own a partition from here on.
    TakeOver = 64,
    /// Makes a former owner a follower.
    Rejoin = 65,
    /// Has damaged segments replaced by those of other nodes.
    RepairTopic = 66,
    /// Forgets a follower that is gone for good.
    ForgetFollower = 67,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 30] = [
        Self::Hello,
        Self::Authenticate,
        Self::Ping,
        Self::Metadata,
        Self::CreateTopic,
        Self::AlterTopic,
        Self::DeleteTopic,
        Self::DescribeTopic,
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Truncate,
        Self::ReopenPartition,
        Self::Segments,
        Self::CopySegments,
        Self::ChainAt,
        Self::CreateSnapshot,
        Self::ListSnapshots,
        Self::DeleteSnapshot,
        Self::RestoreTopic,
        Self::RestoreStatus,
        Self::ScrubTopic,
        Self::CloneTopic,
        Self::ReplicaStatus,
        Self::Promote,
        Self::Handover,
        Self::TakeOver,
        Self::Rejoin,
        Self::RepairTopic,
        Self::ForgetFollower,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The kind of this number, or `None` if this version knows none.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The kind's name as PROTOCOL.md and the metrics spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "Hello",
            Self::Authenticate => "Authenticate",
            Self::Ping => "Ping",
            Self::Metadata => "Metadata",
            Self::CreateTopic => "CreateTopic",
            Self::AlterTopic => "AlterTopic",
            Self::DeleteTopic => "DeleteTopic",
            Self::DescribeTopic => "DescribeTopic",
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Truncate => "Truncate",
            Self::ReopenPartition => "ReopenPartition",
            Self::Segments => "Segments",
            Self::CopySegments => "CopySegments",
            Self::ChainAt => "ChainAt",
            Self::CreateSnapshot => "CreateSnapshot",
            Self::ListSnapshots => "ListSnapshots",
            Self::DeleteSnapshot => "DeleteSnapshot",
            Self::RestoreTopic => "RestoreTopic",
            Self::RestoreStatus => "RestoreStatus",
            Self::ScrubTopic => "ScrubTopic",
            Self::CloneTopic => "CloneTopic",
            Self::ReplicaStatus => "ReplicaStatus",
            Self::Promote => "Promote",
            Self::Handover => "Handover",
            Self::TakeOver => "TakeOver",
            Self::Rejoin => "Rejoin",
            Self::RepairTopic => "RepairTopic",
            Self::ForgetFollower => "ForgetFollower",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_names_its_kind_and_no_other() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(kind));
        }
        let known = (0..=u16::MAX)
            .filter(|&n| Kind::from_number(n).is_some())
            .count();
        assert_eq!(known, Kind::ALL.len());
    }
}
