//! Sectors that cannot be read: they count as bytes that are wrong, and cost nothing for good that the disk may give again.

use super::recovery::STORE;
use super::{at, offset, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir, block_on};
use crate::format::mark::SLOT_BYTES;
use crate::log::{AppendError, Event, Log, OpenReport, ReadError};
use crate::testing::own::{alter, follower};
use crate::testing::{batch, flush, open, read_all, run, settle};
use crate::{Error, mark};
use corelog_record::Offset;

pub(super) type Disk = FaultyDir<MemoryDir>;

pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes of a batch that [`fill`] appends: more than a block, so that some block is of none but it.
pub(super) const BATCH_BYTES: u64 = 3 * BLOCK;

pub(super) fn disk() -> Disk {
    FaultyDir::new(MemoryDir::new())
}

pub(super) fn append(log: &mut Log<Disk>) {
    let empty = batch(&[&[b'f'; 10_000]], at(0)).len() - 10_000;
    let value = vec![b'f'; usize::try_from(BATCH_BYTES).unwrap() - empty];
    log.append(&batch(&[&value], at(0)), at(0)).unwrap();
    flush(log, at(0)).unwrap();
}

/// A log of `count` batches in segments of five, each durable, of which the mark knows none.
pub(super) fn filled(disk: &Disk, count: usize) -> Log<Disk> {
    let (mut log, _) = reopen(disk);
    (0..count).for_each(|_| append(&mut log));
    log
}

pub(super) fn options() -> crate::log::Options {
    crate::log::Options {
        segment_bytes_max: corelog_record::ByteSize::from_kib(64),
        ..small()
    }
}

pub(super) fn reopen(disk: &Disk) -> (Log<Disk>, OpenReport) {
    open(disk, options(), 9, at(100)).unwrap()
}

/// Checks that the log is not opened for want of what the disk does not give.
fn assert_closed(disk: &Disk) {
    assert_closed_with(disk, options());
}

fn assert_closed_with(disk: &Disk, options: crate::log::Options) {
    let Err(refused) = open(disk, options, 9, at(100)) else {
        panic!("nothing may be cut");
    };
    assert!(refused.is_unreadable(), "{refused}");
}

pub(super) fn read(disk: &Disk, name: &str) -> Vec<u8> {
    block_on(disk.inner().child("p0").read(name, 1 << 20)).unwrap()
}

/// Has the middle block of the batch at `offset` be unreadable.
pub(super) fn lose(disk: &Disk, offset: u64) {
    let start = offset * BATCH_BYTES + BLOCK;
    disk.faults().set_unreadable(STORE, start..start + BLOCK);
}

/// A record may stand there that was acknowledged.
#[test]
fn what_cannot_be_read_behind_the_mark_keeps_the_log_closed_until_it_can() {
    for lost in 0..5 {
        let disk = disk();
        let log = filled(&disk, 5);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        let before = read(&disk, STORE);
        lose(&disk, lost);
        assert_closed(&disk);
        assert_closed(&disk);
        disk.faults().clear();
        assert_eq!(read(&disk, STORE), before);
        let (log, report) = reopen(&disk);
        assert!(report.torn.is_none() && report.damage.is_empty());
        assert_eq!(report.quarantined, [] as [String; 0]);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    }
}

/// Opens the log with what the disk gives of it.
pub(super) fn open_before_unread(disk: &Disk) -> (Log<Disk>, OpenReport) {
    let options = crate::log::Options {
        ends_before_unread: true,
        ..options()
    };
    open(disk, options, 9, at(100)).unwrap()
}

