//! A snapshot from its beginning to a partition that goes on.

use std::fs;
use std::os::unix::fs::MetadataExt;

use corelog_record::{LeaderEpoch, Offset};

use super::*;
use crate::disk::memory::MemoryDir;
use crate::disk::std::StdDir;
use crate::format::edit::Edit;
use crate::log::Hold;
use crate::manifest;
use crate::snapshot::{export, remove};
use crate::testing::{chore, open, read_all};

#[test]
fn what_was_there_when_it_began_is_restored_and_goes_on() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let upto = log.begin_snapshot().unwrap();
    fill(&mut log, 5, 1_000);
    settle(&mut log, at(1)).unwrap();
    let plan = log.plan_snapshot(upto, snapped(&root)).unwrap().unwrap();
    fill(&mut log, 5, 1_000);
    let made = run(&mut log, plan, at(2)).unwrap();
    let Chore::Snapshotted {
        end,
        chain,
        segments,
        bytes,
        ..
    } = made
    else {
        panic!("{made:?}")
    };
    assert_eq!((end, upto), (offset(50), offset(50)));
    let infos: Vec<_> = log.segments().filter(|s| s.next <= upto).collect();
    assert_eq!(infos.len(), segments);
    assert_eq!(infos.iter().map(|info| info.bytes).sum::<u64>(), bytes);
    let partition = Partition {
        partition: identity().partition,
        log_start: Offset::ZERO,
        end,
        chain: Some(chain),
        bytes,
        segments: segments as u64,
    };
    let mut told = 0;
    let back = block_on(restore(
        &snapped(&root),
        &restored(&root),
        order(partition),
        &mut |bytes| told += bytes,
    ));
    let back = back.unwrap().unwrap();
    assert_eq!((back.end, back.bytes, told), (end, bytes, bytes));
    assert_eq!(back.history, log.identity().history);

    let (mut copy, report) = open_restored(&root).unwrap();
    assert!(
        report.is_clean && report.quarantined.is_empty(),
        "{report:?}"
    );
    assert_eq!(copy.identity().history, log.identity().history);
    assert_eq!(report.epoch, LeaderEpoch::new(1).unwrap());
    assert_eq!(walk(&copy), walk(&log)[..50]);
    assert_eq!(read_all(&copy, Offset::ZERO).unwrap(), walk(&copy));
    assert!(copy.segments().all(|s| s.seal_time == Some(at(5_000))));
    fill(&mut copy, 5, 1_000);
    settle(&mut copy, at(7_000)).unwrap();
    let (copy, report) = {
        block_on(copy.close(at(7_001))).unwrap();
        open_restored(&root).unwrap()
    };
    assert!(report.is_clean);
    assert_eq!(walk(&copy).len(), 55);
    let theirs = log.segments().map(|s| (s.base, s.next)).take(segments);
    let ours = copy.segments().map(|s| (s.base, s.next)).take(segments);
    assert!(theirs.eq(ours), "segments are as they were");
}

#[test]
fn a_snapshot_waits_until_all_below_it_is_sealed() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 1_000);
    log.append(&batch(&[b"pending"], at(0)), at(0)).unwrap();
    let upto = log.begin_snapshot().unwrap();
    assert_eq!(upto, offset(4), "what is pending is part of it");
    let mut waited = 0;
    let plan = loop {
        if let Some(plan) = log.plan_snapshot(upto, snapped(&root)).unwrap() {
            break plan;
        }
        waited += 1;
        if flush(&mut log, at(1)).unwrap().is_none() {
            assert!(
                chore(&mut log, at(1), false).unwrap().is_some(),
                "something to do"
            );
        }
    };
    assert!(waited >= 3, "flush, finish, seal: {waited}");
    assert!(matches!(
        log.plan_snapshot(upto, snapped(&root)),
        Err(Error::Busy)
    ));
    assert!(log.plan_chore(at(1), true).is_none());
    run(&mut log, plan, at(2)).unwrap();
    assert_eq!(log.begin_snapshot().unwrap(), upto, "nothing to roll");
}

#[test]
fn what_a_snapshot_holds_outlives_retention_and_truncation() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1_000);
    settle(&mut log, at(1)).unwrap();
    let inside = log.segments().nth(1).unwrap().base.plus(3);
    let plan = log.plan_truncate(inside).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    assert_eq!(partition.log_start, inside, "also within a segment");
    let plan = log.plan_expire(at(9_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(9_000)).unwrap();
    settle(&mut log, at(9_001)).unwrap();
    assert_eq!(walk(&log).len(), 0);
    drop(log);
    block_on(root.child("p0").remove_tree()).unwrap();
    let back = restore_all(&root, partition).unwrap().unwrap();
    assert_eq!((back.log_start, back.end), (inside, offset(60)));
    let (copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean);
    assert_eq!((copy.log_start(), copy.log_end()), (inside, offset(60)));
    assert_eq!(walk(&copy), all);
}

