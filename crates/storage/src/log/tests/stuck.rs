//! What fails at an opening that is tried again and again keeps the log closed no longer than it lasts, and leaves nothing
//! behind that does.

use std::io::ErrorKind;

use corelog_record::Offset;

use super::recovery::{STORE, scribble};
use super::{at, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format::mark::SLOT_BYTES;
use crate::log::{Chore, Damage, Event, Log, OpenReport};
use crate::mark::Mark;
use crate::testing::own::names;
use crate::testing::{batch, chore, flush, open, read_all, settle};
use crate::{Error, mark};

type Disk = FaultyDir<MemoryDir>;

fn append<D: Dir>(log: &mut Log<D>, value: &[u8]) {
    log.append(&batch(&[value], at(0)), at(0)).unwrap();
    flush(log, at(0)).unwrap();
}

/// A log of seven batches, the mark of which knows three; `is_rolled` adds some, so that the store before the last one is
/// not sealed.
fn stopped(is_rolled: bool) -> (MemoryDir, Vec<Vec<u8>>) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for number in 0..if is_rolled { 14 } else { 7 } {
        append(&mut log, &[number; 1500]);
        if number == 2 {
            let marked = chore(&mut log, at(10_000), false).unwrap();
            assert_eq!(marked, Some(Chore::Marked));
        }
    }
    let all = read_all(&log, Offset::ZERO).unwrap();
    (root, all)
}

/// Where the store of such a log ends that has not rolled: a batch ends in a zero.
fn end_of(all: &[Vec<u8>]) -> u64 {
    all.iter().map(|batch| batch.len() as u64).sum()
}

fn reopen<D: Dir>(disk: &D) -> Result<(Log<D>, OpenReport), Error> {
    open(disk, small(), 3, at(30_000))
}

/// Each try left one more copy of them, until there was no space for the copy of the store that it needs: the log stayed
/// closed whatever space was made.
#[test]
fn torn_bytes_are_copied_once_however_often_an_opening_is_tried() {
    let (root, all) = stopped(false);
    scribble(&root, STORE, end_of(&all), b"not a batch");
    let disk = Disk::new(root);
    for _ in 0..5 {
        let refused = Fault::Fail(ErrorKind::Other);
        let store = Match::on(Operation::Write, STORE);
        disk.faults().fail(store, 1, refused);
        let full = Fault::Fail(ErrorKind::StorageFull);
        let copy = Match::on(Operation::Allocate, "000.1.log");
        disk.faults().fail(copy, 1, full);
        let error = reopen(&disk).unwrap_err();
        assert!(error.is_shortage(), "{error}");
        assert_eq!(names(&disk.child("quarantine")).len(), 1);
    }
    // Others are copied.
    scribble(disk.inner(), STORE, end_of(&all) + 10, b"!");
    let (log, report) = reopen(&disk).unwrap();
    assert_eq!(report.torn.map(|torn| torn.bytes), Some(11));
    assert_eq!(names(&disk.child("quarantine")).len(), 2);
    let kept = disk.child("quarantine");
    let kept = block_on(kept.read(&report.quarantined[0], 100)).unwrap();
    assert_eq!(kept, b"not a batc!");
    assert!(read_all(&log, Offset::ZERO).unwrap() == all);
}

/// The next try moved the copy to quarantine, and had no room for another.
#[test]
fn a_copy_of_a_store_that_the_manifest_has_no_room_to_name_is_removed() {
    let (root, all) = stopped(false);
    for seed in 10.. {
        // Each kill is an edit, until there is room for no more.
        drop(open(&root, small(), seed, at(20_000)).unwrap());
        let disk = Disk::new(root.fork());
        let refused = Fault::Fail(ErrorKind::Other);
        let store = Match::on(Operation::Write, STORE);
        disk.faults().fail(store, 1, refused);
        let full = Fault::Fail(ErrorKind::StorageFull);
        let manifest = Match::on(Operation::CreateFile, "manifest.new");
        disk.faults().fail(manifest, 1, full);
        let opened = reopen(&disk);
        if disk.faults().is_pending() || opened.is_ok() {
            assert!(seed < 1_000, "a manifest has some room");
            continue;
        }
        if names(&disk.child("p0")).contains(&"00000000000000000000.1.log".to_owned()) {
            // It was named, and what came behind it found no room.
            continue;
        }
        assert!(opened.unwrap_err().is_shortage());
        let (log, report) = reopen(&disk).unwrap();
        assert_eq!(report.quarantined, [] as [String; 0]);
        assert!(read_all(&log, Offset::ZERO).unwrap() == all);
        return;
    }
}

/// Each opening failed at the same block, for good.
#[test]
fn a_mark_or_manifest_that_cannot_be_written_in_place_is_written_anew() {
    for file in [mark::NAME, crate::manifest::NAME] {
        for operation in [Operation::Write, Operation::Sync] {
            let (root, all) = stopped(false);
            let disk = Disk::new(root);
            let fault = Fault::Fail(ErrorKind::Other);
            disk.faults().fail(Match::on(operation, file), 1, fault);
            let (mut log, _) = reopen(&disk).unwrap();
            let epoch = log.epoch();
            let what = format!("{operation:?} of {file}");
            // A mark that is true either way is not synced.
            assert!(!disk.faults().is_pending() || file == mark::NAME, "{what}");
            disk.faults().clear();
            append(&mut log, b"more");
            drop(log);
            for seed in 0..20 {
                let cut = disk.inner().power_cut(seed);
                let (mut log, report) = reopen(&cut).unwrap();
                assert!(report.damage.is_empty(), "{what}, {seed}: {report:?}");
                assert!(!log.take_events().contains(&Event::MarkLost), "{what}");
                assert!(epoch < log.epoch(), "{what}, {seed}");
                let read = read_all(&log, Offset::ZERO).unwrap();
                assert!(read.len() == 8 && read[..7] == all, "{what}, {seed}");
            }
        }
    }
}

