//! A point between two batches of a log.

use corelog_record::batch::{self, View};
use corelog_record::{Chain, Offset, Ordinal, Position, Timestamp};

use crate::format::edit::{self, Seal};
use crate::format::manifest::Header;
use crate::format::mark::Slot;

/// All that is known of a log just before one batch: where the batch begins by every count, and what
/// came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// The next batch's base offset.
    pub(crate) offset: Offset,
    /// Where it begins in its store.
    pub(crate) position: Position,
    /// How many batches of the log precede it.
    pub(crate) ordinal: Ordinal,
    /// The chain over the headers of all batches before it.
    pub(crate) chain: Chain,
    /// The largest timestamp of the batches before it in its segment; [`NO_TIMESTAMP`] without any.
    pub(crate) max_timestamp: Timestamp,
}

/// The largest timestamp of no records at all.
pub(crate) const NO_TIMESTAMP: Timestamp = Timestamp::MIN;

impl Point {
    /// The point before the first batch of a log.
    pub(crate) fn origin(chain: Chain) -> Self {
        Self {
            offset: Offset::ZERO,
            position: Position::ZERO,
            ordinal: Ordinal::ZERO,
            chain,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// The point at the start of a segment that begins at `place`.
    pub(crate) fn starting(place: edit::Point) -> Self {
        Self {
            offset: place.offset,
            ordinal: place.ordinal,
            ..Self::origin(place.chain)
        }
    }

    /// The point at the end of the segment that `seal` is of.
    pub(crate) fn sealed(seal: &Seal) -> Self {
        Self {
            position: Position::new(seal.digest.bytes).unwrap_or(Position::MAX),
            max_timestamp: seal.max_timestamp,
            ..Self::starting(seal.digest.end())
        }
    }

    /// The point that a mark states.
    pub(crate) fn marked(slot: &Slot) -> Self {
        Self {
            offset: slot.offset,
            position: slot.position,
            ordinal: slot.ordinal,
            chain: slot.chain,
            max_timestamp: slot.max_timestamp,
        }
    }

    /// What the mark of a copy says of a log that is durable up to here, in the files of `generation` of `segment`: not
    /// that it is clean. Which epochs it had, and when the segment began, is not known here.
    pub(crate) fn slot(&self, of: &Header, (segment, generation): (Offset, u32)) -> Slot {
        Slot {
            history: of.history,
            copy: of.copy,
            sequence: 0,
            segment,
            generation,
            is_clean: false,
            position: self.position,
            offset: self.offset,
            ordinal: self.ordinal,
            chain: self.chain,
            max_timestamp: self.max_timestamp,
            epoch: None,
            born: None,
        }
    }

    /// Where it is in the log, whatever the store.
    pub(crate) fn place(&self) -> edit::Point {
        edit::Point {
            offset: self.offset,
            ordinal: self.ordinal,
            chain: self.chain,
        }
    }

    /// The same point as the start of a new segment.
    pub(crate) fn rolled(self) -> Self {
        Self {
            position: Position::ZERO,
            max_timestamp: NO_TIMESTAMP,
            ..self
        }
    }

    /// Whether it can lie in the segment that begins at `base`: there, or behind records and the batches that hold them.
    pub(crate) fn may_follow(&self, base: &Self) -> bool {
        let has_batches = base.ordinal < self.ordinal;
        base.ordinal <= self.ordinal && has_batches == (base.offset < self.offset)
    }

    /// The point after `batch`, which was stamped for this point. No file that is read has more batches than offsets lie
    /// before a point, and a batch that is sound has an offset behind its last one: so there is an ordinal, too.
    pub(crate) fn after(self, batch: &View<'_>) -> Self {
        Self {
            offset: batch.next_offset(),
            position: self.position.plus(batch.bytes().len() as u64),
            ordinal: self.ordinal.plus(1),
            chain: self.chain.extend(batch.header_bytes()),
            max_timestamp: self.max_timestamp.max(batch.max_timestamp()),
        }
    }

    /// The point after a batch of which only the header is believed; `None` if its offsets are not
    /// those that follow this point.
    pub(crate) fn after_header(self, bytes: &[u8]) -> Option<Self> {
        let header = batch::Header::parse(bytes).ok()?;
        let offsets = header.offsets()?;
        if offsets.start != self.offset {
            return None;
        }
        Some(Self {
            offset: offsets.end,
            position: self.position.checked_add(header.total_bytes() as u64)?,
            ordinal: self.ordinal.checked_add(1)?,
            chain: self.chain.extend(bytes.first_chunk()?),
            max_timestamp: self
                .max_timestamp
                .max(Timestamp::from_millis(header.max_timestamp)),
        })
    }
}
