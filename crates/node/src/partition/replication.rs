//! How a partition is replicated: decides only where the high watermark is and who may append.

use corelog_record::Offset;

/// How a partition is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replication {
    /// One copy: what is durable here may be read.
    Solo,
}

impl Replication {
    /// All below this may be read, given what is durable here.
    pub(super) fn high_watermark(self, durable: Offset) -> Offset {
        match self {
            Self::Solo => durable,
        }
    }
}
