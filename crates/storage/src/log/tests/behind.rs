//! What stands behind a header that leads nowhere is served by the rows that lead there, whatever becomes of others.

use std::io::ErrorKind;

use corelog_record::batch::Batches;
use corelog_record::{ByteSize, Offset, Timestamp};

use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Damage, Log, Options, ReadError};
use crate::testing::own;
use crate::testing::{batch, flush, open, settle};

pub(super) const INDEX: &str = "00000000000000000000.index";

/// Bits of a batch's length that lead it nowhere, counted from where it begins, and one of its epoch.
pub(super) const LENGTH_BITS: [usize; 3] = [68, 74, 92];
pub(super) const EPOCH_BIT: usize = 8 * 12 + 31;

/// Bits of its checksum, and of its record.
const CRC_BIT: usize = 8 * 17 + 3;
pub(super) const VALUE_BIT: usize = 8 * 70;

pub(super) fn options(segment_mib: u32) -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(segment_mib),
        ..small()
    }
}

/// What a log holds, batch by batch.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) all: Vec<Vec<u8>>,
}

impl Batch {
    /// Appends batches of one record of so many bytes, each durable.
    fn append<D: Dir>(&mut self, log: &mut Log<D>, values: impl IntoIterator<Item = usize>) {
        for bytes in values {
            log.append(&batch(&[&vec![b'f'; bytes]], at(0)), at(0))
                .unwrap();
            flush(log, at(0)).unwrap();
            let last = offset(self.all.len() as u64);
            let plan = log.plan_read(last, Offset::MAX, 1).unwrap();
            let fetched = block_on(plan.run()).unwrap();
            self.all.push(fetched.pieces[0].to_vec());
        }
    }

    /// Where batch `number` begins in the store.
    fn start(&self, number: usize) -> usize {
        self.all[..number].iter().map(Vec::len).sum()
    }

    /// Turns one bit of a batch over.
    pub(super) fn flip(&self, root: &MemoryDir, number: usize, bit: usize) {
        let bit = 8 * self.start(number) + bit;
        change(root, STORE, |store| store[bit / 8] ^= 1 << (bit % 8));
    }

    /// All from `first` on is served, wherever a read begins.
    fn assert_served<D: Dir>(&self, log: &Log<D>, first: usize, what: &str) {
        for from in first..self.all.len() {
            let met = read(log, from);
            let bytes = met.unwrap_or_else(|error| panic!("{what}: {from}: {error}"));
            assert_eq!(bytes, self.all[from], "{what}: {from}");
        }
    }

    /// What is read from each offset on is what was appended, or nothing.
    pub(super) fn assert_none_changed<D: Dir>(&self, log: &Log<D>, what: &str) {
        for from in 0..self.all.len() {
            if let Ok(bytes) = read(log, from) {
                assert_eq!(bytes, self.all[from], "{what}: {from}");
            }
        }
    }
}

/// The batch at `from`.
pub(super) fn read<D: Dir>(log: &Log<D>, from: usize) -> Result<Vec<u8>, ReadError> {
    let plan = log.plan_read(offset(from as u64), Offset::MAX, 1);
    let fetched = block_on(plan?.run())?;
    let piece = &fetched.pieces[0];
    Ok(Batches::over(piece).next().unwrap().unwrap().to_vec())
}

fn damage(from: usize, to: usize) -> Damage {
    Damage {
        from: offset(from as u64),
        to: offset(to as u64),
        segment: Offset::ZERO,
    }
}

