//! A drive that fails beside rot: what it does not give is no damage, and none of it is remembered.

use std::io::ErrorKind;
use std::ops::Range;

use corelog_record::{ByteSize, Offset};

use super::recovery::STORE;
use super::unread::{BATCH_BYTES, BLOCK, Disk, append, disk, filled, lose, reopen};
use super::{at, offset, small};
use crate::disk::faulty::{Fault, Operation};
use crate::disk::{Dir, block_on};
use crate::format::index::{HEADER_BYTES, ROW_BYTES, row};
use crate::log::{Damage, Log, Options, ReadError};
use crate::mark;
use crate::testing::own::{alter, scrub};
use crate::testing::{batch, open, read_all, settle};

/// All batches in one segment, and a row each so many bytes.
fn large(index_interval_bytes: u32) -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(1),
        index_interval_bytes,
        ..small()
    }
}

/// Has the batch at `offset` be rotten: in its body, or in its length, with which its header leads nowhere.
fn rot(disk: &Disk, offset: u64, leads_on: bool) {
    let at = offset * BATCH_BYTES + if leads_on { BLOCK } else { 8 };
    alter(&disk.inner().child("p0"), STORE, |store| {
        store[usize::try_from(at).unwrap()] ^= 1;
    });
}

fn damage(from: u64, to: u64) -> Damage {
    Damage {
        from: offset(from),
        to: offset(to),
        segment: Offset::ZERO,
    }
}

/// A log that was closed with four batches, and went on with as many; and all of them.
fn gone_on(disk: &Disk) -> (Log<Disk>, Vec<Vec<u8>>) {
    let mut log = filled(disk, 4);
    settle(&mut log, at(1)).unwrap();
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let (mut log, _) = reopen(disk);
    (0..4).for_each(|_| append(&mut log));
    let all = read_all(&log, Offset::ZERO).unwrap();
    (log, all)
}

/// All up to the next row at which a batch stood was remembered as damaged, and the pass counted as whole.
#[test]
fn what_cannot_be_read_behind_a_bad_batch_is_no_damage_to_a_scrub() {
    // With a row at each batch, or at each third.
    for (leads_on, interval) in [(false, 512), (true, 512), (true, 30_000)] {
        let disk = disk();
        let (mut log, _) = open(&disk, large(interval), 1, at(0)).unwrap();
        (0..10).for_each(|_| append(&mut log));
        let all = read_all(&log, Offset::ZERO).unwrap();
        log.roll();
        append(&mut log);
        settle(&mut log, at(150)).unwrap();
        rot(&disk, 4, leads_on);
        lose(&disk, 5);
        let pieces = scrub(&mut log, 1 << 20, at(200));
        let errors = pieces.iter().filter(|piece| piece.error.is_some());
        assert_eq!(errors.count(), 1, "{leads_on}, {interval}");
        assert_eq!(log.damage(), [damage(4, 5)]);
        settle(&mut log, at(201)).unwrap();
        assert_eq!(log.scrubbed_at(), None);
        disk.faults().clear();
        assert_eq!(read_all(&log, offset(5)).unwrap()[..5], all[5..]);
        scrub(&mut log, 1 << 20, at(300));
        assert_eq!(log.damage(), [damage(4, 5)]);
        settle(&mut log, at(301)).unwrap();
        assert!(log.scrubbed_at().is_some());
    }
}

/// It was remembered as damaged with the batch before it, for good: a store with damage is not sealed, and so not scrubbed.
#[test]
fn what_cannot_be_read_behind_a_bad_batch_is_damage_to_an_opening_until_it_can() {
    for leads_on in [true, false] {
        let disk = disk();
        let (log, all) = gone_on(&disk);
        assert_eq!(log.segments().count(), 2, "rolled, and not sealed");
        drop(log);
        rot(&disk, 1, leads_on);
        lose(&disk, 2);
        for _ in 0..2 {
            let (mut log, report) = reopen(&disk);
            assert_eq!(report.damage, [damage(1, 3)]);
            assert_eq!(read_all(&log, offset(3)).unwrap()[..5], all[3..]);
            settle(&mut log, at(200)).unwrap();
            block_on(log.close(at(300))).unwrap();
        }
        disk.faults().clear();
        for _ in 0..2 {
            let (mut log, report) = reopen(&disk);
            assert_eq!(report.damage, [damage(1, 2)], "{leads_on}");
            assert_eq!(read_all(&log, offset(2)).unwrap()[..6], all[2..]);
            settle(&mut log, at(400)).unwrap();
            block_on(log.close(at(500))).unwrap();
        }
    }
}

