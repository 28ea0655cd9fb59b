//! What a partition is told: requests, completions of its own effects, the passing of time.

use corelog_protocol::message::ack::Level;
use corelog_record::{Chain, LeaderEpoch, Offset, Timestamp};
use corelog_storage::disk::Dir;
use corelog_storage::log::{Checked, ChoreDone, FlushDone, Options, ReadPlan, ScrubDone};

use super::changing::Change;
use super::replication::Replication;

/// Names the request an answer is for; the caller chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// What retention keeps, however old it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// What no snapshot holds.
    Unsnapshotted,
    /// What a follower does not hold yet, or all if there is none.
    Unreplicated,
    /// All: a later version knows what for.
    All,
}

/// How a topic wants its partitions kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The level of a request that names none.
    pub(crate) level: Level,
    /// Sealed segments older than this expire, in milliseconds since they were sealed.
    pub(crate) retention_age_ms: Option<u64>,
    /// The oldest sealed segments expire while the stores are larger than this.
    pub(crate) retention_bytes: Option<u64>,
    /// What neither removes.
    pub(crate) held: Held,
    /// What is held back expires all the same while the stores are larger than this.
    pub(crate) hold_bytes: Option<u64>,
    /// Who may append.
    pub(crate) replication: Replication,
}

/// What a fetch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appetite {
    /// At most so many bytes of batches, but always one whole batch.
    pub(crate) bytes_max: usize,
    /// Parked until so many bytes are there; 1 or less takes what there is.
    pub(crate) bytes_min: u64,
    /// It is for a replica, which needs whole segments, also below the log start.
    pub(crate) is_replica: bool,
    /// It goes on behind a batch of this epoch, of this log and no other.
    pub(crate) last_epoch: Option<LeaderEpoch>,
    /// If it may be parked when there is nothing.
    pub(crate) may_park: bool,
}

impl Appetite {
    /// A client's for one batch, if there is any.
    #[cfg(test)]
    pub(crate) const ONE: Self = Self {
        bytes_max: 1,
        bytes_min: 1,
        is_replica: false,
        last_epoch: None,
        may_park: false,
    };

    /// Bytes that are missing to what a read up to the high watermark gives. 0 where it leaves some
    /// behind, and where only the disk could tell how many it gives.
    pub(super) fn missing<D: Dir>(&self, plan: &ReadPlan<D>, high_watermark: Offset) -> u64 {
        let at_end = plan.ready().filter(|read| read.next == high_watermark);
        let wanted = self.bytes_min.max(1);
        at_end.map_or(0, |read| wanted.saturating_sub(read.bytes as u64))
    }
}

/// Batches that a client wants appended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incoming<'a> {
    /// As they came.
    Unchecked(&'a [u8]),
    /// Checked before, since that takes long.
    Checked(Checked<'a>),
}

impl Incoming<'_> {
    /// How many bytes they are.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Unchecked(bytes) => bytes.len(),
            Self::Checked(checked) => checked.bytes().len(),
        }
    }
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The oldest readable.
    Earliest,
    /// The high watermark.
    Latest,
    /// The first batch whose maximum timestamp is at or after this.
    Time(Timestamp),
}

/// What a partition is told.
pub(crate) enum Input<'a, D: Dir> {
    /// Append these batches, whole or not at all.
    Produce {
        token: Token,
        batches: Incoming<'a>,
        level: Option<Level>,
    },
    /// Append these batches of a source as they are, whole or not at all; they stand in its segment
    /// of this base offset.
    Copy {
        token: Token,
        batches: &'a [u8],
        segment_base: Offset,
    },
    /// Change the log as a whole.
    Change { token: Token, change: Box<Change> },
    /// Read from an offset, or park the request until there is something.
    Fetch {
        token: Token,
        from: Offset,
        appetite: Appetite,
    },
    /// The parked request no longer waits.
    Unpark { token: Token },
    /// Whoever is parked is to look again: what it waits for may not come here any more.
    LookAgain,
    /// Tell an offset.
    Find { token: Token, seek: Seek },
    /// Move the log start up.
    Truncate { token: Token, lowest: Offset },
    /// Start the group that has formed.
    Commit,
    /// A flush of this generation ended.
    Flushed {
        generation: u32,
        done: Box<FlushDone<D>>,
    },
    /// A chore of this generation ended.
    Chored {
        generation: u32,
        done: Box<ChoreDone<D>>,
    },
    /// Time has passed.
    Tick,
    /// The time of an [`Effect::Tick`](super::Effect::Tick) has passed.
    Ticked,
    /// Roll, and link all below into this directory as soon as it is sealed.
    TakeSnapshot { token: Token, target: D },
    /// Whoever asked for a truncation waits no longer for it to begin; one that has begun goes on.
    AbandonTruncation { token: Token },
    /// Whoever asked for a snapshot waits no longer for it to begin; what is being linked goes on.
    AbandonSnapshot { token: Token },
    /// Whoever asked for a change waits no longer for it to begin; one that has begun goes on.
    AbandonChange { token: Token },
    /// Where the last snapshot of it ends, and the chain there.
    Snapshotted { last: Option<(Offset, Chain)> },
    /// Every follower holds all below this offset.
    Replicated { upto: Offset },
    /// Another copy of the log has this epoch.
    Heard { epoch: LeaderEpoch },
    /// Hand out the next piece of a scrub, of about so many bytes.
    Scrub { token: Token, bytes_max: usize },
    /// A piece of this generation was read.
    ScrubRead {
        token: Token,
        generation: u32,
        done: Box<ScrubDone<D>>,
    },
    /// The topic's settings changed.
    Policy { policy: Policy, options: Options },
    /// The partition goes away or stops: whoever is parked is to look again.
    Close,
}

impl<D: Dir> Input<'_, D> {
    /// Who asks for what a partition that is closing does not begin any more.
    pub(super) fn newcomer(&self) -> Option<Token> {
        match self {
            Self::Produce { token, .. }
            | Self::Copy { token, .. }
            | Self::Change { token, .. }
            | Self::Fetch { token, .. }
            | Self::Truncate { token, .. }
            | Self::TakeSnapshot { token, .. }
            | Self::Scrub { token, .. } => Some(*token),
            _ => None,
        }
    }
}
