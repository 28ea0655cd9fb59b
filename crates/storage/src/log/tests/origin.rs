//! When batches that were read ahead are those that a plan made later would read.

use corelog_record::Offset;

use super::following::{Memory, append, copy_of, fetch, follow, follower, run, source};
use super::{at, small};
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::log::lineage::{Began, Line, common};
use crate::log::{Begin, Fetched, Origin, ReadPlan};

/// A read of the disk from `from` on.
fn plan(log: &Memory, from: u64, bytes_max: usize) -> ReadPlan<MemoryDir> {
    let plan = log.plan_read(super::offset(from), Offset::MAX, bytes_max);
    let plan = plan.unwrap();
    assert!(plan.ready().is_none(), "nothing is in memory");
    plan
}

fn read(log: &Memory, from: u64) -> (Origin<MemoryDir>, Fetched<MemoryDir>) {
    let plan = plan(log, from, 1 << 20);
    let origin = plan.origin().unwrap();
    (origin, block_on(plan.run()).unwrap())
}

#[test]
fn what_was_read_stands_for_the_same_read_and_for_no_other() {
    let root = MemoryDir::new();
    let mut log = source(&root, 20);
    log.tail.shrink(0);
    let (origin, fetched) = read(&log, 3);
    assert!(fetched.bytes > 2_000 && fetched.next > super::offset(4));
    assert!(plan(&log, 3, 1 << 20).is_met_by(&origin, &fetched));
    assert!(plan(&log, 3, fetched.bytes).is_met_by(&origin, &fetched));
    let is_met_by_more = plan(&log, 3, fetched.bytes - 1).is_met_by(&origin, &fetched);
    assert!(!is_met_by_more, "no more is told than is asked for");
    let next = fetched.next.get();
    let nothing = block_on(plan(&log, 3, 1 << 20).within(0).run()).unwrap();
    assert!(
        !plan(&log, 3, 1 << 20).is_met_by(&origin, &nothing),
        "nothing"
    );
    assert!(
        !plan(&log, next, 1 << 20).is_met_by(&origin, &fetched),
        "another segment"
    );
    append(&mut log, 9);
    log.tail.shrink(0);
    assert!(
        plan(&log, 3, 1 << 20).is_met_by(&origin, &fetched),
        "appends change nothing"
    );
}

#[test]
fn a_batch_that_is_larger_than_was_wanted_stands_for_the_same_read() {
    let root = MemoryDir::new();
    let mut log = source(&root, 20);
    log.tail.shrink(0);
    let earlier = plan(&log, 3, 100);
    let origin = earlier.origin().unwrap();
    let fetched = block_on(earlier.run()).unwrap();
    assert!(fetched.bytes > 1_500 && fetched.next == super::offset(4));
    assert!(plan(&log, 3, 100).is_met_by(&origin, &fetched));
    assert!(plan(&log, 3, 1 << 20).is_met_by(&origin, &fetched));
    assert!(!plan(&log, 3, 99).is_met_by(&origin, &fetched));
}

#[test]
fn what_was_read_before_an_end_was_cut_off_does_not_stand_for_what_came_after() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut old = source(&roots.0, 5);
    let mut copy = copy_of(&old, &roots.1);
    follow(&old, &mut copy);
    copy.set_options(small());
    let own = copy.plan_epoch(Begin::Own);
    run(&mut copy, own).unwrap();
    for number in 0..2 {
        append(&mut old, 100 + number);
        append(&mut copy, 200 + number);
    }
    old.set_options(follower());
    old.tail.shrink(0);
    let (origin, fetched) = read(&old, 4);
    assert!(fetched.next > super::offset(5), "records that only it has");

    let began = |log: &Memory| log.epochs().iter().map(Began::from).collect::<Vec<_>>();
    let (ours, theirs) = (began(&old), began(&copy));
    let line = |epochs, end| Line { epochs, end };
    let common = common(line(&ours, old.durable()), line(&theirs, copy.durable()));
    let cut = old.plan_rejoin(common, at(1)).unwrap().unwrap();
    run(&mut old, Ok(cut)).unwrap();
    assert!(
        !plan(&old, 4, 1 << 20).is_met_by(&origin, &fetched),
        "its end was cut off"
    );
    follow(&copy, &mut old);
    old.tail.shrink(0);
    assert!(
        !plan(&old, 4, 1 << 20).is_met_by(&origin, &fetched),
        "others took its place"
    );
    assert!(fetch(&copy, &mut old).is_err(), "the copy is whole");
}
