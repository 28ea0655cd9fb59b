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
    /// The least limit for so many cores and a few connections: below it cores do not come up, or none of their clients
    /// gets on.
    pub(super) fn limit_min(cores: usize, connections_max: usize) -> u64 {
        let least = own(cores) + cores * CORE_FILES_MIN + connections_max.min(CONNECTIONS_MIN);
        least as u64
    }

    /// Shares out `limit` descriptors. What is left beside the node's own and all connections go to files, and half of it in any
    /// case: a file that is closed is opened again, a connection is not.
    pub(super) fn of(limit: u64, cores: usize, connections_max: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let left = limit.saturating_sub(own(cores));
        let for_files = left.saturating_sub(connections_max).max(left / 2);
        let core_files = (for_files / cores.max(1)).clamp(CORE_FILES_MIN, CORE_FILES_MAX);
        let for_connections = left.saturating_sub(cores * core_files);
        Self {
            core_files,
            connections: connections_max.min(for_connections).max(1),
        }
    }
}

/// What neither logs nor clients have.
const fn own(cores: usize) -> usize {
    NODE_DESCRIPTORS + TRANSFER_DESCRIPTORS + cores * CORE_DESCRIPTORS
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
/// A producer takes two connections, and so does a consumer: fewer than this serve nobody for long.
const CONNECTIONS_MIN: usize = 8;
/// A store that is written to and its mark take three: twenty thousand partitions keep theirs. More than this the kernel
/// has to remember, some KiB each.
const CORE_FILES_MAX: usize = 65_536;

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

    /// Half of them stayed unused where few connections are configured: 4,096 partitions opened their files in turn.
    #[test]
    fn what_connections_may_not_take_is_for_files() {
        let share = Share::of(20_000, 1, 300);
        assert_eq!((share.core_files, share.connections), (19_548, 300));
        let share = Share::of(1 << 20, 1, 10_000);
        assert!(
            3 * 10_000 <= share.core_files,
            "ten thousand partitions, all written to"
        );
    }

    #[test]
    fn the_least_limit_has_files_for_every_core_and_a_few_connections() {
        for cores in [1, 2, 64] {
            let share = Share::of(Share::limit_min(cores, 10_000), cores, 10_000);
            let least = (CORE_FILES_MIN, CONNECTIONS_MIN);
            assert_eq!((share.core_files, share.connections), least);
        }
        let few = Share::limit_min(1, 10_000) - Share::limit_min(1, 3);
        assert_eq!(few, 5, "no more connections than are configured");
    }

    #[test]
    fn a_limit_that_is_too_low_leaves_the_least() {
        let share = Share::of(10, 2, 10_000);
        assert_eq!((share.core_files, share.connections), (CORE_FILES_MIN, 1));
    }
}
