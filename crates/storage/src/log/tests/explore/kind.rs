//! What a log does: one kind of operation at a time, after some past.

use corelog_record::{ByteSize, Offset};
use fastrand::Rng;

use super::super::at;
use super::super::world::{World, fill_manifest};
use crate::disk::faulty::{Match, Operation};
use crate::log::{Hold, Options, Ownership};
use crate::testing::batch;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Kind {
    /// Single batches, each acknowledged before the next.
    Append,
    /// Groups of batches, the next one forming while one is on the disk.
    GroupCommit,
    /// Segments that end, and the next store made ahead.
    Roll,
    /// Rolled segments that get their final files.
    Seal,
    /// Retention by age and by bytes, and the removal of files.
    Expire,
    /// Stores that retention lets go and that become the next ones.
    Reuse,
    /// The log start moved by a user.
    Truncate,
    /// The end of the log cut off.
    TruncateSuffix,
    /// Many edits of the manifest, one after the other.
    ManifestEdit,
    /// A manifest that is full and written anew.
    ManifestCompaction,
    /// The mark, written while busy and when idle.
    Mark,
    /// A clean stop, a start, and the first group after it.
    Close,
    /// The recovery of what a crash left.
    Recover,
    /// Copies of batches, rolled where the source did.
    CopiedAppend,
    /// A copy that gives up all, and begins anew.
    Adopt,
    /// An epoch that begins while the log is open.
    Epoch,
    /// A snapshot of a log that goes on.
    Snapshot,
    /// A snapshot made a partition of its own.
    Restore,
}

impl Kind {
    pub(super) const ALL: [Self; 18] = [
        Self::Append,
        Self::GroupCommit,
        Self::Roll,
        Self::Seal,
        Self::Expire,
        Self::Reuse,
        Self::Truncate,
        Self::TruncateSuffix,
        Self::ManifestEdit,
        Self::ManifestCompaction,
        Self::Mark,
        Self::Close,
        Self::Recover,
        Self::CopiedAppend,
        Self::Adopt,
        Self::Epoch,
        Self::Snapshot,
        Self::Restore,
    ];

    /// A log with some past, in which an operation of this kind does something.
    pub(super) fn past(self, seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let is_copy = matches!(self, Self::CopiedAppend | Self::Adopt);
        let options = Options {
            ownership: match is_copy {
                true => Ownership::Follower,
                false => Ownership::Owner,
            },
            segment_bytes_max: ByteSize::from_kib(*rng.choice(&[4, 8, 16]).unwrap()),
            index_interval_bytes: 512,
            tail_bytes_max: 16 << 10,
            ..Options::default()
        };
        let mut world = World::new(rng, options, CHANGES.map(Match::from).to_vec());
        let is_new = world.rng.u32(0..4) == 0;
        if is_copy {
            world.model.is_copy = true;
            adopt(&mut world);
        }
        match self {
            Self::Append | Self::GroupCommit | Self::Roll if is_new => return world,
            Self::Seal => {
                // All flushed, nothing sealed.
                for _ in 0..world.rng.usize(2..5) {
                    append(&mut world, 3, 2000);
                    flush(&mut world);
                }
                return world;
            }
            _ => {}
        }
        let batches = match self {
            Self::Expire | Self::Reuse | Self::Truncate | Self::TruncateSuffix => {
                world.rng.usize(8..20)
            }
            _ => world.rng.usize(1..8),
        };
        for _ in 0..batches {
            append(&mut world, 1, 3000);
            flush(&mut world);
            world.now += 100;
            chores(&mut world, false);
        }
        world.settle();
        self.age(&mut world);
        world
    }

    /// What happened to the log since: nothing, a clean stop, or a crash.
    fn age(self, world: &mut World) {
        let left = match self {
            Self::ManifestCompaction => world.rng.usize(0..250),
            _ => world.rng.usize(0..12_000),
        };
        match world.rng.u32(0..4) {
            _ if self == Self::ManifestCompaction => world.close(|root| fill_manifest(root, left)),
            0 => {}
            1 => world.close(|root| fill_manifest(root, left)),
            2 => world.kill(false),
            _ => world.cut_power(),
        }
        if self == Self::Restore {
            snapshot(world);
        }
        if self == Self::Recover {
            work(world, 30);
            world.stop();
            let seed = world.rng.u64(..);
            let image = world.disk.inner().power_cut(seed);
            world.replace_disk(image);
        }
    }