/// A bad sector at the end kept all that precedes it from readers, for good.
#[test]
fn a_log_that_is_opened_before_what_cannot_be_read_serves_that_and_cuts_nothing() {
    for is_mark_kept in [true, false] {
        let disk = disk();
        let log = filled(&disk, 5);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        if !is_mark_kept {
            block_on(disk.child("p0").remove(mark::NAME)).unwrap();
        }
        let before = read(&disk, STORE);
        lose(&disk, 4);
        let (mut log, report) = open_before_unread(&disk);
        assert!(report.is_read_only && report.torn.is_none(), "{report:?}");
        assert_eq!((report.log_end, log.durable()), (offset(4), offset(4)));
        let [damage] = report.damage[..] else {
            panic!("{report:?}")
        };
        assert_eq!((damage.from, damage.to), (offset(4), offset(5)));
        let events = log.take_events();
        assert!(events.contains(&Event::ReadOnly { from: offset(4) }));
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..4]);
        let read_on = log.plan_read(offset(4), Offset::MAX, 0);
        assert!(matches!(read_on, Err(ReadError::Damaged { .. })));
        let refused = log.append(&batch(&[b"x"], at(0)), at(0)).unwrap_err();
        assert!(matches!(refused, AppendError::ReadOnly { .. }), "{refused}");
        settle(&mut log, at(150)).unwrap();
        block_on(log.close(at(200))).unwrap();
        drop(log);
        assert_closed(&disk);
        disk.faults().clear();
        assert_eq!(read(&disk, STORE), before);
        let (log, report) = reopen(&disk);
        assert!(report.torn.is_none() && report.damage.is_empty());
        assert!(!report.is_read_only, "{report:?}");
        assert_eq!(report.quarantined, [] as [String; 0]);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    }
}

/// Sound batches behind a header that the disk did not give were written back as two reads of them were, and no checksum was
/// asked: they may have been acknowledged.
#[test]
fn a_log_that_ends_before_what_cannot_be_read_writes_nothing_that_no_checksum_was_asked_for() {
    for nth in 1.. {
        let disk = disk();
        let log = filled(&disk, 5);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        let before = read(&disk, STORE);
        let header = 3 * BATCH_BYTES;
        disk.faults().set_unreadable(STORE, header..header + BLOCK);
        let flip = Fault::Flip { seed: 1 };
        for read in [nth, nth + 1] {
            let store = Match::on(Operation::Read, STORE);
            disk.faults().fail(store, read, flip);
        }
        drop(open_before_unread(&disk));
        let happened = disk.faults().happened();
        let is_any = happened.iter().any(|happened| happened.fault == flip);
        disk.faults().clear();
        assert!(read(&disk, STORE) == before, "reads from {nth} on");
        let (log, report) = reopen(&disk);
        assert!(report.torn.is_none() && report.damage.is_empty(), "{nth}");
        assert!(read_all(&log, Offset::ZERO).unwrap() == all, "{nth}");
        if !is_any {
            break;
        }
    }
}

/// What was written to the store of this name since the disk records.
pub(super) fn writes(disk: &Disk, store: &str) -> Vec<String> {
    let trace = disk.inner().trace();
    let steps = trace.steps().iter();
    let writes = steps.filter(|step| step.operation() == Operation::Write && step.name() == store);
    writes.map(ToString::to_string).collect()
}

/// They were written back as two reads of them were, and the next read of all of the batch may have been right.
#[test]
fn blocks_of_a_batch_that_cannot_be_read_whole_are_not_written() {
    let disk = disk();
    drop(filled(&disk, 5));
    lose(&disk, 3);
    disk.inner().record();
    drop(open_before_unread(&disk));
    let written = writes(&disk, STORE);
    let (header_end, behind) = (3 * BATCH_BYTES + BLOCK, 4 * BATCH_BYTES);
    assert_eq!(written.len(), 2, "{written:?}");
    assert!(written[0].ends_with(&format!("[0, {header_end})")));
    assert!(written[1].contains(&format!("[{behind}, ")));
}

#[test]
fn a_log_goes_on_behind_what_cannot_be_read_where_sound_batches_follow() {
    for lost in 0..4 {
        let disk = disk();
        let log = filled(&disk, 5);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        lose(&disk, lost);
        let (mut log, report) = open_before_unread(&disk);
        assert!(!report.is_read_only && report.torn.is_none(), "{report:?}");
        assert_eq!(report.damage.len(), 1, "{report:?}");
        let behind = usize::try_from(lost).unwrap() + 1;
        assert_eq!(read_all(&log, offset(lost + 1)).unwrap(), all[behind..]);
        append(&mut log);
        settle(&mut log, at(150)).unwrap();
        block_on(log.close(at(200))).unwrap();
        drop(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap()[..5], all);
        assert_eq!(log.log_end(), offset(6));
    }
}

