//! What leaves a log at its front: when, what keeps it back, and who may still be reading it.

use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use corelog_record::{ByteSize, HistoryId, Offset, PartitionId, TopicId};

use super::recovery::STORE;
use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, File, Open, block_on, poll_once};
use crate::format::manifest::Header;
use crate::log::{Chore, Hold, Log, Options, ReadError};
use crate::manifest::Manifest;
use crate::testing::own::{fill, stores};
use crate::testing::{batch, chore, identity, open, read_all, run, settle};

/// A log of many sealed segments, and the batches in it.
pub(super) fn segments(root: &MemoryDir) -> (Log<MemoryDir>, Vec<Vec<u8>>) {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for time in 0..10 {
        log.append(&batch(&[&[b's'; 9_000]], at(time)), at(time))
            .unwrap();
        settle(&mut log, at(time)).unwrap();
    }
    log.tail.shrink(0);
    let all = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!((all.len(), log.segments().count()), (10, 10));
    (log, all)
}

/// A log that has let go of nine segments, of whose files the first one cannot be removed at once.
fn keeping_one_file() -> (FaultyDir<MemoryDir>, Log<FaultyDir<MemoryDir>>) {
    let root = MemoryDir::new();
    drop(segments(&root));
    let disk = FaultyDir::new(root);
    let (mut log, _) = open(&disk, small(), 2, at(60)).unwrap();
    settle(&mut log, at(60)).unwrap();
    let plan = log.plan_truncate(offset(9)).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    let fault = Fault::Fail(ErrorKind::PermissionDenied);
    disk.faults()
        .fail(Match::on(Operation::Remove, ".log"), 1, fault);
    (disk, log)
}

/// A crash would leave a log that starts where it has nothing.
#[test]
fn a_log_is_not_truncated_beyond_what_is_durable() {
    let (mut log, _) = segments(&MemoryDir::new());
    log.append(&batch(&[b"pending"], at(60)), at(60)).unwrap();
    let refused = log.plan_truncate(offset(11)).unwrap_err();
    let is_told = matches!(refused, Error::OutOfRange { durable, .. } if durable == offset(10));
    assert!(is_told, "{refused}");
    assert!(log.plan_truncate(offset(10)).unwrap().is_some());
}

/// It was opened as one that had been killed: read from its mark on, and with a new epoch.
#[test]
fn a_file_that_cannot_be_removed_keeps_no_log_from_its_orderly_end() {
    let (disk, mut log) = keeping_one_file();
    block_on(log.close(at(100))).unwrap();
    assert_eq!(disk.faults().happened().len(), 1);
    disk.faults().clear();
    drop(log);
    let (_, report) = open(&disk, small(), 3, at(101)).unwrap();
    assert!(report.is_clean, "{report:?}");
}

/// One file that could not be removed made the log forget all that were to go with it.
#[test]
fn a_file_that_cannot_be_removed_keeps_no_other_and_goes_later() {
    let (disk, mut log) = keeping_one_file();
    let before = stores(&disk).len();
    settle(&mut log, at(100)).unwrap_err();
    assert_eq!(stores(&disk).len(), before - 8);
    settle(&mut log, at(101)).unwrap();
    assert!(!log.is_settled() && !log.is_fenced());
    settle(&mut log, at(100_000)).unwrap();
    assert_eq!(stores(&disk).len(), before - 9);
    assert!(log.is_settled());
}

/// A log with no file open, so that whoever reads has to open what it needs.
fn reopened(root: &MemoryDir, mut log: Log<MemoryDir>) -> Log<MemoryDir> {
    block_on(log.close(at(50))).unwrap();
    let (log, report) = open(root, small(), 2, at(60)).unwrap();
    assert!(report.is_clean, "{report:?}");
    log
}