#[test]
fn a_log_without_records_leaves_what_there_is_to_say() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let partition = link(&mut log, &root).unwrap();
    assert!(partition.is_unborn());
    assert!(!block_on(snapped(&root).exists()).unwrap());
    assert_eq!(restore_all(&root, partition).unwrap(), None);
    assert!(!block_on(restored(&root).exists()).unwrap());
    // One whose records are all gone still knows where it goes on.
    fill(&mut log, 20, 1_000);
    log.begin_snapshot().unwrap();
    settle(&mut log, at(1)).unwrap();
    let plan = log.plan_expire(at(9_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(9_000)).unwrap();
    let partition = link(&mut log, &root).unwrap();
    assert_eq!((partition.segments, partition.end), (0, offset(20)));
    let back = restore_all(&root, partition).unwrap().unwrap();
    assert_eq!((back.log_start, back.end), (offset(20), offset(20)));
    let (mut copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean, "{report:?}");
    let appended = copy.append(&batch(&[b"on"], at(0)), at(0)).unwrap();
    assert_eq!(appended.base, offset(20));
    settle(&mut copy, at(9_001)).unwrap();
    drop(copy);
    let (copy, _) = open_restored(&root).unwrap();
    assert_eq!(walk(&copy).len(), 1);
}

#[test]
fn a_snapshot_that_was_truncated_meanwhile_is_empty_and_one_cut_off_is_refused() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 10, 1_000);
    let upto = log.begin_snapshot().unwrap();
    fill(&mut log, 10, 1_000);
    settle(&mut log, at(1)).unwrap();
    let plan = log.plan_truncate(offset(15)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    let plan = log.plan_snapshot(upto, snapped(&root)).unwrap().unwrap();
    let made = run(&mut log, plan, at(1)).unwrap();
    let Chore::Snapshotted {
        log_start,
        end,
        segments,
        ..
    } = made
    else {
        panic!("{made:?}")
    };
    assert_eq!((log_start, segments), (end, 0));

    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 10, 1_000);
    let upto = log.begin_snapshot().unwrap();
    settle(&mut log, at(1)).unwrap();
    let plan = log.plan_truncate_suffix(offset(5), at(2)).unwrap().unwrap();
    run(&mut log, plan, at(2)).unwrap();
    let refused = log.plan_snapshot(upto, snapped(&root));
    assert!(
        matches!(refused, Err(Error::OutOfRange { .. })),
        "{refused:?}"
    );
    // Also when it has grown beyond again, in another segment.
    fill(&mut log, 10, 1_000);
    settle(&mut log, at(3)).unwrap();
    let refused = log.plan_snapshot(upto, snapped(&root));
    assert!(
        matches!(refused, Err(Error::OutOfRange { .. })),
        "{refused:?}"
    );
    snapshot(&mut log, &root).unwrap();
}

#[test]
fn a_snapshot_of_a_restored_log_is_restored_again() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1_000);
    let partition = snapshot(&mut log, &root).unwrap();
    restore_all(&root, partition).unwrap();
    let (mut copy, _) = open_restored(&root).unwrap();
    fill(&mut copy, 20, 1_000);
    let upto = copy.begin_snapshot().unwrap();
    settle(&mut copy, at(7_000)).unwrap();
    let second = root.child("second");
    let plan = copy.plan_snapshot(upto, second.clone()).unwrap().unwrap();
    run(&mut copy, plan, at(7_001)).unwrap();
    let order = Restore {
        origin: OTHER,
        topic: TopicId::from_bytes([9; 16]),
        ..order(Partition {
            end: upto,
            ..partition
        })
    };
    let topic = root.child("again");
    let back = block_on(restore(&second, &topic, order, &mut |_| {}));
    let back = back.unwrap().unwrap();
    assert_eq!(back.history, log.identity().history);
    assert_eq!(back.epoch, LeaderEpoch::new(2).unwrap());
    assert_eq!(back.end, offset(40));
}

#[test]
fn a_generation_that_is_not_the_first_is_restored_under_its_name() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 8, 1_000);
    let plan = log.plan_truncate_suffix(offset(6), at(2)).unwrap().unwrap();
    run(&mut log, plan, at(2)).unwrap();
    fill(&mut log, 8, 1_000);
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    restore_all(&root, partition).unwrap();
    let (copy, report) = open_restored(&root).unwrap();
    assert!(
        report.is_clean && report.quarantined.is_empty(),
        "{report:?}"
    );
    assert_eq!(walk(&copy), all);
}

#[test]
fn a_manifest_in_a_snapshot_has_a_copy_id_of_its_own_and_no_settings() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1_000);
    snapshot(&mut log, &root).unwrap();
    let (origin, _) = block_on(manifest::read(&root.child("p0"))).unwrap();
    let (header, state) = block_on(manifest::read(&snapped(&root))).unwrap();
    assert_ne!(header.copy, origin.copy);
    assert_eq!(header.history, origin.history);
    assert!(state.segments().iter().all(|s| s.seal.is_some()));
    let is_setting = |edit: &Edit| matches!(edit, Edit::Settings(_));
    assert!(!state.edits().iter().any(is_setting));
}

