//! The power goes, or an operation fails, at each step of a snapshot, its removal, an export and a
//! restore.

use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, When};
use crate::disk::memory::MemoryDir;
use crate::snapshot::{self, export, sweep_unfinished};
use crate::testing::own::SEEDS;
use crate::testing::{open, run_up_to};

type Disk = FaultyDir<MemoryDir>;

/// Calls `step` with 0, 1, 2, … operations, until it says that there are no more.
fn at_each_operation(mut step: impl FnMut(usize) -> bool) -> usize {
    (0..).find(|operations| step(*operations)).unwrap()
}

/// A log of some segments, and what is in it.
fn filled() -> (MemoryDir, Vec<Vec<u8>>) {
    filled_with(1_000)
}

/// A log of 40 records of so many bytes, and what is in it.
fn filled_with(bytes: usize) -> (MemoryDir, Vec<Vec<u8>>) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    // No more than may wait to be sealed.
    for _ in 0..4 {
        fill(&mut log, 10, bytes);
        settle(&mut log, at(1)).unwrap();
    }
    let all = walk(&log);
    block_on(log.close(at(2))).unwrap();
    (root.power_cut(0), all)
}

/// Takes a snapshot, one operation of the disk after the other.
async fn take(log: &mut Log<Disk>, root: &Disk) -> Result<Partition, Error> {
    let upto = log.begin_snapshot()?;
    root.child("snapshots").create().await.unwrap();
    begin(&shelved(root)).await?;
    let plan = loop {
        if let Some(plan) = log.plan_snapshot(upto, snapped(root))? {
            break plan;
        }
        if let Some(plan) = log.plan_flush() {
            log.complete_flush(plan.run().await, at(10))?;
        } else if let Some(plan) = log.plan_chore(at(10), false) {
            log.complete_chore(plan.run().await, at(10))?;
        }
    };
    let Chore::Snapshotted {
        log_start,
        end,
        chain,
        segments,
        bytes,
    } = log.complete_chore(plan.run().await, at(10))?
    else {
        panic!("a snapshot was planned")
    };
    let partition = Partition {
        partition: identity().partition,
        log_start,
        end,
        chain: Some(chain),
        bytes,
        segments: segments as u64,
    };
    commit(&shelved(root), &summary(partition)).await?;
    Ok(partition)
}