/// What a failing disk gives behind that need not be what was written.
#[test]
fn what_is_bad_behind_what_cannot_be_read_is_cut_once_all_can_be() {
    let disk = disk();
    drop(filled(&disk, 5));
    let torn = 8 * (4 * BATCH_BYTES + BLOCK);
    disk.inner().child("p0").flip(STORE, torn).unwrap();
    let before = read(&disk, STORE);
    lose(&disk, 1);
    let (log, report) = open_before_unread(&disk);
    assert!(report.is_read_only && report.torn.is_none(), "{report:?}");
    assert_eq!(log.read_only_from(), Some(offset(4)));
    drop(log);
    disk.faults().clear();
    assert_eq!(read(&disk, STORE), before);
    let (_, report) = reopen(&disk);
    assert_eq!(report.log_end, offset(4));
    assert!(report.torn.is_some(), "{report:?}");
    assert!(report.damage.is_empty(), "none is remembered: {report:?}");
}

/// What was bad before it was torn to each opening, and there was no copy of what cannot be read: it stayed closed.
#[test]
fn what_is_bad_before_what_cannot_be_read_is_cut_once_all_can_be() {
    let disk = disk();
    drop(filled(&disk, 5));
    let torn = 8 * (3 * BATCH_BYTES + BLOCK);
    disk.inner().child("p0").flip(STORE, torn).unwrap();
    let before = read(&disk, STORE);
    lose(&disk, 4);
    assert_closed(&disk);
    for _ in 0..2 {
        let (log, report) = open_before_unread(&disk);
        assert!(report.is_read_only && report.torn.is_none(), "{report:?}");
        assert_eq!(log.read_only_from(), Some(offset(3)));
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 3);
    }
    disk.faults().clear();
    assert_eq!(read(&disk, STORE), before);
    let (_, report) = reopen(&disk);
    assert_eq!(report.log_end, offset(3));
    assert!(report.torn.is_some(), "{report:?}");
    assert!(report.damage.is_empty(), "none is remembered: {report:?}");
}

#[test]
fn what_cannot_be_read_of_an_earlier_store_is_damage_until_it_can() {
    let disk = disk();
    let log = filled(&disk, 8);
    let all = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(log.segments().count(), 2, "rolled, and not sealed");
    drop(log);
    lose(&disk, 1);
    let (mut log, report) = reopen(&disk);
    let [damage] = report.damage[..] else {
        panic!("{report:?}")
    };
    assert_eq!((damage.from, damage.to), (offset(1), offset(2)));
    let read = log.plan_read(offset(1), Offset::MAX, 0);
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
    assert_eq!(read_all(&log, offset(2)).unwrap(), all[2..]);
    append(&mut log);
    settle(&mut log, at(200)).unwrap();
    block_on(log.close(at(300))).unwrap();
    drop(log);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap()[..8], all);
    assert_eq!(log.log_end(), offset(9));
}

/// What it could not read had expired, and it was marked as not closed in order for good.
#[test]
fn a_log_that_nothing_unread_is_left_of_is_closed_in_order() {
    let disk = disk();
    drop(filled(&disk, 8));
    lose(&disk, 1);
    let (mut log, report) = reopen(&disk);
    assert_eq!(report.damage.len(), 1, "{report:?}");
    append(&mut log);
    let second = log.segments().nth(1).unwrap().base;
    let plan = log.plan_truncate(second).unwrap().unwrap();
    run(&mut log, plan, at(150)).unwrap();
    settle(&mut log, at(200)).unwrap();
    assert_eq!(log.log_start(), second);
    block_on(log.close(at(300))).unwrap();
    drop(log);
    assert!(reopen(&disk).1.is_clean);
}

/// It was marked as not closed in order for what it had given up.
#[test]
fn a_log_that_begins_anew_behind_what_was_unread_is_closed_in_order() {
    let follower = follower(options());
    let disk = disk();
    drop(filled(&disk, 8));
    lose(&disk, 1);
    let (mut log, report) = open(&disk, follower.clone(), 9, at(100)).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    settle(&mut log, at(150)).unwrap();
    let start = log.end_place();
    let plan = log.plan_adopt(log.identity().history, start).unwrap();
    run(&mut log, plan, at(150)).unwrap();
    settle(&mut log, at(200)).unwrap();
    block_on(log.close(at(300))).unwrap();
    drop(log);
    assert!(open(&disk, follower, 9, at(400)).unwrap().1.is_clean);
}

