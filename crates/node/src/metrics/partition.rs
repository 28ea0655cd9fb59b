//! One partition's state as its core tells it.

use corelog_protocol::message::describe_topic::Awaited;
use corelog_protocol::message::replica_status::{Role, State as Copying};
use corelog_record::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};

/// One partition's state as its core tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSnapshot {
    /// The topic's name.
    pub topic: TopicName,
    /// Which partition of the topic.
    pub partition: PartitionId,
    /// The core that owns it.
    pub core: CoreId,
    /// What may be done with it.
    pub state: PartitionState,
    /// Copies that may own it by now: until each has told, it serves nobody, whatever its state.
    pub waits_for: Vec<Awaited>,
    /// What the node is to it; a fenced one has another owner by now, whatever its state.
    pub role: Role,
    /// Where it is copied from, or who owns it.
    pub source: Option<String>,
    /// Where its log begins and ends, and what it takes up; none while that is not open, and so is not known.
    pub log: Option<LogSnapshot>,
    /// Long polls that wait at its end.
    pub parked_fetch_count: usize,
    /// What goes on with it as a replica.
    pub copying: Copying,
    /// How far it is behind its source; none for one that is not open, follows nobody, has not heard it, or asks it no
    /// more and had all when it last did.
    pub lag: Option<Lag>,
    /// Milliseconds since its owner was heard, by way of its source, or since that was first asked; none for one that
    /// follows nobody, is copied already, or receives whole segments.
    pub source_silent_millis: Option<u64>,
    /// When the last whole scrub of it ended; none if there was none.
    pub scrubbed_at: Option<Timestamp>,
    /// Milliseconds since then.
    pub scrub_age_millis: Option<u64>,
    /// Milliseconds since its sealed segments were scrubbed whole, or since its topic came to this node if they never
    /// were; none for one without sealed segments.
    pub unscrubbed_millis: Option<u64>,
}

/// Where a partition's log begins and ends, and what it takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSnapshot {
    /// The oldest readable offset.
    pub log_start: Offset,
    /// All below may be read.
    pub high_watermark: Offset,
    /// All below was synced to disk.
    pub durable: Offset,
    /// The next offset to be assigned.
    pub log_end: Offset,
    /// The epoch appends are made under.
    pub epoch: LeaderEpoch,
    /// How many segments the log has.
    pub segment_count: usize,
    /// Bytes of all stores.
    pub store_bytes: u64,
    /// Damage at its end keeps it from taking writes.
    pub is_read_only: bool,
    /// How many ranges of offsets cannot be trusted.
    pub damage_count: usize,
}

/// How far a follower is behind its source, as far as that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Records that the source has and this does not.
    pub records: u64,
    /// About how many bytes of batches they are.
    pub bytes: u64,
    /// Milliseconds since it was level; since segments last came, or it began, if it never was; none while its first
    /// copy comes.
    pub millis: Option<u64>,
}

/// What may be done with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartitionState {
    /// It is read and written.
    Serving,
    /// It is being recovered; requests are answered `Busy`.
    Opening,
    /// A write or sync failed: no more writes until it is reopened.
    Fenced,
    /// There is no space for its next write, or none to open it, and then it is not read either; it resumes by itself. It
    /// may be damaged, too.
    Full,
    /// It waits for copies that may own it by now; requests are answered `Busy`.
    Held,
    /// Bytes that were promised cannot be trusted; everything around them is served, and written unless damage at its end
    /// makes it read-only.
    Damaged,
    /// It could not be opened at all.
    Failed,
}

impl PartitionState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Serving,
        Self::Opening,
        Self::Fenced,
        Self::Full,
        Self::Held,
        Self::Damaged,
        Self::Failed,
    ];

    /// The word for it on the wire and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "ok",
            Self::Opening => "opening",
            Self::Fenced => "fenced",
            Self::Full => "full",
            Self::Held => "held",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
        }
    }
}
