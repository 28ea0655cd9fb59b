//! A scrub that meets what the disk does not give.

use std::fs;

use corelog_record::{ByteSize, Chain, Offset};

use super::recovery::STORE;
use super::unread::{BATCH_BYTES, BLOCK, Disk, disk, filled, lose};
use super::{at, offset, small};
use crate::disk::faulty::{FaultyDir, Operation};
use crate::disk::std::StdDir;
use crate::disk::{Dir, block_on};
use crate::format::index::{BYTES_MAX, HEADER_BYTES, ROW_BYTES, Row};
use crate::log::{Damage, Log, Options};
use crate::testing::own::{alter, fill};
use crate::testing::{open, settle};

const INDEX: &str = "00000000000000000000.index";

/// Goes over all sealed segments. Returns how many pieces ended with an error.
fn pass<D: Dir>(log: &mut Log<D>) -> usize {
    let mut errors = 0;
    while let Some(plan) = log.plan_scrub(at(200), 1 << 20).unwrap() {
        let piece = log.complete_scrub(block_on(plan.run()), at(201));
        errors += usize::from(piece.error.is_some());
        if piece.is_pass_complete {
            break;
        }
    }
    errors
}

/// The pass went on with the next segment: rot behind one bad sector was met by none, and without an index by none still.
#[test]
fn a_scrub_goes_on_behind_what_cannot_be_read_and_finds_what_is_wrong_there() {
    for has_index in [true, false] {
        let disk = disk();
        let mut log = filled(&disk, 10);
        settle(&mut log, at(150)).unwrap();
        let dir = disk.inner().child("p0");
        alter(&dir, STORE, |bytes| {
            bytes[usize::try_from(3 * BATCH_BYTES + BLOCK).unwrap()] ^= 1;
        });
        if !has_index {
            block_on(dir.remove(INDEX)).unwrap();
        }
        lose(&disk, 1);
        let errors = pass(&mut log);
        let [damage] = log.damage() else {
            panic!("{:?}, with an index: {has_index}", log.damage())
        };
        assert_eq!((damage.from, damage.to), (offset(3), offset(4)));
        settle(&mut log, at(202)).unwrap();
        assert_eq!((errors, log.scrubbed_at()), (1, None));
    }
}

/// What was not read counted as damage, with which the end of a store says nothing for it: the rows were believed.
#[test]
fn a_wrong_row_beside_what_cannot_be_read_has_no_records_remembered_as_damaged() {
    let disk = disk();
    let mut log = filled(&disk, 10);
    settle(&mut log, at(150)).unwrap();
    alter(&disk.inner().child("p0"), INDEX, |index| {
        let last = index.len() - ROW_BYTES;
        assert!(HEADER_BYTES < last, "there are two rows at least");
        let mut row = Row::decode(&index[last..]).unwrap();
        row.chain = Chain::from_raw(row.chain.get() ^ 1);
        index[last..].copy_from_slice(&row.encode());
    });
    lose(&disk, 1);
    assert_eq!(pass(&mut log), 1);
    assert_eq!(log.damage(), []);
}

/// A sealed segment of batches with a row each, in three blocks, but for the first. Of some the headers lead nowhere.
fn rows_in_blocks(bad: &[u64]) -> (Disk, Log<Disk>) {
    let disk = disk();
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(1),
        ..small()
    };
    let (mut log, _) = open(&disk, options, 1, at(0)).unwrap();
    fill(&mut log, 300, 600);
    log.roll();
    fill(&mut log, 1, 600);
    settle(&mut log, at(150)).unwrap();
    let bytes = log.segments().next().unwrap().bytes;
    alter(&disk.inner().child("p0"), STORE, |store| {
        for number in bad {
            // The length of a batch, beyond any.
            store[usize::try_from(number * (bytes / 300)).unwrap() + 8] ^= 1;
        }
    });
    (disk, log)
}

fn damage(from: u64) -> Damage {
    Damage {
        from: offset(from),
        to: offset(from + 1),
        segment: Offset::ZERO,
    }
}

/// As many rows as a block has were passed over from where many were asked for: up to sixteen blocks before it.
#[test]
fn a_scrub_passes_over_no_more_rows_than_lie_in_a_block_that_cannot_be_read() {
    let (disk, mut log) = rows_in_blocks(&[20, 280]);
    disk.faults().set_unreadable(INDEX, BLOCK..2 * BLOCK);
    assert_eq!(pass(&mut log), 0);
    assert_eq!(log.damage(), [damage(20), damage(280)]);
}

/// All up to the next row that could be read was remembered as damaged, or what else is bad was not met.
#[test]
fn a_bad_header_where_no_row_can_be_read_ends_no_scrub_and_takes_no_other_record_with_it() {
    for (block, behind) in [(1, Some(280)), (0, None)] {
        let (disk, mut log) = rows_in_blocks(&[140, 280]);
        let start = block * BLOCK;
        disk.faults().set_unreadable(INDEX, start..start + BLOCK);
        assert_eq!(pass(&mut log), 1, "block {block}");
        let met = std::iter::once(140).chain(behind).map(damage);
        assert_eq!(log.damage(), met.collect::<Vec<_>>(), "block {block}");
        settle(&mut log, at(202)).unwrap();
        assert_eq!(log.scrubbed_at(), None);
        disk.faults().clear();
        assert_eq!(pass(&mut log), 0);
        assert_eq!(log.damage(), [damage(140), damage(280)]);
        settle(&mut log, at(203)).unwrap();
        assert!(log.scrubbed_at().is_some());
    }
}

/// The piece ended there with its error alone, pass after pass: what it had found was told of to nobody.
#[test]
fn a_bad_header_is_damage_also_where_the_index_does_not_open() {
    let (disk, mut log) = rows_in_blocks(&[140, 280]);
    let dir = disk.inner().child("p0");
    let index = block_on(dir.read(INDEX, 1 << 20)).unwrap();
    block_on(dir.remove(INDEX)).unwrap();
    block_on(dir.child(INDEX).create()).unwrap();
    assert_eq!(pass(&mut log), 1);
    assert_eq!(log.damage(), [damage(140)]);
    settle(&mut log, at(202)).unwrap();
    assert_eq!(log.scrubbed_at(), None);
    block_on(dir.child(INDEX).remove_tree()).unwrap();
    block_on(dir.write_aside(INDEX, &index)).unwrap();
    assert_eq!(pass(&mut log), 0);
    assert_eq!(log.damage(), [damage(140), damage(280)]);
}

/// Each of its rows was asked for, and none was one: a piece went on for as long as the file was long, which may be days.
#[test]
fn an_index_that_is_longer_than_any_is_made_anew_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDir::new(StdDir::new(folder.path()));
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1_000);
    settle(&mut log, at(150)).unwrap();
    let index = folder.path().join("p0").join(INDEX);
    let right = fs::read(&index).unwrap();
    let file = fs::File::options().write(true).open(&index).unwrap();
    file.set_len(BYTES_MAX + ROW_BYTES as u64).unwrap();
    let before = disk.faults().count(Operation::Read);
    assert_eq!(pass(&mut log), 0);
    settle(&mut log, at(202)).unwrap();
    let read = disk.faults().count(Operation::Read) - before;
    assert!(read < 500, "{read}");
    assert_eq!(fs::read(&index).unwrap(), right);
}