/// A clean stop hid it, where the manifest knew of other damage of the store: nothing was read for what it does not know.
#[test]
fn what_cannot_be_read_is_told_behind_a_clean_stop_too() {
    let disk = disk();
    drop(filled(&disk, 8));
    let rotten = 3 * BATCH_BYTES + BLOCK;
    disk.inner().child("p0").flip(STORE, 8 * rotten).unwrap();
    lose(&disk, 1);
    for opening in 0..3 {
        let (mut log, report) = reopen(&disk);
        // What was known was copied again by each one, because something else was not known.
        assert_eq!(report.quarantined.len(), usize::from(opening == 0));
        let mut damaged: Vec<_> = report.damage.iter().map(|damage| damage.from).collect();
        damaged.sort_unstable();
        assert_eq!(damaged, [offset(1), offset(3)], "{report:?}");
        settle(&mut log, at(200)).unwrap();
        block_on(log.close(at(300))).unwrap();
    }
    disk.faults().clear();
    let (mut log, report) = reopen(&disk);
    let [rotten] = report.damage[..] else {
        panic!("{report:?}")
    };
    assert_eq!(rotten.from, offset(3));
    block_on(log.close(at(400))).unwrap();
    drop(log);
    assert!(reopen(&disk).1.is_clean, "nothing is unread any more");
}

#[test]
fn a_log_whose_last_block_cannot_be_read_behind_a_clean_stop_goes_on_in_the_next_store() {
    let disk = disk();
    let mut log = filled(&disk, 3);
    log.append(&batch(&[b"in the last block"], at(0)), at(0))
        .unwrap();
    settle(&mut log, at(1)).unwrap();
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let end = 3 * BATCH_BYTES;
    disk.faults().set_unreadable(STORE, end..end + BLOCK);
    let (mut log, report) = reopen(&disk);
    assert!(!report.is_read_only, "{report:?}");
    assert_eq!(log.log_end(), offset(4), "nothing that was promised is cut");
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(report.damage[0].from, offset(3));
    append(&mut log);
    settle(&mut log, at(200)).unwrap();
    assert_eq!(read_all(&log, offset(4)).unwrap().len(), 1);
    drop(log);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 5);
}

#[test]
fn what_cannot_be_read_of_the_space_behind_the_end_is_written_over() {
    let disk = disk();
    let log = filled(&disk, 2);
    let all = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    lose(&disk, 3);
    let (mut log, report) = reopen(&disk);
    assert!(
        report.torn.is_none() && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    (0..3).for_each(|_| append(&mut log));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 5);
    assert_eq!(report.quarantined, [] as [String; 0]);
}

