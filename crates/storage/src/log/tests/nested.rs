//! Values that hold batches: whatever is torn around them, they are never taken for the log's own.

use corelog_record::Offset;

use super::recovery::{STORE, reopen, scribble};
use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::testing::own::fill;
use crate::testing::{batch, open, read_all};

#[test]
fn a_value_that_holds_a_valid_batch_fools_no_recovery() {
    let inner = batch(&[b"planted"], at(0));
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 1, 100);
    let start = log.store_bytes().bytes();
    let outer = batch(&[&inner], at(0));
    drop(log);
    // Torn so that the planted batch stands whole behind a header that does not.
    let mut torn = outer.clone();
    torn[..61].fill(0);
    scribble(&root, STORE, start, &torn);
    let (log, report) = reopen(&root);
    assert_eq!(log.log_end(), offset(1));
    assert_eq!(report.torn.map(|torn| torn.offset), Some(offset(1)));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
}

/// A batch whose value has a whole batch at the start of each sector of the store, if it is written at
/// `start`: with the offset and the epoch that are next in the log.
#[expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]
fn planted(start: usize) -> Vec<u8> {
    let next = |value: &[u8]| {
        let mut batch = batch(&[value], at(0));
        batch[..8].copy_from_slice(&1_u64.to_be_bytes());
        batch[12..16].fill(0);
        batch
    };
    let mut inner = next(b"planted");
    inner.resize(SECTOR, b'.');
    let find = |outer: &[u8]| outer.windows(SECTOR).position(|window| window == inner);
    for pad in 0..SECTOR {
        let value = [vec![b'.'; pad], inner.repeat(20)].concat();
        let outer = next(&value);
        let at = find(&outer).unwrap();
        if (start + at).is_multiple_of(SECTOR) {
            return outer;
        }
    }
    unreachable!("one of the paddings fits")
}

#[test]
fn a_value_full_of_valid_batches_torn_at_any_sector_fools_no_recovery() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 1, 100);
    let start = usize::try_from(log.store_bytes().bytes()).unwrap();
    let outer = planted(start);
    let end = start + outer.len();
    drop(log);
    for unit in [SECTOR, 4096] {
        for sector in start / unit..end.div_ceil(unit) {
            let lost = |at: usize| at / unit == sector;
            let before = |at: usize| at / unit < sector;
            let torn: [&dyn Fn(usize) -> bool; 3] =
                [&lost, &|at| before(at) || lost(at), &|at| !before(at)];
            for is_lost in torn {
                let root = root.fork();
                let mut bytes = outer.clone();
                for (at, byte) in bytes.iter_mut().enumerate() {
                    if is_lost(start + at) {
                        *byte = 0;
                    }
                }
                if bytes == outer {
                    continue; // What was lost was zeros.
                }
                scribble(&root, STORE, start as u64, &bytes);
                let (log, report) = reopen(&root);
                assert_eq!(log.log_end(), offset(1), "sector {sector} of {unit}");
                assert!(report.damage.is_empty(), "{report:?}");
                assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
            }
        }
    }
    scribble(&root, STORE, start as u64, &outer);
    let (log, _) = reopen(&root);
    assert_eq!(log.log_end(), offset(2), "whole, it is one record");
}

const SECTOR: usize = 512;