/// The snapshot is there with all that it should hold, or not at all and can be swept; the log has
/// lost nothing either way. Returns whether it is there.
fn check_snapshot(root: &MemoryDir, all: &[Vec<u8>]) -> bool {
    let shelf = root.child("snapshots");
    let entries = listed(&shelf);
    let is_there = !entries.is_empty();
    for entry in entries {
        let summary = entry.summary.unwrap();
        let partition = summary.topics[0].partitions[0];
        restore_all(root, partition).unwrap().unwrap();
        let (copy, report) = open_restored(root).unwrap();
        assert!(report.is_clean, "{report:?}");
        assert_eq!(walk(&copy), all);
    }
    let swept = block_on(sweep_unfinished(&shelf)).unwrap();
    assert!(!is_there || swept.is_empty());
    if !is_there && block_on(shelf.exists()).unwrap() {
        assert_eq!(block_on(shelf.list()).unwrap(), []);
    }
    let (mut log, report) = open(root, small(), 9, at(100)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert!(report.torn.is_none() && report.quarantined.is_empty());
    assert_eq!(walk(&log), all);
    fill(&mut log, 1, 10);
    settle(&mut log, at(200)).unwrap();
    is_there
}

#[test]
fn a_snapshot_is_whole_or_swept_whenever_the_power_goes_and_the_log_is_as_it_was() {
    let (whole, all) = filled();
    let mut there = 0;
    let operations = at_each_operation(|operations| {
        let root = Disk::new(whole.power_cut(0));
        let (mut log, report) = open(&root, small(), 2, at(5)).unwrap();
        assert!(report.is_clean);
        root.faults().hold(Match::ANY, When::Before);
        let done = run_up_to(&root, take(&mut log, &root), operations);
        drop(log);
        for seed in 0..SEEDS {
            let is_there = check_snapshot(&root.inner().power_cut(seed), &all);
            assert!(is_there || done.is_none(), "what was committed is there");
            there += usize::from(is_there);
        }
        done.is_some()
    });
    assert!(operations > 30, "{operations}");
    assert!(there >= usize::try_from(SEEDS).unwrap(), "{there}");
}

#[test]
fn an_error_at_any_step_of_a_snapshot_leaves_the_log_open_and_the_snapshot_can_be_made_again() {
    let (whole, all) = filled();
    let mut failed = 0;
    for nth in 1.. {
        let root = Disk::new(whole.power_cut(0));
        let (mut log, _) = open(&root, small(), 2, at(5)).unwrap();
        let upto = log.begin_snapshot().unwrap();
        settle(&mut log, at(10)).unwrap();
        let kind = match nth % 2 {
            0 => ErrorKind::StorageFull,
            _ => ErrorKind::Other,
        };
        let plan = log.plan_snapshot(upto, snapped(&root)).unwrap().unwrap();
        root.faults().fail(Match::ANY, nth, Fault::Fail(kind));
        let is_failed = run(&mut log, plan, at(10)).is_err();
        let is_over = root.faults().is_pending();
        root.faults().clear();
        assert!(!log.is_fenced(), "it says nothing about the log");
        assert!(is_failed || is_over || nth > 1);
        failed += usize::from(is_failed);
        fill(&mut log, 1, 10);
        assert_eq!(walk(&log)[..40], all);
        block_on(shelved(&root).remove_tree()).unwrap();
        let partition = snapshot(&mut log, &root).unwrap();
        assert_eq!(partition.end, offset(41));
        block_on(log.close(at(2_000))).unwrap();
        if is_over {
            break;
        }
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn a_removal_is_finished_by_the_sweep_whenever_the_power_goes() {
    let (whole, all) = filled();
    let root = whole.power_cut(0);
    let (mut log, _) = open(&root, small(), 2, at(5)).unwrap();
    snapshot(&mut log, &root).unwrap();
    drop(log);
    let made = root.power_cut(0);
    let operations = at_each_operation(|operations| {
        let root = Disk::new(made.power_cut(0));
        root.faults().hold(Match::ANY, When::Before);
        let (shelf, name) = (root.child("snapshots"), name());
        let done = run_up_to(&root, snapshot::remove(&shelf, &name), operations);
        for seed in 0..SEEDS {
            let is_there = check_snapshot(&root.inner().power_cut(seed), &all);
            assert!(!is_there || done.is_none(), "what was removed is gone");
        }
        done.is_some()
    });
    assert!(operations >= 4, "{operations}");
}

#[test]
fn a_restored_partition_is_whole_or_absent_whenever_the_power_goes() {
    let operations = restore_up_to_each_operation(1_000, Stores::Copied);
    assert!(operations > 60, "{operations}");
}

#[test]
fn a_partition_that_shares_its_stores_is_whole_or_absent_whenever_the_power_goes() {
    let operations = restore_up_to_each_operation(1_000, Stores::Linked);
    assert!(operations > 40, "{operations}");
}

#[test]
fn a_restored_partition_of_many_segments_is_whole_or_absent_whenever_the_power_goes() {
    let operations = restore_up_to_each_operation(8_000, Stores::Copied);
    assert!(operations > 200, "{operations}");
}

/// Cuts the power at each operation of a restore of a log of records of so many bytes, and checks what
/// is left. Returns how many operations there were.
fn restore_up_to_each_operation(bytes: usize, stores: Stores) -> usize {
    let (whole, all) = filled_with(bytes);
    let root = whole.power_cut(0);
    let (mut log, _) = open(&root, small(), 2, at(5)).unwrap();
    let partition = snapshot(&mut log, &root).unwrap();
    drop(log);
    let made = root.power_cut(0);
    let mut there = 0;
    let operations = at_each_operation(|operations| {
        let root = Disk::new(made.power_cut(0));
        root.faults().hold(Match::ANY, When::Before);
        let (source, topic) = (snapped(&root), restored(&root));
        let (mut progress, order) = (|_| {}, order(partition));
        let order = Restore { stores, ..order };
        let restoring = restore(&source, &topic, order, &mut progress);
        let done = run_up_to(&root, restoring, operations);
        for seed in 0..SEEDS {
            let root = root.inner().power_cut(seed);
            let is_told = || names(&restored(&root)).contains(&"0.begun".to_owned());
            assert!(is_told() || done.is_none(), "what was restored is told of");
            let is_there = check_restored(&root, partition, &all);
            assert!(is_there || done.is_none(), "what was restored is there");
            there += usize::from(is_there);
        }
        done.is_some()
    });
    assert!(there >= usize::try_from(SEEDS).unwrap(), "{there}");
    operations
}

/// The partition is there with all that it should hold, or can be restored again, which removes what is left. Returns
/// whether it was there.
fn check_restored(root: &MemoryDir, partition: Partition, all: &[Vec<u8>]) -> bool {
    let is_there = block_on(restored(root).child("0").exists()).unwrap();
    if !is_there {
        restore_all(root, partition).unwrap().unwrap();
    }
    // Of one that was there already the power may have taken what tells of it.
    let left = names(&restored(root));
    assert!(
        left == ["0", "0.begun"] || is_there && left == ["0"],
        "{left:?}"
    );
    let (copy, report) = open_restored(root).unwrap();
    assert!(report.is_clean && report.quarantined.is_empty());
    assert_eq!(walk(&copy), all);
    is_there
}

#[test]
fn an_error_at_any_step_of_a_restore_or_an_export_leaves_nothing_behind() {
    let (whole, _) = filled();
    let root = whole.power_cut(0);
    let (mut log, _) = open(&root, small(), 2, at(5)).unwrap();
    let partition = snapshot(&mut log, &root).unwrap();
    drop(log);
    let made = root.power_cut(0);
    let mut failed = 0;
    for nth in 1.. {
        let kind = match nth % 2 {
            0 => ErrorKind::StorageFull,
            _ => ErrorKind::Other,
        };
        let fail = |root: &Disk| root.faults().fail(Match::ANY, nth, Fault::Fail(kind));
        let root = Disk::new(made.power_cut(0));
        fail(&root);
        let back = restore_all(&root, partition);
        let is_restore_over = root.faults().is_pending();
        root.faults().clear();
        if back.is_err() {
            failed += 1;
            let left = match block_on(restored(&root).list()) {
                Ok(entries) => entries.into_iter().map(|e| e.name).collect(),
                Err(_) => Vec::new(),
            };
            // All but the very last steps: the names are there, and may not be durable.
            let names = ["0", "0.begun"].map(str::to_owned);
            assert!(names.starts_with(&left), "{nth}: {left:?}");
        }
        let root = Disk::new(made.power_cut(0));
        fail(&root);
        let elsewhere = root.child("elsewhere");
        let copied = block_on(export(&shelved(&root), &elsewhere, &mut |_| {}));
        let is_export_over = root.faults().is_pending();
        root.faults().clear();
        if copied.is_err() {
            failed += 1;
            let opened = block_on(snapshot::open(&elsewhere));
            let is_none = matches!(opened, Err(Error::NoSnapshot { .. }));
            assert!(is_none, "{nth}: {opened:?}");
            let left = block_on(elsewhere.list()).unwrap_or_default();
            assert_eq!(left, [], "{nth}");
        }
        if is_restore_over && is_export_over {
            break;
        }
    }
    assert!(failed > 100, "{failed}");
}
