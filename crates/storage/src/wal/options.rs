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
    /// Appended bytes that may be in memory only, and lost by kill -9 (128 MiB, at most 1 GiB). From
    /// 8 MiB on, or half of it if that is less, they are written and synced beside the appends, up to
    /// 16 MiB at a time. A stream goes as fast as it is appended until there are so many, and then as
    /// fast as the disk: appends wait for it. The thread keeps up to 160 MiB of such memory for its next
    /// burst, as long as it lives.
    pub unsynced_bytes_max: usize,
    /// Synced bytes kept in memory for `read` (4 MiB).
    pub tail_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: ByteSize::from_mib(64),
            batch_bytes: 64 << 10,
            unsynced_bytes_max: 128 << 20,
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
            unsynced_bytes_max: self.unsynced_bytes_max.min(1 << 30),
            tail_bytes_max: self.tail_bytes_max,
        }
    }

    /// The least bytes that are written without being asked to be synced.
    pub(super) fn group_bytes_min(&self) -> usize {
        (self.unsynced_bytes_max / 2).clamp(1, GROUP_BYTES_MIN)
    }

    /// The same for the log underneath.
    pub(super) fn of_log(&self) -> log::Options {
        log::Options {
            segment_bytes_max: self.segment_bytes_max,
            rules: rules(),
            tail_bytes_max: self.tail_bytes_max,
            // Before an append no more than that waits, and a batch of any size is taken on top.
            pending_bytes_max: self.unsynced_bytes_max + 2 * BATCH_BYTES_MAX,
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

/// A disk is as fast as it can with writes of that size, and a short stream goes without one.
const GROUP_BYTES_MIN: usize = 8 << 20;
