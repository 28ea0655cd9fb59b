//! A cut of the end, with the power lost at each operation on the disk that it is made of.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use corelog_record::Offset;

use super::{offset, small, values};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, File, Open, block_on};
use crate::testing::own::names;
use crate::wal::{Error, Wal};

/// Two cuts, through batches, of which the second goes below what the first appended again; log start
/// lies within the batch. Returns how many were told to be done.
fn cut_twice(wal: &mut Wal<FaultyDir<MemoryDir>>) -> usize {
    let cuts = CUTS.iter();
    cuts.take_while(|from| wal.truncate_suffix(offset(**from)).is_ok())
        .count()
}

const CUTS: [u64; 2] = [29, 25];
const LOG_START: u64 = 22;

#[test]
fn a_cut_happens_whole_or_not_at_all_wherever_the_power_goes() {
    let all: Vec<_> = (0..40_u8).map(|number| vec![number; 30]).collect();
    let mut states = 0;
    for nth in 1.. {
        let memory = MemoryDir::new();
        let disk = FaultyDir::new(memory.clone());
        let (mut wal, _) = Wal::open_in(disk.clone(), small(), nth).unwrap();
        wal.append_batch(&all[..20]).unwrap();
        wal.append_batch(&all[20..]).unwrap();
        wal.sync().unwrap();
        wal.truncate(offset(LOG_START)).unwrap();
        let fault = Fault::Fail(ErrorKind::Other);
        disk.faults().fail(Match::ANY, nth, fault);
        let done = cut_twice(&mut wal);
        let is_over = disk.faults().is_pending();
        for seed in 0..8 {
            check(&memory.power_cut(seed), &all, done, nth);
            states += 1;
        }
        check(&memory, &all, done, nth);
        if is_over {
            assert_eq!(done, 2, "without a fault both cuts are done");
            break;
        }
    }
    assert!(200 < states, "{states} states were looked at");
}

/// What is there is what was there before the cut that was not told to be done, or after it.
fn check(dir: &MemoryDir, all: &[Vec<u8>], done: usize, nth: u64) {
    for seed in 0..2 {
        // Opening is cut short too: what it leaves is opened again.
        let (wal, report) = Wal::open_in(dir.clone(), small(), seed).unwrap();
        assert!(report.damage.is_empty(), "operation {nth}");
        let ends = [40, CUTS[0], CUTS[1]];
        let allowed = [ends[done], *ends.get(done + 1).unwrap_or(&ends[done])];
        let end = wal.log_end().get();
        assert!(
            allowed.contains(&end),
            "operation {nth}: the log ends at {end}"
        );
        assert_eq!(wal.log_start(), offset(LOG_START), "operation {nth}");
        let range = usize::try_from(LOG_START).unwrap()..usize::try_from(end).unwrap();
        assert_eq!(values(&wal), all[range], "operation {nth}");
    }
}

/// A log of `all`, given up below 12 and cut at 15, for which operation `nth` on the disk found no space; and what came of it.
fn cut_without_space(
    all: &[Vec<u8>],
    nth: u64,
) -> (
    FaultyDir<MemoryDir>,
    Wal<FaultyDir<MemoryDir>>,
    Result<(), Error>,
) {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), nth).unwrap();
    wal.append_batch(all).unwrap();
    wal.sync().unwrap();
    wal.truncate(offset(12)).unwrap();
    let full = Fault::Fail(ErrorKind::StorageFull);
    disk.faults().fail(Match::ANY, nth, full);
    let cut = wal.truncate_suffix(offset(15));
    disk.faults().clear();
    (disk, wal, cut)
}

/// The log began again where the batch does that the cut went through, with records that had been given up.
#[test]
fn a_cut_that_found_no_space_for_what_stays_brings_no_start_back() {
    let all: Vec<_> = (0..20_u8).map(|number| vec![number; 30]).collect();
    let (mut brought_back, mut nth) = (0, 0);
    loop {
        nth += 1;
        let (disk, mut wal, cut) = cut_without_space(&all, nth);
        brought_back += u64::from(wal.log.log_start() < offset(12));
        assert_eq!(wal.log_start(), offset(12), "operation {nth}");
        assert!(!matches!(wal.read(offset(11)), Ok(Some(_))));
        if wal.sync().is_ok() {
            let end = wal.log_end();
            assert_eq!(wal.reader(Offset::ZERO).count() as u64, end.get() - 12);
            drop(wal);
            let (wal, _) = Wal::open_in(disk, small(), 1).unwrap();
            assert_eq!((wal.log_start(), wal.log_end()), (offset(12), end));
        }
        if cut.is_ok() {
            break;
        }
    }
    assert!(brought_back > 0, "what stays found no space");
}

/// It could not be opened, not even to read what is sound.
#[test]
fn a_damaged_log_is_opened_with_what_an_interrupted_cut_left_beside_it() {
    let all: Vec<_> = (0..20_u8).map(|number| vec![number; 30]).collect();
    let (mut left, mut nth) = (0, 0);
    loop {
        nth += 1;
        let (disk, mut wal, cut) = cut_without_space(&all, nth);
        let is_start_back = wal.log.log_start() < offset(12) && offset(12) < wal.log_end();
        if is_start_back && wal.append_batch(&all).is_ok() {
            let sound = wal.store_bytes() - 50;
            wal.close().unwrap();
            shorten(&disk, sound);
            let (wal, report) = Wal::open_in(disk, small(), 1).unwrap();
            assert!(report.is_read_only, "operation {nth}: {report:?}");
            assert_eq!(wal.log_start(), offset(12), "operation {nth}");
            let first: Vec<_> = wal.reader(Offset::ZERO).map_while(Result::ok).collect();
            let first: Vec<_> = first.into_iter().map(|entry| entry.value).collect();
            assert_eq!(first, all[12..15], "operation {nth}");
            left += 1;
        }
        if cut.is_ok() {
            break;
        }
    }
    assert!(0 < left, "nothing was left beside it");
}

