//! Tests of snapshots: what they hold, what leaves them, and what a crash or a rotten disk makes of
//! it.

mod crash;
mod damage;
mod random;
mod shelf;
mod stories;
mod unsealed;

use std::ops::ControlFlow;

use corelog_record::{CopyId, Lineage, Offset, TopicId, TopicName};

use super::{
    Entry, Name, Partition, Restore, Restored, Stores, Summary, Topic, begin, commit, list,
    partition_dir, restore,
};
use crate::Error;
use crate::disk::{Dir, block_on};
use crate::log::{Chore, Identity, Log, OpenReport};
use crate::testing::own::{at, fill, names, offset, small, walk};
use crate::testing::{batch, flush, identity, run, settle};

fn name() -> Name {
    Name::new("nightly").unwrap()
}

fn topic() -> TopicName {
    TopicName::new("orders").unwrap()
}

/// The id of the topic that is restored to.
const OTHER: TopicId = TopicId::from_bytes([8; 16]);

/// The directory of the one partition in the snapshot of these tests.
fn snapped<D: Dir>(root: &D) -> D {
    partition_dir(&shelved(root), &topic(), identity().partition)
}

/// The directory of the snapshot of these tests.
fn shelved<D: Dir>(root: &D) -> D {
    root.child("snapshots").child(name().as_str())
}

/// The topic that is restored to.
fn restored<D: Dir>(root: &D) -> D {
    root.child("topics").child("copy")
}

/// Snapshots a log in one go, without a summary.
fn link<D: Dir>(log: &mut Log<D>, root: &D) -> Result<Partition, Error> {
    let upto = log.begin_snapshot()?;
    settle(log, at(10))?;
    let plan = log.plan_snapshot(upto, snapped(root))?;
    let plan = plan.expect("all below is sealed");
    match run(log, plan, at(10))? {
        Chore::Snapshotted {
            log_start,
            end,
            chain,
            segments,
            bytes,
        } => Ok(Partition {
            partition: identity().partition,
            log_start,
            end,
            chain: Some(chain),
            bytes,
            segments: segments as u64,
        }),
        other => panic!("{other:?}"),
    }
}

/// What a snapshot of one partition is said to hold.
fn summary(partition: Partition) -> Summary {
    Summary {
        name: name(),
        created: at(10),
        topics: vec![Topic {
            name: topic(),
            id: identity().topic,
            settings: b"a topic file, opaque".to_vec(),
            partitions: vec![partition],
        }],
    }
}

/// What is on the shelf.
fn listed<D: Dir>(shelf: &D) -> Vec<Entry> {
    let mut entries = Vec::new();
    let see = |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    };
    block_on(list(shelf, None, see)).unwrap();
    entries
}

/// Snapshots a log in one go.
fn snapshot<D: Dir>(log: &mut Log<D>, root: &D) -> Result<Partition, Error> {
    let partition = link(log, root)?;
    block_on(commit(&shelved(root), &summary(partition)))?;
    Ok(partition)
}

/// How the snapshot of these tests is restored.
fn order(partition: Partition) -> Restore {
    Restore {
        origin: identity().topic,
        partition,
        topic: OTHER,
        copy: CopyId::from_bytes([5; 16]),
        lineage: Lineage::from_bytes([6; 16]),
        now: at(5_000),
        stores: Stores::Copied,
        is_damage_kept: false,
    }
}

fn restore_all<D: Dir>(root: &D, partition: Partition) -> Result<Option<Restored>, Error> {
    let (source, topic) = (snapped(root), restored(root));
    block_on(restore(&source, &topic, order(partition), &mut |_| {}))
}

/// Opens the partition that was restored.
fn open_restored<D: Dir>(root: &D) -> Result<(Log<D>, OpenReport), Error> {
    let dir = restored(root).child("0");
    let identity = Identity::new(OTHER, identity().partition);
    let quarantine = root.child("quarantine");
    block_on(Log::open(dir, quarantine, identity, small(), 77, at(6_000)))
}
