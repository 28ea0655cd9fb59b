//! Reads that leave the disk to others in between.

use std::cell::Cell;
use std::io::ErrorKind;

use corelog_record::{ByteSize, Offset};

use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Fetched, Log, Options, ReadError, ReadPlan};
use crate::testing::own::bytes;
use crate::testing::{batch, flush, open, settle};

const INTERVAL_BYTES: u32 = 4096;

const STRIDE_BYTES: usize = 512 << 10;

/// Sizes of batches, in KiB: some share a stride, one almost fills it, two are larger.
const SIZES_KIB: [usize; 12] = [1, 200, 200, 200, 500, 2, 900, 3, 60, 400, 80, 700];

fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(64),
        tail_bytes_max: 16 << 20,
        index_interval_bytes: INTERVAL_BYTES,
        ..small()
    }
}

/// A log that has nothing in memory, and its batches.
fn cold<D: Dir>(root: &D) -> (Log<D>, Vec<Vec<u8>>) {
    let (mut log, _) = open(root, options(), 1, at(0)).unwrap();
    let mut batches = Vec::new();
    for round in 0..5 {
        for kib in SIZES_KIB {
            log.append(&batch(&[&vec![round; kib << 10]], at(0)), at(0))
                .unwrap();
        }
        flush(&mut log, at(0)).unwrap();
    }
    settle(&mut log, at(0)).unwrap();
    log.tail.shrink(0);
    let mut reader = log.reader(Offset::ZERO);
    while let Some(view) = block_on(reader.next()).unwrap() {
        batches.push(view.bytes().to_vec());
    }
    (log, batches)
}

fn plan<D: Dir>(log: &Log<D>, from: u64, bytes_max: usize) -> ReadPlan<D> {
    let plan = log.plan_read(offset(from), Offset::MAX, bytes_max).unwrap();
    assert!(plan.ready().is_none());
    plan
}

/// What is read by turns, and how many there were. No two are held at once.
fn by_turns(plan: ReadPlan<MemoryDir>) -> (Result<Fetched<MemoryDir>, ReadError>, usize) {
    struct Held<'a>(&'a Cell<bool>);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            assert!(self.0.replace(false));
        }
    }
    let (turns, is_held) = (Cell::new(0), Cell::new(false));
    let read = block_on(plan.run_by_turns(STRIDE_BYTES, async || {
        turns.set(turns.get() + 1);
        assert!(!is_held.replace(true), "a turn was kept");
        Some(Held(&is_held))
    }));
    (read, turns.get())
}

#[test]
fn by_turns_as_many_batches_are_read_as_fit_and_no_turn_takes_more_than_a_stride_or_a_batch() {
    let root = MemoryDir::new();
    let (log, batches) = cold(&root);
    assert_eq!(batches.len(), 5 * SIZES_KIB.len());
    for first in 0..SIZES_KIB.len() {
        for bytes_max in [1, 10_000, 300 << 10, 1 << 20, 4 << 20, 64 << 20] {
            let (read, turns) = by_turns(plan(&log, first as u64, bytes_max));
            let read = read.unwrap();
            let upto = usize::try_from(read.next.get()).unwrap();
            let wanted = &batches[first..upto];
            assert_eq!(bytes(&read), wanted.concat(), "{first} {bytes_max}");
            assert!(read.bytes <= bytes_max.max(batches[first].len()));
            assert_eq!(turns, read.pieces.len(), "each turn brought something");
            let mut rest = wanted;
            for piece in &read.pieces {
                let ends = rest.iter().scan(0, |end, batch| {
                    *end += batch.len();
                    Some(*end)
                });
                let count = ends.take_while(|end| *end <= piece.len()).count();
                let (taken, behind) = rest.split_at(count);
                rest = behind;
                assert_eq!(**piece, taken.concat(), "whole batches");
                // What lies before a large one is less than what lies between two rows.
                let is_large = taken[..count - 1].concat().len() < INTERVAL_BYTES as usize;
                assert!(is_large || piece.len() <= STRIDE_BYTES, "{}", piece.len());
            }
            let most = ReadPlan::<MemoryDir>::held_max(bytes_max.max(batches[first].len()));
            assert!(read.held_bytes() <= most, "{first} {bytes_max}");
            // What is left out would not fit up to the next row, or is not worth a read of its own.
            let left = bytes_max.saturating_sub(read.bytes);
            let behind = batches[upto..].iter().take(2).map(Vec::len).sum::<usize>();
            let is_end = upto == batches.len();
            assert!(
                is_end || left <= behind.max(64 << 10),
                "{first} {bytes_max}: {left}"
            );
        }
    }
}

