//! Frame kinds: what a frame asks for or answers.

use std::fmt;

/// Lays the table out once: the enum, its numbers and names.
macro_rules! kinds {
    ($($number:literal $name:ident $meaning:literal)+) => {
        /// What a frame is about; a request and its answers share one kind.
        ///
        /// The numbers are the wire's, never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Kind {
            $(#[doc = $meaning] $name = $number,)+
        }

        impl Kind {
            /// Every kind, in the order of their numbers.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$name),+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The kind of this number, or `None` if this version knows none.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The kind's name as PROTOCOL.md and the metrics spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

kinds! {
    1 Hello "The first frame of a connection: versions, limits, addresses."
    2 Authenticate "Reserved: proves who the client is."
    3 Ping "Asks for a sign of life."
    4 Metadata "Asks which topics there are and where their partitions live."
    10 CreateTopic "Creates a topic."
    11 AlterTopic "Changes a topic's settings or adds partitions."
    12 DeleteTopic "Deletes a topic and its records."
    13 DescribeTopic "Asks for the state of a topic and its partitions."
    20 Produce "Appends batches to a partition."
    21 Fetch "Reads batches of a partition, waiting for them if asked to."
    22 ListOffsets "Asks for an offset: the earliest, the latest, or by time."
    23 Truncate "Moves a partition's log start up."
    24 ReopenPartition "Lifts a partition's fence by recovering it."
    30 Segments "Asks for a partition's segments and their digests."
    31 CopySegments "Asks for the bytes of segments."
    32 ChainAt "Asks for the chain at an offset."
    40 CreateSnapshot "Takes a snapshot of topics."
    41 ListSnapshots "Asks which snapshots there are."
    42 DeleteSnapshot "Deletes a snapshot."
    43 RestoreTopic "Begins to restore a topic from a snapshot."
    44 RestoreStatus "Asks how far a restore is."
    50 ScrubTopic "Has the sealed segments of a topic read and checked, or asks how far that is."
    60 CloneTopic "Makes partitions of another node's topic replicas."
    61 ReplicaStatus "Asks what a node is to the partitions of a topic, and how far replicas are."
    62 Promote "Makes a follower the owner."
    63 Handover "Gives partitions to a follower, or takes that back."
    64 TakeOver "Asks a follower to own a partition from here on."
    65 Rejoin "Makes a former owner a follower."
    66 RepairTopic "Has damaged segments replaced by those of other nodes."
    67 ForgetFollower "Forgets a follower that is gone for good."
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
