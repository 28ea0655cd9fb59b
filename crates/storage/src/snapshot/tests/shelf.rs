//! Which snapshots there are.

use super::*;
use crate::disk::memory::MemoryDir;
use crate::snapshot::{self, Entry, NAME, sweep_unrestored};
use crate::testing::open;

fn names(entries: &[Entry<Summary>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn made(root: &MemoryDir) -> Partition {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1_000);
    snapshot(&mut log, root).unwrap()
}

#[test]
fn a_snapshot_is_there_from_its_summary_on_and_gone_with_it() {
    let root = MemoryDir::new();
    let shelf = root.child("snapshots");
    assert!(
        block_on(snapshot::list(&shelf, |summary| summary))
            .unwrap()
            .is_empty()
    );
    let partition = made(&root);
    let entries = block_on(snapshot::list(&shelf, |summary| summary)).unwrap();
    assert_eq!(names(&entries), ["nightly"]);
    assert_eq!(*entries[0].told.as_ref().unwrap(), summary(partition));
    assert_eq!(
        block_on(snapshot::open(&shelved(&root))).unwrap(),
        summary(partition)
    );
    block_on(snapshot::remove(&shelf, &name())).unwrap();
    assert!(!block_on(shelved(&root).exists()).unwrap());
    let gone = block_on(snapshot::remove(&shelf, &name()));
    assert!(matches!(gone, Err(Error::NoSnapshot { .. })), "{gone:?}");
    let gone = block_on(snapshot::open(&shelved(&root)));
    assert!(matches!(gone, Err(Error::NoSnapshot { .. })), "{gone:?}");
}

#[test]
fn an_unfinished_snapshot_is_not_listed_and_is_swept() {
    let root = MemoryDir::new();
    let shelf = root.child("snapshots");
    assert!(
        block_on(snapshot::sweep_unfinished(&shelf))
            .unwrap()
            .is_empty()
    );
    made(&root);
    let half = shelf.child("half");
    block_on(half.child("topics").create()).unwrap();
    assert_eq!(
        names(&block_on(snapshot::list(&shelf, |summary| summary)).unwrap()),
        ["nightly"]
    );
    let refused = block_on(snapshot::remove(&shelf, &Name::new("half").unwrap()));
    assert!(matches!(refused, Err(Error::NoSnapshot { .. })));
    let swept = block_on(snapshot::sweep_unfinished(&shelf)).unwrap();
    assert_eq!(swept, [Name::new("half").unwrap()]);
    assert!(!block_on(half.exists()).unwrap());
    assert_eq!(
        names(&block_on(snapshot::list(&shelf, |summary| summary)).unwrap()),
        ["nightly"]
    );
}

#[test]
fn a_rotten_summary_is_told_and_swept_by_nobody() {
    let root = MemoryDir::new();
    let shelf = root.child("snapshots");
    made(&root);
    let mut bytes = block_on(shelved(&root).read(NAME, 1 << 20)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    block_on(shelved(&root).write_aside(NAME, &bytes)).unwrap();
    let entries = block_on(snapshot::list(&shelf, |summary| summary)).unwrap();
    assert!(matches!(entries[0].told, Err(Error::Format { .. })));
    assert!(
        block_on(snapshot::sweep_unfinished(&shelf))
            .unwrap()
            .is_empty()
    );
    block_on(snapshot::remove(&shelf, &name())).unwrap();
    assert!(
        block_on(snapshot::list(&shelf, |summary| summary))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_an_interrupted_restore_left_is_swept_and_partitions_stay() {
    let root = MemoryDir::new();
    let partition = made(&root);
    restore_all(&root, partition).unwrap();
    let topic = restored(&root);
    block_on(topic.child("1.restoring").create()).unwrap();
    assert_eq!(block_on(sweep_unrestored(&topic)).unwrap(), 1);
    assert_eq!(block_on(sweep_unrestored(&topic)).unwrap(), 0);
    assert!(open_restored(&root).unwrap().1.is_clean);
}
