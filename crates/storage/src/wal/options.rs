//! How an embedded log behaves.

use corelog_record::{ByteSize, batch};

use crate::log;

/// How a [`Wal`](super::Wal) behaves. Nothing of it is stored: each opening may choose anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A segment, which is what truncation frees, rolls before it grows beyond this (64 MiB).
    /// At least 1 MiB, at most 1 GiB.
    pub segment_bytes_max: ByteSize,
    /// Records are gathered into one batch up to this many bytes (64 KiB), which is what reading one
    /// record reads. Records of one `append_batch` stay together whatever it says.
    pub batch_bytes: usize,
    /// Appended bytes that may wait for a sync (8 MiB, which is the most): when there are more,
    /// `append` writes and syncs them by itself.
    pub unsynced_bytes_max: usize,
    /// Synced bytes kept in memory for `read` (4 MiB).
    pub tail_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: ByteSize::from_mib(64),
            batch_bytes: 64 << 10,
            unsynced_bytes_max: UNSYNCED_BYTES_MAX,
            tail_bytes_max: 4 << 20,
        }
    }
}

impl Options {
    /// The options with all values within their limits.
    pub(super) fn bounded(self) -> Self {
        let segment = self.segment_bytes_max;
        Self {
            segment_bytes_max: segment.clamp(ByteSize::from_mib(1), ByteSize::from_mib(1024)),
            batch_bytes: self.batch_bytes.clamp(batch::HEADER_BYTES, BATCH_BYTES_MAX),
            unsynced_bytes_max: self.unsynced_bytes_max.min(UNSYNCED_BYTES_MAX),
            tail_bytes_max: self.tail_bytes_max,
        }
    }

    /// The same for the log underneath.
    pub(super) fn of_log(&self) -> log::Options {
        log::Options {
            segment_bytes_max: self.segment_bytes_max,
            rules: rules(),
            tail_bytes_max: self.tail_bytes_max,
            ..log::Options::default()
        }
    }
}

/// What the batches of an embedded log keep to: one record may fill one.
pub(super) fn rules() -> batch::Rules {
    batch::Rules {
        record_bytes_max: BATCH_BYTES_MAX,
        batch_bytes_max: BATCH_BYTES_MAX,
        ..batch::Rules::default()
    }
}

/// The most bytes of one batch, and so, less some 80 bytes, of one record. Two of them fit into what
/// may be written and not synced.
pub(super) const BATCH_BYTES_MAX: usize = log::UNSYNCED_BYTES_MAX / 2;

/// With a last batch of any size on top, all that waits is still one group.
const UNSYNCED_BYTES_MAX: usize = log::UNSYNCED_BYTES_MAX - BATCH_BYTES_MAX;
