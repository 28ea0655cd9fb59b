//! Descriptors or space run out in the middle of what a log does.

use std::io::ErrorKind;

use corelog_record::Offset;

use super::recovery::STORE;
use super::{at, offset, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{AppendError, Chore, Damage, Event, Log, ReadError};
use crate::mark::Mark;
use crate::testing::own::names;
use crate::testing::{batch, chore, flush, open, read_all, run, settle};
use crate::{Error, manifest};

type Disk = FaultyDir<MemoryDir>;

const INDEX: &str = "00000000000000000000.index";

/// What needs a descriptor.
const OPENS: [Operation; 4] = [
    Operation::Open,
    Operation::CreateFile,
    Operation::List,
    Operation::SyncDir,
];

/// Appends so many batches, four of which make a segment.
fn fill(log: &mut Log<Disk>, count: usize) {
    for _ in 0..count {
        log.append(&batch(&[&[b'f'; 3000]], at(0)), at(0)).unwrap();
        settle(log, at(1_000)).unwrap();
    }
}

/// A log of several segments that was just opened, so that no store is open yet.
fn reopened(disk: &Disk, count: usize) -> Log<Disk> {
    let (mut log, _) = open(disk, small(), 1, at(0)).unwrap();
    fill(&mut log, count);
    block_on(log.close(at(2_000))).unwrap();
    drop(log);
    open(disk, small(), 2, at(3_000)).unwrap().0
}

fn cut(log: &mut Log<Disk>, from: u64) -> Result<(), Error> {
    let plan = log.plan_truncate_suffix(offset(from), at(4_000));
    run(log, plan.unwrap().unwrap(), at(4_000)).map(drop)
}

/// The manifest ended at the cut and the log in memory did not, because a descriptor was missing for
/// what follows from the edit: appends were acknowledged into a store that nothing named.
#[test]
fn a_cut_that_runs_out_of_descriptors_is_as_if_never_tried_or_fences() {
    let (mut fenced, mut refused) = (0, 0);
    for operation in OPENS {
        for nth in 1.. {
            let disk = Disk::new(MemoryDir::new());
            let mut log = reopened(&disk, 14);
            let before = names(&disk.child("p0"));
            disk.faults().fail(operation, nth, Fault::OutOfFiles);
            let result = cut(&mut log, 2);
            if disk.faults().is_pending() {
                break;
            }
            let what = format!("{operation:?} {nth}: {result:?}");
            if log.is_fenced() {
                fenced += 1;
            } else {
                refused += 1;
                assert_eq!(names(&disk.child("p0")), before, "{what}");
                fill(&mut log, 8);
            }
            let is_fenced = log.is_fenced();
            let durable = log.durable();
            drop(log);
            let (log, report) = open(&disk, small(), 3, at(5_000)).unwrap();
            assert!(report.damage.is_empty(), "{what}: {report:?}");
            if !is_fenced {
                assert_eq!(log.durable(), durable, "{what}: {report:?}");
            }
            let read = read_all(&log, Offset::ZERO).unwrap();
            assert_eq!(read.len() as u64, log.durable().get(), "{what}");
        }
    }
    assert!(0 < fenced, "some are after the edit");
    assert!(0 < refused, "some are before it");
}

/// On a full disk, what had been copied of the store kept the space that all waited for.
#[test]
fn a_cut_that_finds_no_space_leaves_no_file_behind() {
    let mut refused = 0;
    for operation in [Operation::CreateFile, Operation::Allocate, Operation::Write] {
        for nth in 1.. {
            let disk = Disk::new(MemoryDir::new());
            let mut log = reopened(&disk, 14);
            let before = names(&disk.child("p0"));
            let fault = Fault::Fail(ErrorKind::StorageFull);
            disk.faults().fail(operation, nth, fault);
            let result = cut(&mut log, 2);
            if disk.faults().is_pending() {
                break;
            }
            if log.is_fenced() {
                continue;
            }
            refused += 1;
            let what = format!("{operation:?} {nth}: {result:?}");
            assert!(matches!(result, Err(Error::StorageFull { .. })), "{what}");
            assert_eq!(names(&disk.child("p0")), before, "{what}");
            cut(&mut log, 2).unwrap();
        }
    }
    assert!(1 < refused, "the copy and the edit find no space");
}

#[test]
fn a_cut_opens_no_store_that_nobody_reads() {
    let opens = |count| {
        let disk = Disk::new(MemoryDir::new());
        let mut log = reopened(&disk, count);
        let before = disk.faults().count(Operation::Open);
        cut(&mut log, 2).unwrap();
        disk.faults().count(Operation::Open) - before
    };
    assert_eq!(opens(10), opens(60));
}

/// It was forgotten with what reads had met of what was cut.
#[test]
fn damage_that_is_met_below_a_cut_meanwhile_is_told() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 20);
    disk.inner().child("p0").flip(STORE, 8 * 500).unwrap();
    let plan = log.plan_truncate_suffix(offset(12), at(4_000));
    let plan = plan.unwrap().unwrap();
    let read = read_all(&log, Offset::ZERO);
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
    run(&mut log, plan, at(4_000)).unwrap();
    assert_eq!(log.damage().len(), 1);
    let told = log.take_events();
    let is_told = |event: &Event| matches!(event, Event::Damage(_));
    assert!(told.iter().any(is_told), "{told:?}");
}

