//! Faults that nobody is told of.

use super::*;

#[test]
fn a_lost_sync_succeeds_and_the_bytes_stay_in_doubt() {
    let dir = dir();
    let file = with_ones(&dir);
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap();
    dir.faults().fail(Operation::Sync, 1, Fault::Lost);
    block_on(file.fdatasync()).unwrap();
    assert!(left(&dir).len() > 10);
    // An honest one heals it.
    block_on(file.fdatasync()).unwrap();
    assert_eq!(left(&dir), [vec![2; 2 * BLOCK_BYTES]].into());
    dir.faults().fail(Operation::SyncDir, 1, Fault::Lost);
    block_on(dir.rename("f", &dir, "g")).unwrap();
    block_on(dir.sync()).unwrap();
    let is_old = |seed| block_on(dir.inner().power_cut(seed).read("f", 1 << 20)).is_ok();
    assert!((0..50).any(is_old));
}

#[test]
fn a_delayed_sync_is_done_some_operations_later() {
    let dir = dir();
    let file = with_ones(&dir);
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap();
    let fault = Fault::Delayed { operations: 3 };
    dir.faults().fail(Operation::Sync, 1, fault);
    dir.faults().fail(Operation::SyncDir, 1, fault);
    block_on(file.fdatasync()).unwrap();
    block_on(dir.link("f", &dir, "g")).unwrap();
    block_on(dir.sync()).unwrap();
    assert!(left(&dir).len() > 10);
    block_on(file.len()).unwrap();
    assert_eq!(left(&dir), [vec![2; 2 * BLOCK_BYTES]].into());
    let has_link = |seed| block_on(dir.inner().power_cut(seed).list()).unwrap().len() == 2;
    assert!(!(0..50).all(has_link));
    block_on(file.len()).unwrap();
    block_on(file.len()).unwrap();
    assert!((0..50).all(has_link));
}

#[test]
fn a_lost_write_succeeds_and_nothing_is_written() {
    let dir = dir();
    let file = with_ones(&dir);
    dir.faults().fail(Operation::Write, 1, Fault::Lost);
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap();
    assert_eq!(read(&dir), [1; 2 * BLOCK_BYTES]);
}

#[test]
fn a_misdirected_write_lands_in_another_place_or_file() {
    let mut places = ::std::collections::BTreeSet::new();
    for seed in 0..20 {
        let dir = dir();
        let one = with_ones(&dir);
        let other = file(&dir, "g");
        block_on(other.write_at(blocks(&dir, 1, 3), 0)).unwrap();
        let closed = file(&dir, "h");
        block_on(closed.write_at(blocks(&dir, 1, 4), 0)).unwrap();
        drop(closed);
        let fault = Fault::Misdirected { seed };
        dir.faults().fail(Operation::Write, 1, fault);
        block_on(one.write_at(blocks(&dir, 1, 2), 0)).unwrap();
        let g = block_on(dir.read("g", u64::MAX)).unwrap();
        let h = block_on(dir.read("h", u64::MAX)).unwrap();
        assert_eq!(h, [4; BLOCK_BYTES], "nobody has it open");
        let bytes = [read(&dir), g].concat();
        let seen: Vec<_> = bytes.chunks(BLOCK_BYTES).map(|block| block[0]).collect();
        places.insert(seen);
    }
    assert_eq!(places, [vec![1, 2, 3], vec![1, 1, 2]].into());
}

#[test]
fn a_misdirected_read_returns_bytes_of_another_place() {
    let dir = dir();
    let one = with_ones(&dir);
    block_on(one.write_at(blocks(&dir, 1, 2), BLOCK_BYTES as u64)).unwrap();
    let fault = Fault::Misdirected { seed: 1 };
    dir.faults().fail(Operation::Read, 1, fault);
    let read = || block_on(one.read_at(0, BLOCK_BYTES)).unwrap().as_ref()[0];
    assert_eq!(read(), 2);
    assert_eq!(read(), 1);
}

#[test]
fn a_bit_turns_over_as_it_is_read_mapped_or_written_or_while_it_lies_there() {
    let dir = dir();
    let file = with_ones(&dir);
    let wrong = |bytes: &[u8]| -> u32 { bytes.iter().map(|byte| (byte ^ 1).count_ones()).sum() };
    let all = || block_on(file.read_at(0, 2 * BLOCK_BYTES)).unwrap();
    let flip = Fault::Flip { seed: 8 };
    dir.faults().fail(Operation::Read, 1, flip);
    assert_eq!(wrong(all().as_ref()), 1);
    assert_eq!(wrong(all().as_ref()), 0, "only on the way");
    dir.faults().fail(Operation::Map, 1, flip);
    let map = || block_on(dir.map("f", |_| true)).unwrap();
    assert_eq!((wrong(&map()), wrong(&map())), (1, 0));
    dir.faults().fail(Operation::Write, 1, flip);
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    assert_eq!(wrong(all().as_ref()), 1);
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    assert_eq!(wrong(all().as_ref()), 0);
    // At rest it turns over in whatever a power cut leaves.
    block_on(file.fdatasync()).unwrap();
    block_on(file.write_at(blocks(&dir, 1, 3), 0)).unwrap();
    dir.inner().flip("f", 8 * 700).unwrap();
    for left in left(&dir) {
        assert!([0, 2].contains(&left[700]));
    }
    dir.inner().flip("f", 8 * 700).unwrap();
    assert!(left(&dir).iter().all(|left| [1, 3].contains(&left[700])));
}
