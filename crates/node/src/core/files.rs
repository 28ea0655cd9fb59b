//! How much of files a core does at once: within its share of the process's descriptors, no more than makes
//! a disk busy, and little that a sync would have to wait for.

use std::cell::Cell;
use std::time::{Duration, Instant};

use corelog_storage::log::ReadPlan;
use corelog_storage::open_files::{self, Limits};

use super::Disk;
use super::state::Core;
use crate::rt::{self, Permit, Semaphore};

/// Bytes of mapped indexes that the logs of a core keep.
const MAP_BYTES_MAX: usize = 64 << 20;

/// After a flush, others are expected for so long.
const FLUSHING_FOR: Duration = Duration::from_millis(100);

/// So much may be on its way from the disk for reads of all cores while they flush: some disks answer late
/// while more is.
const STRIDES_BYTES: usize = 1 << 20;

/// A sync waits for as much as was asked for before it: no more of that than lets a reader keep half of its speed.
const STRIDE_BYTES_MAX: usize = 512 << 10;

/// Turns for what opens files. Each kind has its own, so that none waits for another: a hot
/// partition's flush not for thousands that are born, nor a flush for reads.
#[derive(Debug)]
pub(super) struct Files {
    flushes: Semaphore,
    births: Semaphore,
    chores: Semaphore,
    reads: Semaphore,
    opens: Semaphore,
    strides: Semaphore,
    stride_bytes: usize,
    flushed: Cell<Option<Instant>>,
    at_once: usize,
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A flush into files that are there: a store, which takes two descriptors, and a mark if the log was
    /// clean. Or a sync of a store's space, for which its flushes wait.
    Flush,
    /// A flush that makes files first: up to five descriptors are open.
    Birth,
    /// A chore.
    Chore,
    /// A read from the disk.
    Read,
    /// A log that is closed and opened again.
    Open,
}

impl Files {
    /// Turns for one of `cores` cores, whose files may take `files_max` descriptors. Three quarters of them may be in use at
    /// once, so that the rest are those that are used again soon.
    pub(super) fn new(files_max: usize, cores: u16) -> Self {
        let turns = |share: usize, least, most| {
            let turns = (files_max / share).clamp(least, most);
            Semaphore::new(turns as u64)
        };
        let at_once = (files_max / 8).clamp(2, 64);
        Self {
            flushes: turns(12, 4, 256),
            births: turns(32, 2, 32),
            chores: turns(32, 2, 32),
            reads: turns(4, 4, 256),
            opens: Semaphore::new(at_once as u64),
            strides: Semaphore::new(1),
            stride_bytes: stride_bytes(cores),
            flushed: Cell::new(None),
            at_once,
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, turn: Turn) -> Permit {
        let turns = match turn {
            Turn::Flush => &self.flushes,
            Turn::Birth => &self.births,
            Turn::Chore => &self.chores,
            Turn::Read => &self.reads,
            Turn::Open => &self.opens,
        };
        if matches!(turn, Turn::Flush | Turn::Birth) {
            self.flushed.set(Some(rt::now()));
        }
        turns.acquire(1).await
    }

    /// Whether partitions are flushed just now.
    pub(super) fn is_flushing(&self) -> bool {
        let is_recent = |flushed| rt::now().saturating_duration_since(flushed) < FLUSHING_FOR;
        self.flushed.get().is_some_and(is_recent)
    }

    /// Gives way to others, behind each piece of what is long. Where partitions are flushed just now a slice
    /// of the core's time is long: completions of flushes are looked at between any two pieces.
    pub(super) async fn give_way(&self) {
        match self.is_flushing() {
            true => rt::next_turn().await,
            false => rt::yield_if_needed().await,
        }
    }

    /// As [`Self::give_way`], and leaves the processor to other threads once where partitions are flushed: what a large
    /// write waits for is a thread of the ring's, woken on this processor, and that for the end of this core's turn there,
    /// some milliseconds.
    pub(super) async fn give_way_to_disk(&self) {
        self.give_way().await;
        if self.is_flushing() {
            rt::yield_processor();
        }
    }

    /// Waits until a stride of a read may go to the disk: no other one is under way then.
    pub(super) async fn stride(&self) -> Permit {
        self.strides.acquire(1).await
    }

    /// What a stride takes in.
    pub(super) fn stride_bytes(&self) -> usize {
        self.stride_bytes
    }

    /// How many partitions are opened or closed at once.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }
}

impl Core {
    /// Gives way to others, behind each piece of what is long.
    pub(crate) async fn give_way(&self) {
        self.files.give_way().await;
    }

