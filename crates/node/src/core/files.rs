//! How much that opens files a core does at once: within its share of the process's descriptors, and
//! no more than makes a disk busy.

use corelog_storage::open_files::{self, Limits};

use crate::rt::{Permit, Semaphore};

/// Bytes of mapped indexes that the logs of a core keep.
const MAP_BYTES_MAX: usize = 64 << 20;

/// Turns for what opens files. Each kind has its own, so that none waits for another: a hot
/// partition's flush not for thousands that are born, nor a flush for reads.
#[derive(Debug)]
pub(super) struct Files {
    flushes: Semaphore,
    births: Semaphore,
    chores: Semaphore,
    reads: Semaphore,
    at_once: usize,
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A flush into files that are there: a store, and a mark if the log was clean.
    Flush,
    /// A flush that makes files first: up to four are open.
    Birth,
    /// A chore.
    Chore,
    /// A read from the disk.
    Read,
}

impl Files {
    /// Turns for a core that may keep `files_max` files open. Three quarters of them may be in use at
    /// once, so that the rest are those that are used again soon.
    pub(super) fn new(files_max: usize) -> Self {
        let turns = |share: usize, least, most| {
            let turns = (files_max / share).clamp(least, most);
            Semaphore::new(turns as u64)
        };
        Self {
            flushes: turns(8, 4, 256),
            births: turns(32, 2, 32),
            chores: turns(32, 2, 32),
            reads: turns(4, 4, 256),
            at_once: (files_max / 8).clamp(2, 64),
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, turn: Turn) -> Permit {
        let turns = match turn {
            Turn::Flush => &self.flushes,
            Turn::Birth => &self.births,
            Turn::Chore => &self.chores,
            Turn::Read => &self.reads,
        };
        turns.acquire(1).await
    }

    /// How many partitions are opened or closed at once.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }
}

/// Has the logs of this core keep no more than `files_max` files open.
pub(super) fn limit(files_max: usize) {
    open_files::limit(Limits {
        files_max,
        map_bytes_max: MAP_BYTES_MAX,
    });
}