/// A log of large batches that was killed with all of them below its mark, and no index file: of one the header leads
/// nowhere. What was appended behind them since lies in the same segment.
fn bad_below_the_mark(bit: usize) -> (MemoryDir, Log<MemoryDir>, Batch) {
    let root = MemoryDir::new();
    let mut batches = Batch::default();
    let (mut log, _) = open(&root, options(64), 1, at(0)).unwrap();
    batches.append(&mut log, [1 << 20; MARKED]);
    settle(&mut log, at(10_000)).unwrap();
    drop(log);
    batches.flip(&root, BAD, bit);
    let (mut log, report) = open(&root, options(64), 2, at(20_000)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    batches.append(&mut log, [3_000; 5]);
    (root, log, batches)
}

/// So many batches of a MiB lie below the mark, of which this one is bad.
const MARKED: usize = 26;
const BAD: usize = 2;

/// The gap that the bad header left was more than any there may be: the node's own file was refused, rebuilt up to that header,
/// and written over.
#[test]
fn a_segment_is_sealed_with_the_rows_behind_a_header_that_leads_nowhere() {
    let (root, mut log, batches) = bad_below_the_mark(LENGTH_BITS[1]);
    log.roll();
    let mut behind = Batch::default();
    settle(&mut log, at(20_001)).unwrap();
    assert_eq!(log.sealed().count(), 1);
    behind.all.clone_from(&batches.all);
    behind.append(&mut log, [10]);
    for round in 0..2 {
        drop(log);
        log = open(&root, options(64), 3 + round, at(30_000)).unwrap().0;
        batches.assert_served(&log, MARKED, "sealed");
        assert!(read(&log, BAD).is_err());
        settle(&mut log, at(30_001)).unwrap();
        assert_eq!(log.damage(), [damage(BAD, MARKED)]);
        assert_eq!(read(&log, BAD - 1).unwrap(), batches.all[BAD - 1]);
    }
}

/// What lies behind the mark lost its rows, or they were refused.
#[test]
fn a_clean_stop_keeps_the_rows_behind_a_header_that_leads_nowhere() {
    for is_at_hand in [false, true] {
        let (root, mut log, mut batches) = bad_below_the_mark(LENGTH_BITS[1]);
        if is_at_hand {
            assert_eq!(read(&log, 0).unwrap(), batches.all[0]);
        }
        block_on(log.close(at(20_001))).unwrap();
        let (mut log, report) = open(&root, options(64), 3, at(30_000)).unwrap();
        assert!(report.is_clean);
        batches.assert_served(&log, MARKED, "closed");
        assert!(read(&log, BAD).is_err());
        settle(&mut log, at(30_001)).unwrap();
        assert_eq!(log.damage(), [damage(BAD, MARKED)]);
        // The next one is killed, and its successor closed again: what is damaged is not appended to any more.
        batches.append(&mut log, [3_000]);
        drop(log);
        let (mut log, _) = open(&root, options(64), 4, at(40_000)).unwrap();
        batches.assert_served(&log, MARKED, "killed");
        block_on(log.close(at(40_001))).unwrap();
        let (log, report) = open(&root, options(64), 5, at(50_000)).unwrap();
        assert!(report.is_clean);
        batches.assert_served(&log, MARKED, "closed again");
    }
}

/// Batches of a sealed segment, of which some lie between two rows, and of others each takes some rows.
pub(super) fn sealed() -> (MemoryDir, Batch) {
    let root = MemoryDir::new();
    let mut batches = Batch::default();
    let (mut log, _) = open(&root, options(1), 1, at(0)).unwrap();
    batches.append(
        &mut log,
        [
            60, 900, 50, 2_000, 40, 60, 700, 3_000, 70, 30, 800, 90, 900, 20,
        ],
    );
    log.roll();
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.sealed().count(), 1);
    (root, batches)
}

/// The rows of the index: the number of the batch that each leads to.
pub(super) fn rows(root: &MemoryDir, batches: &Batch) -> Vec<usize> {
    use crate::format::index;
    let file = block_on(root.child("p0").read(INDEX, 1 << 20)).unwrap();
    let positions = (0..index::row_count(&file)).map(|row| {
        let row = index::row(&file, row).unwrap().unwrap();
        usize::try_from(row.position).unwrap()
    });
    let number = |position| (0..batches.all.len()).find(|n| batches.start(*n) == position);
    positions.map(|at| number(at).unwrap()).collect()
}

