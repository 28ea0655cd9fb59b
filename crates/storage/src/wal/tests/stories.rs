//! One promise at a time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use corelog_record::{Offset, Timestamp};

use super::{offset, small, values};
use crate::disk::block_on;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir, Entry};
use crate::log::AppendError;
use crate::testing::{batch, flush};
use crate::wal::clock::{Clock, wall_clock};
use crate::wal::{Error, Options, Wal};
use crate::{manifest, quarantine};

fn open(dir: &MemoryDir) -> Wal<MemoryDir> {
    Wal::open_in(dir.clone(), small(), 1).unwrap().0
}

#[test]
fn what_was_synced_is_read_and_what_was_not_is_not() {
    let mut wal = open(&MemoryDir::new());
    assert_eq!(wal.append(b"one").unwrap(), Offset::ZERO);
    assert_eq!(wal.append(b"").unwrap(), offset(1));
    assert_eq!(wal.log_end(), offset(2));
    assert_eq!(wal.durable(), Offset::ZERO);
    assert_eq!(wal.read(Offset::ZERO).unwrap(), None);
    assert_eq!(wal.sync().unwrap(), offset(2));
    assert_eq!(wal.read(Offset::ZERO).unwrap().unwrap().value, b"one");
    assert_eq!(wal.read(offset(1)).unwrap().unwrap().value, b"");
    assert_eq!(wal.read(offset(2)).unwrap(), None);
    assert_eq!(values(&wal), [b"one".to_vec(), Vec::new()]);
}

/// Index rows of batches that are not durable made a reader from there on tell of damage.
#[test]
fn a_reader_from_beyond_what_is_durable_gives_nothing() {
    let mut wal = open(&MemoryDir::new());
    wal.append(b"synced").unwrap();
    wal.sync().unwrap();
    for _ in 0..40 {
        wal.append(&[7; 150]).unwrap();
    }
    assert!(wal.durable() < offset(40));
    assert!(wal.reader(offset(40)).next().is_none());
}

#[test]
fn many_appends_share_a_batch_and_a_sync() {
    let disk = FaultyDir::new(MemoryDir::new());
    let options = Options::default();
    let (mut wal, _) = Wal::open_in(disk.clone(), options, 1).unwrap();
    wal.append(b"first").unwrap();
    wal.sync().unwrap();
    let (writes, syncs) = counts(&disk);
    for number in 0..100_u32 {
        wal.append(&number.to_le_bytes()).unwrap();
    }
    assert_eq!(counts(&disk), (writes, syncs), "nothing is written before");
    wal.sync().unwrap();
    assert_eq!(counts(&disk), (writes + 1, syncs + 1));
}

fn counts(disk: &FaultyDir<MemoryDir>) -> (u64, u64) {
    let faults = disk.faults();
    (
        faults.count(Operation::Write),
        faults.count(Operation::Sync),
    )
}

#[test]
fn records_of_one_append_batch_stay_together() {
    let dir = MemoryDir::new();
    let mut wal = open(&dir);
    wal.append(b"before").unwrap();
    let many = vec![[7; 100]; 50];
    assert_eq!(wal.append_batch(&many).unwrap(), offset(1)..offset(51));
    let none: [&[u8]; 0] = [];
    assert_eq!(wal.append_batch(none).unwrap(), offset(51)..offset(51));
    wal.sync().unwrap();
    let mut batches = wal.log.reader(Offset::ZERO);
    let mut counts = Vec::new();
    while let Some(batch) = block_on(batches.next()).unwrap() {
        counts.push(batch.count());
    }
    assert_eq!(counts, [1, 50]);
}

#[test]
fn a_record_that_no_batch_holds_is_refused_and_leaves_no_trace() {
    let mut wal = open(&MemoryDir::new());
    let large = vec![1; 8 << 20];
    wal.append(b"one").unwrap();
    assert!(matches!(wal.append(&large), Err(Error::TooLarge { .. })));
    let both = [b"two".as_slice(), &large];
    assert!(matches!(
        wal.append_batch(both),
        Err(Error::TooLarge { .. })
    ));
    assert_eq!(wal.append(b"three").unwrap(), offset(1));
    let fits = &large[..(8 << 20) - 100];
    wal.append(fits).unwrap();
    wal.sync().unwrap();
    assert_eq!(values(&wal), [b"one", b"three".as_slice(), fits]);
}

#[test]
fn appends_sync_by_themselves_when_too_much_waits() {
    let mut wal = open(&MemoryDir::new());
    for _ in 0..200 {
        wal.append(&[3; 150]).unwrap();
        let waiting = wal.log.pending_bytes() + wal.open.len_bytes();
        assert!(waiting <= (8 << 10) + 400, "{waiting} bytes wait");
    }
    assert!(Offset::ZERO < wal.durable());
}