    /// Does the operation.
    pub(super) fn run(self, world: &mut World) {
        match self {
            Self::Append => {
                for _ in 0..3 {
                    append(world, 1, 1200);
                    flush(world);
                }
            }
            Self::GroupCommit => work(world, 25),
            Self::Roll => {
                for _ in 0..3 {
                    append(world, 2, 3000);
                    world.start_flush();
                    world.start_chore(false);
                    run(world);
                }
            }
            Self::Seal => chores(world, false),
            Self::Expire => expire(world),
            Self::Reuse => {
                for _ in 0..3 {
                    append(world, 3, 3000);
                    flush(world);
                    chores(world, false);
                    expire(world);
                }
            }
            Self::Truncate => {
                for _ in 0..2 {
                    let lowest = any_offset(world);
                    world.truncate(lowest);
                    run(world);
                    chores(world, false);
                }
            }
            Self::TruncateSuffix => {
                let from = any_offset(world).max(world.model.log_start);
                world.truncate_suffix(from);
                run(world);
                append(world, 1, 1200);
                flush(world);
                chores(world, true);
            }
            Self::ManifestEdit | Self::ManifestCompaction => {
                for _ in 0..4 {
                    world.truncate(world.model.log_start.plus(1).min(world.model.durable));
                    run(world);
                }
                append(world, 3, 3000);
                flush(world);
                chores(world, true);
            }
            Self::Mark => {
                for _ in 0..4 {
                    append(world, 1, 900);
                    flush(world);
                    world.now += 600;
                    let is_idle = world.rng.bool();
                    world.start_chore(is_idle);
                    run(world);
                }
            }
            Self::Close => {
                append(world, 1, 900);
                world.close(|_| {});
                append(world, 1, 900);
                flush(world);
            }
            Self::Recover => {
                world.reopen();
                append(world, 1, 900);
                flush(world);
            }
            Self::CopiedAppend => {
                for _ in 0..4 {
                    append(world, 2, 3000);
                    world.start_flush();
                    world.start_chore(false);
                    run(world);
                }
            }
            Self::Adopt => {
                adopt(world);
                append(world, 1, 1200);
                flush(world);
                chores(world, true);
            }
            Self::Epoch => {
                for _ in 0..2 {
                    world.begin_epoch();
                    run(world);
                    append(world, 1, 1200);
                    flush(world);
                }
            }
            Self::Snapshot => {
                append(world, 1, 900);
                snapshot(world);
                append(world, 1, 900);
                flush(world);
                chores(world, true);
            }
            Self::Restore => {
                assert!(world.restore(), "there is a snapshot");
                append(world, 1, 900);
                flush(world);
            }
        }
    }
}

/// What changes the disk, or makes it durable.
const CHANGES: [Operation; 12] = [
    Operation::CreateDir,
    Operation::CreateFile,
    Operation::Rename,
    Operation::Link,
    Operation::Remove,
    Operation::Reuse,
    Operation::RemoveTree,
    Operation::SyncDir,
    Operation::Write,
    Operation::Sync,
    Operation::Allocate,
    Operation::SetLen,
];

/// Appends some batches of up to so many bytes at once.
fn append(world: &mut World, batches_max: usize, bytes_max: usize) {
    let count = world.rng.usize(1..=batches_max);
    let any = |_| {
        let value = vec![world.rng.u8(1..); world.rng.usize(0..bytes_max)];
        let values = vec![&value[..]; world.rng.usize(1..3)];
        batch(&values, at(world.now))
    };
    let batches = (0..count).map(any).collect();
    world.append(batches);
}

/// Lets all that is under way come to its end.
fn run(world: &mut World) {
    while world.is_busy() {
        world.advance();
    }
}

fn flush(world: &mut World) {
    for _ in 0..4 {
        world.start_flush();
        run(world);
    }
}

/// Does all background work that is due.
fn chores(world: &mut World, is_idle: bool) {
    for _ in 0..100 {
        world.start_chore(is_idle);
        if !world.is_busy() {
            return;
        }
        run(world);
    }
    panic!("chores without end");
}

/// Appends, flushes and does chores, all at the same time.
fn work(world: &mut World, steps: usize) {
    for _ in 0..steps {
        match world.rng.u32(0..6) {
            0 => append(world, 3, 2500),
            1 => world.start_flush(),
            2 => world.start_chore(false),
            _ => _ = world.advance(),
        }
    }
}

/// Begins anew at the end, in the next epoch of the source.
fn adopt(world: &mut World) {
    world.adopt();
    run(world);
    world.begin_epoch();
    run(world);
}

/// Takes a snapshot of all that was appended.
fn snapshot(world: &mut World) {
    let before = world.model.taken.len();
    for _ in 0..20 {
        world.snapshot();
        run(world);
        if before < world.model.taken.len() {
            return;
        }
        flush(world);
        world.start_chore(false);
        run(world);
    }
    panic!("a snapshot without end");
}

fn expire(world: &mut World) {
    if world.rng.bool() {
        world.expire(at(world.now), Hold::NONE);
    } else {
        let left = world.rng.u32(0..30);
        world.expire_to(ByteSize::from_kib(left), Hold::NONE);
    }
    run(world);
    chores(world, false);
}

fn any_offset(world: &mut World) -> Offset {
    Offset::new(world.rng.u64(0..=world.model.durable.get())).unwrap()
}
