//! What was sealed once is not appended to again: a snapshot may mean the very file.

use corelog_record::Chain;

use super::epochs::{append_to, batch_bytes, cut, follower, large, rot_edit, run, source_and_copy};
use super::*;
use crate::format::edit::Edit;
use crate::format::index;
use crate::log::{AppendError, Chore, CopyError};
use crate::repair::walk::From;
use crate::segment::Point;
use crate::{manifest, mark, segment, steps};

/// A log of 100 records, all of them in a snapshot, in a store that both have.
fn shared(root: &MemoryDir) -> Log<MemoryDir> {
    let (mut log, _) = open(root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    let upto = log.begin_snapshot().unwrap();
    settle(&mut log, at(0)).unwrap();
    let plan = log.plan_snapshot(upto, root.child("snapshot"));
    run(&mut log, plan.map(Option::unwrap));
    log
}

fn store(root: &MemoryDir) -> Vec<u8> {
    let dir = root.child("snapshot");
    block_on(dir.read(&names(&dir, ".log")[0], 1 << 20)).unwrap()
}

/// It was made the active one, and the next batches were appended to the snapshot's file.
#[test]
fn a_store_that_a_snapshot_shares_is_not_appended_to_after_a_repair() {
    let root = MemoryDir::new();
    drop(shared(&root));
    let expected = store(&root);
    block_on(root.child("p0").remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let root = root.power_cut(1);
    let (mut log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    append_to(&mut log, 120);
    assert_eq!(store(&root), expected);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 120);
}

/// What lay behind the end of the seal, and was never the log's, opened it again.
#[test]
fn bytes_behind_a_seal_do_not_take_it_away() {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let mut log = shared(&root);
    let plan = log.plan_truncate(offset(5));
    run(&mut log, plan.map(Option::unwrap));
    drop(log);
    alter(&dir, &names(&dir, ".log")[0], |store| {
        store.extend([1; 300]);
    });
    let expected = store(&root);
    rot_edit(&root, |edit| matches!(edit, Edit::Truncate(_)));
    block_on(planned(&root).unwrap().run()).unwrap();
    let (mut log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    append_to(&mut log, 120);
    assert_eq!(store(&root), expected);
}

/// A seal would say that the log ends where the store does, and the offsets behind be given out again.
#[test]
fn a_store_that_ends_before_its_mark_is_not_sealed() {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    block_on(log.close(at(1))).unwrap();
    let bytes = batch_bytes(&dir);
    alter(&dir, &names(&dir, ".log")[0], |store| {
        store.truncate(50 * bytes);
    });
    block_on(dir.remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(log.durable(), offset(100));
}

/// The repair was refused, and so was the opening.
#[test]
fn what_cannot_be_read_is_named_and_repaired_as_bytes_that_are_wrong() {
    let root = FaultyDir::new(MemoryDir::new());
    let dir = root.inner().child("p0");
    let (mut log, _) = open(root.inner(), large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    block_on(log.close(at(1))).unwrap();
    let store = names(&dir, ".log").remove(0);
    assert_eq!(store, "00000000000000000000.log");
    for file in [manifest::NAME, mark::NAME, "00000000000000000000.log"] {
        root.faults().set_unreadable(file, 4096..8192);
    }
    let plan = block_on(plan(root.child("p0"), known(), &mut |_| {})).unwrap();
    let mut named = Vec::new();
    for step in plan.steps() {
        if let Step::Unreadable {
            file,
            position,
            error,
        } = step
        {
            assert!(error.contains("os error 5"), "{error}");
            named.push((file.clone(), *position / 4096));
        }
    }
    let expected = [(manifest::NAME, 1), (mark::NAME, 1), (store.as_str(), 0)];
    assert_eq!(
        named,
        expected.map(|(file, block)| (file.to_owned(), block))
    );
    assert!(!plan.is_empty());
    block_on(plan.run()).unwrap();
    root.faults().clear();
    let again = planned(root.inner()).unwrap();
    assert!(again.is_empty(), "{:?}", again.steps());
    let (log, _) = open(root.inner(), large(), 7, at(3)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 100);
}

/// Put back by hand, say: what a seal promises has to be there.
#[test]
fn a_store_that_no_sync_has_covered_is_synced_before_it_is_sealed() {
    for seed in 0..20 {
        let root = MemoryDir::new();
        let dir = root.child("p0");
        let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
        append_to(&mut log, 100);
        block_on(log.close(at(1))).unwrap();
        let store = names(&dir, ".log").remove(0);
        let bytes = block_on(dir.read(&store, 1 << 20)).unwrap();
        block_on(dir.remove(&store)).unwrap();
        block_on(dir.remove("manifest")).unwrap();
        let file = block_on(dir.open(&store, Open::Create)).unwrap();
        let mut buf = dir.alloc(bytes.len().next_multiple_of(BLOCK_BYTES));
        buf.as_mut_slice().fill(0);
        buf.as_mut_slice()[..bytes.len()].copy_from_slice(&bytes);
        block_on(file.write_at(buf.into(), 0)).unwrap();
        block_on(file.set_len(bytes.len() as u64)).unwrap();
        block_on(planned(&root).unwrap().run()).unwrap();
        let (log, report) = open(&root.power_cut(seed), large(), 7, at(3)).unwrap();
        assert_eq!((report.damage, report.torn), (vec![], None));
        assert_eq!(log.durable(), offset(100));
    }
}

/// An index that closing wrote may have a row at the end, where the next batch would begin. One of a sealed store is refused
/// for it.
#[test]
fn an_index_that_closing_wrote_is_one_of_a_sealed_store_after_a_repair() {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 100);
    let history = log.identity().history;
    block_on(log.close(at(1))).unwrap();
    let store = block_on(dir.read(&names(&dir, ".log")[0], 1 << 20)).unwrap();
    let from = From {
        dir: &dir,
        history,
        start: Point::origin(Chain::seed(history)),
        generation: 0,
        mark: None,
        interval_bytes: 512,
    };
    let mut walked = block_on(from.walk()).unwrap();
    walked.rows.note(&walked.start, &walked.end, 1);
    let rows = walked.rows.encode(history, &walked.start);
    alter(&dir, &names(&dir, ".index")[0], |index| *index = rows);
    let last_row = || {
        let bytes = block_on(dir.read(&names(&dir, ".index")[0], 1 << 20)).unwrap();
        let row = index::row(&bytes, index::row_count(&bytes) - 1);
        row.unwrap().unwrap().position as usize
    };
    assert_eq!(last_row(), store.len());
    block_on(dir.remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    assert!(last_row() < store.len());
}

#[test]
fn a_copy_goes_on_where_its_source_does_after_a_repair_sealed_its_last_store() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let (mut source, mut copy) = source_and_copy(&roots);
    let all = |log: &Log<MemoryDir>| read_all(log, Offset::ZERO).unwrap();
    let copied = all(&source).concat();
    copy.append_copied(&copied, Offset::ZERO, at(0)).unwrap();
    block_on(copy.close(at(1))).unwrap();
    block_on(roots.1.child("p0").remove("manifest")).unwrap();
    block_on(planned(&roots.1).unwrap().run()).unwrap();
    let (mut copy, _) = open(&roots.1, follower(), 7, at(3)).unwrap();
    append_to(&mut source, 20);
    let copied = read_all(&source, offset(13)).unwrap().concat();
    let refused = copy
        .append_copied(&copied, Offset::ZERO, at(0))
        .unwrap_err();
    let AppendError::Copy(CopyError::Rolled { segment }) = refused else {
        panic!("{refused}")
    };
    let plan = copy.plan_unroll(at(3)).map(Option::unwrap);
    assert_eq!(run(&mut copy, plan), Chore::Unrolled);
    assert_eq!(copy.base_at(copy.log_end()), segment);
    copy.append_copied(&copied, Offset::ZERO, at(0)).unwrap();
    settle(&mut copy, at(3)).unwrap();
    assert_eq!(all(&copy), all(&source));
}

#[test]
fn a_store_that_is_being_written_stays_open() {
    let root = MemoryDir::new();
    let mut log = shared(&root);
    append_to(&mut log, 130);
    cut(&mut log, 120);
    append_to(&mut log, 150);
    drop(log);
    block_on(root.child("p0").remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (mut log, _) = open(&root, large(), 7, at(3)).unwrap();
    let before = names(&root.child("p0"), ".log");
    append_to(&mut log, 160);
    assert_eq!(names(&root.child("p0"), ".log"), before);
}

/// The damaged one could not be moved away when it was healed. The mark named it still, and the healed one was put aside.
#[test]
fn the_generation_that_took_a_damaged_ones_place_is_the_logs_whatever_the_mark_names() {
    let root = MemoryDir::new();
    drop(shared(&root));
    let dir = root.child("p0");
    let [damaged] = &names(&dir, ".log")[..] else {
        panic!("all is in one store")
    };
    let healed = segment::name::store(Offset::ZERO, 1);
    let store = block_on(dir.read(damaged, 1 << 20)).unwrap();
    block_on(steps::write(&dir, &healed, &store)).unwrap();
    alter(&dir, damaged, |store| store[700] ^= 1);
    block_on(dir.remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 100);
    assert_eq!(names(&dir, ".log")[0], healed);
}

/// All generations competed then, and the longest won: that of which the end had been cut off.
#[test]
fn what_was_cut_off_does_not_come_back_where_the_store_that_was_cut_was_healed() {
    for is_moved in [false, true] {
        heal_what_was_cut(is_moved);
    }
}

/// The damaged one may have been moved away.
fn heal_what_was_cut(is_moved: bool) {
    let root = MemoryDir::new();
    let dir = root.child("p0");
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    append_to(&mut log, 120);
    drop(log);
    let kept = 100 * batch_bytes(&dir);
    let [long] = &names(&dir, ".log")[..] else {
        panic!("all is in one store")
    };
    let mut store = block_on(dir.read(long, 1 << 20)).unwrap();
    store.truncate(kept);
    let healed = segment::name::store(Offset::ZERO, 2);
    block_on(steps::write(&dir, &healed, &store)).unwrap();
    if !is_moved {
        store[700] ^= 1;
        let damaged = segment::name::store(Offset::ZERO, 1);
        block_on(steps::write(&dir, &damaged, &store)).unwrap();
    }
    let found = block_on(mark::Mark::open(dir.clone())).unwrap().unwrap();
    let slot = crate::format::mark::Slot {
        generation: 1,
        ..*found.last().unwrap()
    };
    block_on(mark::Mark::create(dir.clone(), slot)).unwrap();
    block_on(dir.remove("manifest")).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, report) = open(&root, large(), 7, at(3)).unwrap();
    assert_eq!((report.damage, report.torn), (vec![], None));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 100);
    assert_eq!(names(&dir, ".log")[0], healed);
}
