//! Segments: a partition's sealed segments with their digests, and its active one.

use corelog_record::{
    Chain, CopyId, HistoryId, Offset, Ordinal, PartitionId, Position, Timestamp, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};

use super::bounded;
use super::epoch::Epoch;

super::call!(Segments);

/// Sealed segments of one answer: each takes about 300 bytes of its head. Whoever has those asks for the
/// ones behind.
pub const SEALED_COUNT_MAX: u32 = 16_384;

/// Which partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// Only segments that hold offsets at or above this; default 0, all.
    #[serde(default)]
    pub from: Offset,
}

/// The partition's log as files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The log's name, shared by its replicas.
    pub history: HistoryId,
    /// The copy that answers.
    pub copy: CopyId,
    /// The oldest readable offset.
    pub log_start: Offset,
    /// All below may be read.
    pub high_watermark: Offset,
    /// Its epochs, newest first; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::EPOCHS }, _, _>"
    )]
    pub epochs: Vec<Epoch>,
    /// The sealed segments, by base offset; default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::SEALED }, _, _>"
    )]
    pub sealed: Vec<Sealed>,
    /// The active segment, or where it begins if all records of the log have gone; default nil, there is
    /// none with records.
    #[serde(default)]
    pub active: Option<Active>,
}

impl Answer {
    /// If this can be, or become, a log of that history: one of which nothing is durable yet has none of its own. The name
    /// that it tells is derived from where it is, and another one's once it begins as a copy of that.
    #[must_use]
    pub fn can_be_of(&self, history: HistoryId) -> bool {
        let has_none = self.epochs.is_empty() && self.high_watermark == Offset::ZERO;
        self.history == history || has_none
    }
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The base offset, which names it.
    pub base: Offset,
    /// The file's generation; default 0.
    #[serde(default)]
    pub generation: u32,
    /// What its bytes are.
    pub digest: Digest,
    /// The greatest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// When it was sealed, by the node's clock.
    pub sealed_at: Timestamp,
}

/// What a sealed segment's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How the bytes came to be; default `original`.
    #[serde(default)]
    pub kind: DigestKind,
    /// The first record's offset.
    pub first: Offset,
    /// The last record's offset.
    pub last: Offset,
    /// The first batch's ordinal.
    pub first_ordinal: Ordinal,
    /// The last batch's ordinal.
    pub last_ordinal: Ordinal,
    /// Bytes of the store.
    pub bytes: u64,
    /// How many batches.
    pub batches: u64,
    /// The chain before the first batch.
    pub chain_base: Chain,
    /// The chain after the last batch.
    pub chain_end: Chain,
    /// A hash of the file's bytes, reserved; default nil.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub hash: Option<Vec<u8>>,
}

/// How a segment's bytes came to be. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    /// As appended.
    #[default]
    Original,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The active segment, up to what is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The base offset, which names it.
    pub base: Offset,
    /// The base ordinal.
    pub base_ordinal: Ordinal,
    /// The chain before the first batch.
    pub chain_base: Chain,
    /// Bytes of the store that are durable.
    pub durable_position: Position,
    /// The offset behind them.
    pub durable_offset: Offset,
    /// The ordinal behind them.
    pub durable_ordinal: Ordinal,
    /// The chain behind them.
    pub durable_chain: Chain,
}
