//! Which epochs a repaired log has: those that its batches carry, whatever the manifest last knew.

use corelog_record::{ByteSize, LeaderEpoch};

use super::*;
use crate::format::edit::Edit;
use crate::log::lineage::{Began, Common};
use crate::log::{Begin, Chore, ChorePlan};
use crate::testing::own;
use crate::{Error, mark, testing};

/// One segment for all.
pub(super) fn large() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(1),
        index_interval_bytes: 512,
        ..Options::default()
    }
}

pub(super) fn follower() -> Options {
    own::follower(large())
}

/// Appends records up to `end`, each synced; the mark stays where it is.
pub(super) fn append_to(log: &mut Log<MemoryDir>, end: u64) {
    while log.durable() < offset(end) {
        let value = log.durable().get().to_le_bytes();
        log.append(&batch(&[&value], at(0)), at(0)).unwrap();
        flush(log, at(0)).unwrap();
    }
}

pub(super) fn run(log: &mut Log<MemoryDir>, plan: Result<ChorePlan<MemoryDir>, Error>) -> Chore {
    testing::run(log, plan.unwrap(), at(0)).unwrap()
}

/// A log of 13 records, and a copy of it that has none yet.
pub(super) fn source_and_copy(roots: &(MemoryDir, MemoryDir)) -> (Log<MemoryDir>, Log<MemoryDir>) {
    let (mut source, _) = open(&roots.0, large(), 1, at(0)).unwrap();
    append_to(&mut source, 13);
    let (mut copy, _) = open(&roots.1, follower(), 2, at(0)).unwrap();
    let plan = copy.plan_adopt(source.identity().history, source.floor_place());
    run(&mut copy, plan);
    let plan = copy.plan_epoch(Begin::Copied(Began::from(&source.epochs()[0])));
    run(&mut copy, plan);
    (source, copy)
}

pub(super) fn cut(log: &mut Log<MemoryDir>, from: u64) {
    let plan = log.plan_truncate_suffix(offset(from), at(0));
    run(log, plan.map(Option::unwrap));
}

/// Has a byte of the last edit that `is_meant` rot.
pub(super) fn rot_edit(root: &MemoryDir, is_meant: impl Fn(&Edit) -> bool) {
    let dir = root.child("p0");
    let bytes = block_on(dir.read("manifest", 1 << 20)).unwrap();
    let (mut edit, mut found) = (EDITS_AT, None);
    while let Some(frame) = bytes.get(edit..).and_then(Frame::read) {
        found = frame
            .decode()
            .is_ok_and(|edit| is_meant(&edit))
            .then_some(edit)
            .or(found);
        edit += frame.bytes();
    }
    let found = found.unwrap();
    alter(&dir, "manifest", |bytes| bytes[found + 20] ^= 1);
}

pub(super) fn is_cut(edit: &Edit) -> bool {
    matches!(edit, Edit::TruncateSuffix(_))
}

/// The epochs of a log, and where they began.
pub(super) fn epochs(log: &Log<MemoryDir>) -> Vec<(i32, u64)> {
    let epochs = log.epochs().iter();
    epochs
        .map(|began| (began.epoch.get(), began.offset.get()))
        .collect()
}

/// A log that was killed at 100, went on to 150 in epoch 1, was cut at 90, and went on to 300 in epoch 2.
fn cut_and_gone_on(root: &MemoryDir) -> Log<MemoryDir> {
    let (mut log, _) = open(root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    drop(log);
    let (mut log, _) = open(root, large(), 2, at(0)).unwrap();
    append_to(&mut log, 150);
    cut(&mut log, 90);
    append_to(&mut log, 300);
    assert_eq!(epochs(&log), [(0, 0), (2, 90)]);
    log
}

/// The epoch that the cut had dropped was kept, and the one behind it was not taken in: all that was acknowledged since the
/// mark was cut as torn.
#[test]
fn epochs_are_those_of_the_batches_where_the_edit_of_a_cut_is_lost() {
    let root = MemoryDir::new();
    let log = cut_and_gone_on(&root);
    let expected = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    rot_edit(&root, is_cut);
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root.power_cut(1), large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), expected);
    assert_eq!(epochs(&log), [(0, 0), (2, 90), (3, 300)]);
}

/// It went on in epoch 1, behind batches of epoch 2.
#[test]
fn a_log_that_was_closed_goes_on_in_the_epoch_of_its_last_batch() {
    let root = MemoryDir::new();
    let mut log = cut_and_gone_on(&root);
    block_on(log.close(at(1))).unwrap();
    drop(log);
    rot_edit(&root, is_cut);
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert_eq!(epochs(&log), [(0, 0), (2, 90)]);
}