#[test]
fn a_disk_that_gives_nothing_of_a_store_for_a_while_costs_no_record() {
    let disk = disk();
    let mut log = filled(&disk, 5);
    settle(&mut log, at(1)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    disk.faults().set_unreadable(".log", 0..1 << 40);
    assert_closed(&disk);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert!(
        report.torn.is_none() && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}

#[test]
fn a_disk_that_gives_nothing_of_many_blocks_is_failing_and_keeps_the_log_closed() {
    let disk = disk();
    let (mut log, _) = reopen(&disk);
    log.append(&batch(&[&[b'f'; 500_000]], at(0)), at(0))
        .unwrap();
    flush(&mut log, at(0)).unwrap();
    drop(log);
    let before = read(&disk, STORE);
    disk.faults().set_unreadable(STORE, 0..1 << 40);
    let error = open(&disk, options(), 9, at(100)).unwrap_err();
    assert!(
        matches!(error, Error::Io { action: "read", .. }),
        "{error:?}"
    );
    assert_eq!(read(&disk, STORE), before);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert!(
        report.torn.is_none() && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(log.log_end(), offset(1));
}

/// An opening that was not given the empty store behind the torn bytes remembered them as damage. Once it was, the next
/// cut them, remembered the same again, and what was appended there was acknowledged and never read.
#[test]
fn what_is_appended_where_damage_was_remembered_behind_the_end_is_read() {
    let disk = disk();
    drop(filled(&disk, 7));
    let dir = disk.inner().child("p0");
    alter(&dir, STORE, |bytes| {
        let cut = usize::try_from(4 * BATCH_BYTES + BLOCK).unwrap();
        bytes[cut..].fill(0);
    });
    alter(&dir, "00000000000000000005.log", |bytes| bytes.fill(0));
    disk.faults().set_unreadable("5.log", 0..BLOCK);
    let (log, report) = open_before_unread(&disk);
    assert_eq!(report.damage[0].from, offset(4), "{report:?}");
    assert!(report.is_read_only, "{report:?}");
    drop(log);
    disk.faults().clear();
    let (mut log, report) = reopen(&disk);
    assert!(
        report.torn.is_some() && report.damage.is_empty(),
        "{report:?}"
    );
    (0..2).for_each(|_| append(&mut log));
    settle(&mut log, at(200)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 6);
    drop(log);
    let (log, report) = reopen(&disk);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 6);
}

/// A directory that went away between two looks was one without files, beside a manifest that named some.
#[test]
fn a_directory_that_goes_away_while_its_log_is_opened_keeps_that_closed() {
    let disk = disk();
    drop(filled(&disk, 5));
    let before = read(&disk, crate::manifest::NAME);
    let listed = Match::on(Operation::List, "");
    disk.faults()
        .fail(listed, 2, Fault::Fail(std::io::ErrorKind::NotFound));
    let refused = open(&disk, options(), 9, at(100)).err();
    assert!(refused.is_some_and(|refused| refused.is_missing()));
    assert_eq!(read(&disk, crate::manifest::NAME), before);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 5);
}

/// Taken for bytes of a store that is prepared and empty they would make the torn end of the one before it damage for good.
#[test]
fn a_log_before_many_blocks_that_cannot_be_read_stays_closed_also_to_who_does_not_wait() {
    let waiting = crate::log::Options {
        segment_bytes_max: corelog_record::ByteSize::from_kib(600),
        ..options()
    };
    let disk = disk();
    let (mut log, _) = open(&disk, waiting.clone(), 9, at(100)).unwrap();
    (0..2).for_each(|_| append(&mut log));
    log.append(&batch(&[&[b'f'; 500_000]], at(0)), at(0))
        .unwrap();
    flush(&mut log, at(0)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    let before = read(&disk, STORE);
    disk.faults()
        .set_unreadable(STORE, 2 * BATCH_BYTES..1 << 40);
    let decided = crate::log::Options {
        ends_before_unread: true,
        ..waiting.clone()
    };
    assert_closed(&disk);
    assert_closed_with(&disk, decided);
    disk.faults().clear();
    assert!(read(&disk, STORE) == before, "nothing was written");
    let (log, report) = open(&disk, waiting, 9, at(300)).unwrap();
    assert!(
        report.torn.is_none() && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}

#[test]
fn a_slot_of_the_mark_that_cannot_be_read_is_passed_over() {
    let slot = SLOT_BYTES as u64;
    for lost in [0..slot, slot..2 * slot, 0..2 * slot] {
        let disk = disk();
        let mut log = filled(&disk, 2);
        settle(&mut log, at(1)).unwrap();
        append(&mut log);
        settle(&mut log, at(2)).unwrap();
        let all = read_all(&log, Offset::ZERO).unwrap();
        block_on(log.close(at(3))).unwrap();
        drop(log);
        disk.faults().set_unreadable(mark::NAME, lost.clone());
        let (mut log, report) = reopen(&disk);
        assert!(
            report.torn.is_none() && report.damage.is_empty(),
            "{report:?}"
        );
        let is_lost = log.take_events().contains(&Event::MarkLost);
        assert_eq!(is_lost, lost.end - lost.start == 2 * slot);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
        append(&mut log);
        settle(&mut log, at(200)).unwrap();
        drop(log);
        // A slot that could not be read is not believed once it can be.
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(
            report.torn.is_none() && report.damage.is_empty(),
            "{report:?}"
        );
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 4);
    }
}
