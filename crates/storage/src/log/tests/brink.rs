//! What stands right before a header that leads nowhere is served, also where no row is left from before a kill.

use corelog_record::Offset;
use corelog_record::batch::Batches;

use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::log::{Damage, Log, ReadError};
use crate::testing::{batch, chore, flush, open, settle};

/// Where a batch has its length, in bits of it.
const LENGTH_BITS: std::ops::Range<usize> = 64..96;

/// Some batches of one record lie between two rows, and of others each takes some rows.
const VALUE_BYTES: [usize; 8] = [60, 50, 2_000, 40, 60, 3_000, 70, 30];

/// So many there are when the log is closed.
const CLOSED: usize = 4;

/// A log that was killed with all of it below its mark; closed once behind some batches, if `is_closed`.
fn killed(is_closed: bool) -> (MemoryDir, Vec<Vec<u8>>) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for (number, bytes) in VALUE_BYTES.into_iter().enumerate() {
        if is_closed && number == CLOSED {
            block_on(log.close(at(1))).unwrap();
            log = open(&root, small(), 2, at(2)).unwrap().0;
        }
        log.append(&batch(&[&vec![b'f'; bytes]], at(0)), at(0))
            .unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    chore(&mut log, at(10_000), false).unwrap();
    let all = crate::testing::read_all(&log, Offset::ZERO).unwrap();
    (root, all)
}

/// What is read from `from` on, up to the first answer that tells of damage.
fn read(log: &Log<MemoryDir>, from: u64) -> (Vec<Vec<u8>>, Option<Damage>) {
    let (mut batches, mut next) = (Vec::new(), offset(from));
    while next < log.durable() {
        let plan = log.plan_read(next, Offset::MAX, 1 << 20);
        let fetched = match plan.and_then(|plan| block_on(plan.run())) {
            Ok(fetched) => fetched,
            Err(ReadError::Damaged { from, to, segment }) => {
                return (batches, Some(Damage { from, to, segment }));
            }
            Err(error) => panic!("{error}"),
        };
        for piece in &fetched.pieces {
            batches.extend(Batches::over(piece).map(|batch| batch.unwrap().to_vec()));
        }
        next = fetched.next;
    }
    (batches, None)
}

/// A bit of one batch's length takes no other batch from readers, but for those that it led to.
fn assert_served_up_to_each_bad_length(is_closed: bool) {
    let (root, all) = killed(is_closed);
    // Its one row leads to the last batch before the stop: what is bad below that ends there.
    let first = if is_closed { CLOSED - 1 } else { 0 };
    for bad in first..all.len() {
        let start: usize = all[..bad].iter().map(Vec::len).sum();
        for bit in LENGTH_BITS {
            let root = root.fork();
            let bit = 8 * start + bit;
            change(&root, STORE, |store| store[bit / 8] ^= 1 << (bit % 8));
            let (mut log, report) = open(&root, small(), 3, at(20_000)).unwrap();
            assert!(report.damage.is_empty(), "{report:?}");
            let known = Damage {
                from: offset(bad as u64),
                to: log.durable(),
                segment: Offset::ZERO,
            };
            for from in first..all.len() {
                let what = format!("batch {bad}, bit {bit}, from {from}");
                let (batches, met) = read(&log, from as u64);
                let there = if from < bad { &all[from..bad] } else { &[] };
                assert!(batches == there, "{what}: {} batches", batches.len());
                let met = met.unwrap();
                let is_it = (met.from, met.to) == (known.from, known.to);
                assert!(is_it, "{what}: {met:?}");
            }
            settle(&mut log, at(20_001)).unwrap();
            assert_eq!(log.damage(), [known]);
        }
    }
}

/// All from the last row before it on was damage to readers, and remembered as such: of large batches, one that was sound.
#[test]
fn what_precedes_a_bad_length_is_served_by_an_index_that_is_made_anew() {
    assert_served_up_to_each_bad_length(false);
}

/// The rows of a clean stop end before it.
#[test]
fn what_precedes_a_bad_length_is_served_by_an_index_that_is_completed() {
    assert_served_up_to_each_bad_length(true);
}

/// A bit of one batch that no checksum covers takes no other batch from readers, but for those that stand and fall with it.
fn assert_no_changed_batch_is_served(is_closed: bool) {
    let (root, all) = killed(is_closed);
    for bad in 0..all.len() {
        let start: usize = all[..bad].iter().map(Vec::len).sum();
        for bit in 0..LENGTH_BITS.end + 32 {
            let root = root.fork();
            let bit = 8 * start + bit;
            change(&root, STORE, |store| store[bit / 8] ^= 1 << (bit % 8));
            let (log, _) = open(&root, small(), 3, at(20_000)).unwrap();
            for from in 0..all.len() {
                let (batches, met) = read(&log, from as u64);
                let what = format!("batch {bad}, bit {bit}, from {from}");
                assert!(all[from..].starts_with(&batches), "{what}");
                assert!(met.is_some() || bad < from, "{what}");
            }
        }
    }
}

/// No checksum of a batch covers where it is, how long it is, and of which epoch.
#[test]
fn no_batch_is_served_that_was_changed_where_only_the_chain_tells() {
    assert_no_changed_batch_is_served(false);
}

/// An index that was completed over one agreed with it.
#[test]
fn no_changed_batch_is_served_behind_the_rows_of_a_clean_stop() {
    assert_no_changed_batch_is_served(true);
}