/// An epoch of its own that a copy had given up ruled again where its source's batches stand: they were cut as torn.
#[test]
fn an_epoch_that_a_copy_gave_up_does_not_come_back() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let (mut source, mut copy) = source_and_copy(&roots);
    let follow = |source: &Log<MemoryDir>, copy: &mut Log<MemoryDir>| {
        for batch in read_all(source, copy.durable()).unwrap() {
            copy.append_copied(&batch, Offset::ZERO, at(0)).unwrap();
            flush(copy, at(0)).unwrap();
        }
    };
    follow(&source, &mut copy);
    copy.set_options(large());
    let plan = copy.plan_epoch(Begin::Own);
    run(&mut copy, plan);
    append_to(&mut copy, 40);
    copy.set_options(follower());
    let common = Common {
        offset: offset(13),
        epoch: Some(LeaderEpoch::ZERO),
    };
    let plan = copy.plan_rejoin(common, at(0));
    run(&mut copy, plan.map(Option::unwrap));
    append_to(&mut source, 60);
    follow(&source, &mut copy);
    drop(copy);
    rot_edit(&roots.1, is_cut);
    block_on(planned(&roots.1).unwrap().run()).unwrap();
    let (copy, report) = open(&roots.1, follower(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(epochs(&copy), [(0, 0)]);
    let all = |log: &Log<MemoryDir>| read_all(log, Offset::ZERO).unwrap();
    assert_eq!(all(&copy), all(&source));
}

/// What lies behind damage is not seen; its epoch was dropped, and all that the mark did not tell of was cut as torn.
#[test]
fn an_epoch_that_began_behind_damage_stays() {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    drop(log);
    let (mut log, _) = open(&root, large(), 2, at(0)).unwrap();
    append_to(&mut log, 200);
    settle(&mut log, at(0)).unwrap();
    let plan = log.plan_truncate(offset(5));
    run(&mut log, plan.map(Option::unwrap));
    append_to(&mut log, 220);
    drop(log);
    let bytes = batch_bytes(&dir);
    alter(&dir, &names(&dir, ".log")[0], |store| {
        store[50 * bytes + 70] ^= 1;
    });
    rot_edit(&root, |edit| matches!(edit, Edit::Truncate(_)));
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(log.durable(), offset(220));
    assert_eq!(epochs(&log), [(0, 0), (1, 100), (2, 220)]);
}

/// A manifest was made of it whose log was cut there when it was opened.
#[test]
fn a_batch_of_another_epoch_than_those_around_it_is_refused() {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    drop(log);
    let bytes = batch_bytes(&dir);
    for file in ["manifest", "mark"] {
        block_on(dir.remove(file)).unwrap();
    }
    alter(&dir, &names(&dir, ".log")[0], |store| {
        store[50 * bytes + 15] ^= 4;
    });
    let refusal = planned(&root).unwrap_err();
    let Refusal::Epochs { offset: at, .. } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(at, offset(50));
}

/// The ranges were remembered of batches that had been cut off: those that stand there since were refused, in a store of the
/// same name, or the next one.
#[test]
fn damage_that_was_cut_off_is_forgotten_where_all_is_sound() {
    for from in [0, 40] {
        let root = MemoryDir::new();
        let dir = root.child("p0");
        let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
        append_to(&mut log, 100);
        drop(log);
        // Below the place where the last epoch began it is damage.
        drop(open(&root, large(), 2, at(0)).unwrap());
        block_on(dir.remove(mark::NAME)).unwrap();
        let bytes = batch_bytes(&dir);
        alter(&dir, &names(&dir, ".log")[0], |store| {
            store[60 * bytes + 70] ^= 1;
        });
        let (mut log, report) = open(&root, large(), 3, at(0)).unwrap();
        assert_eq!(report.damage.len(), 1);
        cut(&mut log, from);
        append_to(&mut log, 150);
        let expected = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        rot_edit(&root, is_cut);
        block_on(planned(&root).unwrap().run()).unwrap();
        let (log, report) = open(&root, large(), 7, at(3)).unwrap();
        assert_eq!((report.damage, report.torn), (vec![], None), "{from}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), expected);
    }
}

/// The length of each batch of `append_to`.
pub(super) fn batch_bytes(dir: &MemoryDir) -> usize {
    let store = block_on(dir.read(&names(dir, ".log")[0], 1 << 20)).unwrap();
    let header = corelog_record::batch::Header::parse(&store).unwrap();
    header.total_bytes()
}