#[test]
fn a_dropped_log_recovers_what_was_synced_and_a_closed_one_scans_nothing() {
    let dir = MemoryDir::new();
    let mut wal = open(&dir);
    wal.append(b"kept").unwrap();
    wal.sync().unwrap();
    wal.append(b"lost").unwrap();
    drop(wal);
    let (mut wal, report) = Wal::open_in(dir.clone(), small(), 2).unwrap();
    assert!(!report.is_clean);
    assert_eq!(report.log_end, offset(1));
    assert_eq!(wal.append(b"next").unwrap(), offset(1));
    wal.close().unwrap();
    let (wal, report) = Wal::open_in(dir, small(), 3).unwrap();
    assert!(report.is_clean);
    assert_eq!(values(&wal), [b"kept", b"next"]);
}

#[test]
fn each_log_has_an_identity_of_its_own_and_keeps_it() {
    let (one, other) = (MemoryDir::new(), MemoryDir::new());
    let identity = |dir: &MemoryDir, seed| {
        let (mut wal, _) = Wal::open_in(dir.clone(), small(), seed).unwrap();
        wal.append(b"x").unwrap();
        wal.sync().unwrap();
        wal.log.identity()
    };
    let first = identity(&one, 1);
    assert_eq!(identity(&one, 2), first);
    assert_ne!(identity(&other, 3).history, first.history);
}

#[test]
fn truncation_moves_log_start_and_frees_whole_segments() {
    let dir = MemoryDir::new();
    let mut wal = open(&dir);
    let record = vec![5; 64 << 10];
    for _ in 0..60 {
        wal.append(&record).unwrap();
    }
    wal.sync().unwrap();
    let stores = |wal: &Wal<MemoryDir>| {
        let entries = block_on(wal.dir.child("log").list()).unwrap();
        let is_store = |entry: &&Entry| entry.name.ends_with(".log");
        entries.iter().filter(is_store).count()
    };
    let before = stores(&wal);
    wal.truncate(offset(50)).unwrap();
    assert_eq!(wal.log_start(), offset(50));
    let out_of_range = wal.read(offset(49));
    assert!(matches!(out_of_range, Err(Error::OutOfRange { .. })));
    assert_eq!(values(&wal).len(), 10);
    for _ in 0..5 {
        wal.sync().unwrap();
    }
    assert!(stores(&wal) < before, "segments below log start are gone");
    wal.truncate(offset(10)).unwrap();
    assert_eq!(wal.log_start(), offset(50), "log start never moves back");
    let beyond = wal.truncate(offset(61));
    assert!(matches!(beyond, Err(Error::OutOfRange { .. })));
}

#[test]
fn the_end_is_cut_at_any_record_also_within_a_batch() {
    let dir = MemoryDir::new();
    let mut wal = open(&dir);
    let all: Vec<_> = (0..100_u8).map(|number| vec![number; 10]).collect();
    for record in &all {
        wal.append(record).unwrap();
    }
    wal.truncate_suffix(offset(100)).unwrap();
    assert_eq!(wal.log_end(), offset(100), "nothing to cut");
    for end in [97, 96, 60, 37, 36, 35, 1] {
        wal.truncate_suffix(offset(end)).unwrap();
        let end = usize::try_from(end).unwrap();
        assert_eq!(values(&wal), all[..end]);
    }
    wal.append(b"anew").unwrap();
    wal.sync().unwrap();
    drop(wal);
    let wal = open(&dir);
    assert_eq!(values(&wal), [all[0].as_slice(), b"anew"]);
    let names = block_on(dir.child("quarantine").list()).unwrap();
    assert!(!names.is_empty(), "what was cut is not destroyed");
    let carried = block_on(dir.list()).unwrap();
    assert!(carried.iter().all(|entry| entry.name != "carry"));
}

#[test]
fn a_cut_does_not_bring_back_what_truncation_gave_up() {
    let mut wal = open(&MemoryDir::new());
    wal.append_batch([[1], [2], [3], [4], [5]]).unwrap();
    wal.sync().unwrap();
    wal.truncate(offset(2)).unwrap();
    wal.truncate_suffix(offset(4)).unwrap();
    assert_eq!(wal.readable(), offset(2)..offset(4));
    assert_eq!(values(&wal), [[3], [4]]);
    let below = wal.truncate_suffix(offset(1));
    assert!(matches!(below, Err(Error::OutOfRange { .. })));
    wal.truncate_suffix(offset(2)).unwrap();
    assert_eq!(wal.readable(), offset(2)..offset(2));
    assert_eq!(wal.append(b"x").unwrap(), offset(2));
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_space() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
    wal.append(b"one").unwrap();
    disk.faults().set_full(true);
    assert!(matches!(wal.sync(), Err(Error::StorageFull)));
    assert!(matches!(wal.append(b"two"), Err(Error::StorageFull)));
    assert_eq!(wal.log_end(), offset(1));
    disk.faults().set_full(false);
    let synced = loop {
        match wal.sync() {
            Err(Error::StorageFull) => {}
            other => break other.unwrap(),
        }
    };
    assert_eq!(synced, offset(1));
    wal.append(b"two").unwrap();
    wal.sync().unwrap();
    assert_eq!(values(&wal), [b"one", b"two"]);
}