/// It could not be opened, not even to free space.
#[test]
fn a_log_whose_cut_was_interrupted_is_opened_on_a_full_disk() {
    let all: Vec<_> = (0..40_u8).map(|number| vec![number; 300]).collect();
    let (mut waiting, mut nth) = (0, 0);
    loop {
        nth += 1;
        let memory = MemoryDir::new();
        let disk = FaultyDir::new(memory.clone());
        let (mut wal, _) = Wal::open_in(disk.clone(), small(), nth).unwrap();
        wal.append_batch(&all[..20]).unwrap();
        wal.append_batch(&all[20..]).unwrap();
        wal.sync().unwrap();
        wal.truncate(offset(12)).unwrap();
        let full = Fault::Fail(ErrorKind::StorageFull);
        disk.faults().fail(Match::ANY, nth, full);
        let _ = wal.truncate_suffix(offset(35));
        let is_over = disk.faults().is_pending();
        drop(wal);
        memory.set_capacity(Some(0));
        let (mut wal, report) = Wal::open_in(memory.clone(), small(), 1).unwrap();
        let end = report.log_end;
        assert_eq!(wal.log_start(), offset(12), "operation {nth}");
        let mut first = 12;
        if wal.durable() < end {
            waiting += 1;
            assert_eq!((wal.durable(), end), (offset(20), offset(35)));
            assert_eq!(values(&wal), all[12..20]);
            let full = wal.sync();
            assert!(matches!(full, Err(Error::StorageFull)), "{full:?}");
            first = 18;
            wal.truncate(offset(18)).unwrap();
        }
        drop(wal);
        memory.set_capacity(None);
        let (mut wal, report) = Wal::open_in(memory.clone(), small(), 2).unwrap();
        assert_eq!((report.log_end, wal.sync().unwrap()), (end, end));
        let end = usize::try_from(end.get()).unwrap();
        assert_eq!(values(&wal), all[first..end], "operation {nth}");
        assert!(!names(&memory).contains(&"carry".to_owned()));
        if is_over {
            break;
        }
    }
    assert!(0 < waiting, "what stays of the batch found no space");
}

/// Cuts the last store of a log to so many bytes.
fn shorten(disk: &FaultyDir<MemoryDir>, bytes: u64) {
    let dir = disk.child("log");
    let mut names: Vec<_> = block_on(dir.list()).unwrap();
    names.retain(|entry| entry.name.ends_with(".log"));
    let last = names.iter().max_by_key(|entry| &entry.name).unwrap();
    let file = block_on(dir.open(&last.name, Open::Write)).unwrap();
    block_on(file.set_len(bytes)).unwrap();
}

/// It was told as a disk that is full.
#[test]
fn a_log_that_lacks_descriptors_says_so_each_time() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut wal, _) = Wal::open_in(disk.clone(), small(), 1).unwrap();
    wal.append(b"value").unwrap();
    for _ in 0..3 {
        for nth in 1..10 {
            disk.faults()
                .fail(Operation::CreateFile, nth, Fault::OutOfFiles);
        }
        let told = wal.sync().unwrap_err();
        assert!(matches!(told, Error::OutOfFiles), "{told:?}");
        disk.faults().clear();
    }
    // It asks again once a second.
    let deadline = Instant::now() + Duration::from_secs(60);
    while wal.sync().is_err() {
        assert!(Instant::now() < deadline, "it never asks again");
        thread::yield_now();
    }
    assert_eq!(values(&wal), [b"value"]);
}

/// What a cut carries was left behind when the cut itself found no space. A later cut, to where the
/// carried batch begins, had the next opening bring back what it had cut.
#[test]
fn a_cut_that_found_no_space_brings_nothing_back_that_the_next_one_cuts() {
    let all: Vec<_> = (0..20_u8).map(|number| vec![number; 30]).collect();
    let mut refused = 0;
    for (nth, is_stuck) in (1..).flat_map(|nth| [false, true].map(|is_stuck| (nth, is_stuck))) {
        let memory = MemoryDir::new();
        let disk = FaultyDir::new(memory.clone());
        let (mut wal, _) = Wal::open_in(disk.clone(), small(), nth).unwrap();
        wal.append_batch(&all[..10]).unwrap();
        wal.append_batch(&all[10..]).unwrap();
        wal.sync().unwrap();
        let full = Fault::Fail(ErrorKind::StorageFull);
        disk.faults().fail(Match::ANY, nth, full);
        if is_stuck {
            let other = Fault::Fail(ErrorKind::Other);
            let which = Match::on(Operation::Remove, "carry");
            disk.faults().fail(which, 1, other);
        }
        let cut = wal.truncate_suffix(offset(15));
        let is_over = cut.is_ok() && !is_stuck;
        if matches!(cut, Err(Error::StorageFull)) {
            refused += 1;
        }
        disk.faults().clear();
        if wal.truncate_suffix(offset(10)).is_ok() {
            let after_cut = (0..4).map(|seed| memory.power_cut(seed));
            for dir in after_cut.chain([memory.clone()]) {
                let (wal, _) = Wal::open_in(dir, small(), 1).unwrap();
                assert_eq!(wal.log_end(), offset(10), "operation {nth}");
                assert_eq!(values(&wal), all[..10], "operation {nth}");
            }
        }
        if is_over {
            break;
        }
    }
    assert!(2 < refused, "{refused} cuts found no space");
}
