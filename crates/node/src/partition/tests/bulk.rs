//! What waits in bulk while a group is on the disk.

use super::*;

/// A bench whose first group is on the disk while `value` waits behind it.
fn behind_a_group(value: &[u8], level: Level) -> Bench {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"first");
    bench.commit();
    bench.produce(&[value], level).unwrap();
    assert_eq!(bench.running_count(), 1, "one group at a time");
    bench
}

/// Polls until the first group has landed.
fn land(bench: &mut Bench) {
    bench.wants_commit = false;
    while bench.durable < offset(1) {
        bench.poll();
    }
}

#[test]
fn what_waits_in_bulk_is_on_its_way_when_the_group_before_has_landed() {
    for level in [Level::Durable, Level::Accepted] {
        let mut bench = behind_a_group(&vec![b'b'; BULK_BYTES], level);
        land(&mut bench);
        assert!(!bench.wants_commit, "nobody need say so");
        assert!(bench.running_count() > 0);
        bench.settle();
        assert_eq!(bench.durable, offset(2));
    }
}

#[test]
fn what_is_less_waits_for_others_to_join_it() {
    let mut bench = behind_a_group(b"little", Level::Durable);
    land(&mut bench);
    assert!(bench.wants_commit);
    durable(&mut bench, b"joins it");
    let flushes = bench.faults().count(Operation::Sync);
    bench.settle();
    assert_eq!(bench.durable, offset(3));
    assert_eq!(bench.faults().count(Operation::Sync), flushes + 1);
}