#[test]
fn a_log_that_is_open_is_fenced_by_a_mark_that_it_cannot_write() {
    let (root, _) = stopped(false);
    let disk = Disk::new(root);
    let (mut log, _) = reopen(&disk).unwrap();
    append(&mut log, b"more");
    let fault = Fault::Fail(ErrorKind::Other);
    let write = Match::on(Operation::Write, mark::NAME);
    disk.faults().fail(write, 1, fault);
    settle(&mut log, at(40_000)).unwrap_err();
    assert!(log.is_fenced());
}

/// It fenced the log, and kept it closed then.
#[test]
fn a_mark_that_finds_no_space_waits_for_it() {
    let (root, all) = stopped(false);
    let disk = Disk::new(root);
    let full = || {
        let full = Fault::Fail(ErrorKind::StorageFull);
        let write = Match::on(Operation::Write, mark::NAME);
        disk.faults().fail(write, 1, full);
    };
    full();
    let error = reopen(&disk).unwrap_err();
    assert!(error.is_shortage(), "{error}");
    let (mut log, _) = reopen(&disk).unwrap();
    append(&mut log, b"more");
    full();
    let error = settle(&mut log, at(40_000)).unwrap_err();
    assert!(error.is_shortage() && !log.is_fenced(), "{error}");
    // What would make space does not wait for it.
    assert_eq!(chore(&mut log, at(40_000), true).unwrap(), None);
    assert!(!log.is_settled());
    let marked = settle(&mut log, at(41_000)).unwrap();
    assert!(marked.contains(&Chore::Marked), "{marked:?}");
    assert!(read_all(&log, Offset::ZERO).unwrap()[..7] == all);
}

/// A controller that was in its reset for a moment closed a log until somebody came by.
#[test]
fn a_read_that_fails_once_changes_nothing() {
    for (is_rolled, is_closed, is_torn) in [
        (false, false, false),
        (false, true, false),
        (false, false, true),
        (true, false, false),
        (true, true, false),
    ] {
        let (root, all) = stopped(is_rolled);
        if is_closed {
            let (mut log, _) = open(&root, small(), 2, at(20_000)).unwrap();
            block_on(log.close(at(20_001))).unwrap();
        }
        if is_torn {
            scribble(&root, STORE, end_of(&all), b"not a batch");
        }
        let mut reads = 0;
        for nth in 1.. {
            let disk = Disk::new(root.fork());
            // Of a read this is `EIO`.
            let unread = Fault::Torn { seed: 0 };
            disk.faults().fail(Operation::Read, nth, unread);
            let (log, report) = reopen(&disk).unwrap();
            if disk.faults().is_pending() {
                break;
            }
            reads += 1;
            let what = format!("{is_rolled} {is_closed} {is_torn}, read {nth}: {report:?}");
            assert!(report.damage.is_empty() && !report.is_read_only, "{what}");
            assert_eq!(report.torn.is_some(), is_torn, "{what}");
            assert_eq!(report.quarantined.len(), usize::from(is_torn), "{what}");
            assert_eq!(log.unread, [], "{what}");
            assert!(read_all(&log, Offset::ZERO).unwrap() == all, "{what}");
        }
        assert!(3 <= reads, "mark, manifest, store");
    }
}

/// The mark that took it back could not be read, and the one before it was believed.
#[test]
fn a_clean_mark_is_not_believed_beside_one_that_cannot_be_read() {
    let (root, all) = stopped(false);
    let disk = Disk::new(root);
    let (mut log, _) = reopen(&disk).unwrap();
    block_on(log.close(at(31_000))).unwrap();
    drop(log);
    let (mut log, report) = reopen(&disk).unwrap();
    assert!(report.is_clean);
    // An edit of the manifest takes it back, and no store is touched.
    let damage = Damage {
        from: Offset::ZERO,
        to: Offset::ZERO.plus(1),
        segment: Offset::ZERO,
    };
    log.note_damage(damage);
    settle(&mut log, at(32_000)).unwrap();
    drop(log);
    let dir = disk.child("p0");
    let last = block_on(Mark::open(dir.clone())).unwrap().unwrap();
    let sequence = last.last().unwrap().sequence;
    assert!(!last.is_clean());
    let slot = SLOT_BYTES as u64;
    let start = if sequence % 2 == 0 { 0 } else { slot };
    disk.faults()
        .set_unreadable(mark::NAME, start..start + slot);
    let found = block_on(Mark::open(dir)).unwrap().unwrap();
    assert!(found.last().unwrap().is_clean, "the one before it");
    let (log, report) = reopen(&disk).unwrap();
    assert!(!report.is_clean, "{report:?}");
    assert_eq!(report.damage, [damage]);
    assert!(read_all(&log, damage.to).unwrap() == all[1..]);
}