#[test]
fn a_read_planned_before_a_cut_goes_on_with_what_was_cut() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 20);
    let plan = log.plan_read(offset(12), Offset::MAX, 1).unwrap();
    assert!(plan.ready().is_none());
    cut(&mut log, 2).unwrap();
    assert_eq!(block_on(plan.run()).unwrap().pieces.len(), 1);
}

/// Nobody read there, so nobody looked: its rows stayed in memory until the next scrub, and a start before that had none.
#[test]
fn an_index_that_found_no_space_as_its_segment_was_sealed_is_written_later() {
    for is_killed in [false, true] {
        let disk = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
        let full = Fault::Fail(ErrorKind::StorageFull);
        let index = Match::on(Operation::Rename, ".index");
        for _ in 0..6 {
            let one = batch(&[&[b'f'; 3000]], at(0));
            log.append(&one, at(0)).unwrap();
            flush(&mut log, at(0)).unwrap();
        }
        disk.faults().fail(index, 1, full);
        if is_killed {
            drop(log);
            log = open(&disk, small(), 2, at(0)).unwrap().0;
        }
        settle(&mut log, at(0)).unwrap();
        assert!(!disk.faults().is_pending(), "there was no room for it");
        assert_eq!(log.sealed().count(), 1);
        let has_index = || names(&disk.child("p0")).contains(&INDEX.to_owned());
        assert!(!has_index());
        assert!(!log.is_settled());
        let done = settle(&mut log, at(60_000)).unwrap();
        assert_eq!(done.first(), Some(&Chore::IndexRebuilt), "{done:?}");
        assert!(has_index());
        settle(&mut log, at(61_000)).unwrap();
        assert!(log.is_settled());
    }
}

/// A reader had a handle of its own on a sealed segment that it had not come to yet. After a cut,
/// another store of that name was there, and the reader took it for the one that it wanted.
#[test]
fn a_reader_never_takes_a_new_store_for_the_one_that_was_cut_off() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 20);
    let second = log.segments().nth(1).unwrap();
    assert!(second.is_sealed);
    let mut reader = log.reader(Offset::ZERO);
    for _ in 0..second.base.get() {
        assert!(block_on(reader.next()).unwrap().is_some());
    }
    let name = format!("{:020}.log", second.base.get());
    cut(&mut log, second.base.get()).unwrap();
    for _ in 0..8 {
        log.append(&batch(&[&[b'n'; 3000]], at(0)), at(0)).unwrap();
        settle(&mut log, at(5_000)).unwrap();
    }
    let entries = block_on(disk.child("p0").list());
    assert!(entries.unwrap().iter().any(|entry| entry.name == name));
    let next = block_on(reader.next());
    assert!(matches!(next, Err(Error::Io { .. })), "{next:?}");
}

/// Two cuts in one millisecond moved two stores of one name away: the second replaced the first.
#[test]
fn what_is_cut_off_replaces_nothing_in_quarantine() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 10);
    let second = log.segments().nth(1).unwrap().base.get();
    cut(&mut log, second).unwrap();
    let quarantine = disk.child("quarantine");
    let count = || block_on(quarantine.list()).unwrap().len();
    let before = count();
    fill(&mut log, 1);
    cut(&mut log, second).unwrap();
    assert_eq!(count(), before + 1);
}

/// The first group after a clean opening needed a new store and found no descriptor for the mark. The
/// chore that then made the store named it in the manifest under the clean mark.
#[test]
fn no_store_is_named_under_a_clean_mark() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 5);
    log.append(&batch(&[&[b'r'; 15_000]], at(0)), at(0))
        .unwrap();
    let segments = log.segments().count();
    let is_mark = Match::on(Operation::Open, "mark");
    disk.faults().fail(is_mark, 1, Fault::OutOfFiles);
    flush(&mut log, at(4_000)).unwrap_err();
    assert!(log.is_full());
    // Sealing would unset the mark before, but finds no descriptor either.
    disk.faults()
        .fail(Operation::CreateFile, 1, Fault::OutOfFiles);
    chore(&mut log, at(5_000), false).unwrap_err();
    let prepared = chore(&mut log, at(5_000), false).unwrap();
    assert_eq!(prepared, Some(Chore::SpacePrepared));
    let dir = disk.child("p0");
    let named = block_on(manifest::read(&dir)).unwrap().1;
    assert_eq!(named.segments().len(), segments);
    let mark = block_on(Mark::open(dir)).unwrap().unwrap();
    assert!(!mark.last().unwrap().is_clean);
    settle(&mut log, at(6_000)).unwrap();
    assert_eq!(log.durable(), log.log_end());
}

