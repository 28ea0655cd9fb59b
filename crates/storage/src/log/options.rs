//! What a log is told when it is opened: who it is, and how it behaves.

use corelog_record::{ByteSize, HistoryId, PartitionId, TopicId, batch};

use super::CallOff;

/// The most bytes written but not yet covered by a successful sync, a constant of the store
/// format: recovery tells torn from damage by it, so no group exceeds it.
pub const UNSYNCED_BYTES_MAX: usize = 16 << 20;

/// No store is longer, whatever a log is told: rows of an index reach no further than 2^32 bytes, so a segment ends there, or
/// with the batch behind, and space is prepared no further ahead than what may be written without a sync.
pub(crate) const STORE_BYTES_MAX: u64 = (1 << 32) + 2 * UNSYNCED_BYTES_MAX as u64;

const _: () = assert!(
    batch::BYTES_MAX <= UNSYNCED_BYTES_MAX,
    "a group holds any batch"
);

/// Bytes of store for each index row, in a log that is not told otherwise.
pub const INDEX_INTERVAL_BYTES: u32 = 4096;

/// Whose log this is; topic and partition are checked against the manifest when the log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The topic.
    pub topic: TopicId,
    /// The partition of the topic.
    pub partition: PartitionId,
    /// The history that a new log begins. A log that already has files keeps the one in its
    /// manifest, which is another if the log was restored.
    pub history: HistoryId,
}

impl Identity {
    /// The identity of a new partition: its history id follows from topic and partition.
    #[must_use]
    pub fn new(topic: TopicId, partition: PartitionId) -> Self {
        Self {
            topic,
            partition,
            history: HistoryId::of(topic, partition),
        }
    }
}

/// Who decides what stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// This log does: it takes appends, begins epochs, rolls by size and age.
    #[default]
    Owner,
    /// Another log, of which this one is a copy: batches, segments and epochs are its, and none is
    /// made here.
    Follower,
}

/// How a log behaves. [`Default`] is what a node uses.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the log is its own, or follows another.
    pub ownership: Ownership,
    /// A segment rolls before it grows beyond this (128 MiB); a larger batch gets one of its own.
    pub segment_bytes_max: ByteSize,
    /// A segment with records rolls this many milliseconds after its first append; `None`: never.
    pub segment_age_max_ms: Option<i64>,
    /// Bytes of store for each index row ([`INDEX_INTERVAL_BYTES`]).
    pub index_interval_bytes: u32,
    /// What an appended batch must keep to.
    pub rules: batch::Rules,
    /// Flushed bytes kept in memory for readers of the tail (8 MiB); counts whole buffers.
    pub tail_bytes_max: usize,
    /// Appended bytes that may wait for the disk, those of a flush under way not counted (16 MiB,
    /// which is one group).
    pub pending_bytes_max: usize,
    /// Whether what the disk does not give at the end counts as damage when the log is opened. If not, as a rule, the log
    /// is not opened: the disk may give it the next time. Nothing is cut in either case.
    pub ends_before_unread: bool,
    /// Ends an opening before its time.
    pub call_off: CallOff,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ownership: Ownership::Owner,
            segment_bytes_max: ByteSize::from_mib(128),
            segment_age_max_ms: None,
            index_interval_bytes: INDEX_INTERVAL_BYTES,
            rules: batch::Rules::default(),
            tail_bytes_max: 8 << 20,
            pending_bytes_max: UNSYNCED_BYTES_MAX,
            ends_before_unread: false,
            call_off: CallOff::default(),
        }
    }
}

/// Sixteen random bytes for an id. The generator is splitmix64 (Steele, Lea, Flood, 2014), mixed with
/// the identity, so that equal seeds give partitions different ids.
pub(super) fn draw(seed: &mut u64, identity: &Identity) -> [u8; 16] {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut input = [0; 24];
    let (front, back) = input.split_at_mut(16);
    front.copy_from_slice(identity.history.as_bytes());
    back.copy_from_slice(&seed.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128_with_seed(&input, *seed).to_le_bytes()
}