    /// As [`Self::give_way`], and the kernel's threads that large flushes need go first.
    pub(crate) async fn give_way_to_disk(&self) {
        self.files.give_way_to_disk().await;
    }

    /// How many more reads may go to the disk now.
    #[cfg(test)]
    pub(crate) fn reads_left(&self) -> u64 {
        self.files.reads.available()
    }

    /// How many wait for a stride.
    #[cfg(test)]
    pub(super) fn strides_waiting(&self) -> usize {
        self.files.strides.waiting()
    }
}

fn stride_bytes(cores: u16) -> usize {
    let share = STRIDES_BYTES / usize::from(cores.max(1));
    share.clamp(ReadPlan::<Disk>::STRIDE_BYTES_MIN, STRIDE_BYTES_MAX)
}

/// Has the logs of this core keep files open that take no more than `files_max` descriptors.
pub(super) fn limit(files_max: usize) {
    open_files::limit(Limits {
        files_max,
        map_bytes_max: MAP_BYTES_MAX,
    });
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::{poll_once, yield_now};

    use super::*;
    use crate::rt::tests::on_core;

    /// A client that reopened all partitions at once had all of them recovered at once.
    #[test]
    fn no_more_logs_are_opened_again_at_once_than_at_a_start() {
        on_core(|| async {
            let files = Files::new(16, 1);
            let both = (files.turn(Turn::Open).await, files.turn(Turn::Open).await);
            assert_eq!(files.at_once(), 2);
            let mut third = Box::pin(files.turn(Turn::Open));
            assert!(poll_once(&mut third).await.is_none());
            drop(both);
            third.await;
        });
    }

    #[test]
    fn a_core_is_flushing_from_a_flush_on_for_a_tenth_of_a_second_whatever_it_reads() {
        on_core(|| async {
            let files = Files::new(4096, 1);
            drop((files.turn(Turn::Read).await, files.turn(Turn::Chore).await));
            assert!(!files.is_flushing());
            drop(files.turn(Turn::Flush).await);
            assert!(files.is_flushing());
            rt::sleep(2 * FLUSHING_FOR).await;
            assert!(!files.is_flushing());
            drop(files.turn(Turn::Birth).await);
            assert!(files.is_flushing());
        });
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Looker {
        Spawned,
        Waits,
        Looked,
    }

    /// A task that waits for the core to look at what came, and how far it is.
    fn looker() -> Rc<Cell<Looker>> {
        let looker = Rc::new(Cell::new(Looker::Spawned));
        let look = Rc::clone(&looker);
        let waiting = async move {
            look.set(Looker::Waits);
            rt::next_turn().await;
            look.set(Looker::Looked);
        };
        rt::spawn(waiting).detach();
        looker
    }

    #[test]
    fn between_two_pieces_the_core_looks_at_what_came_while_partitions_are_flushed() {
        on_core(|| async {
            let files = Files::new(4096, 1);
            let mut goes_on = false;
            // A slice may be over by chance.
            for _ in 0..100 {
                let looker = looker();
                files.give_way().await;
                goes_on |= looker.get() != Looker::Looked;
            }
            assert!(goes_on, "a slice goes on");
            for to_disk in [false, true] {
                let looker = looker();
                while looker.get() == Looker::Spawned {
                    yield_now().await;
                }
                // It is due from now on.
                std::thread::sleep(Duration::from_micros(100));
                drop(files.turn(Turn::Flush).await);
                match to_disk {
                    false => files.give_way().await,
                    true => files.give_way_to_disk().await,
                }
                assert_eq!(looker.get(), Looker::Looked, "to the disk: {to_disk}");
            }
        });
    }

    #[test]
    fn the_strides_of_up_to_four_cores_take_a_mebibyte_in() {
        let kib = |cores| stride_bytes(cores) >> 10;
        assert_eq!([1, 2, 3, 4, 8].map(kib), [512, 512, 341, 256, 256]);
    }

    #[test]
    fn one_stride_is_under_way_at_a_time() {
        on_core(|| async {
            let files = Files::new(4096, 1);
            let first = files.stride().await;
            assert!(poll_once(files.stride()).await.is_none());
            drop(first);
            assert!(poll_once(files.stride()).await.is_some());
        });
    }
}