/// Preparing found nothing to do but to open the store, and did not: appends were taken again, for a group that
/// found no descriptor again, several times a second.
#[test]
fn appends_are_taken_again_only_once_the_store_can_be_opened() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    let more = batch(&[b"more"], at(0));
    for _ in 0..2 {
        log.append(&more, at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    // Other files were needed more.
    let store = log.active().store.clone().unwrap();
    block_on(store.close()).unwrap();
    log.append(&more, at(1_000)).unwrap();
    let is_store = || Match::on(Operation::Open, ".log");
    disk.faults().fail(is_store(), 1, Fault::OutOfFiles);
    let error = flush(&mut log, at(1_000)).unwrap_err();
    assert!(error.is_shortage(), "{error}");
    disk.faults().fail(is_store(), 1, Fault::OutOfFiles);
    let error = chore(&mut log, at(2_000), false).unwrap_err();
    assert!(error.is_shortage(), "{error}");
    let refused = log.append(&more, at(2_000));
    assert!(matches!(refused, Err(AppendError::OutOfFiles)));
    let prepared = chore(&mut log, at(3_000), false).unwrap();
    assert_eq!(prepared, Some(Chore::SpacePrepared));
    log.append(&more, at(3_000)).unwrap();
    settle(&mut log, at(3_000)).unwrap();
    assert_eq!(log.durable(), log.log_end());
}

/// The first reason stayed: a disk that was full meanwhile was told as one without descriptors.
#[test]
fn why_nothing_is_appended_is_told_as_it_is_now() {
    let disk = Disk::new(MemoryDir::new());
    let mut log = reopened(&disk, 5);
    let more = batch(&[&[b'r'; 15_000]], at(0));
    log.append(&more, at(0)).unwrap();
    let is_mark = Match::on(Operation::Open, "mark");
    disk.faults().fail(is_mark, 1, Fault::OutOfFiles);
    flush(&mut log, at(4_000)).unwrap_err();
    let refused = log.append(&more, at(4_000));
    assert!(matches!(refused, Err(AppendError::OutOfFiles)));
    disk.faults().set_full(true);
    while !matches!(log.append(&more, at(5_000)), Err(AppendError::StorageFull)) {
        let done = chore(&mut log, at(5_000), false);
        assert!(!matches!(done, Ok(None)), "space is looked for again");
    }
    disk.faults().set_full(false);
    settle(&mut log, at(6_000)).unwrap();
    assert_eq!(log.durable(), log.log_end());
}

/// A topic that is deleted had each of its logs closed: with seals, indexes and marks. Then what had found no
/// room went with it, though there was room by then.
#[test]
fn what_is_pending_is_flushed_alone_and_tried_once_where_the_disk_was_full() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    fill(&mut log, 9);
    let append = |log: &mut Log<Disk>| log.append(&batch(&[b"more"], at(0)), at(0)).map(drop);
    append(&mut log).unwrap();
    let before = disk.faults().total();
    block_on(log.flush_pending(at(2_000))).unwrap();
    assert_eq!((log.durable(), log.pending_bytes()), (offset(10), 0));
    let done = disk.faults().total() - before;
    assert!(done <= 2, "a write and a sync, not {done}");

    disk.faults().set_full(true);
    while !log.is_full() {
        log.append(&batch(&[&[b'm'; 3000]], at(0)), at(0)).unwrap();
        drop(flush(&mut log, at(2_000)));
    }
    let before = disk.faults().total();
    let error = block_on(log.flush_pending(at(2_000))).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    let done = disk.faults().total() - before;
    assert!(done <= 2, "one call that fails, not {done}");
    assert!(0 < log.pending_bytes(), "it waits as before");

    disk.faults().set_full(false);
    block_on(log.flush_pending(at(2_000))).unwrap();
    assert_eq!((log.durable(), log.pending_bytes()), (log.log_end(), 0));
}

/// It was closed as if in order: that what a read had met is written down nowhere was told to nobody.
#[test]
fn damage_that_closing_can_not_write_down_is_told_by_it() {
    let damage = Damage {
        from: offset(1),
        to: offset(2),
        segment: Offset::ZERO,
    };
    for (is_met, is_written) in [(true, false), (true, true), (false, false)] {
        let disk = Disk::new(MemoryDir::new());
        let mut log = reopened(&disk, 5);
        if is_met {
            assert!(log.note_damage(damage));
        }
        if is_written {
            settle(&mut log, at(3_000)).unwrap();
            log.unwrite_all();
        }
        let is_mark = Match::on(Operation::Open, "mark");
        disk.faults().fail(is_mark, 1, Fault::OutOfFiles);
        let closed = block_on(log.close(at(4_000)));
        match is_met && !is_written {
            true => assert!(
                matches!(closed, Err(Error::OutOfFiles { .. })),
                "{closed:?}"
            ),
            false => assert!(closed.is_ok(), "{closed:?}"),
        }
    }
}
