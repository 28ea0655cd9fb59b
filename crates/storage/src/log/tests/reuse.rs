//! Stores that leave a log at its front and become the next ones at its end.

use std::io::ErrorKind;
use std::rc::Rc;

use corelog_record::{ByteSize, Offset};

use super::at;
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, File, Open, block_on};
use crate::log::{Hold, Log, Options};
use crate::planted::{self, Bug};
use crate::repair::{Known, plan};
use crate::testing::own::{chores, stores};
use crate::testing::{batch, chore, flush, open, read_all, run};

/// The log keeps so many bytes: the active segment and the one before.
const KEPT: ByteSize = ByteSize::from_kib(700);

/// Segments of one batch, which is a group for which space is only reserved: nobody writes zeros there.
fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(512),
        tail_bytes_max: 0,
        ..Options::default()
    }
}

fn any_batch(number: u8) -> Vec<u8> {
    batch(&[&vec![number; 300 << 10]], at(i64::from(number)))
}

/// A log that rolls with each batch and keeps the newest, as it is when it has let something go.
fn rolling<D: Dir>(root: &D) -> Log<D> {
    let (mut log, _) = open(root, options(), 1, at(0)).unwrap();
    for number in 0..4 {
        turn(&mut log, number);
    }
    assert_eq!(waiting(root), 1, "a store has left the log, and is there");
    log
}

/// Appends and flushes a batch, does what is due, and lets go what is too much.
fn turn<D: Dir>(log: &mut Log<D>, number: u8) {
    turn_keeping(log, number, KEPT);
}

fn turn_keeping<D: Dir>(log: &mut Log<D>, number: u8, kept: ByteSize) {
    let now = at(i64::from(number));
    log.append(&any_batch(number), now).unwrap();
    flush(log, now).unwrap();
    chores(log, i64::from(number), false);
    if let Some(plan) = log.plan_expire_to(kept, Hold::NONE).unwrap() {
        run(log, plan, now).unwrap();
    }
}

/// How many stores wait that no segment has.
fn waiting<D: Dir>(root: &D) -> usize {
    // With the active one, two have what the log keeps.
    stores(root).len() - 2
}

fn oldest(root: &impl Dir) -> String {
    stores(root).first().unwrap().clone()
}

fn identity(root: &MemoryDir, name: &str) -> u64 {
    let file = block_on(root.child("p0").open(name, Open::Read)).unwrap();
    file.identity()
}

#[test]
fn a_store_that_retention_lets_go_becomes_the_next_one() {
    let root = MemoryDir::new();
    let mut log = rolling(&root);
    let gone = identity(&root, &oldest(&root));
    turn(&mut log, 4);
    assert_eq!(identity(&root, "next"), gone);
    root.record();
    for number in 5..40 {
        turn(&mut log, number);
    }
    let steps = root.trace();
    let steps: Vec<_> = steps.steps().iter().map(ToString::to_string).collect();
    let count = |what: &str| steps.iter().filter(|step| step.starts_with(what)).count();
    assert_eq!(count("create next"), 0, "{steps:#?}");
    let removed = |step: &&String| step.starts_with("remove") && step.ends_with(".log");
    assert_eq!(steps.iter().find(removed), None);
    let kept = read_all(&log, log.log_start()).unwrap();
    assert_eq!(values(&kept), [38, 39]);
    drop(log);
    let (log, report) = open(&root, options(), 2, at(60)).unwrap();
    assert_eq!(log.durable(), Offset::new(40).unwrap());
    assert!(
        report.quarantined.is_empty() && report.damage.is_empty(),
        "{report:?}"
    );
    assert!(read_all(&log, log.log_start()).unwrap() == kept);
}

/// The oldest of those that left at once waited: a repair that knew of the stores alone took the others for lost ones.
#[test]
fn of_the_stores_that_leave_at_once_those_wait_behind_which_the_log_goes_on() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, options(), 1, at(0)).unwrap();
    for number in 0..8 {
        turn_keeping(&mut log, number, ByteSize::from_mib(16));
    }
    turn(&mut log, 8);
    for number in 9..12 {
        chores(&mut log, i64::from(number), false);
        assert!(0 < waiting(&root));
        let left = root.fork();
        block_on(left.child("p0").remove("manifest")).unwrap();
        let known = Known {
            topic: Some(crate::testing::identity().topic),
            partition: Some(crate::testing::identity().partition),
            now: at(20),
            seed: 5,
            interval_bytes: options().index_interval_bytes,
        };
        block_on(plan(left.child("p0"), known, &mut |_| {})).unwrap();
        turn(&mut log, number);
    }
}