/// It was cut, though the drive had not given all that lies before it.
#[test]
fn nothing_is_torn_behind_a_bad_batch_before_what_cannot_be_read() {
    let disk = disk();
    let options = Options {
        ends_before_unread: true,
        ..large(512)
    };
    let reopen = || open(&disk, options.clone(), 9, at(100)).unwrap();
    let mut log = reopen().0;
    (0..4).for_each(|_| append(&mut log));
    block_on(log.close(at(2))).unwrap();
    drop(log);
    for count in [1, 2] {
        let mut log = reopen().0;
        (0..count).for_each(|_| append(&mut log));
    }
    block_on(disk.child("p0").remove(mark::NAME)).unwrap();
    rot(&disk, 1, true);
    rot(&disk, 6, true);
    lose(&disk, 2);
    let (log, report) = reopen();
    assert!(report.is_read_only && report.torn.is_none(), "{report:?}");
    assert_eq!(log.read_only_from(), Some(offset(6)));
    drop(log);
    disk.faults().clear();
    let (log, report) = reopen();
    assert_eq!(
        (report.log_end, report.damage),
        (offset(6), vec![damage(1, 2)])
    );
    assert!(report.torn.is_some());
    assert_eq!(read_all(&log, offset(2)).unwrap().len(), 4);
}

/// It was answered as damage up to the next row.
#[test]
fn a_lookup_by_time_that_comes_to_what_cannot_be_read_behind_a_bad_batch_says_so() {
    let disk = disk();
    let mut log = filled(&disk, 8);
    settle(&mut log, at(150)).unwrap();
    rot(&disk, 0, true);
    lose(&disk, 1);
    let found = |log: &Log<Disk>| block_on(log.plan_find_time(at(0), Offset::MAX).run());
    let failed = found(&log).unwrap_err();
    assert!(matches!(failed, ReadError::Disk { .. }), "{failed}");
}

/// Where it lies was told by rows that the drive did not give then: all up to the next one was remembered as damaged.
#[test]
fn what_lies_behind_rows_that_cannot_be_read_is_damage_to_an_opening_until_they_can() {
    let disk = disk();
    let (log, all) = gone_on(&disk);
    drop(log);
    rot(&disk, 1, false);
    disk.faults().set_unreadable("0.index", 0..BLOCK);
    let (mut log, report) = reopen(&disk);
    // To where the mark is.
    assert_eq!(report.damage, [damage(1, 4)]);
    settle(&mut log, at(200)).unwrap();
    block_on(log.close(at(300))).unwrap();
    drop(log);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert_eq!(report.damage, [damage(1, 2)]);
    assert_eq!(read_all(&log, offset(2)).unwrap()[..6], all[2..]);
}

const INDEX: &str = "00000000000000000000.index";

fn index(disk: &Disk) -> Vec<u8> {
    block_on(disk.inner().child("p0").read(INDEX, 1 << 20)).unwrap()
}

/// The one batch at `from`.
fn read_one(log: &Log<Disk>, from: u64) -> Result<Offset, ReadError> {
    let plan = log.plan_read(offset(from), Offset::MAX, 1)?;
    block_on(plan.run()).map(|fetched| fetched.next)
}

