//! The table of error codes.

use std::fmt;

/// Whether the request took effect, given that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// Nothing happened; sending it again cannot do anything twice.
    No,
    /// It may have happened, or may still happen.
    Unknown,
    /// It happened.
    Yes,
}

impl Applied {
    /// The word that PROTOCOL.md uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

/// Whether sending the request again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not as it is.
    No,
    /// The same request, after a pause.
    Later,
    /// The same request, to the address that the detail names.
    Elsewhere,
}

impl Retry {
    /// The word that PROTOCOL.md uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Later => "later",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Lays the table out once: the enum, its numbers, names, outcomes and meanings.
macro_rules! error_codes {
    ($($code:literal $name:ident $applied:ident $retry:ident $meaning:literal)+) => {
        /// Why a request failed. Numbers are the wire's, never renumbered or reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name = $code,)+
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code's name as PROTOCOL.md and messages spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Whether the failed request took effect.
            #[must_use]
            pub const fn applied(self) -> Applied {
                match self { $(Self::$name => Applied::$applied,)+ }
            }

            /// Whether sending it again may help.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)+ }
            }

            /// What the code says, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// The code of this number, or `None` if this version knows none.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($code => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

error_codes! {
    1 BadFrame No No "The frame or its head is malformed."
    2 FrameTooLarge No No "The frame or its head is larger than the limit."
    3 UnsupportedVersion No No "No frame version is spoken by both sides."
    4 UnknownKind No No "The frame's kind is unknown to this server."
    5 NotSupported No No "The server knows the kind or the field and does not do it (yet)."
    6 HelloRequired No No "The first frame of a connection was not Hello, or a later one was."
    7 TooManyConnections No Later "The node, or the client's address, has as many connections as it may."
    8 Busy No Later "A queue on the way was full, or the partition is not ready: it is being opened, its followers are being asked, or its owner is being changed; nothing was done."
    9 Stopping No Later "The node is stopping and takes no more requests, or the partition is being closed."
    10 TimedOut Unknown No "The request took too long; it may still take effect."
    11 Internal Unknown No "The server met a condition it has no code for."
    12 InvalidRequest No No "A value in the head is out of its range."
    13 Idle No Later "The connection was idle for longer than the node's operator lets one be."
    20 UnknownTopic No No "There is no topic of this name."
    21 TopicExists No No "There is a topic of this name already."
    22 TopicChanged No No "The topic's id is another: it was deleted and created again."
    23 UnknownPartition No No "The topic has no partition of this number."
    24 InvalidTopicName No No "The topic's name is not of the form allowed."
    25 InvalidPartitions No No "The number of partitions is 0, too large, or lower than before."
    26 InvalidSettings No No "A setting is out of its range."
    27 TooManyPartitions No No "The node holds as many partitions as it may."
    28 UnknownSnapshot No No "There is no snapshot of this name, or not the one that is meant."
    29 SnapshotExists No No "There is a snapshot of this name already."
    30 UnknownRestore No No "There is no restore of this number: it never was, or the server was started again since."
    31 TooManySnapshots No No "The node keeps as many snapshots as it may."
    40 NotOwner No Elsewhere "Another node serves this partition."
    41 OutOfRange No No "The offset is below the log start or beyond the log end."
    42 PastHighWatermark No Later "The offset exists, or will, but may not be read yet."
    43 Fenced No No "The partition takes no writes until it is reopened."
    44 Damaged No No "The bytes asked for are damaged; nothing of them is handed out."
    45 StorageFull No Later "The disk is full; the partition goes on by itself when there is room. A Produce that meets it first gets `OutcomeUnknown`. A read gets this only where there was none to open it."
    46 ReadOnly No No "The partition serves reads only."
    47 Diverged No No "The caller's log and this one part before the caller's end."
    48 Gone No No "The segment asked for is no longer there."
    49 LossPossible No No "Records of the source may be missing here; promoting needs that to be accepted."
    50 NotFollower No No "The partition follows no other node here."
    51 NotEqual No Later "The follower's log is not the owner's up to its end (yet)."
    52 SourceUnavailable No Later "No source of the partition answers."
    53 BadSource No No "A source sent other bytes than it should; nothing of them was kept."
    54 UnknownFollower No No "No follower is remembered at this address."
    60 InvalidBatch No No "A batch breaks a rule of the format; none of the request's was appended."
    61 RecordTooLarge No No "A record is larger than the limit."
    62 BatchTooLarge No No "A batch is larger than the limit."
    63 Aborted No No "An earlier Produce of this run was not applied, so this one was not either."
    64 OutcomeUnknown Unknown No "The write failed midway: the records may or may not be in the log, or, of a disk that is full, go there when there is room; a topic that was to go may come back, a partition may be truncated, cut or have another owner once it is reopened."
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_name_their_code() {
        assert!(ErrorCode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
    }

    #[test]
    fn only_what_was_not_applied_may_be_sent_again() {
        for &code in ErrorCode::ALL {
            if code.retry() != Retry::No {
                assert_eq!(code.applied(), Applied::No, "{code}");
            }
        }
    }
}
