//! How the descriptors that the process may have are shared out.

use crate::rt::LEAVING_MAX;
use crate::transfer;

/// Descriptors for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Files of logs that one core keeps open.
    pub(super) core_files: usize,
    /// Client connections, over all cores.
    pub(super) connections: usize,
}

impl Share {
    /// Shares out `limit` descriptors. Half of what is left beside the node's own go to files: one that
    /// is closed is opened again, a connection is not.
    pub(super) fn of(limit: u64, cores: usize, connections_max: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let own = NODE_DESCRIPTORS + TRANSFER_DESCRIPTORS + cores * CORE_DESCRIPTORS;
        let left = limit.saturating_sub(own);
        let core_files = (left / 2 / cores.max(1)).clamp(CORE_FILES_MIN, CORE_FILES_MAX);
        let for_connections = left.saturating_sub(cores * core_files);
        Self {
            core_files,
            connections: connections_max.min(for_connections).max(1),
        }
    }
}

/// The lock, the side thread, the pool's threads with a directory and a file each, some to spare; and
/// removed files whose space is given back.
const NODE_DESCRIPTORS: usize = 64 + LEAVING_MAX;
/// Each place for sending segments has a socket, a file, and the file of the turn before; who receives
/// one has a socket and a file.
const TRANSFER_DESCRIPTORS: usize = 3 * transfer::PLACES + 2 * transfer::RECEIVERS;
/// Rings, timers, listeners, and connections that are being refused.
const CORE_DESCRIPTORS: usize = 24;
/// Fewer files than this, and a partition that is born would wait for itself.
const CORE_FILES_MIN: usize = 16;
/// More than this gains little: what is written to every few seconds stays open.
const CORE_FILES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descriptors_together_stay_within_the_limit() {
        for limit in [292, 1024, 4096, 65_536, 1 << 20] {
            for cores in [1, 2, 4] {
                let share = Share::of(limit, cores, 10_000);
                let all = NODE_DESCRIPTORS
                    + TRANSFER_DESCRIPTORS
                    + cores * (CORE_DESCRIPTORS + share.core_files)
                    + share.connections;
                assert!(all as u64 <= limit, "{limit}, {cores} cores: {share:?}");
                assert!(CORE_FILES_MIN <= share.core_files);
            }
        }
        assert_eq!(Share::of(20_000, 2, 5_000).connections, 5_000);
        assert_eq!(Share::of(4096, 2, 10_000).core_files, 980);
    }

    #[test]
    fn a_limit_that_is_too_low_leaves_the_least() {
        let share = Share::of(10, 2, 10_000);
        assert_eq!((share.core_files, share.connections), (CORE_FILES_MIN, 1));
    }
}
