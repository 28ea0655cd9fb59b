//! Appends go on while a group is on the disk.

use std::io::ErrorKind;

use corelog_record::Offset;

use super::{offset, values};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::log::UNSYNCED_BYTES_MAX;
use crate::wal::{Error, Options, Wal};

/// Groups of 4 MiB at least, and twice that in memory.
fn options() -> Options {
    Options {
        unsynced_bytes_max: 8 << 20,
        ..Options::default()
    }
}

/// A batch of its own, which tells its offset.
fn record(number: u64) -> Vec<u8> {
    let mut record = vec![0x5a; 64 << 10];
    record[..8].copy_from_slice(&number.to_le_bytes());
    record
}

/// Appends until a group is on the disk, whose `operation` is held back, and fails then if `fault` says so.
fn beside(
    operation: Operation,
    fault: Option<Fault>,
) -> (FaultyDir<MemoryDir>, Wal<FaultyDir<MemoryDir>>) {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), options(), 1).unwrap();
    wal.append(&record(0)).unwrap();
    wal.sync().unwrap();
    disk.faults()
        .hold(Match::on(operation, ".log"), When::Before);
    if let Some(fault) = fault {
        disk.faults().fail(Match::on(operation, ".log"), 1, fault);
    }
    while wal.log.in_flight_bytes() == 0 {
        let number = wal.log_end().get();
        wal.append(&record(number)).unwrap();
    }
    (disk, wal)
}

#[test]
fn appends_go_on_beside_a_group_and_a_later_one_tells_that_it_is_durable() {
    let (disk, mut wal) = beside(Operation::Sync, None);
    let begun = wal.log_end();
    for number in begun.get()..begun.get() + 40 {
        assert_eq!(wal.append(&record(number)).unwrap(), offset(number));
    }
    assert_eq!(wal.durable(), offset(1), "it is not synced");
    assert_eq!(wal.read(offset(1)).unwrap(), None);
    disk.faults().release_all();
    let last = wal.log_end().get();
    wal.append(&record(last)).unwrap();
    assert!(offset(60) <= wal.durable(), "{:?}", wal.durable());
    assert_eq!(wal.sync().unwrap(), offset(last + 1));
    let expected: Vec<_> = (0..=last).map(record).collect();
    assert!(values(&wal) == expected, "records stay in their order");
}

#[test]
fn a_group_is_written_only_when_the_one_before_is_synced() {
    let (disk, mut wal) = beside(Operation::Sync, None);
    let written = disk.faults().count(Operation::Write);
    for _ in 0..50 {
        let number = wal.log_end().get();
        wal.append(&record(number)).unwrap();
    }
    assert_eq!(disk.faults().count(Operation::Write), written);
    assert!(wal.log.in_flight_bytes() <= UNSYNCED_BYTES_MAX);
    disk.faults().release_all();
    wal.sync().unwrap();
    assert!(written < disk.faults().count(Operation::Write));
}

#[test]
fn a_group_that_fails_beside_is_an_error_of_the_next_append_and_fences() {
    for operation in [Operation::Write, Operation::Sync] {
        let (disk, mut wal) = beside(operation, Some(Fault::Fail(ErrorKind::Other)));
        disk.faults().release_all();
        let told = wal.append(&record(0));
        assert!(matches!(told, Err(Error::Storage { .. })), "{told:?}");
        assert!(matches!(wal.append(b"more"), Err(Error::Fenced)));
        assert!(matches!(wal.sync(), Err(Error::Fenced)));
        assert_eq!(wal.durable(), offset(1));
        drop(wal);
        let (wal, _) = Wal::open_in(disk, options(), 2).unwrap();
        assert_eq!(values(&wal)[0], record(0));
    }
}

#[test]
fn a_group_that_fails_beside_is_an_error_of_the_sync_that_waits_for_it() {
    let fault = Fault::Fail(ErrorKind::Other);
    let (disk, mut wal) = beside(Operation::Sync, Some(fault));
    disk.faults().release_all();
    assert!(matches!(wal.sync(), Err(Error::Storage { .. })));
    assert!(matches!(wal.sync(), Err(Error::Fenced)));
}

#[test]
fn a_sync_waits_for_no_space_but_what_its_group_needs() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), Options::default(), 1).unwrap();
    wal.append(&record(0)).unwrap();
    wal.sync().unwrap();
    let ahead = Match::on(Operation::Allocate, ".log");
    disk.faults().hold(ahead, When::Before);
    while disk.faults().held() == 0 {
        let number = wal.append(b"small").unwrap();
        assert_eq!(wal.sync().unwrap(), number.plus(1));
    }
    let number = wal.append(b"another").unwrap();
    assert_eq!(wal.sync().unwrap(), number.plus(1));
    assert_eq!(disk.faults().held(), 1, "space is still being prepared");
    disk.faults().release_all();
    // More than there is space for without it.
    wal.append_batch(vec![record(1); 20]).unwrap();
    assert_eq!(wal.sync().unwrap(), wal.log_end());
    assert!(disk.faults().breaches().is_empty());
    wal.close().unwrap();
    let (_wal, report) = Wal::open_in(disk, Options::default(), 2).unwrap();
    assert!(report.is_clean);
}

#[test]
fn space_that_cannot_be_prepared_ahead_fails_no_sync() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), Options::default(), 1).unwrap();
    wal.append(b"first").unwrap();
    wal.sync().unwrap();
    disk.faults().set_full(true);
    let refused = loop {
        let number = wal.append(&[7; 1000]).unwrap();
        match wal.sync() {
            Ok(durable) => assert_eq!(durable, number.plus(1)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::StorageFull), "{refused}");
    assert!(offset(2) < wal.durable(), "what space there was is used");
    disk.faults().set_full(false);
    while wal.sync().is_err() {}
    assert_eq!(wal.durable(), wal.log_end());
}

#[test]
fn plain_files_hold_what_was_appended_beside_their_writes_and_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(folder.path(), options()).unwrap();
    let bound = options().unsynced_bytes_max + 2 * record(0).len();
    let mut beside = 0;
    for number in 0..500 {
        assert_eq!(wal.append(&record(number)).unwrap(), offset(number));
        let in_flight = wal.log.in_flight_bytes();
        beside += usize::from(in_flight > 0);
        let unsynced = in_flight + wal.log.pending_bytes() + wal.open.len_bytes();
        assert!(unsynced <= bound, "{unsynced} bytes are in memory only");
    }
    assert!(0 < beside, "a group was on the disk beside appends");
    let durable = wal.durable();
    assert!(Offset::ZERO < durable);
    // As a crash would, with a group under way.
    drop(wal);
    let (mut wal, report) = Wal::open(folder.path(), options()).unwrap();
    assert!(durable <= report.log_end);
    let last = report.log_end.get();
    wal.append(&record(last)).unwrap();
    assert_eq!(wal.sync().unwrap(), offset(last + 1));
    let expected: Vec<_> = (0..=last).map(record).collect();
    assert!(values(&wal) == expected);
    wal.close().unwrap();
    let (_wal, report) = Wal::open(folder.path(), options()).unwrap();
    assert!(report.is_clean);
}
