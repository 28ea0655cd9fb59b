//! Faults happen where they were asked for, and nowhere else.

use ::std::io::ErrorKind;
use ::std::pin::pin;

use super::super::memory::MemoryDir;
use super::super::{block_on, poll_once};
use super::*;

fn dir() -> FaultyDir<MemoryDir> {
    FaultyDir::new(MemoryDir::new())
}

fn file(dir: &FaultyDir<MemoryDir>, name: &str) -> FaultyFile<MemoryDir> {
    block_on(dir.open(name, Open::Create)).unwrap()
}

fn blocks(dir: &FaultyDir<MemoryDir>, count: usize, byte: u8) -> Rc<super::super::buf::AlignedBuf> {
    let mut buf = dir.alloc(count * BLOCK_BYTES);
    buf.as_mut_slice().fill(byte);
    Rc::new(buf)
}

#[test]
fn the_nth_operation_of_a_kind_fails_once() {
    let dir = dir();
    let file = file(&dir, "f");
    dir.faults()
        .fail(Operation::Sync, 2, Fault::Fail(ErrorKind::Other));
    block_on(file.fdatasync()).unwrap();
    block_on(file.len()).unwrap();
    assert!(dir.faults().is_pending());
    block_on(file.fdatasync()).unwrap_err();
    assert!(!dir.faults().is_pending());
    block_on(file.sync_all()).unwrap();
    assert_eq!(dir.faults().count(Operation::Sync), 3);
    assert_eq!(dir.faults().total(), 5);
}

#[test]
fn a_fault_can_be_meant_for_some_files() {
    let dir = dir();
    let (log, index) = (file(&dir, "0.log"), file(&dir, "0.index"));
    dir.faults().fail(
        Match::on(Operation::Sync, ".log"),
        1,
        Fault::Fail(ErrorKind::Other),
    );
    block_on(index.fdatasync()).unwrap();
    block_on(log.fdatasync()).unwrap_err();
}

#[test]
fn a_short_write_leaves_the_rest_as_it_was() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    dir.faults()
        .fail(Operation::Write, 1, Fault::Short { bytes: 700 });
    let error = block_on(file.write_at(blocks(&dir, 4, 2), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    let bytes = block_on(file.read_at(0, 1 << 20)).unwrap();
    let expected = [vec![2; 700], vec![1; 2 * BLOCK_BYTES - 700]].concat();
    assert_eq!(bytes.as_ref(), expected);
}

#[test]
fn a_torn_write_leaves_each_sector_old_or_new() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    dir.faults()
        .fail(Operation::Write, 1, Fault::Torn { seed: 1 });
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap_err();
    let bytes = block_on(file.read_at(0, 2 * BLOCK_BYTES)).unwrap();
    let sectors: Vec<_> = bytes.as_ref().chunks(512).collect();
    assert!(
        sectors
            .iter()
            .all(|sector| *sector == [1; 512] || *sector == [2; 512])
    );
    assert!(sectors.contains(&&[1; 512][..]));
    assert!(sectors.contains(&&[2; 512][..]));
}

#[test]
fn a_full_disk_refuses_space_but_no_write_into_it() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.allocate(0..BLOCK_BYTES as u64, Space::Zeroed)).unwrap();
    dir.faults().set_full(true);
    let error = block_on(file.allocate(0..1 << 20, Space::Zeroed)).unwrap_err();
    assert!(super::super::is_full(&error));
    block_on(dir.open("g", Open::Create)).unwrap_err();
    block_on(file.write_at(blocks(&dir, 1, 1), 0)).unwrap();
    dir.faults().clear();
    block_on(dir.open("g", Open::Create)).unwrap();
}

#[test]
fn a_gate_holds_an_operation_before_or_after_its_effect() {
    for when in [When::Before, When::After] {
        let dir = dir();
        let file = file(&dir, "f");
        dir.faults().hold(Operation::Write, when);
        let mut write = pin!(file.write_at(blocks(&dir, 1, 1), 0));
        assert!(poll_once(write.as_mut()).is_pending());
        assert!(poll_once(write.as_mut()).is_pending());
        assert_eq!(dir.faults().held(), 1);
        let has_effect = block_on(file.len()).unwrap() > 0;
        assert_eq!(has_effect, when == When::After);
        assert!(dir.faults().release_one());
        assert!(poll_once(write.as_mut()).is_ready());
        assert_eq!(block_on(file.len()).unwrap(), BLOCK_BYTES as u64);
        assert!(!dir.faults().release_one());
    }
}

#[test]
fn operations_leave_a_gate_in_their_order_and_a_dropped_one_waits_no_more() {
    let dir = dir();
    let file = file(&dir, "f");
    dir.faults().hold(Operation::Write, When::Before);
    let mut first = pin!(file.write_at(blocks(&dir, 1, 1), 0));
    let mut second = Box::pin(file.write_at(blocks(&dir, 1, 2), 0));
    let mut third = pin!(file.write_at(blocks(&dir, 1, 3), 0));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(third.as_mut()).is_pending());
    drop(second);
    assert_eq!(dir.faults().held(), 2);
    dir.faults().release_one();
    assert!(poll_once(third.as_mut()).is_pending());
    assert!(poll_once(first.as_mut()).is_ready());
    dir.faults().release_all();
    assert!(poll_once(third.as_mut()).is_ready());
    block_on(file.write_at(blocks(&dir, 1, 4), 0)).unwrap();
    assert_eq!(block_on(file.read_at(0, 1)).unwrap().as_ref(), [4]);
}
