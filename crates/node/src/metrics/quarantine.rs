//! What the node's quarantine holds.

use corelog_storage::format::quarantine::Reason;
use corelog_storage::quarantine::Usage;

/// What the quarantine holds for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineShare {
    /// The word for the reason, as in the files' names.
    pub reason: &'static str,
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// A row per reason, also for those of which there is nothing.
pub(crate) fn shares(usage: &Usage) -> Vec<QuarantineShare> {
    let share = |reason: Reason| {
        let share = usage.of(reason);
        QuarantineShare {
            reason: reason.as_str(),
            files: share.files,
            bytes: share.bytes,
        }
    };
    Reason::ALL.into_iter().map(share).collect()
}