/// It counted as the newest from then on: that stayed, and of the others the newest went.
#[test]
fn a_store_whose_removal_failed_goes_before_those_that_left_after_it() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&disk, options(), 1, at(0)).unwrap();
    for number in 0..8 {
        turn_keeping(&mut log, number, ByteSize::from_mib(16));
    }
    let oldest = "00000000000000000000.log";
    let removal = Match::on(Operation::Remove, oldest);
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults().fail(removal, 1, failed);
    turn(&mut log, 8);
    while !matches!(chore(&mut log, at(8), false), Ok(None)) {}
    assert_eq!(
        waiting(&disk),
        3,
        "the oldest, and the two that are to wait"
    );
    let later = 8 + 60_000;
    log.append(&any_batch(9), at(later)).unwrap();
    flush(&mut log, at(later)).unwrap();
    chores(&mut log, later, false);
    assert!(!stores(&disk).contains(&oldest.to_owned()));
}

/// The byte of which the one value of each batch is made.
fn values(batches: &[Vec<u8>]) -> Vec<u8> {
    batches.iter().map(|batch| batch[1_000]).collect()
}

/// Behind what a crash left of the first batch in a store that was used again there is nothing of what it held before.
#[test]
fn a_store_is_zeros_before_it_is_used_again() {
    let torn = || {
        let root = MemoryDir::new();
        let mut log = rolling(&root);
        turn(&mut log, 4);
        log.append(&batch(&[&vec![5; 250 << 10]], at(5)), at(5))
            .unwrap();
        flush(&mut log, at(5)).unwrap();
        drop(log);
        let (_, report) = open(&root.power_cut(1), options(), 2, at(60)).unwrap();
        report.quarantined
    };
    assert_eq!(torn(), [""; 0]);
    assert_eq!(planted::with(Bug::ReusedUncleared, torn).len(), 1);
}

#[test]
fn who_has_a_store_open_that_left_the_log_reads_on_and_the_next_one_is_new() {
    let root = MemoryDir::new();
    let mut log = rolling(&root);
    let dir = root.child("p0");
    let name = oldest(&root);
    let before = block_on(dir.read(&name, u64::MAX)).unwrap();
    let reader = Rc::new(block_on(dir.open(&name, Open::Read)).unwrap());
    turn(&mut log, 4);
    assert_ne!(identity(&root, "next"), reader.identity());
    chores(&mut log, 4, false);
    assert_eq!(waiting(&root), 1, "the one after it is nobody else's");
    let read = block_on(reader.read_at(0, before.len())).unwrap();
    assert!(read.as_ref() == before);
    assert!(!stores(&root).contains(&name));
}

#[test]
fn a_store_that_a_snapshot_has_is_not_used_again() {
    let root = MemoryDir::new();
    let mut log = rolling(&root);
    let (dir, name) = (root.child("p0"), oldest(&root));
    let before = block_on(dir.read(&name, u64::MAX)).unwrap();
    block_on(dir.link(&name, &root, "snapshot")).unwrap();
    for number in 4..8 {
        turn(&mut log, number);
    }
    assert!(block_on(root.read("snapshot", u64::MAX)).unwrap() == before);
}

#[test]
fn a_store_that_cannot_be_used_again_is_removed_and_the_log_goes_on() {
    let on = [
        Match::from(Operation::Reuse),
        Match::on(Operation::Rename, "next"),
        Match::on(Operation::Close, ".log"),
    ];
    for which in on {
        for fault in [Fault::Fail, Fault::FailAfter] {
            let root = FaultyDir::new(MemoryDir::new());
            let mut log = rolling(&root);
            let name = oldest(&root);
            root.faults()
                .fail(which.clone(), 1, fault(ErrorKind::Unsupported));
            turn(&mut log, 4);
            chores(&mut log, 100, true);
            assert!(!log.is_fenced(), "{which:?}");
            assert!(!stores(&root).contains(&name), "{which:?}");
            turn(&mut log, 5);
            assert_eq!(log.durable(), Offset::new(6).unwrap());
        }
    }
}