#[test]
fn a_read_finishes_though_its_segment_expires_before_the_file_is_opened() {
    let root = MemoryDir::new();
    let (log, all) = segments(&root);
    let mut log = reopened(&root, log);
    let read = log.plan_read(offset(2), Offset::MAX, 1 << 20).unwrap();
    let plan = log.plan_expire(at(1_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert!(offset(8) <= log.log_start());
    let before = stores(&root).len();
    settle(&mut log, at(200)).unwrap();
    assert!(stores(&root).len() < before, "what nobody reads goes");
    let later = log.plan_read(offset(2), Offset::MAX, 1 << 20);
    assert!(matches!(later, Err(ReadError::OutOfRange { .. })));
    let fetched = block_on(read.run()).unwrap();
    assert_eq!(&*fetched.pieces[0], &all[2][..]);
    let kept = stores(&root).len();
    let removed = chore(&mut log, at(300), true).unwrap();
    assert!(matches!(removed, Some(Chore::Removed)), "{removed:?}");
    assert_eq!(
        stores(&root).len(),
        kept - 1,
        "what was read goes afterwards"
    );
    assert_eq!(chore(&mut log, at(301), true).unwrap(), None);
}

#[test]
fn a_reader_finishes_though_its_segments_expire() {
    let root = MemoryDir::new();
    let (log, all) = segments(&root);
    let mut log = reopened(&root, log);
    let mut reader = log.reader(Offset::ZERO);
    let mut next = || {
        block_on(reader.next())
            .unwrap()
            .map(|batch| batch.bytes().to_vec())
    };
    assert_eq!(next().as_ref(), all.first());
    let plan = log.plan_expire(at(1_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    settle(&mut log, at(200)).unwrap();
    for batch in &all[1..] {
        assert_eq!(next().as_ref(), Some(batch));
    }
    assert_eq!(next(), None);
    drop(reader);
    settle(&mut log, at(300)).unwrap();
    assert!(stores(&root).len() <= 1);
}

#[test]
fn files_that_a_read_kept_from_removal_go_when_the_log_is_opened_again() {
    let root = MemoryDir::new();
    let (mut log, all) = segments(&root);
    let reader = log.reader(Offset::ZERO);
    let plan = log
        .plan_expire_to(ByteSize::from_kib(20), Hold::NONE)
        .unwrap();
    run(&mut log, plan.unwrap(), at(100)).unwrap();
    settle(&mut log, at(200)).unwrap();
    let start = log.log_start();
    assert_eq!(stores(&root).len(), 10);
    block_on(log.close(at(300))).unwrap();
    drop(reader);
    let (log, report) = open(&root, small(), 2, at(400)).unwrap();
    assert!(
        report.is_clean && report.quarantined.is_empty(),
        "{report:?}"
    );
    assert_eq!(stores(&root).len(), log.segments().count());
    let first = usize::try_from(start.get()).unwrap();
    assert_eq!(read_all(&log, start).unwrap(), all[first..]);
}

#[test]
fn retention_holds_back_what_was_not_snapshotted_within_its_bytes() {
    let root = MemoryDir::new();
    let (mut log, _) = segments(&root);
    let held = |upto, bytes_max: Option<u64>| Hold {
        upto: offset(upto),
        bytes_max: bytes_max.map(ByteSize::from_bytes),
    };
    let every = at(1_000);
    assert!(log.plan_expire(every, held(0, None)).unwrap().is_none());
    let nothing = ByteSize::from_bytes(0);
    assert!(
        log.plan_expire_to(nothing, held(0, None))
            .unwrap()
            .is_none()
    );
    let plan = log.plan_expire(every, held(3, None)).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert_eq!(log.log_start(), offset(3), "what ends below goes");
    // Seven segments of a little more than 9000 bytes: two exceed the bound.
    let bytes = log.store_bytes().bytes();
    let bound = held(3, Some(bytes * 5 / 7));
    let plan = log.plan_expire(every, bound).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert_eq!(log.log_start(), offset(5), "the bound wins over the hold");
    assert!(log.plan_expire(every, bound).unwrap().is_none());
    // The bound alone removes nothing that is not due.
    let tight = held(3, Some(1));
    assert!(log.plan_expire(at(0), tight).unwrap().is_none());
    assert!(
        log.plan_expire_to(ByteSize::from_mib(1), tight)
            .unwrap()
            .is_none()
    );
    let plan = log.plan_truncate(offset(7)).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert_eq!(log.log_start(), offset(7), "a user's wish is not held back");
}

#[test]
fn a_truncation_within_a_segment_is_kept_and_retention_never_moves_it_back() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 30, 1_000);
    settle(&mut log, at(1)).unwrap();
    let second = log.segments().nth(1).unwrap();
    let inside = second.base.plus(2);
    let plan = log.plan_truncate(inside).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert_eq!(log.segments().next().unwrap().base, second.base);
    settle(&mut log, at(2)).unwrap();
    drop(log);
    let (mut log, _) = open(&root.power_cut(1), small(), 2, at(100)).unwrap();
    assert_eq!(log.log_start(), inside);
    assert_eq!(
        read_all(&log, inside).unwrap().len() as u64,
        30 - inside.get()
    );
    let below = log.plan_read(second.base, Offset::MAX, 1);
    assert!(matches!(below, Err(ReadError::OutOfRange { .. })));
    assert!(log.plan_truncate(second.base).unwrap().is_none());
    let reader = block_on(log.reader(Offset::ZERO).next())
        .unwrap()
        .map(|batch| batch.base_offset());
    assert_eq!(reader, Some(inside));
    let bytes = log.store_bytes();
    assert!(log.plan_expire_to(bytes, Hold::NONE).unwrap().is_none());
}

/// The segment stayed for ever: its end was not known when the log start came there, and later nothing
/// moved it on. A follower that its source kept short held more than that.
#[test]
fn a_segment_that_was_truncated_whole_goes_when_it_is_sealed() {
    let root = MemoryDir::new();
    let aged = Options {
        segment_age_max_ms: Some(10),
        ..small()
    };
    let (mut log, _) = open(&root, aged, 1, at(0)).unwrap();
    fill(&mut log, 2, 1_000);
    settle(&mut log, at(1)).unwrap();
    let end = log.log_end();
    let plan = log.plan_truncate(end).unwrap().unwrap();
    run(&mut log, plan, at(100)).unwrap();
    assert!(log.is_settled());
    assert!(log.roll_if_due(at(1_000)));
    fill(&mut log, 1, 1_000);
    settle(&mut log, at(1_001)).unwrap();
    assert!(log.is_settled());
    let bases: Vec<_> = log.segments().map(|segment| segment.base).collect();
    assert_eq!(
        (bases, log.log_start(), stores(&root).len()),
        (vec![end], end, 1)
    );
    let (log, _) = open(&root.power_cut(1), small(), 2, at(2_000)).unwrap();
    assert_eq!(read_all(&log, end).unwrap().len(), 1);
}

/// Rolling ended in a cut to the length, which took the damage along.
#[test]
fn a_read_only_log_is_not_rolled_by_age() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 5, 1_000);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    let file = block_on(root.child("p0").open(STORE, Open::Write)).unwrap();
    block_on(file.set_len(2_500)).unwrap();
    let aged = Options {
        segment_age_max_ms: Some(10),
        ..small()
    };
    let (mut log, report) = open(&root, aged, 2, at(100)).unwrap();
    assert!(report.is_read_only);
    assert!(!log.roll_if_due(at(1_000_000)));
    settle(&mut log, at(1_000_000)).unwrap();
    assert!(2_500 <= block_on(file.len()).unwrap());
}