#[test]
fn an_export_is_a_snapshot_that_can_be_restored() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    let elsewhere = root.child("elsewhere");
    let mut told = 0;
    let exported = block_on(export(&shelved(&root), &elsewhere, &mut |bytes| {
        told += bytes;
    }));
    let exported = exported.unwrap();
    assert_eq!((exported.bytes, told), (partition.bytes, partition.bytes));
    assert_eq!(exported.segments, partition.segments);
    assert_eq!(exported.summary, summary(partition));
    let again = block_on(export(&shelved(&root), &elsewhere, &mut |_| {}));
    assert!(matches!(again, Err(Error::Occupied { .. })), "{again:?}");
    block_on(root.child("snapshots").remove_tree()).unwrap();
    let copy = partition_dir(&elsewhere, &topic(), identity().partition);
    let topic = restored(&root);
    let back = block_on(restore(&copy, &topic, order(partition), &mut |_| {}));
    assert_eq!(back.unwrap().unwrap().end, offset(50));
    let (copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean);
    assert_eq!(walk(&copy), all);
}

/// Whoever deleted the snapshots of last week beside it was told that a store is damaged.
#[test]
fn a_snapshot_that_is_deleted_while_it_is_exported_is_gone_and_not_damaged() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let partition = snapshot(&mut log, &root).unwrap();
    assert!(partition.segments > 1);
    let elsewhere = root.child("elsewhere");
    let shelf = root.child("snapshots");
    let exported = block_on(export(&shelved(&root), &elsewhere, &mut |_| {
        let _ = block_on(remove(&shelf, &name()));
    }));
    assert!(
        matches!(exported, Err(Error::NoSnapshot { .. })),
        "{exported:?}"
    );
    assert!(!block_on(elsewhere.child("topics").exists()).unwrap());
}

#[test]
fn a_restore_may_share_the_stores_of_the_snapshot_verified_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let root = StdDir::new(home.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    let linked = Restore {
        stores: Stores::Linked,
        ..order(partition)
    };
    let mut told = 0;
    let back = block_on(restore(
        &snapped(&root),
        &restored(&root),
        linked,
        &mut |bytes| {
            told += bytes;
        },
    ));
    assert_eq!(
        (back.unwrap().unwrap().bytes, told),
        (partition.bytes, told)
    );
    let store = "00000000000000000000.log";
    let inode = |dir: StdDir| fs::metadata(dir.path().join(store)).unwrap().ino();
    let ours = restored(&root).child("0");
    assert_eq!(inode(ours), inode(snapped(&root)));
    // Neither goes with the other.
    block_on(root.child("snapshots").remove_tree()).unwrap();
    drop(log);
    block_on(root.child("p0").remove_tree()).unwrap();
    let (mut copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert_eq!(walk(&copy), all);
    let plan = copy.plan_truncate_suffix(offset(5), at(7_000)).unwrap();
    run(&mut copy, plan.unwrap(), at(7_000)).unwrap();
    fill(&mut copy, 5, 1_000);
    assert_eq!(walk(&copy)[..5], all[..5]);
}

/// Sealed segments are never changed in place, whoever shares them.
#[test]
fn what_becomes_of_a_restored_log_leaves_the_snapshot_as_it_was() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    let linked = Restore {
        stores: Stores::Linked,
        ..order(partition)
    };
    let topic = restored(&root);
    block_on(restore(&snapped(&root), &topic, linked, &mut |_| {})).unwrap();
    let (mut copy, _) = open_restored(&root).unwrap();
    let plan = copy.plan_truncate_suffix(offset(5), at(7_000)).unwrap();
    run(&mut copy, plan.unwrap(), at(7_000)).unwrap();
    fill(&mut copy, 5, 1_000);
    settle(&mut copy, at(8_000)).unwrap();
    drop(copy);
    let (copy, _) = open_restored(&root.power_cut(3)).unwrap();
    assert_eq!(copy.log_end(), offset(10));
    assert_eq!(walk(&log), all);
    block_on(root.child("topics").remove_tree()).unwrap();
    restore_all(&root, partition).unwrap().unwrap();
    assert_eq!(walk(&open_restored(&root).unwrap().0), all);
}

#[test]
fn a_restore_never_replaces_a_partition() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1_000);
    let partition = snapshot(&mut log, &root).unwrap();
    // An empty directory is in nobody's way.
    block_on(restored(&root).child("0").create_all()).unwrap();
    restore_all(&root, partition).unwrap();
    let again = restore_all(&root, partition);
    assert!(matches!(again, Err(Error::Occupied { .. })), "{again:?}");
}

#[test]
fn plain_files_are_snapshotted_exported_and_restored() {
    let home = tempfile::tempdir().unwrap();
    let root = StdDir::new(home.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 50, 1_000);
    let all = walk(&log);
    let partition = snapshot(&mut log, &root).unwrap();
    let elsewhere = root.child("elsewhere");
    block_on(export(&shelved(&root), &elsewhere, &mut |_| {})).unwrap();
    restore_all(&root, partition).unwrap().unwrap();
    let (copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert_eq!(walk(&copy), all);
}