/// It was read to its end, whoever still waited.
#[test]
fn who_is_given_no_more_turns_asks_the_disk_for_no_more_and_has_whole_batches_up_to_there() {
    let root = FaultyDir::new(MemoryDir::new());
    let (log, batches) = cold(&root);
    let asked = || root.faults().count(Operation::Read);
    let read = |given: usize| {
        let before = asked();
        let left = Cell::new(given);
        let read = plan(&log, 0, 4 << 20).run_by_turns(STRIDE_BYTES, async || {
            left.set(left.get().checked_sub(1)?);
            Some(())
        });
        (block_on(read).unwrap(), asked() - before)
    };
    let (whole, most) = read(usize::MAX);
    assert!(whole.pieces.len() > 2);
    for given in 0..whole.pieces.len() {
        let (some, asked) = read(given);
        assert_eq!(some.pieces.len(), given);
        // Those of the index are the same.
        let spared = (whole.pieces.len() - given) as u64;
        assert_eq!(asked, most - spared);
        let upto = usize::try_from(some.next.get()).unwrap();
        assert_eq!(bytes(&some), batches[..upto].concat());
        assert_eq!(some.bytes, bytes(&some).len());
    }
}

#[test]
fn at_once_and_by_turns_a_log_reads_the_same_to_its_end() {
    let root = MemoryDir::new();
    let (log, batches) = cold(&root);
    for is_by_turns in [false, true] {
        let (mut from, mut all) = (0, Vec::new());
        while from < batches.len() as u64 {
            let plan = plan(&log, from, 1 << 20);
            let read = match is_by_turns {
                true => by_turns(plan).0.unwrap(),
                false => block_on(plan.run()).unwrap(),
            };
            assert!(is_by_turns || read.pieces.len() == 1);
            from = read.next.get();
            all.extend(bytes(&read));
        }
        assert_eq!(all, batches.concat());
    }
}

#[test]
fn damage_behind_the_first_stride_is_told_to_whoever_reads_on_from_there() {
    let root = MemoryDir::new();
    let (log, batches) = cold(&root);
    let bad = 9;
    let before = batches[..bad].concat().len();
    change(&root, STORE, |bytes| bytes[before + 30_000] ^= 1);
    let (read, _) = by_turns(plan(&log, 0, 4 << 20));
    let read = read.unwrap();
    assert!(!read.pieces.is_empty() && read.next <= offset(bad as u64));
    assert_eq!(
        bytes(&read),
        batches[..usize::try_from(read.next.get()).unwrap()].concat()
    );
    let (again, turns) = by_turns(plan(&log, bad as u64, 4 << 20));
    assert!(matches!(again, Err(ReadError::Damaged { from, .. }) if from == offset(bad as u64)));
    assert_eq!(turns, 1);
    let (behind, _) = by_turns(plan(&log, bad as u64 + 1, 4 << 20));
    assert!(behind.unwrap().bytes > 0);
}

/// One sector that could not be read hid some megabytes of sound batches before it.
#[test]
fn where_the_disk_does_not_give_a_stride_what_lies_before_the_next_row_is_read() {
    let root = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&root, options(), 1, at(0)).unwrap();
    for number in 0..20 {
        let one = batch(&[&vec![number; 50 << 10]], at(0));
        log.append(&one, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    settle(&mut log, at(0)).unwrap();
    log.tail.shrink(0);
    let read = |failing: u64| {
        let plan = log.plan_read(offset(3), Offset::MAX, 1 << 20).unwrap();
        for nth in 1..=failing {
            let is_read = Match::on(Operation::Read, ".log");
            let fault = Fault::Fail(ErrorKind::Other);
            root.faults().fail(is_read, nth, fault);
        }
        block_on(plan.run())
    };
    assert_eq!(read(0).unwrap().next, offset(20));
    assert_eq!(read(1).unwrap().next, offset(4));
    assert!(matches!(read(2), Err(ReadError::Disk { .. })));
}