#[test]
fn behind_a_store_that_cannot_be_used_again_none_waits_for_a_minute() {
    for which in [Operation::Reuse, Operation::Rename] {
        let root = FaultyDir::new(MemoryDir::new());
        let mut log = rolling(&root);
        let refused = Fault::Fail(ErrorKind::Unsupported);
        root.faults().fail(Match::on(which, "next"), 1, refused);
        turn(&mut log, 4);
        turn(&mut log, 5);
        chores(&mut log, 100, false);
        assert_eq!(waiting(&root), 0, "{which:?}");
    }
}

#[test]
fn a_used_store_for_which_no_descriptor_is_left_is_in_nobodys_way() {
    let root = FaultyDir::new(MemoryDir::new());
    let mut log = rolling(&root);
    let open_next = Match::on(Operation::Open, "next");
    root.faults().fail(open_next, 1, Fault::OutOfFiles);
    log.append(&any_batch(4), at(4)).unwrap();
    flush(&mut log, at(4)).unwrap();
    let failed = loop {
        match chore(&mut log, at(4), false) {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(
        matches!(failed, Err(Error::OutOfFiles { .. })),
        "{failed:?}"
    );
    let next = root.child("p0");
    assert!(block_on(next.open("next", Open::Read)).is_err());
    chores(&mut log, 1_000, false);
    assert!(block_on(next.open("next", Open::Read)).is_ok());
    assert!(!log.is_fenced());
}

#[test]
fn a_store_much_larger_than_what_comes_is_removed() {
    let root = MemoryDir::new();
    let small = Options {
        segment_bytes_max: ByteSize::from_kib(128),
        ..options()
    };
    let (mut log, _) = open(&root, small, 1, at(0)).unwrap();
    for number in 0..4 {
        turn(&mut log, number);
    }
    chores(&mut log, 4, false);
    assert_eq!(stores(&root).len() as u64, log.segments().count() as u64);
}

#[test]
fn where_retention_keeps_only_the_active_segment_stores_are_used_again_too() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, options(), 1, at(0)).unwrap();
    for number in 0..4 {
        turn_keeping(&mut log, number, ByteSize::from_bytes(0));
    }
    chores(&mut log, 4, false);
    assert_eq!(log.segments().count(), 1);
    assert_eq!(stores(&root).len(), 2, "one waits to be the next");
}

#[test]
fn a_store_waits_to_be_the_next_one_only_while_the_log_rolls_and_the_disk_has_room() {
    let root = MemoryDir::new();
    let mut log = rolling(&root);
    chores(&mut log, 9_000, false);
    assert_eq!(waiting(&root), 1);
    chores(&mut log, 12_000, false);
    assert_eq!(waiting(&root), 0, "it rolled more than ten seconds ago");

    let root = MemoryDir::new();
    let mut log = rolling(&root);
    chores(&mut log, 100, true);
    assert_eq!(waiting(&root), 0, "it is idle");

    let root = MemoryDir::new();
    let mut log = rolling(&root);
    let gone = oldest(&root);
    root.set_capacity(Some(0));
    for number in [4, 5] {
        log.append(&any_batch(number), at(4)).unwrap();
    }
    flush(&mut log, at(4)).unwrap();
    flush(&mut log, at(4)).unwrap_err();
    for _ in 0..4 {
        let _found_none = chore(&mut log, at(5), false);
    }
    assert!(!stores(&root).contains(&gone), "the disk is full");

    let root = MemoryDir::new();
    let log = &mut rolling(&root);
    block_on(log.close(at(5))).unwrap();
    assert_eq!(waiting(&root), 0, "the log is closed");
}

#[test]
fn what_is_let_go_at_once_is_removed_but_for_two() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, options(), 1, at(0)).unwrap();
    for number in 0..12 {
        log.append(&any_batch(number), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        chores(&mut log, 0, false);
    }
    let plan = log.plan_expire_to(KEPT, Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(0)).unwrap();
    chores(&mut log, 0, false);
    assert_eq!(waiting(&root), 2);
    assert!(!log.is_settled());
    chores(&mut log, 0, true);
    assert_eq!(waiting(&root), 0);
    assert!(log.is_settled());
}
