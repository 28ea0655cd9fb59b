//! An epoch that began once is never begun again, also where a repair ends the log before it.

use super::epochs::{append_to, cut, epochs, large, rot_edit, run};
use super::*;
use crate::format::edit::Edit;

/// A log that went on in epoch 1 from 170 on, and lost the store from 150 on with an edit of its manifest: the one
/// that begins the epoch, or a later one.
fn without_its_last_store(is_epoch_lost: bool) -> MemoryDir {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 150);
    log.begin_snapshot().unwrap();
    settle(&mut log, at(0)).unwrap();
    append_to(&mut log, 170);
    drop(log);
    let (mut log, _) = open(&root, large(), 2, at(0)).unwrap();
    append_to(&mut log, 200);
    settle(&mut log, at(0)).unwrap();
    let plan = log.plan_truncate(offset(5));
    run(&mut log, plan.map(Option::unwrap));
    assert_eq!(epochs(&log), [(0, 0), (1, 170)]);
    drop(log);
    let dir = root.child("p0");
    lose(&root, names(&dir, ".log").last().unwrap());
    rot_edit(&root, |edit| match edit {
        Edit::Epoch(_) => is_epoch_lost,
        Edit::Truncate(_) => !is_epoch_lost,
        _ => false,
    });
    root
}

/// Has a file be gone for good.
fn lose(root: &MemoryDir, file: &str) {
    let dir = root.child("p0");
    block_on(dir.remove(file)).unwrap();
    block_on(dir.sync()).unwrap();
}

/// The mark knew it, and was put aside: the number was given to other records, and no consumer was told that those it had read
/// are gone.
#[test]
fn an_epoch_that_a_repair_drops_stays_used() {
    for is_epoch_lost in [false, true] {
        let root = without_its_last_store(is_epoch_lost);
        block_on(planned(&root).unwrap().run()).unwrap();
        assert!(planned(&root).unwrap().is_empty());
        let (log, report) = open(&root.power_cut(1), large(), 7, at(3)).unwrap();
        assert_eq!((report.damage, report.torn), (vec![], None));
        assert_eq!(log.durable(), offset(150));
        assert_eq!(epochs(&log), [(0, 0), (2, 150)], "{is_epoch_lost}");
    }
}

/// The manifest alone knew it, and the new one does not.
#[test]
fn an_epoch_that_no_mark_knows_stays_used() {
    let root = without_its_last_store(false);
    lose(&root, "mark");
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root.power_cut(1), large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(epochs(&log), [(0, 0), (2, 150)]);
}

#[test]
fn an_epoch_stays_used_wherever_a_repair_is_interrupted() {
    let mut interrupted = 0;
    for (number, nth) in (1..40).flat_map(|nth| (0..3).map(move |number| (number, nth))) {
        let root = without_its_last_store(number == 0);
        if number == 1 {
            lose(&root, "mark");
        }
        let disk = FaultyDir::new(root);
        let plan = block_on(plan(disk.child("p0"), known(), &mut |_| {})).unwrap();
        disk.faults()
            .fail(Match::ANY, nth, Fault::Torn { seed: nth });
        interrupted += u64::from(block_on(plan.run()).is_err());
        disk.faults().clear();
        for after in [disk.inner().power_cut(nth), disk.inner().clone()] {
            block_on(planned(&after).unwrap().run()).unwrap();
            let (log, _) = open(&after, large(), 7, at(3)).unwrap();
            assert_eq!(epochs(&log), [(0, 0), (2, 150)], "{number}, {nth}");
        }
    }
    assert!(interrupted > 10, "{interrupted}");
}

/// A clean mark was taken to mean that the log goes on in the epoch of its last batch.
#[test]
fn an_epoch_without_a_batch_stays_used() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    drop(log);
    let (mut log, _) = open(&root, large(), 2, at(0)).unwrap();
    append_to(&mut log, 150);
    cut(&mut log, 90);
    block_on(log.close(at(1))).unwrap();
    assert_eq!(epochs(&log), [(0, 0), (2, 90)]);
    drop(log);
    block_on(root.child("p0").remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(epochs(&log), [(0, 0), (3, 90)]);
}
