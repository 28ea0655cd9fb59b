//! What a partition tells of itself to whoever asks.

use corelog_record::{LeaderEpoch, Offset, Timestamp};
use corelog_storage::disk::Dir;
use corelog_storage::log::Damage;

use super::state::Partition;

/// A partition's offsets and condition at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) durable: Offset,
    pub(crate) log_end: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) segment_count: usize,
    pub(crate) store_bytes: u64,
    pub(crate) parked_count: usize,
    pub(crate) is_fenced: bool,
    pub(crate) is_full: bool,
    pub(crate) is_damaged: bool,
    /// Damage keeps it from taking writes.
    pub(crate) is_read_only: bool,
}

impl<D: Dir> Partition<D> {
    /// Offsets and condition, for whoever asks.
    pub(crate) fn status(&self) -> Status {
        Status {
            log_start: self.bounds.log_start,
            high_watermark: self.bounds.high_watermark,
            durable: self.bounds.durable,
            log_end: self.bounds.log_end,
            epoch: self.log.epoch(),
            segment_count: self.log.segments().count(),
            store_bytes: self.log.store_bytes().bytes(),
            parked_count: self.waiters.count(),
            is_fenced: self.log.is_fenced(),
            is_full: self.log.is_full(),
            is_damaged: !self.log.damage().is_empty(),
            is_read_only: self.log.read_only_from().is_some(),
        }
    }

    /// Ranges of offsets whose bytes cannot be trusted.
    pub(crate) fn damage(&self) -> &[Damage] {
        self.log.damage()
    }

    /// When the last whole scrub of it ended.
    pub(crate) fn scrubbed_at(&self) -> Option<Timestamp> {
        self.log.scrubbed_at()
    }

    /// Bytes of its sealed segments.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        let sealed = self.log.segments().filter(|segment| segment.is_sealed);
        sealed.map(|segment| segment.bytes).sum()
    }
}
