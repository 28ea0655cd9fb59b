//! Gates hold operations back, and notice those that get in each other's way.

use super::*;

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
    let block = BLOCK_BYTES as u64;
    let mut first = pin!(file.write_at(blocks(&dir, 1, 1), 0));
    let mut second = Box::pin(file.write_at(blocks(&dir, 1, 2), block));
    let mut third = pin!(file.write_at(blocks(&dir, 1, 3), 2 * block));
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

#[test]
#[should_panic(expected = "while Write at 0..8192 is under way")]
fn two_writes_at_once_to_one_block_are_a_breach() {
    let dir = dir();
    let file = file(&dir, "f");
    dir.faults().hold(Operation::Write, When::Before);
    let mut first = pin!(file.write_at(blocks(&dir, 2, 1), 0));
    assert!(poll_once(first.as_mut()).is_pending());
    let mut second = pin!(file.write_at(blocks(&dir, 1, 2), BLOCK_BYTES as u64));
    let _panics = poll_once(second.as_mut());
}

#[test]
#[should_panic(expected = "SetLen of g at")]
fn a_cut_below_a_write_under_way_is_a_breach_by_any_name_and_handle() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    block_on(dir.link("f", &dir, "g")).unwrap();
    let other = block_on(dir.open("g", Open::Write)).unwrap();
    dir.faults().hold(Operation::Write, When::After);
    let mut first = pin!(file.write_at(blocks(&dir, 1, 1), BLOCK_BYTES as u64));
    assert!(poll_once(first.as_mut()).is_pending());
    let mut second = pin!(other.set_len(100));
    let _panics = poll_once(second.as_mut());
}

#[test]
fn writes_at_once_to_other_blocks_and_files_are_none() {
    let dir = dir();
    let (one, other) = (file(&dir, "f"), file(&dir, "g"));
    dir.faults().hold(Operation::Write, When::Before);
    let mut writes = vec![
        Box::pin(one.write_at(blocks(&dir, 1, 1), 0)),
        Box::pin(one.write_at(blocks(&dir, 1, 1), BLOCK_BYTES as u64)),
        Box::pin(other.write_at(blocks(&dir, 2, 1), 0)),
    ];
    for write in &mut writes {
        assert!(poll_once(write.as_mut()).is_pending());
    }
    // One that is given up, and one that is done, are in nobody's way.
    drop(writes.remove(1));
    dir.faults().release_all();
    for write in &mut writes {
        assert!(poll_once(write.as_mut()).is_ready());
    }
    block_on(one.write_at(blocks(&dir, 2, 2), 0)).unwrap();
}

#[test]
fn a_write_outside_of_prepared_space_is_noted() {
    let dir = dir();
    let file = file(&dir, "f");
    let block = BLOCK_BYTES as u64;
    block_on(file.allocate(0..2 * block, Space::Reserved)).unwrap();
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    assert_eq!(dir.faults().breaches(), []);
    block_on(file.write_at(blocks(&dir, 2, 1), block)).unwrap();
    let breaches = dir.faults().breaches();
    let range = 2 * block..3 * block;
    let name = "f".to_owned();
    assert_eq!(breaches, [Breach::Unprepared { name, range }]);
    assert_eq!(breaches[0].name(), "f");
    // What a write took is prepared, until a cut gives it back.
    block_on(file.write_at(blocks(&dir, 3, 1), 0)).unwrap();
    assert_eq!(dir.faults().breaches().len(), 1);
    block_on(file.set_len(block)).unwrap();
    block_on(file.write_at(blocks(&dir, 1, 1), block)).unwrap();
    assert_eq!(dir.faults().breaches().len(), 2);
}
