//! Which snapshots there are.

use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Operation};
use crate::disk::memory::MemoryDir;
use crate::snapshot::{self, NAME};
use crate::testing::open;

fn names(root: &MemoryDir) -> Vec<String> {
    let listed = listed(&root.child("snapshots")).into_iter();
    listed.map(|entry| entry.name.to_string()).collect()
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
    assert!(listed(&shelf).is_empty());
    let partition = made(&root);
    assert_eq!(names(&root), ["nightly"]);
    let found = &listed(&shelf)[0].summary;
    assert_eq!(*found.as_ref().unwrap(), summary(partition));
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
    let (half, none) = (shelf.child("half"), shelf.child("none"));
    block_on(begin(&half)).unwrap();
    block_on(half.child("topics").create()).unwrap();
    block_on(none.create()).unwrap();
    assert_eq!(names(&root), ["nightly"]);
    let swept = block_on(snapshot::sweep_unfinished(&shelf)).unwrap();
    assert_eq!(swept, ["half", "none"].map(|name| Name::new(name).unwrap()));
    assert!(!block_on(half.exists()).unwrap());
    assert_eq!(names(&root), ["nightly"]);
}

/// With its smallest file gone a start removed all of it, and with that what retention had let go of since.
#[test]
fn a_snapshot_that_has_lost_its_summary_is_told_and_goes_only_when_it_is_asked_for() {
    let root = MemoryDir::new();
    let shelf = root.child("snapshots");
    made(&root);
    let summary = block_on(shelved(&root).read(NAME, 1 << 20)).unwrap();
    let lose = || block_on(shelved(&root).remove(NAME)).unwrap();
    lose();
    let swept = block_on(snapshot::sweep_unfinished(&shelf)).unwrap();
    assert!(swept.is_empty(), "{swept:?}");
    let found = &listed(&shelf)[0].summary;
    assert!(matches!(found, Err(Error::Format { .. })), "{found:?}");
    block_on(shelved(&root).write_aside(NAME, &summary)).unwrap();
    assert!(listed(&shelf)[0].summary.is_ok());
    lose();
    block_on(snapshot::remove(&shelf, &name())).unwrap();
    assert!(!block_on(shelved(&root).exists()).unwrap());
}

/// It held its segments until the next start, and nobody saw it.
#[test]
fn what_could_not_be_removed_of_a_snapshot_goes_when_it_is_asked_for_again() {
    let root = FaultyDir::new(MemoryDir::new());
    let half = root.child("half");
    let summary = Summary {
        name: Name::new("half").unwrap(),
        created: at(1),
        topics: Vec::new(),
    };
    block_on(begin(&half)).unwrap();
    block_on(half.child("topics").create()).unwrap();
    block_on(commit(&half, &summary)).unwrap();
    let fault = Fault::Fail(ErrorKind::Other);
    root.faults().fail(Operation::RemoveTree, 1, fault);
    let failed = block_on(snapshot::remove(&root, &summary.name));
    assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
    assert!(block_on(half.exists()).unwrap());
    let gone = block_on(snapshot::remove(&root, &summary.name));
    assert!(matches!(gone, Err(Error::NoSnapshot { .. })), "{gone:?}");
    assert!(!block_on(half.exists()).unwrap());
}

#[test]
fn an_unfinished_snapshot_that_cannot_be_removed_keeps_no_other_one() {
    let root = FaultyDir::new(MemoryDir::new());
    for name in ["first", "second"] {
        block_on(begin(&root.child(name))).unwrap();
    }
    let fault = Fault::Fail(ErrorKind::Other);
    root.faults().fail(Operation::RemoveTree, 1, fault);
    block_on(snapshot::sweep_unfinished(&root)).unwrap_err();
    let swept = block_on(snapshot::sweep_unfinished(&root)).unwrap();
    assert_eq!(swept, [Name::new("first").unwrap()]);
}

#[test]
fn a_rotten_summary_is_told_and_swept_by_nobody() {
    let root = MemoryDir::new();
    let shelf = root.child("snapshots");
    made(&root);
    let mut bytes = block_on(shelved(&root).read(NAME, 1 << 20)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    block_on(shelved(&root).write_aside(NAME, &bytes)).unwrap();
    let found = &listed(&shelf)[0].summary;
    assert!(matches!(found, Err(Error::Format { .. })));
    assert!(
        block_on(snapshot::sweep_unfinished(&shelf))
            .unwrap()
            .is_empty()
    );
    block_on(snapshot::remove(&shelf, &name())).unwrap();
    assert!(listed(&shelf).is_empty());
}

#[test]
fn a_listing_goes_on_behind_a_name_and_ends_where_it_is_broken_off() {
    let root = MemoryDir::new();
    for name in ["b", "c", "a", "d"] {
        let summary = Summary {
            name: Name::new(name).unwrap(),
            created: at(1),
            topics: Vec::new(),
        };
        block_on(commit(&root.child(name), &summary)).unwrap();
    }
    let two_behind = |after: Option<&str>| {
        let (after, mut seen) = (after.map(|name| Name::new(name).unwrap()), Vec::new());
        let see = |entry: Entry| {
            seen.push(entry.name.to_string());
            match seen.len() {
                0 | 1 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        block_on(list(&root, after.as_ref(), see)).unwrap();
        seen
    };
    assert_eq!(two_behind(None), ["a", "b"]);
    assert_eq!(two_behind(Some("a")), ["b", "c"]);
    assert_eq!(two_behind(Some("bb")), ["c", "d"]);
    assert_eq!(two_behind(Some("d")), [""; 0]);
}
