//! A search by time names no batch behind the one that is searched for, whatever the disk gives on its way.

use corelog_record::{ByteSize, Offset};

use super::recovery::{STORE, scribble};
use super::{at, offset, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Damage, Log, Options, ReadError};
use crate::testing::{batch, flush, open, run, settle};

/// Where a batch has its greatest timestamp.
const MAX_TIMESTAMP_AT: u64 = 35;

/// Each inner list is a segment of batches of one record at these times, the last one active.
fn filled(root: &MemoryDir, segments: &[&[i64]]) -> Log<MemoryDir> {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for (number, times) in segments.iter().enumerate() {
        if number > 0 {
            log.roll();
        }
        for millis in *times {
            let one = batch(&[&[b'f'; 300]], at(*millis));
            log.append(&one, at(0)).unwrap();
            flush(&mut log, at(0)).unwrap();
        }
    }
    settle(&mut log, at(0)).unwrap();
    assert_eq!(log.segments().count(), segments.len());
    log
}

/// The segment that holds log start and the damaged one were the two that a search looks at; it found nothing, and who
/// truncated by it lost what lay behind.
#[test]
fn a_lookup_by_time_that_found_nothing_for_damage_does_not_say_that_there_is_nothing() {
    let root = MemoryDir::new();
    let mut log = filled(&root, &[&[100, 1], &[2, 60], &[70, 80], &[90]]);
    let plan = log.plan_truncate(offset(1)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    assert_eq!((log.log_start(), log.segments().count()), (offset(1), 4));
    let find = |log: &Log<MemoryDir>| block_on(log.plan_find_time(at(50), Offset::MAX).run());
    assert_eq!(find(&log).unwrap(), Some((offset(3), at(60))));
    let store = log.segments().nth(1).unwrap();
    let name = crate::segment::name::store(store.base, 0);
    scribble(&root, &name, store.bytes - 50, &[0; 8]);
    let known = Damage {
        from: offset(3),
        to: offset(4),
        segment: offset(2),
    };
    let found = find(&log);
    let Err(ReadError::Damaged { from, to, segment }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(Damage { from, to, segment }, known);
    log.note_damage(known);
    assert_eq!(find(&log).unwrap(), Some((offset(4), at(70))));
}

/// The index was made anew over the damaged batch, by the time that its header had then: the search began behind it, and met
/// no damage.
#[test]
fn a_lookup_by_time_that_rows_lead_past_damage_does_not_say_that_there_is_nothing() {
    let root = MemoryDir::new();
    let older: Vec<_> = std::iter::once(60).chain([2; 20]).collect();
    let mut log = filled(&root, &[&[100, 1], &older, &[70, 80], &[90]]);
    let plan = log.plan_truncate(offset(1)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    assert_eq!((log.log_start(), log.segments().count()), (offset(1), 4));
    let base = log.segments().nth(1).unwrap().base;
    drop(log);
    let name = crate::segment::name::store(base, 0);
    scribble(&root, &name, MAX_TIMESTAMP_AT, &[0, 0, 0, 0, 0, 0, 0, 2]);
    let index = crate::segment::name::index(base, 0);
    block_on(root.child("p0").remove(&index)).unwrap();
    let (log, _) = open(&root, small(), 2, at(2)).unwrap();
    for _ in 0..2 {
        let found = block_on(log.plan_find_time(at(50), Offset::MAX).run());
        let Err(ReadError::Damaged { from, to, segment }) = found else {
            panic!("{found:?}")
        };
        assert_eq!((from, to, segment), (base, offset(23), base));
    }
}

/// All of the segment counted as met by each search, though a scrub had found which of it is damaged.
#[test]
fn a_lookup_by_time_that_rows_lead_past_known_damage_names_that_and_no_more() {
    let root = MemoryDir::new();
    let older = [&[2, 2, 60][..], &[2; 20]].concat();
    let mut log = filled(&root, &[&[100, 1], &older, &[3, 4]]);
    let base = log.segments().nth(1).unwrap().base;
    let known = Damage {
        from: base.plus(2),
        to: base.plus(3),
        segment: base,
    };
    let plan = log.plan_truncate(offset(1)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    drop(log);
    let name = crate::segment::name::store(base, 0);
    let dir = root.child("p0");
    let bytes = block_on(dir.read(&name, 1 << 20)).unwrap().len();
    let batch_bytes = (bytes / older.len()) as u64;
    let max_timestamp_at = 2 * batch_bytes + MAX_TIMESTAMP_AT;
    scribble(&root, &name, max_timestamp_at, &[0, 0, 0, 0, 0, 0, 0, 2]);
    block_on(dir.remove(&crate::segment::name::index(base, 0))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    log.note_damage(known);
    let found = block_on(log.plan_find_time(at(50), Offset::MAX).run());
    let Err(ReadError::Damaged { from, to, segment }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(Damage { from, to, segment }, known);
}

/// A sound batch was stepped over after one look at it, and the search named the one behind.
#[test]
fn a_byte_that_turns_over_on_its_way_to_a_lookup_by_time_has_no_batch_stepped_over() {
    let root = MemoryDir::new();
    filled(&root, &[&[10, 30, 20, 40], &[15, 50]]);
    let disk = FaultyDir::new(root);
    let (log, _) = open(&disk, small(), 2, at(1)).unwrap();
    for seed in 0..300 {
        for nth in 1..=2 {
            for (millis, right) in [(5, 0), (25, 1), (35, 3), (45, 5)] {
                let flip = Fault::Flip { seed };
                let store = Match::on(Operation::Read, ".log");
                disk.faults().fail(store, nth, flip);
                let found = block_on(log.plan_find_time(at(millis), Offset::MAX).run());
                let found = found.unwrap().map(|(found, _)| found);
                assert_eq!(found, Some(offset(right)), "{millis}, seed {seed}");
                disk.faults().clear();
            }
        }
    }
}

/// All up to the end of what was durable was named, and who obeyed skipped it.
#[test]
fn a_lookup_by_time_that_meets_damage_where_it_is_written_names_no_more_than_there_may_be() {
    let root = MemoryDir::new();
    let one_segment = Options {
        segment_bytes_max: ByteSize::from_mib(1),
        ..small()
    };
    let (mut log, _) = open(&root, one_segment, 1, at(0)).unwrap();
    for number in 0..60_i64 {
        let one = batch(&[&[b'f'; 300]], at(number));
        log.append(&one, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    let segments: Vec<_> = log.segments().collect();
    assert_eq!(segments.len(), 1);
    let batch_bytes = segments[0].bytes / 60;
    for number in [2, 3] {
        scribble(&root, STORE, number * batch_bytes + 100, &[0; 8]);
    }
    let found = block_on(log.plan_find_time(at(2), Offset::MAX).run());
    let Err(ReadError::Damaged { from, to, .. }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(from, offset(2));
    assert!(to < offset(8), "{to}");
}

/// All of a segment was read for each search, from a late batch on that nobody could read any more.
#[test]
fn a_lookup_by_time_reads_nothing_that_lies_below_log_start() {
    let disk = FaultyDir::new(MemoryDir::new());
    let one_segment = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (mut log, _) = open(&disk, one_segment, 1, at(0)).unwrap();
    for number in 0..130 {
        let time = if number == 0 { 9_000 } else { number };
        let one = batch(&[&[b'f'; 64 << 10]], at(time));
        log.append(&one, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    let plan = log.plan_truncate(offset(120)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    let reads = || disk.faults().count(Operation::Read);
    let before = reads();
    for (millis, right) in [(1, 120), (125, 125)] {
        let found = block_on(log.plan_find_time(at(millis), Offset::MAX).run());
        assert_eq!(found.unwrap().map(|(at, _)| at), Some(offset(right)));
    }
    let found = block_on(log.plan_find_time(at(500), Offset::MAX).run());
    assert_eq!(found.unwrap(), None);
    assert!(reads() - before <= 3, "of eight megabytes, three times");
}