/// A log that was closed with so many batches of such values in a sealed segment, and opened again.
fn sealed(count: usize, values: &[&[u8]]) -> (Disk, Log<Disk>) {
    let disk = disk();
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (mut log, _) = open(&disk, options.clone(), 1, at(0)).unwrap();
    for _ in 0..count {
        log.append(&batch(values, at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    log.roll();
    append(&mut log);
    settle(&mut log, at(1)).unwrap();
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let (log, _) = open(&disk, options, 1, at(3)).unwrap();
    assert_eq!(log.sealed().count(), 1);
    (disk, log)
}

/// Has the middle of each of these batches, which are so large, be unreadable.
fn lose_of(disk: &Disk, bytes: u64, batches: &[u64]) {
    for middle in batches.iter().map(|number| number * bytes + bytes / 2) {
        disk.faults().set_unreadable(STORE, middle..middle + 1);
    }
}

/// Has the header of the second of ten batches lead nowhere. Returns how large each is.
fn rot_second(disk: &Disk, log: &Log<Disk>) -> u64 {
    let bytes = log.segments().next().unwrap().bytes / 10;
    alter(&disk.inner().child("p0"), STORE, |store| {
        store[usize::try_from(bytes).unwrap() + 8] ^= 1;
    });
    bytes
}

/// Where the row for a batch stands, where each but the first has one.
fn row_at(batch: usize) -> Range<usize> {
    let start = HEADER_BYTES + (batch - 1) * ROW_BYTES;
    start..start + ROW_BYTES
}

/// Has the rows for these batches be rotten.
fn rot_rows(disk: &Disk, batches: Range<usize>) {
    alter(&disk.inner().child("p0"), INDEX, |index| {
        batches.for_each(|batch| index[row_at(batch).start] ^= 1);
    });
}

/// The rows that were made ended before the first of them, were written, and took what lies behind for damage, which is
/// remembered: more than a read takes at once was without a row. Or each read took all of it, once the disk gave it.
#[test]
fn what_lies_behind_batches_that_cannot_be_read_is_no_damage_where_the_index_is_lost() {
    // More than a read takes at once, and less.
    for count in [100, 60] {
        let (disk, mut log) = sealed(count, &[&[b'l'; 256 << 10]]);
        let before = index(&disk);
        block_on(disk.inner().child("p0").remove(INDEX)).unwrap();
        let bytes = log.segments().next().unwrap().bytes / count as u64;
        lose_of(&disk, bytes, &[1, 2]);
        let last = count as u64 - 1;
        assert_eq!(read_one(&log, 0).unwrap(), offset(1));
        let loads = disk.faults().count(Operation::Map);
        for _ in 0..2 {
            let failed = read_one(&log, last).unwrap_err();
            assert!(matches!(failed, ReadError::Disk { .. }), "{failed}");
            settle(&mut log, at(10_000)).unwrap();
            assert_eq!(log.damage(), []);
        }
        // All that lies before them was gone over with each of the reads.
        assert_eq!(disk.faults().count(Operation::Map), loads);
        disk.faults().clear();
        assert_eq!(read_one(&log, last).unwrap(), offset(last + 1));
        settle(&mut log, at(20_000)).unwrap();
        assert_eq!(log.damage(), []);
        assert!(index(&disk) == before, "{count}");
    }
}

/// All from the first of them on was damage for good.
#[test]
fn what_lies_before_batches_that_cannot_be_read_is_served_once_others_before_it_can() {
    let (disk, mut log) = sealed(100, &[&[b'l'; 256 << 10]]);
    block_on(disk.inner().child("p0").remove(INDEX)).unwrap();
    let bytes = log.segments().next().unwrap().bytes / 100;
    lose_of(&disk, bytes, &[1, 2, 97, 98]);
    assert_eq!(read_one(&log, 0).unwrap(), offset(1));
    disk.faults().clear();
    lose_of(&disk, bytes, &[97, 98]);
    let is_lost = |read| matches!(read, Err(ReadError::Disk { .. }));
    for from in [1, 40, 96] {
        assert_eq!(read_one(&log, from).unwrap(), offset(from + 1));
    }
    assert!(is_lost(read_one(&log, 99)));
    settle(&mut log, at(10_000)).unwrap();
    assert_eq!(log.damage(), []);
}

/// The file was written over without those that the store did not confirm.
#[test]
fn rows_stay_where_the_disk_gives_nothing_of_their_store_for_a_while() {
    let half = [b'l'; 600_000];
    let (disk, mut log) = sealed(3, &[&half, &half]);
    let before = index(&disk);
    disk.faults().set_unreadable(STORE, 0..1 << 40);
    let failed = read_one(&log, 1).unwrap_err();
    assert!(matches!(failed, ReadError::Disk { .. }), "{failed}");
    settle(&mut log, at(10_000)).unwrap();
    assert!(index(&disk) == before);
    disk.faults().clear();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 4);
    settle(&mut log, at(20_000)).unwrap();
    assert!(index(&disk) == before);
    assert_eq!(log.damage(), []);
}

/// They were left out of the file that took the place of a wrong one, and behind a header that leads nowhere nothing else leads on.
#[test]
fn rows_stay_at_which_the_disk_does_not_give_what_stands_there() {
    let (disk, mut log) = sealed(10, &[&[b'l'; 12_000]]);
    rot_rows(&disk, 9..10);
    let bytes = rot_second(&disk, &log);
    lose_of(&disk, bytes, &[2]);
    assert_eq!(read_one(&log, 3).unwrap(), offset(4));
    settle(&mut log, at(10_000)).unwrap();
    disk.faults().clear();
    assert_eq!(read_one(&log, 2).unwrap(), offset(3));
    let bad = read_one(&log, 1).unwrap_err();
    assert!(matches!(bad, ReadError::Damaged { .. }), "{bad}");
    settle(&mut log, at(20_000)).unwrap();
    assert_eq!(log.damage(), [damage(1, 2)]);
}

/// Rows that were known and are none of this store were taken, and what is looked for by rows out of order is not found.
#[test]
fn no_row_stays_that_tells_of_what_lies_before() {
    let (disk, log) = sealed(10, &[&[b'l'; 40_000]]);
    rot_rows(&disk, 2..5);
    alter(&disk.inner().child("p0"), INDEX, |index| {
        for number in 5..9 {
            let mut row = row(index, number - 1).unwrap().unwrap();
            (row.relative_offset, row.relative_ordinal) = (1, 1);
            index[row_at(number)].copy_from_slice(&row.encode());
        }
    });
    lose_of(&disk, log.segments().next().unwrap().bytes / 10, &[2, 3]);
    assert_eq!(read_one(&log, 1).unwrap(), offset(2));
}

/// It was counted as damage up to there, for good, if only a row led over it.
#[test]
fn what_lies_before_a_far_row_behind_what_cannot_be_read_is_no_damage() {
    let (disk, mut log) = sealed(100, &[&[b'l'; 256 << 10]]);
    let before = index(&disk);
    rot_rows(&disk, 2..96);
    lose_of(&disk, log.segments().next().unwrap().bytes / 100, &[1, 2]);
    assert_eq!(read_one(&log, 96).unwrap(), offset(97));
    let failed = read_one(&log, 50).unwrap_err();
    assert!(matches!(failed, ReadError::Disk { .. }), "{failed}");
    settle(&mut log, at(10_000)).unwrap();
    assert_eq!(log.damage(), []);
    disk.faults().clear();
    assert_eq!(read_one(&log, 50).unwrap(), offset(51));
    settle(&mut log, at(20_000)).unwrap();
    assert_eq!(log.damage(), []);
    assert!(index(&disk) == before);
}

/// The read failed, and with it each that begins before the damage. Once the file is given its rows tell for good.
#[test]
fn rot_before_a_row_that_is_known_is_told_as_damage_while_the_file_of_rows_is_not_given() {
    let (disk, mut log) = sealed(10, &[&[b'l'; 12_000]]);
    rot_second(&disk, &log);
    let unmapped = Fault::Fail(ErrorKind::Other);
    (1..=8).for_each(|nth| disk.faults().fail(Operation::Map, nth, unmapped));
    for known in [vec![], vec![damage(1, 2)]] {
        let bad = read_one(&log, 1).unwrap_err();
        let is_bounded = |from, to| matches!(bad, ReadError::Damaged { from: f, to: t, .. } if (f, t) == (from, to));
        assert!(is_bounded(offset(1), offset(2)), "{bad}");
        settle(&mut log, at(10_000)).unwrap();
        assert_eq!(log.damage(), known);
        assert_eq!(read_one(&log, 2).unwrap(), offset(3));
        disk.faults().clear();
    }
}

/// What was misread before the rows were made again counted as the first time.
#[test]
fn a_batch_that_is_misread_behind_rows_that_were_made_again_is_read_once_more() {
    let read = |misread: Option<u64>| {
        let (disk, log) = sealed(60, &[&[b'l'; 256 << 10]]);
        block_on(disk.inner().child("p0").remove(INDEX)).unwrap();
        lose_of(&disk, log.segments().next().unwrap().bytes / 60, &[1, 2]);
        read_one(&log, 59).unwrap_err();
        disk.faults().clear();
        if let Some(nth) = misread {
            let faults = [
                (1, Fault::Misdirected { seed: 1 }),
                (nth, Fault::Flip { seed: 1 }),
            ];
            for (nth, fault) in faults {
                disk.faults().fail(Operation::Read, nth, fault);
            }
        }
        let before = disk.faults().count(Operation::Read);
        assert_eq!(read_one(&log, 59).unwrap(), offset(60));
        assert!(!disk.faults().is_pending());
        disk.faults().count(Operation::Read) - before
    };
    // The first one, and the last, once more each.
    let reads = read(None);
    assert_eq!(read(Some(reads + 1)), reads + 2);
}

/// The rows that were made beside a file which was not given were written over it, once it was.
#[test]
fn a_clean_stop_keeps_the_rows_of_a_file_that_could_not_be_read_for_a_while() {
    let disk = disk();
    let reopen = || open(&disk, large(512), 9, at(100)).unwrap().0;
    let mut log = reopen();
    (0..4).for_each(|_| append(&mut log));
    block_on(log.close(at(1))).unwrap();
    drop(log);
    let mut log = reopen();
    rot(&disk, 1, false);
    let unmapped = Fault::Fail(ErrorKind::Other);
    disk.faults().fail(Operation::Map, 1, unmapped);
    disk.faults().set_unreadable(INDEX, 0..BLOCK);
    assert_eq!(read_one(&log, 0).unwrap(), offset(1));
    disk.faults().clear();
    append(&mut log);
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let log = reopen();
    for from in [0, 2, 3, 4] {
        assert_eq!(read_one(&log, from).unwrap(), offset(from + 1));
    }
}
