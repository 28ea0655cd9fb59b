//! Readers over the whole log: where they begin, and how they get past damage.

use corelog_record::Offset;

use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::disk::faulty::{FaultyDir, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Log, Options};
use crate::testing::own::fill;
use crate::testing::{batch, open, settle};
use crate::{Error, Reader};

type Memory = Log<MemoryDir>;

/// A damaged range, or the offset of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Batch(u64),
    Damaged(u64, u64),
}

/// All that a reader gives.
fn seen(mut reader: Reader<MemoryDir>) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        seen.push(match block_on(reader.next()) {
            Ok(Some(batch)) => Seen::Batch(batch.base_offset().get()),
            Ok(None) => return seen,
            Err(Error::Damaged { from, to, .. }) => Seen::Damaged(from.get(), to.get()),
            Err(error) => panic!("{error}"),
        });
        assert!(seen.len() < 1_000, "a reader ends");
    }
}

fn batches(range: std::ops::Range<u64>) -> Vec<Seen> {
    range.map(Seen::Batch).collect()
}

/// A log of three segments, closed, and the length of a batch.
fn closed() -> (MemoryDir, usize) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 40, 1_000);
    settle(&mut log, at(1)).unwrap();
    let one = usize::try_from(log.store_bytes().bytes() / 40).unwrap();
    assert_eq!(log.segments().nth(1).unwrap().base, offset(15));
    block_on(log.close(at(2))).unwrap();
    (root, one)
}

fn opened(root: &MemoryDir) -> Memory {
    let (log, report) = open(root, small(), 2, at(100)).unwrap();
    assert!(report.is_clean, "{report:?}");
    log
}

#[test]
fn a_bad_batch_is_stepped_over_by_its_length_and_the_reader_goes_on_behind_it() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[3 * one + 500] ^= 1);
    let log = opened(&root);
    let expected = [batches(0..3), vec![Seen::Damaged(3, 4)], batches(4..40)].concat();
    assert_eq!(seen(log.reader(Offset::ZERO)), expected);
    // Who begins behind it does not hear of it; who begins with it does.
    assert_eq!(seen(log.reader(offset(4))), batches(4..40));
    let expected = [vec![Seen::Damaged(3, 4)], batches(4..40)].concat();
    assert_eq!(seen(log.reader(offset(3))), expected);
}

#[test]
fn a_bad_length_is_stepped_over_by_an_index_row_and_without_one_to_the_next_segment() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[3 * one + 10] ^= 1);
    let log = opened(&root);
    let expected = [batches(0..3), vec![Seen::Damaged(3, 4)], batches(4..40)].concat();
    assert_eq!(seen(log.reader(Offset::ZERO)), expected);
    // The last batch of a segment: no row lies behind it.
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[14 * one + 10] ^= 1);
    let log = opened(&root);
    let expected = [batches(0..14), vec![Seen::Damaged(14, 15)], batches(15..40)].concat();
    assert_eq!(seen(log.reader(Offset::ZERO)), expected);
}

#[test]
fn several_bad_batches_are_each_told_of() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| {
        bytes[3 * one + 500] ^= 1;
        bytes[7 * one + 500] ^= 1;
        bytes[8 * one + 20] ^= 1;
    });
    let log = opened(&root);
    let found = seen(log.reader(Offset::ZERO));
    let good = |seen: &Seen| matches!(seen, Seen::Batch(_));
    let missing = [3, 7, 8].map(Seen::Batch);
    let wanted: Vec<_> = batches(0..40)
        .into_iter()
        .filter(|batch| !missing.contains(batch))
        .collect();
    assert_eq!(
        found.iter().copied().filter(good).collect::<Vec<_>>(),
        wanted
    );
    assert_eq!(
        found.iter().filter(|seen| !good(seen)).count(),
        3,
        "{found:?}"
    );
}

/// The leader epoch lies outside a batch's checksum: only the chain at the next row tells.
#[test]
fn a_batch_that_an_index_row_contradicts_is_never_given() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[3 * one + 15] ^= 1);
    let log = opened(&root);
    let expected = [batches(0..3), vec![Seen::Damaged(3, 4)], batches(4..40)].concat();
    assert_eq!(seen(log.reader(Offset::ZERO)), expected);
}

/// Rows far apart: of the batches between two of them none can be believed.
#[test]
fn batches_between_two_rows_are_given_all_or_none() {
    let root = MemoryDir::new();
    let sparse = Options {
        index_interval_bytes: 4096,
        ..small()
    };
    let (mut log, _) = open(&root, sparse.clone(), 1, at(0)).unwrap();
    fill(&mut log, 40, 1_000);
    settle(&mut log, at(1)).unwrap();
    let one = usize::try_from(log.store_bytes().bytes() / 40).unwrap();
    block_on(log.close(at(2))).unwrap();
    change(&root, STORE, |bytes| bytes[5 * one + 15] ^= 1);
    let log = open(&root, sparse, 2, at(100)).unwrap().0;
    let expected = [batches(0..4), vec![Seen::Damaged(4, 8)], batches(8..40)].concat();
    assert_eq!(seen(log.reader(Offset::ZERO)), expected);
    // Who begins between the rows hears the same.
    assert_eq!(seen(log.reader(offset(6)))[0], Seen::Damaged(4, 8));
}

/// What a read from the start gives at most: where it ends.
fn read_upto(log: &Memory, from: u64) -> Option<Offset> {
    let plan = log.plan_read(offset(from), Offset::MAX, 1 << 20).ok()?;
    block_on(plan.run()).ok().map(|fetched| fetched.next)
}

