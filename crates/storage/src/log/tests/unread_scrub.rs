//! A scrub that meets what the disk does not give.

use corelog_record::Chain;

use super::recovery::STORE;
use super::unread::{BATCH_BYTES, BLOCK, Disk, disk, filled, lose};
use super::{at, offset};
use crate::disk::{Dir, block_on};
use crate::format::index::{HEADER_BYTES, ROW_BYTES, Row};
use crate::log::Log;
use crate::testing::own::alter;
use crate::testing::settle;

const INDEX: &str = "00000000000000000000.index";

/// Goes over all sealed segments. Returns how many pieces ended with an error.
fn pass(log: &mut Log<Disk>) -> usize {
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