/// The rows that are left if one rots: the last before batch `bad` or at it, and the first behind. Between them is what a bad
/// batch may take with it.
pub(super) fn around(rows: &[usize], rotten: usize, bad: usize, end: usize) -> (usize, usize) {
    let sound = rows.iter().enumerate().filter(|(row, _)| *row != rotten);
    let sound: Vec<_> = sound.map(|(_, number)| *number).collect();
    let before = sound.iter().rfind(|row| **row <= bad);
    let behind = sound.iter().find(|row| bad < **row);
    (*before.unwrap_or(&0), *behind.unwrap_or(&end))
}

/// Each row has its own checksum: all were thrown away for one of them, and all behind a header that leads nowhere was damage.
#[test]
fn one_rotten_row_takes_no_other_with_it() {
    let (root, batches) = sealed();
    let rows = rows(&root, &batches);
    let end = batches.all.len();
    let bits = [LENGTH_BITS.as_slice(), &[CRC_BIT, VALUE_BIT]].concat();
    for (bad, rotten) in (0..end).flat_map(|bad| (0..rows.len()).map(move |row| (bad, row))) {
        let (_, behind) = around(&rows, rotten, bad, end);
        for bit in &bits {
            let root = root.fork();
            batches.flip(&root, bad, *bit);
            change(&root, INDEX, |index| index[64 + 32 * rotten + 5] ^= 4);
            let what = format!("batch {bad}, bit {bit}, row {rotten}");
            for round in 0..2 {
                let (mut log, _) = open(&root, options(1), 2 + round, at(2)).unwrap();
                batches.assert_served(&log, behind, &what);
                batches.assert_none_changed(&log, &what);
                settle(&mut log, at(3)).unwrap();
                let behind = offset(behind as u64);
                let is_before = |known: &Damage| known.to <= behind;
                assert!(
                    log.damage().iter().all(is_before),
                    "{what}: {:?}",
                    log.damage()
                );
            }
        }
    }
}

pub(super) fn scrub<D: Dir>(log: &mut Log<D>) {
    own::scrub(log, 1_000, at(3));
    settle(log, at(4)).unwrap();
}

/// A scrub gave up all behind it for good.
#[test]
fn a_scrub_that_finds_a_rotten_row_believes_the_others() {
    let (root, batches) = sealed();
    let rows = rows(&root, &batches);
    let end = batches.all.len();
    for (bad, rotten) in (0..end).flat_map(|bad| (0..rows.len()).map(move |row| (bad, row))) {
        let (before, behind) = around(&rows, rotten, bad, end);
        for (bit, from) in [(LENGTH_BITS[1], bad), (EPOCH_BIT, before)] {
            let root = root.fork();
            batches.flip(&root, bad, bit);
            change(&root, INDEX, |index| index[64 + 32 * rotten + 5] ^= 4);
            let what = format!("batch {bad}, bit {bit}, row {rotten}");
            let (mut log, _) = open(&root, options(1), 2, at(2)).unwrap();
            scrub(&mut log);
            assert_eq!(log.damage(), [damage(from, behind)], "{what}");
            batches.assert_served(&log, behind, &what);
            drop(log);
            let (log, _) = open(&root, options(1), 3, at(5)).unwrap();
            batches.assert_served(&log, behind, &what);
            batches.assert_none_changed(&log, &what);
        }
    }
}

/// A thread that had run out of descriptors took the index for wrong, and had it written over.
#[test]
fn an_index_that_cannot_be_mapped_for_a_moment_is_not_written_over() {
    let (root, batches) = sealed();
    let rows = rows(&root, &batches);
    let (bad, first) = (1, *rows.iter().find(|row| 1 < **row).unwrap());
    batches.flip(&root, bad, LENGTH_BITS[1]);
    let index = block_on(root.child("p0").read(INDEX, 1 << 20)).unwrap();
    for fault in [Fault::OutOfFiles, Fault::Fail(ErrorKind::OutOfMemory)] {
        let disk = FaultyDir::new(root.fork());
        let (mut log, _) = open(&disk, options(1), 2, at(2)).unwrap();
        disk.faults().fail(Operation::Map, 1, fault);
        let met = read(&log, batches.all.len() - 1);
        assert!(!matches!(met, Err(ReadError::Damaged { .. })), "{met:?}");
        settle(&mut log, at(3)).unwrap();
        assert_eq!(log.damage(), []);
        assert_eq!(
            block_on(disk.child("p0").read(INDEX, 1 << 20)).unwrap(),
            index
        );
        batches.assert_served(&log, first, "asked again");
    }
}

