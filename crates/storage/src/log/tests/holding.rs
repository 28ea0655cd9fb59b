//! What fetched batches hold of memory.

use corelog_record::Offset;

use super::following::Memory;
use super::{at, offset, small};
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::log::{Fetched, ReadPlan};
use crate::testing::own::bytes;
use crate::testing::{batch, flush, open, settle};

const LARGE: usize = 200 << 10;

/// Small batches at even offsets, large ones at odd ones, flushed together.
fn mixed(root: &MemoryDir) -> Memory {
    let options = crate::log::Options {
        segment_bytes_max: corelog_record::ByteSize::from_mib(64),
        tail_bytes_max: 8 << 20,
        index_interval_bytes: 4096,
        ..small()
    };
    let (mut log, _) = open(root, options, 1, at(0)).unwrap();
    for number in 0..6 {
        let value = vec![b'x'; if number % 2 == 0 { 100 } else { LARGE }];
        log.append(&batch(&[&value], at(0)), at(0)).unwrap();
    }
    flush(&mut log, at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    log
}

fn plan(log: &Memory, from: u64, bytes_max: usize) -> ReadPlan<MemoryDir> {
    log.plan_read(offset(from), Offset::MAX, bytes_max).unwrap()
}

fn read(log: &Memory, from: u64, bytes_max: usize) -> Fetched<MemoryDir> {
    block_on(plan(log, from, bytes_max).run()).unwrap()
}

#[test]
fn a_small_batch_among_large_ones_is_copied_out_of_what_was_read_with_it() {
    let root = MemoryDir::new();
    let mut log = mixed(&root);
    for is_in_memory in [true, false] {
        if !is_in_memory {
            log.tail.shrink(0);
        }
        assert_eq!(plan(&log, 2, 1).ready().is_some(), is_in_memory);
        let mut fetched = read(&log, 2, LARGE);
        let before = bytes(&fetched);
        assert!(before.len() < 400, "{}", before.len());
        assert!(fetched.held_bytes() > LARGE, "{}", fetched.held_bytes());
        assert_eq!(fetched.hold_at_most(usize::MAX), before.len());
        assert_eq!(fetched.held_bytes(), before.len());
        assert_eq!(bytes(&fetched), before);
    }
}

#[test]
fn what_is_most_of_its_memory_is_copied_only_where_that_is_too_much() {
    let root = MemoryDir::new();
    let mut log = mixed(&root);
    log.tail.shrink(0);
    let mut fetched = read(&log, 0, 1 << 20);
    let (count, held) = (bytes(&fetched).len(), fetched.held_bytes());
    assert!(3 * LARGE < count && count < held);
    assert_eq!(fetched.hold_at_most(held), held, "by reference");
    assert_eq!(fetched.hold_at_most(count), count);
}

#[test]
fn a_read_holds_no_more_than_its_bytes_or_its_first_batch_and_a_little_around_it() {
    let root = MemoryDir::new();
    let mut log = mixed(&root);
    log.tail.shrink(0);
    for from in 0..6 {
        for bytes_max in [1, 10_000, LARGE + 1_000, 1 << 20] {
            let fetched = read(&log, from, bytes_max);
            let most = ReadPlan::<MemoryDir>::held_max(bytes_max.max(LARGE + 1_000));
            assert!(fetched.held_bytes() <= most, "{from} {bytes_max}");
        }
    }
}

#[test]
fn a_plan_within_less_than_its_first_batch_takes_reads_nothing() {
    let root = MemoryDir::new();
    let mut log = mixed(&root);
    log.tail.shrink(0);
    let most = ReadPlan::<MemoryDir>::held_max;
    let within = |from, bytes: usize| {
        let fetched = block_on(plan(&log, from, 1).within(most(bytes)).run()).unwrap();
        assert!(fetched.held_bytes() <= most(bytes), "{from} {bytes}");
        fetched.bytes
    };
    assert_eq!(within(3, 1), 0);
    assert_eq!(within(3, LARGE / 2), 0);
    assert!(within(3, LARGE + 1_000) > LARGE);
}