/// What was to be tried again went by the machine's clock: set back by an hour, it kept the log full for as long.
#[test]
fn a_clock_that_is_set_back_does_not_keep_a_log_full() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
    // As if it had been opened an hour from now.
    wal.clock = Clock::starting(wall_clock().saturating_add_millis(3_600_000));
    wal.append(b"one").unwrap();
    disk.faults().set_full(true);
    assert!(matches!(wal.sync(), Err(Error::StorageFull)));
    // Space was looked for again, in vain.
    assert!(matches!(wal.sync(), Err(Error::StorageFull)));
    disk.faults().set_full(false);
    let begun = Instant::now();
    while let Err(Error::StorageFull) = wal.sync() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it stays full");
    }
    assert_eq!(wal.durable(), offset(1));
}

/// The log underneath refuses to roll while too much waits to be sealed. Nothing sealed it then, and
/// neither `append` nor `sync` ever succeeded again.
#[test]
fn what_waits_to_be_sealed_is_sealed_by_the_append_that_it_keeps_back() {
    let options = Options {
        segment_bytes_max: small().segment_bytes_max,
        ..Options::default()
    };
    let (mut wal, _) = Wal::open_in(MemoryDir::new(), options, 1).unwrap();
    let record = vec![7; 600 << 10];
    let time = Timestamp::from_millis(1);
    let one = batch(&[&record], time);
    let refused = loop {
        match wal.log.append(&one, time) {
            Ok(_) => flush(&mut wal.log, time).unwrap(),
            Err(error) => break error,
        };
    };
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    let taken = wal.log_end();
    for number in 1..=3 {
        wal.append(&record).unwrap();
        assert_eq!(wal.sync().unwrap(), taken.plus(number));
    }
}

#[test]
fn appends_that_roll_faster_than_the_log_seals_make_room_themselves() {
    let dir = MemoryDir::new();
    let options = Options {
        segment_bytes_max: small().segment_bytes_max,
        ..Options::default()
    };
    let (mut wal, _) = Wal::open_in(dir.clone(), options.clone(), 1).unwrap();
    let record = |number: u8| vec![number; 600 << 10];
    for number in 0..60 {
        wal.append(&record(number)).unwrap();
    }
    assert_eq!(wal.sync().unwrap(), offset(60));
    drop(wal);
    let (wal, report) = Wal::open_in(dir, options, 2).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    let expected: Vec<_> = (0..60).map(record).collect();
    assert!(values(&wal) == expected, "all that was synced is there");
}

#[test]
fn a_disk_that_fills_while_room_is_made_loses_nothing() {
    let disk = FaultyDir::new(MemoryDir::new());
    let options = Options {
        segment_bytes_max: small().segment_bytes_max,
        ..Options::default()
    };
    let (mut wal, _) = Wal::open_in(disk.clone(), options, 1).unwrap();
    let record = vec![7; 600 << 10];
    wal.append(&record).unwrap();
    wal.sync().unwrap();
    disk.faults().set_full(true);
    let mut taken = 1;
    while wal.append(&record).is_ok() {
        taken += 1;
    }
    assert!(matches!(wal.sync(), Err(Error::StorageFull)));
    assert_eq!(wal.log_end(), offset(taken));
    disk.faults().set_full(false);
    let synced = loop {
        match wal.sync() {
            Err(Error::StorageFull) => {}
            other => break other.unwrap(),
        }
    };
    assert_eq!(synced, offset(taken));
    assert_eq!(wal.append(&record).unwrap(), offset(taken));
}

#[test]
fn after_a_failed_sync_the_log_takes_nothing_until_it_is_opened_again() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
    wal.append(b"one").unwrap();
    wal.sync().unwrap();
    wal.append(b"two").unwrap();
    let fault = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, ".log"), 1, fault);
    assert!(matches!(wal.sync(), Err(Error::Storage { .. })));
    assert!(matches!(wal.append(b"three"), Err(Error::Fenced)));
    assert!(matches!(wal.sync(), Err(Error::Fenced)));
    let end = wal.log_end();
    assert!(matches!(wal.truncate_suffix(end), Err(Error::Fenced)));
    assert_eq!(wal.read(Offset::ZERO).unwrap().unwrap().value, b"one");
    assert_eq!(wal.durable(), offset(1));
    drop(wal);
    let (wal, _) = Wal::open_in(disk, small(), 2).unwrap();
    assert!(offset(1) <= wal.durable());
    assert_eq!(values(&wal)[0], b"one");
}

