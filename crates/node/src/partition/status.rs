//! What a partition tells of itself to whoever asks.

use std::ops::Range;

use corelog_record::{CopyId, HistoryId, LeaderEpoch, Offset, Timestamp};
use corelog_storage::disk::Dir;
use corelog_storage::format::edit::{Epoch, Point, Seal};
use corelog_storage::log::{ChainPlan, Damage, Origin, ReadError};

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

/// Where a log is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) history: HistoryId,
    pub(crate) copy: CopyId,
    pub(crate) log_start: Offset,
    /// The end of what is durable.
    pub(crate) durable: Point,
    pub(crate) log_end: Offset,
    /// If it has no segment with records.
    pub(crate) is_empty: bool,
    /// If it has files; without, it can become a copy of any history.
    pub(crate) has_files: bool,
}

impl Place {
    /// If this log is of that history, or can become a copy of it.
    pub(crate) fn can_be_of(&self, history: HistoryId) -> bool {
        !self.has_files || self.history == history
    }
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
            segment_count: self.log.segment_count(),
            store_bytes: self.log.store_bytes().bytes(),
            parked_count: self.waiters.count(),
            is_fenced: self.log.is_fenced(),
            is_full: self.log.is_full(),
            is_damaged: !self.log.damage().is_empty(),
            is_read_only: self.log.read_only_from().is_some(),
        }
    }

    /// Where damage begins that keeps the log from taking anything in.
    pub(crate) fn read_only_from(&self) -> Option<Offset> {
        self.log.read_only_from()
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
        self.log.sealed_bytes().bytes()
    }

    /// Where the log is, for replicas.
    pub(crate) fn place(&self) -> Place {
        Place {
            history: self.log.identity().history,
            copy: self.log.copy_id(),
            log_start: self.log.log_start(),
            durable: self.log.durable_place(),
            log_end: self.log.log_end(),
            is_empty: self.log.floor_place().offset == self.log.log_end(),
            has_files: self.log.has_files(),
        }
    }

    /// Its sealed segments, each with the generation of its files.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (u32, Seal)> + '_ {
        self.log.sealed()
    }

    /// Where its damaged segments begin and end that have ended and are not sealed.
    pub(crate) fn damaged_unsealed(&self) -> impl Iterator<Item = Range<Point>> + '_ {
        self.log.damaged_unsealed()
    }

    /// The generation that files are to have that come in for a segment.
    pub(crate) fn generation_next(&self, base: Offset) -> u32 {
        self.log.generation_next(base)
    }

    /// The epochs of the log, oldest first.
    pub(crate) fn epochs(&self) -> &[Epoch] {
        self.log.epochs()
    }

    /// The epoch in force: the newest of the log.
    pub(crate) fn epoch(&self) -> Option<LeaderEpoch> {
        self.log.epochs().last().map(|last| last.epoch)
    }

    /// Plans to find the batch boundary at or below an offset, and the chain there.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn plan_chain_at(&self, at: Offset) -> Result<ChainPlan<D>, ReadError> {
        self.log.plan_chain_at(at)
    }

    /// The offsets of the segment based at `base`, if the log has it.
    fn offsets_of(&self, base: Offset) -> Option<Range<Offset>> {
        let mut segments = self.log.segments();
        let found = segments.find(|segment| segment.base == base)?;
        Some(found.base..found.next)
    }

    /// Whether the segment based at `base` is still read from `origin`.
    pub(crate) fn is_read_from(&self, base: Offset, origin: &Origin<D>) -> bool {
        self.log.is_read_from(base, origin)
    }

    /// The offsets of the segment based at `base`, of which a read from `origin` did not find the file, if that is
    /// missing: a change of the log moves files away, whoever is about to open them.
    pub(crate) fn missing(&self, base: Offset, origin: &Origin<D>) -> Option<Range<Offset>> {
        let is_moved = self.is_changing() || !self.is_read_from(base, origin);
        self.offsets_of(base).filter(|_| !is_moved)
    }

    /// About how many bytes lie between an offset and the high watermark: all of the segments behind
    /// it, and of the one that holds it as large a part as there are offsets.
    pub(crate) fn bytes_behind(&self, from: Offset) -> u64 {
        let newest_first = self.log.segments().rev();
        let behind = newest_first.take_while(|segment| from < segment.next);
        let behind = behind.map(|segment| {
            if from <= segment.base {
                return segment.bytes;
            }
            let all = segment.next.since(segment.base).max(1);
            let missing = segment.next.get().saturating_sub(from.get());
            let part = u128::from(segment.bytes) * u128::from(missing) / u128::from(all);
            u64::try_from(part).unwrap_or(u64::MAX)
        });
        behind.sum()
    }
}