/// Once the damage was known, the end of its segment said nothing any more, and no row lies behind the
/// last batch: it was served.
#[test]
fn damage_at_the_end_of_a_segment_is_not_served_once_it_is_known() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[14 * one + 15] ^= 1);
    let mut log = opened(&root);
    for _ in 0..2 {
        assert_eq!(read_upto(&log, 14), None);
        log.take_events();
        assert_eq!(read_upto(&log, 0), Some(offset(14)));
        let expected = [batches(0..14), vec![Seen::Damaged(14, 15)], batches(15..40)];
        assert_eq!(seen(log.reader(Offset::ZERO)), expected.concat());
        settle(&mut log, at(200)).unwrap();
        block_on(log.close(at(300))).unwrap();
        log = opened(&root);
    }
}

/// A clean stop hid it until somebody read there again.
#[test]
fn damage_that_a_read_has_met_is_remembered_by_a_log_that_is_closed_then() {
    let (root, one) = closed();
    change(&root, STORE, |bytes| bytes[14 * one + 80] ^= 1);
    let mut log = opened(&root);
    assert_eq!(read_upto(&log, 14), None);
    block_on(log.close(at(200))).unwrap();
    assert_eq!(opened(&root).damage().len(), 1);
}

#[test]
fn known_damage_does_not_hide_what_rots_at_the_end_of_its_segment() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 10, 1_000);
    let one = usize::try_from(log.store_bytes().bytes() / 10).unwrap();
    change(&root, STORE, |bytes| {
        bytes[3 * one + 500] ^= 1;
        bytes[9 * one + 15] ^= 1;
    });
    log.tail.shrink(0);
    assert_eq!(read_upto(&log, 3), None);
    log.take_events();
    assert_eq!(log.damage().len(), 1);
    assert_eq!(read_upto(&log, 9), None);
    assert_eq!(read_upto(&log, 4), Some(offset(9)));
}

#[test]
fn what_is_appended_behind_damage_is_read_before_there_is_a_row_behind_it() {
    let root = MemoryDir::new();
    let sparse = Options {
        index_interval_bytes: 4096,
        ..small()
    };
    let (mut log, _) = open(&root, sparse, 1, at(0)).unwrap();
    fill(&mut log, 5, 100);
    let one = usize::try_from(log.store_bytes().bytes() / 5).unwrap();
    change(&root, STORE, |bytes| bytes[4 * one + 15] ^= 1);
    log.tail.shrink(0);
    assert_eq!(read_upto(&log, 4), None);
    log.take_events();
    fill(&mut log, 2, 100);
    log.tail.shrink(0);
    assert_eq!(read_upto(&log, 5), Some(offset(7)));
    assert_eq!(read_upto(&log, 4), None);
}

#[test]
fn a_reader_begins_by_the_index_and_reads_little_before_it() {
    let root = FaultyDir::new(MemoryDir::new());
    let large = Options {
        segment_bytes_max: corelog_record::ByteSize::from_mib(64),
        index_interval_bytes: 4096,
        ..Options::default()
    };
    let (mut log, _) = open(&root, large, 1, at(0)).unwrap();
    let one = batch(&[&vec![b'x'; 100_000]], at(0));
    for _ in 0..200 {
        log.append(&one, at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    log.begin_snapshot().unwrap();
    settle(&mut log, at(1)).unwrap();
    let mut reader = log.reader(offset(190));
    let before = root.faults().count(Operation::Read);
    let first = block_on(reader.next()).unwrap().unwrap().base_offset();
    assert_eq!(first, offset(190));
    let reads = root.faults().count(Operation::Read) - before;
    assert!(reads <= 2, "{reads} reads");
}

/// Asserts that a log of 40 batches, killed, tells of those in `lost`, whose store is gone, and gives all others.
fn assert_told(root: &MemoryDir, lost: std::ops::Range<u64>) {
    let (log, _) = open(root, small(), 2, at(100)).unwrap();
    assert_eq!(log.durable(), offset(40));
    let told = [Seen::Damaged(lost.start, lost.end)];
    for from in 0..40 {
        let before = batches(from..lost.start.max(from));
        let behind = batches(lost.end.max(from)..40);
        let is_told = from < lost.end;
        let told = if is_told { &told[..] } else { &[] };
        let expected = [&before[..], told, &behind[..]].concat();
        assert_eq!(seen(log.reader(offset(from))), expected, "from {from}");
    }
}

/// A walk went on from the batch before to the one behind, or ended there, and all in between was gone in silence.
#[test]
fn a_store_that_is_lost_is_told_of_by_a_reader() {
    for is_empty in [false, true] {
        for (segment, lost) in [(0, 0..15), (15, 15..30), (30, 30..40)] {
            let root = MemoryDir::new();
            let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
            fill(&mut log, 40, 1_000);
            assert_eq!(log.segments().filter(|it| it.is_sealed).count(), 0);
            if segment == 30 {
                // That there was something in the last one only the mark tells.
                settle(&mut log, at(1)).unwrap();
            }
            drop(log);
            let store = crate::segment::name::store(offset(segment), 0);
            match is_empty {
                true => change(&root, &store, Vec::clear),
                false => block_on(root.child("p0").remove(&store)).unwrap(),
            }
            assert_told(&root, lost.clone());
            assert_told(&root, lost);
        }
    }
}
