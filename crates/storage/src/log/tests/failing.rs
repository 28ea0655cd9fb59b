//! A drive that fails beside rot: what it does not give is no damage, and none of it is remembered.

use corelog_record::{ByteSize, Offset};

use super::recovery::STORE;
use super::unread::{BATCH_BYTES, BLOCK, Disk, append, disk, filled, lose, reopen};
use super::{at, offset, small};
use crate::disk::{Dir, block_on};
use crate::log::{Damage, Log, Options, ReadError};
use crate::mark;
use crate::testing::own::{alter, scrub};
use crate::testing::{open, read_all, settle};

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
