//! The store that is made ahead: who has one, and who gives it back.

use corelog_record::{ByteSize, Offset};

use super::at;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::chore::Kind;
use crate::log::{Log, Options};
use crate::testing::own::{chores, names};
use crate::testing::{batch, chore, flush, open, read_all, run};

fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(4),
        ..Options::default()
    }
}

/// A group for which space is only reserved, and the whole of the next segment's.
fn group() -> Vec<u8> {
    batch(&[&vec![b'g'; 300 << 10]], at(0))
}

fn turn<D: Dir>(log: &mut Log<D>) {
    log.append(&group(), at(10)).unwrap();
    flush(log, at(10)).unwrap();
    chores(log, 10, false);
}

/// A log whose active segment is more than half full, in groups that follow each other.
fn more_than_half_full<D: Dir>(root: &D) -> Log<D> {
    let (mut log, _) = open(root, options(), 1, at(0)).unwrap();
    for _ in 0..8 {
        turn(&mut log);
    }
    assert!(is_next_there(root), "it rolls soon");
    log
}

fn is_next_there(root: &impl Dir) -> bool {
    let names = names(&root.child("p0"));
    names.iter().any(|name| name == "next")
}

/// Of a node with a thousand partitions half of them made one at each start, and zeros for it.
#[test]
fn a_log_that_was_only_opened_makes_no_store_ahead() {
    let root = MemoryDir::new();
    let mut log = more_than_half_full(&root);
    block_on(log.close(at(1))).unwrap();
    drop(log);
    let (mut log, _) = open(&root, options(), 2, at(2)).unwrap();
    assert!(log.plan_chore(at(2), false).is_none(), "nobody writes");
    for _ in 0..2 {
        turn(&mut log);
    }
    assert!(is_next_there(&root), "now somebody does");
}

#[test]
fn a_log_that_goes_idle_gives_the_next_store_back() {
    let root = MemoryDir::new();
    let mut log = more_than_half_full(&root);
    chores(&mut log, 11, true);
    assert!(!is_next_there(&root));
    chores(&mut log, 12, false);
    assert!(!is_next_there(&root), "nobody wrote since");
    turn(&mut log);
    assert!(is_next_there(&root));
    while log.segments().count() < 3 {
        turn(&mut log);
    }
    let read = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(read.len() as u64, log.durable().get());
}

/// It would be made, and be given back, for each of them.
#[test]
fn a_small_group_now_and_then_makes_no_store_ahead() {
    let root = MemoryDir::new();
    let mut log = more_than_half_full(&root);
    chores(&mut log, 11, true);
    for now in 12..30 {
        log.append(&batch(&[b"small"], at(now)), at(now)).unwrap();
        flush(&mut log, at(now)).unwrap();
        chores(&mut log, now, false);
        assert!(!is_next_there(&root));
        chores(&mut log, now, true);
    }
}

/// Appends were answered with `StorageFull` while the log itself had a segment's space that it did not use.
#[test]
fn on_a_full_disk_a_group_gets_the_space_of_the_next_store() {
    let root = MemoryDir::new();
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(40),
        ..Options::default()
    };
    let (mut log, _) = open(&root, options, 1, at(0)).unwrap();
    let group = batch(&[&vec![b'g'; 900 << 10]], at(0));
    while log.next.is_none() {
        log.append(&group, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        chores(&mut log, 0, false);
    }
    root.set_capacity(Some(root.bytes_in_use()));
    while !log.is_full() {
        log.append(&group, at(1)).unwrap();
        let _ = flush(&mut log, at(1));
    }
    assert_eq!(log.segments().count(), 1, "a group found no space");
    // The next store is removed; its space goes to the group.
    for _ in 0..2 {
        chore(&mut log, at(1), false).unwrap();
    }
    assert!(!log.is_full() && !is_next_there(&root));
    flush(&mut log, at(1)).unwrap();
    assert_eq!(log.durable(), log.log_end());
}

/// The name was free for the log by then: the removal that was tried again took another store with it.
#[test]
fn a_store_given_back_that_cannot_be_removed_is_in_the_way_of_no_other() {
    let root = FaultyDir::new(MemoryDir::new());
    let mut log = more_than_half_full(&root);
    let failed = Fault::Fail(std::io::ErrorKind::Other);
    let removal = Match::on(Operation::Remove, "next");
    root.faults().fail(removal, 1, failed);
    while root.faults().is_pending() {
        let _ = chore(&mut log, at(1), true);
    }
    assert!(!log.is_fenced());
    turn(&mut log);
    assert!(log.next.is_none(), "the name is taken");
    // It is tried again a minute later.
    chores(&mut log, 100_000, false);
    while log.next.is_none() {
        turn(&mut log);
    }
    chores(&mut log, 200_000, false);
    assert!(is_next_there(&root));
}

/// Two segments of a log can have the same base, one after the other: the second took the place of the first one's file where
/// that had not left.
#[test]
fn a_store_made_ahead_takes_the_place_of_no_other_file() {
    let root = MemoryDir::new();
    let mut log = more_than_half_full(&root);
    let dir = root.child("p0");
    let name = "00000000000000000013.log";
    block_on(dir.write_aside(name, b"to be quarantined")).unwrap();
    while log.segments().count() < 2 {
        log.append(&group(), at(0)).unwrap();
        let _ = flush(&mut log, at(0));
    }
    assert_eq!(log.active().store_name(), name);
    while !log.is_fenced() {
        flush(&mut log, at(1)).unwrap_err();
    }
    let kept = block_on(dir.read(name, 100)).unwrap();
    assert_eq!(kept, b"to be quarantined");
    let durable = log.durable();
    drop(log);
    let (mut log, report) = open(&root, options(), 2, at(2)).unwrap();
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(log.durable(), durable);
    turn(&mut log);
}

/// It was tried again every 200 ms, and took what was left each time: groups that came meanwhile found a full disk.
#[test]
fn a_next_store_that_found_no_space_is_not_tried_again_for_a_minute() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, options(), 1, at(0)).unwrap();
    let append = |log: &mut Log<MemoryDir>, now| {
        log.append(&group(), at(now)).unwrap();
        flush(log, at(now)).unwrap();
    };
    for _ in 0..6 {
        append(&mut log, 0);
        chores(&mut log, 0, false);
    }
    // Three quarters of what the next one wants.
    root.set_capacity(Some(root.bytes_in_use() + (3 << 20)));
    let mut tries = Vec::new();
    for now in (0..130_000).step_by(200) {
        if now == 0 || now == 200 {
            append(&mut log, now);
        }
        while let Some(plan) = log.plan_chore(at(now), false) {
            let is_next = log.chore == Some(Kind::Next);
            tries.extend(is_next.then_some(now));
            let _ = run(&mut log, plan, at(now));
        }
    }
    assert_eq!(tries, [0, 60_000, 120_000]);
    assert!(!log.is_full());
    root.set_capacity(None);
    append(&mut log, 180_000);
    chores(&mut log, 180_000, false);
    assert!(is_next_there(&root));
}