/// The log reads its manifest twice. Whose it is was asked for once before.
#[test]
fn a_manifest_that_the_disk_does_not_give_at_once_keeps_no_log_closed() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
    wal.append(b"one").unwrap();
    wal.close().unwrap();
    for nth in 1..3 {
        let fault = Fault::Short { bytes: 0 };
        disk.faults()
            .fail(Match::on(Operation::Read, manifest::NAME), nth, fault);
        let (wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
        assert!(!disk.faults().is_pending(), "read {nth} has failed");
        assert_eq!(values(&wal), [b"one"]);
    }
}

/// Each crash may leave 16 MiB of them.
#[test]
fn the_oldest_torn_bytes_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(folder.path(), small()).unwrap();
    wal.append(b"synced").unwrap();
    wal.sync().unwrap();
    drop(wal);
    let quarantine = folder.path().join("quarantine");
    fs::create_dir_all(&quarantine).unwrap();
    let old = |time: u8| {
        quarantine.join(format!(
            "{time:016}-torn-{0:032}-{0:010}-{0:020}-{0:020}.log",
            0
        ))
    };
    for time in [1, 2] {
        // A hole, which takes nothing of the disk.
        let file = File::create(old(time)).unwrap();
        file.set_len(quarantine::TORN_BYTES_MAX / 2).unwrap();
    }
    let store = folder.path().join("log").join(format!("{:020}.log", 0));
    let store = File::options().write(true).open(store).unwrap();
    store.write_all_at(&[1; 64], BLOCK_BYTES as u64).unwrap();
    let (wal, report) = Wal::open(folder.path(), small()).unwrap();
    assert!(report.torn.is_some());
    assert!(!old(1).exists() && old(2).exists());
    // The second, and what this crash left.
    assert_eq!(fs::read_dir(&quarantine).unwrap().count(), 2);
    assert_eq!(values(&wal), [b"synced".to_vec()]);
}

#[test]
fn a_directory_belongs_to_one_log_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(folder.path(), small()).unwrap();
    let second = Wal::open(folder.path(), small());
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(wal);
    Wal::open(folder.path(), small()).unwrap();
}

/// The replay went on behind it, or ended before it, without a word.
#[test]
fn a_replay_over_a_store_that_is_lost_is_told_of_it() {
    for lost in 0..3 {
        let dir = MemoryDir::new();
        let mut wal = open(&dir);
        let (record, time) = (vec![7; 600 << 10], Timestamp::from_millis(1));
        for _ in 0..3 {
            wal.log.append(&batch(&[&record], time), time).unwrap();
            flush(&mut wal.log, time).unwrap();
        }
        if lost == 2 {
            // That there was something in the last one only the mark tells.
            wal.sync().unwrap();
        }
        drop(wal);
        let store = crate::segment::name::store(offset(lost), 0);
        block_on(dir.child("log").remove(&store)).unwrap();
        let wal = open(&dir);
        assert_eq!(wal.durable(), offset(3));
        for (number, entry) in (0..3).zip(wal.reader(Offset::ZERO)) {
            match entry {
                Ok(entry) => assert_eq!(entry.offset, offset(number)),
                Err(Error::Damaged { from, to, .. }) => {
                    assert_eq!((from, to), (offset(lost), offset(lost + 1)));
                    assert_eq!(number, lost);
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(wal.reader(Offset::ZERO).count(), 3, "without {lost}");
    }
}

/// The range that was told ended where the segment begins: who went on behind it came back to where it was, for ever.
#[test]
fn all_of_a_segment_is_damage_to_who_reads_it_once_its_file_was_taken_away() {
    let dir = MemoryDir::new();
    let mut wal = open(&dir);
    while wal.log.segments().count() < 2 {
        wal.append(&[7; 100_000]).unwrap();
        wal.sync().unwrap();
    }
    let end = wal.durable();
    wal.close().unwrap();
    let wal = open(&dir);
    let next = wal.log.segments().nth(1).unwrap().base;
    block_on(dir.child("log").remove("00000000000000000000.log")).unwrap();
    let mut from = Offset::ZERO;
    let mut gone = Vec::new();
    while from < end {
        from = match wal.read(from) {
            Err(Error::Damaged { from, to, .. }) => {
                gone.push(from..to);
                to
            }
            read => read.unwrap().unwrap().offset.plus(1),
        };
        assert!(gone.len() < 2, "{gone:?}");
    }
    assert_eq!(gone, [Offset::ZERO..next]);
}
