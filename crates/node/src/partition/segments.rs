//! What a partition tells those who copy its files, and which of them it lends.

use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::segments::{self, Active, Digest, DigestKind, Sealed};
use corelog_record::{HistoryId, Offset, Ordinal};
use corelog_storage::disk::Dir;
use corelog_storage::format::edit;
use corelog_storage::log::{Damage, Pinned};

use super::state::Partition;

/// Sealed segments of one answer.
pub(crate) const SEALED_COUNT_MAX: usize = segments::SEALED_COUNT_MAX as usize;

/// Why a segment's file is not lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotLent {
    /// The partition's log is another one.
    OtherHistory { found: HistoryId },
    /// There is no such sealed segment in that generation, or no more.
    Gone,
    /// Some of its bytes cannot be trusted.
    Damaged(Damage),
    /// The partition is going away.
    Closing,
}

impl<D: Dir> Partition<D> {
    /// The log as files: the first sealed segments that hold offsets at or above `from`, as many as an
    /// answer holds, and the active one.
    pub(crate) fn segments(&self, from: Offset, epochs: Vec<Epoch>) -> segments::Answer {
        let sealed = self.log.sealed().map(|(generation, seal)| Sealed {
            base: seal.digest.base,
            generation,
            digest: digest(&seal.digest),
            max_timestamp: seal.max_timestamp,
            sealed_at: seal.sealed,
        });
        let active = self.log.active_segment().map(|active| Active {
            base: active.start.offset,
            base_ordinal: active.start.ordinal,
            chain_base: active.start.chain,
            durable_position: active.position,
            durable_offset: active.durable.offset,
            durable_ordinal: active.durable.ordinal,
            durable_chain: active.durable.chain,
        });
        segments::Answer {
            history: self.log.identity().history,
            copy: self.log.copy_id(),
            log_start: self.bounds.log_start,
            high_watermark: self.bounds.high_watermark,
            epochs,
            sealed: sealed
                .filter(|one| from <= one.digest.last)
                .take(SEALED_COUNT_MAX)
                .collect(),
            active,
        }
    }

    /// Keeps the file of a sealed segment from retention until it is opened.
    ///
    /// # Errors
    /// `NotLent`.
    pub(crate) fn lend(
        &self,
        history: HistoryId,
        (segment, generation): (Offset, u32),
    ) -> Result<Pinned<D>, NotLent> {
        if self.is_closing {
            return Err(NotLent::Closing);
        }
        let found = self.log.identity().history;
        if found != history {
            return Err(NotLent::OtherHistory { found });
        }
        let pinned = self.log.pin(segment, generation).ok_or(NotLent::Gone)?;
        let damage = self.log.damage().iter();
        match damage.copied().find(|damage| damage.segment == segment) {
            Some(damage) => Err(NotLent::Damaged(damage)),
            None => Ok(pinned),
        }
    }
}

fn digest(digest: &edit::Digest) -> Digest {
    // A sealed segment has records: the digest's check says so.
    let before = |end: u64| end.saturating_sub(1);
    let last = Offset::new(before(digest.end.get())).unwrap_or(digest.base);
    Digest {
        kind: match digest.kind {
            edit::Kind::Original => DigestKind::Original,
        },
        first: digest.base,
        last,
        first_ordinal: digest.ordinal,
        last_ordinal: Ordinal::new(before(digest.end_ordinal.get())).unwrap_or(digest.ordinal),
        bytes: digest.bytes,
        batches: digest.batches,
        chain_base: digest.chain,
        chain_end: digest.end_chain,
        hash: digest.hash.map(|hash| hash.to_vec()),
    }
}