/// A log of small batches that was killed with half of them below its mark, and no index file: one of those is bad.
fn small_bad_below_the_mark(
    bit: usize,
) -> (FaultyDir<MemoryDir>, Log<FaultyDir<MemoryDir>>, Batch) {
    small_below_the_mark(BAD, bit)
}

/// The same of that batch.
fn small_below_the_mark(
    bad: usize,
    bit: usize,
) -> (FaultyDir<MemoryDir>, Log<FaultyDir<MemoryDir>>, Batch) {
    let root = MemoryDir::new();
    let mut batches = Batch::default();
    let (mut log, _) = open(&root, options(1), 1, at(0)).unwrap();
    batches.append(&mut log, [900; HALF]);
    settle(&mut log, at(10_000)).unwrap();
    drop(log);
    batches.flip(&root, bad, bit);
    let disk = FaultyDir::new(root);
    let (mut log, report) = open(&disk, options(1), 2, at(20_000)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    batches.append(&mut log, [700; HALF]);
    (disk, log, batches)
}

const HALF: usize = 6;

/// Of the rows for the mark's place the one stayed that was made of what is there, with the chain of the bad batch: what lies
/// behind was damage for good.
#[test]
fn a_bad_batch_right_before_the_mark_takes_nothing_behind_it_along() {
    let last = HALF - 1;
    let (disk, mut log, batches) = small_below_the_mark(last, CRC_BIT);
    log.roll();
    settle(&mut log, at(20_001)).unwrap();
    assert_eq!(log.sealed().count(), 1);
    for round in 0..2 {
        batches.assert_served(&log, HALF, "sealed");
        assert!(read(&log, last).is_err());
        settle(&mut log, at(20_002)).unwrap();
        assert_eq!(log.damage(), [damage(last, HALF)]);
        drop(log);
        log = open(&disk, options(1), 3 + round, at(30_000)).unwrap().0;
    }
}

/// Nothing is appended to it any more, and its rows were let go of with the process.
#[test]
fn a_clean_stop_keeps_the_rows_of_a_segment_that_is_known_to_be_damaged() {
    let (disk, mut log, mut batches) = small_bad_below_the_mark(LENGTH_BITS[1]);
    assert!(read(&log, BAD).is_err());
    settle(&mut log, at(20_001)).unwrap();
    assert_eq!(log.damage(), [damage(BAD, HALF)]);
    let marked = batches.all.len();
    batches.append(&mut log, [800; HALF]);
    drop(log);
    for round in 0..3 {
        let (mut log, _) = open(&disk, options(1), 3 + round, at(30_000)).unwrap();
        batches.assert_served(&log, marked, "closed");
        // Others are sealed behind it.
        batches.append(&mut log, [800; HALF]);
        log.roll();
        batches.append(&mut log, [800]);
        settle(&mut log, at(30_001)).unwrap();
        assert_eq!(log.sealed().count(), 1 + usize::try_from(round).unwrap());
        block_on(log.close(at(30_002))).unwrap();
    }
}

/// Each read below the mark read all of that twice, nothing was told, and sealing left the segment without any row.
#[test]
fn a_changed_epoch_below_the_mark_is_told_of_and_takes_nothing_behind_the_mark_with_it() {
    for is_read in [false, true] {
        let (disk, mut log, batches) = small_bad_below_the_mark(EPOCH_BIT);
        let known = damage(0, HALF);
        if is_read {
            assert!(matches!(read(&log, 0), Err(ReadError::Damaged { .. })));
            settle(&mut log, at(20_001)).unwrap();
            assert_eq!(log.damage(), [known]);
            let before = disk.faults().count(Operation::Read);
            for from in 0..HALF {
                assert!(matches!(read(&log, from), Err(ReadError::Damaged { .. })));
            }
            assert_eq!(disk.faults().count(Operation::Read), before);
        }
        log.roll();
        settle(&mut log, at(20_002)).unwrap();
        assert_eq!(log.sealed().count(), 1);
        for round in 0..2 {
            drop(log);
            log = open(&disk, options(1), 3 + round, at(30_000)).unwrap().0;
            batches.assert_served(&log, HALF, "sealed");
            assert!(matches!(read(&log, 0), Err(ReadError::Damaged { .. })));
            scrub(&mut log);
            assert_eq!(log.damage(), [known]);
        }
    }
}

/// A log that was killed with a mark in its first segment, which is not sealed, and a bad header below that.
fn killed_before_the_seal() -> (MemoryDir, Batch) {
    let root = MemoryDir::new();
    let mut batches = Batch::default();
    let (mut log, _) = open(&root, options(1), 1, at(0)).unwrap();
    batches.append(&mut log, [900; HALF]);
    settle(&mut log, at(10_000)).unwrap();
    batches.append(&mut log, [900; HALF]);
    log.roll();
    batches.append(&mut log, [900]);
    drop(log);
    batches.flip(&root, BAD, LENGTH_BITS[1]);
    (root, batches)
}

/// The mark alone told where to go on behind it. The next one told of another store, and what lies there was damage for good.
#[test]
fn a_second_kill_leaves_what_an_opening_found_by_the_mark_behind_a_header_that_leads_nowhere() {
    for is_power_cut in [false, true] {
        let (mut image, mut batches) = killed_before_the_seal();
        for round in 0..4 {
            if is_power_cut {
                image = image.power_cut(round);
            }
            let (mut log, report) = open(&image, options(1), 2 + round, at(20_000)).unwrap();
            assert_eq!(report.damage, [damage(BAD, HALF)], "round {round}");
            batches.assert_served(&log, HALF, "killed");
            batches.append(&mut log, [900]);
        }
    }
}

#[test]
fn an_opening_needs_no_room_for_what_the_mark_tells_of_a_damaged_segment_but_a_descriptor() {
    let (root, batches) = killed_before_the_seal();
    let disk = FaultyDir::new(root);
    let no_room = Fault::Fail(ErrorKind::StorageFull);
    for fault in [Fault::OutOfFiles, no_room] {
        let made = Match::on(Operation::CreateFile, ".index.new");
        disk.faults().fail(made, 1, fault);
        match open(&disk, options(1), 2, at(20_000)) {
            Ok((log, _)) if fault == no_room => batches.assert_served(&log, HALF, "full"),
            opened => assert!(matches!(opened, Err(Error::OutOfFiles { .. }))),
        }
        assert!(!disk.faults().is_pending(), "{fault:?}");
    }
}

/// All that was appended to it since the kill before was damage with the second.
#[test]
fn a_second_kill_leaves_what_lies_behind_the_mark_of_a_segment_that_is_known_to_be_damaged() {
    let (disk, mut log, mut batches) = small_bad_below_the_mark(LENGTH_BITS[1]);
    assert!(read(&log, BAD).is_err());
    settle(&mut log, at(20_001)).unwrap();
    let marked = batches.all.len();
    batches.append(&mut log, [800; HALF]);
    for round in 0..3 {
        drop(log);
        log = open(&disk, options(1), 3 + round, at(30_000)).unwrap().0;
        batches.assert_served(&log, marked, "killed");
        batches.append(&mut log, [800; HALF]);
    }
    settle(&mut log, at(30_001)).unwrap();
    block_on(log.close(at(30_002))).unwrap();
    let (log, report) = open(&disk, options(1), 6, at(40_000)).unwrap();
    assert!(report.is_clean);
    batches.assert_served(&log, marked, "closed");
}

/// The store was read for rows that its index lacks, and again for them by those that it has.
#[test]
fn a_start_reads_a_damaged_store_once_however_far_apart_the_rows_of_its_index_are() {
    let (root, mut log, mut batches) = bad_below_the_mark(LENGTH_BITS[1]);
    assert!(read(&log, BAD).is_err());
    settle(&mut log, at(20_001)).unwrap();
    block_on(log.close(at(20_002))).unwrap();
    let (mut log, report) = open(&root, options(64), 3, at(30_000)).unwrap();
    assert!(report.is_clean);
    batches.append(&mut log, [900]);
    assert_eq!(log.segments().count(), 2);
    drop(log);
    let disk = FaultyDir::new(root);
    let (log, _) = open(&disk, options(64), 4, at(40_000)).unwrap();
    let reads = disk.faults().count(Operation::Read);
    assert_eq!(log.damage(), [damage(BAD, MARKED)]);
    batches.assert_served(&log, MARKED, "killed");
    assert!(reads < 30, "{reads} of a MiB at most");
}

/// What is bad behind it led on: all was damage where no row did.
#[test]
fn a_whole_batch_of_another_epoch_before_one_that_is_bad_takes_no_more_with_it() {
    let root = MemoryDir::new();
    let mut batches = Batch::default();
    let (mut log, _) = open(&root, options(1), 1, at(0)).unwrap();
    batches.append(&mut log, [900; HALF]);
    log.roll();
    batches.append(&mut log, [900]);
    drop(log);
    batches.flip(&root, BAD, EPOCH_BIT);
    batches.flip(&root, BAD + 1, VALUE_BIT);
    let (log, report) = open(&root, options(1), 2, at(20_000)).unwrap();
    assert_eq!(report.damage, [damage(BAD, BAD + 2)]);
    batches.assert_served(&log, BAD + 2, "killed");
}

/// What a lookup by time finds, and how often it reads.
fn find(
    disk: &FaultyDir<MemoryDir>,
    log: &Log<FaultyDir<MemoryDir>>,
) -> (Result<Option<(Offset, Timestamp)>, ReadError>, u64) {
    let before = disk.faults().count(Operation::Read);
    let found = block_on(log.plan_find_time(at(0), Offset::MAX).run());
    (found, disk.faults().count(Operation::Read) - before)
}

/// The store was read twice by each lookup, and nobody was told.
#[test]
fn a_lookup_by_time_notes_what_its_rows_say_of_the_store_and_reads_that_no_more() {
    let (disk, mut log, batches) = small_bad_below_the_mark(EPOCH_BIT);
    let (met, _) = find(&disk, &log);
    assert!(matches!(met, Err(ReadError::Damaged { .. })), "{met:?}");
    settle(&mut log, at(20_001)).unwrap();
    assert_eq!(log.damage(), [damage(0, HALF)]);
    for _ in 0..2 {
        let (found, reads) = find(&disk, &log);
        assert_eq!(found.unwrap(), Some((offset(HALF as u64), at(0))));
        assert_eq!(reads, 1, "of what lies behind");
    }
    assert_eq!(batches.all.len(), 2 * HALF);
}

#[test]
fn a_lookup_by_time_reads_nothing_of_a_sealed_segment_that_is_known_to_be_none_of_what_was_appended()
 {
    let (root, mut batches) = sealed();
    let end = batches.all.len();
    batches.flip(&root, BAD, EPOCH_BIT);
    block_on(root.child("p0").remove(INDEX)).unwrap();
    let disk = FaultyDir::new(root);
    let (mut log, _) = open(&disk, options(1), 2, at(2)).unwrap();
    let (met, _) = find(&disk, &log);
    assert!(matches!(met, Err(ReadError::Damaged { .. })), "{met:?}");
    settle(&mut log, at(3)).unwrap();
    assert_eq!(log.damage(), [damage(0, end)]);
    let (met, reads) = find(&disk, &log);
    assert!(matches!(met, Err(ReadError::Damaged { .. })), "{met:?}");
    assert_eq!(reads, 0);
    batches.append(&mut log, [10]);
    let (found, _) = find(&disk, &log);
    assert_eq!(found.unwrap(), Some((offset(end as u64), at(0))));
}
