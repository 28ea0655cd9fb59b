//! What a manifest is told of segments that will never change.

use corelog_record::{Chain, Offset, Ordinal, Timestamp};
use serde::{Deserialize, Serialize};

use super::edit::Point;
use super::state;

/// A sealed segment: what it holds, and when it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// What it holds.
    pub digest: Digest,
    /// The largest timestamp of its batches.
    pub max_timestamp: Timestamp,
    /// When it was sealed, by the node's clock: retention by age goes by this.
    pub sealed: Timestamp,
}

/// What a sealed segment holds. Two segments with equal digests hold the same batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How the bytes came about.
    pub kind: Kind,
    /// The offset of the first record.
    pub base: Offset,
    /// One more than the offset of the last record.
    pub end: Offset,
    /// The ordinal of the first batch.
    pub ordinal: Ordinal,
    /// One more than the ordinal of the last batch.
    pub end_ordinal: Ordinal,
    /// The length of the store.
    pub bytes: u64,
    /// The batches in the store.
    pub batches: u64,
    /// The chain before the first batch, as appended.
    pub chain: Chain,
    /// The chain after the last batch, as appended.
    pub end_chain: Chain,
    /// Room for a hash of the store's bytes; not written yet.
    #[serde(default)]
    pub hash: Option<serde_bytes::ByteArray<16>>,
}

/// How the bytes of a segment came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As they were appended.
    Original,
}

/// Several seals, of which all are made or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seals {
    /// At least one and at most [`SEALS_MAX`], in the order in which they are made.
    pub seals: Vec<Seal>,
}

/// So many seals fit into one edit, whatever is in them.
pub const SEALS_MAX: usize = 16;

impl Digest {
    /// Of a segment whose `bytes` bytes are as they were appended between two points.
    #[must_use]
    pub fn original(start: Point, end: Point, bytes: u64) -> Self {
        Self {
            kind: Kind::Original,
            base: start.offset,
            end: end.offset,
            ordinal: start.ordinal,
            end_ordinal: end.ordinal,
            bytes,
            batches: end.ordinal.since(start.ordinal),
            chain: start.chain,
            end_chain: end.chain,
            hash: None,
        }
    }

    /// Where the segment begins.
    #[must_use]
    pub fn start(&self) -> Point {
        Point {
            offset: self.base,
            ordinal: self.ordinal,
            chain: self.chain,
        }
    }

    /// Where the segment ends, and its successor begins.
    #[must_use]
    pub fn end(&self) -> Point {
        Point {
            offset: self.end,
            ordinal: self.end_ordinal,
            chain: self.end_chain,
        }
    }

    /// What of the digest cannot be, if anything.
    pub(crate) fn check(&self) -> Result<(), state::Broken> {
        self.start().check()?;
        self.end().check()?;
        let batches = self.end_ordinal.checked_since(self.ordinal);
        let has_records = self.end > self.base && self.bytes > 0 && self.batches > 0;
        match self.kind {
            Kind::Original if has_records && batches == Some(self.batches) => Ok(()),
            Kind::Original => Err(state::Broken::Digest { base: self.base }),
        }
    }
}