#[test]
fn retention_is_finished_whenever_the_power_goes_in_between() {
    let mut cuts = 0;
    for operations in 0.. {
        let memory = MemoryDir::new();
        let (log, all) = segments(&memory);
        drop(log);
        let disk = FaultyDir::new(memory.clone());
        let (mut log, _) = open(&disk, small(), 2, at(60)).unwrap();
        let start = log.log_start();
        disk.faults().hold(Match::ANY, When::Before);
        let is_done = expire_and_remove(&mut log, &disk, operations);
        drop(log);
        for seed in 0..4 {
            let image = memory.power_cut(seed);
            let (mut log, report) = open(&image, small(), 3, at(300)).unwrap();
            assert!(report.damage.is_empty() && report.torn.is_none());
            assert!(report.quarantined.is_empty(), "{report:?}");
            assert!([start, offset(6)].contains(&log.log_start()));
            let first = usize::try_from(log.log_start().get()).unwrap();
            assert_eq!(read_all(&log, log.log_start()).unwrap(), all[first..]);
            let held = Hold {
                upto: offset(6),
                bytes_max: None,
            };
            if let Some(plan) = log.plan_expire(at(1_000), held).unwrap() {
                run(&mut log, plan, at(100)).unwrap();
            }
            settle(&mut log, at(400)).unwrap();
            assert_eq!(log.log_start(), offset(6));
            assert_eq!(stores(&image).len(), log.segments().count());
            cuts += 1;
        }
        if is_done {
            assert!(operations > 10, "{operations} operations");
            break;
        }
    }
    assert!(cuts > 40, "{cuts} power cuts");
}

/// Lets so many operations of the disk happen. Returns whether it came to the end.
fn expire_and_remove(
    log: &mut Log<FaultyDir<MemoryDir>>,
    disk: &FaultyDir<MemoryDir>,
    operations: usize,
) -> bool {
    let held = Hold {
        upto: offset(6),
        bytes_max: None,
    };
    let mut left = operations;
    let mut plan = log.plan_expire(at(1_000), held).unwrap();
    while let Some(chore) = plan {
        let mut running = pin!(chore.run());
        let done = loop {
            if let Poll::Ready(done) = poll_once(running.as_mut()) {
                break done;
            }
            if left == 0 {
                return false;
            }
            left -= 1;
            disk.faults().release_one();
        };
        log.complete_chore(done, at(200)).unwrap();
        plan = log.plan_chore(at(200), true);
    }
    true
}

/// A restored log has a history that does not follow from its topic.
#[test]
fn a_log_keeps_the_history_that_its_manifest_names() {
    let root = MemoryDir::new();
    let history = HistoryId::of(TopicId::from_bytes([9; 16]), PartitionId::new(3));
    let header = Header {
        topic: identity().topic,
        partition: identity().partition,
        history,
        copy: corelog_record::CopyId::from_bytes([1; 16]),
    };
    block_on(async {
        root.child("p0").create().await.unwrap();
        Manifest::create(root.child("p0"), header, &[])
            .await
            .unwrap();
    });
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    assert_eq!(log.identity().history, history);
    fill(&mut log, 30, 1_000);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    let (mut log, report) = open(&root.power_cut(1), small(), 2, at(2)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 30);
    assert_eq!(log.identity().history, history);
    block_on(log.close(at(3))).unwrap();
}
