//! A copy that has more than its source, or ended where that goes on: what it gives up, what it keeps.

use corelog_record::{LeaderEpoch, Offset};

use super::following::{
    Memory, append, bases, copy_of, fetch, follow, follower, reopen, run, source,
};
use super::{at, offset, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::lineage::{Began, Common, Line, common};
use crate::log::{AppendError, Begin, Chore, CopyError, Damage};
use crate::testing::{read_all, settle};

/// A copy of `source`, with an epoch of its own at the end, whose last segment an opening finds damaged
/// in its second batch.
fn damaged_copy(source: &Memory, root: &MemoryDir) -> Memory {
    let mut copy = copy_of(source, root);
    follow(source, &mut copy);
    let plan = copy.plan_epoch(Begin::Own);
    run(&mut copy, plan).unwrap();
    let dir = root.child("p0");
    // Without a mark all of it is read; what lies below an epoch was durable.
    block_on(dir.remove(crate::mark::NAME)).unwrap();
    let last = bases(&copy).pop().unwrap();
    dir.flip(&crate::segment::name::store(last, 0), 8 * 2_000)
        .unwrap();
    copy
}

/// `copy` has become the owner, `old` its follower, and both appended `count` batches.
fn changed_hands(copy: &mut Memory, old: &mut Memory, count: u8) {
    copy.set_options(small());
    let plan = copy.plan_epoch(Begin::Own);
    run(copy, plan).unwrap();
    for number in 0..count {
        append(old, 100 + number);
        append(copy, 200 + number % 50);
    }
    old.set_options(follower());
}

/// What both have, by their epochs.
fn shared(one: &Memory, other: &Memory) -> Common {
    let began = |log: &Memory| log.epochs().iter().map(Began::from).collect::<Vec<_>>();
    let (ours, theirs) = (began(one), began(other));
    let line = |epochs, end| Line { epochs, end };
    common(line(&ours, one.durable()), line(&theirs, other.durable()))
}

#[test]
fn a_replica_that_comes_back_keeps_what_it_had_alone_in_quarantine() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut old = source(&roots.0, 13);
    let mut copy = copy_of(&old, &roots.1);
    follow(&old, &mut copy);
    changed_hands(&mut copy, &mut old, 20);
    let alone = read_all(&old, offset(13)).unwrap();
    let common = shared(&old, &copy);
    assert_eq!(
        (common.offset, common.epoch),
        (offset(13), Some(LeaderEpoch::ZERO))
    );
    let plan = old.plan_rejoin(common, at(1)).unwrap().unwrap();
    let cut = run(&mut old, Ok(plan)).unwrap();
    let Chore::SuffixCut {
        log_end,
        quarantined,
    } = cut
    else {
        panic!("{cut:?}")
    };
    assert_eq!(log_end, offset(13));
    let dir = roots.0.child("quarantine");
    let kept: Vec<u8> = quarantined
        .iter()
        .flat_map(|name| block_on(dir.read(name, u64::MAX)).unwrap())
        .collect();
    assert!(
        quarantined.iter().all(|name| name.contains("-rejoined-")),
        "{quarantined:?}"
    );
    for batch in &alone {
        assert!(kept.windows(batch.len()).any(|window| window == batch));
    }
    assert_eq!(
        old.plan_rejoin(common, at(1)).unwrap().map(|_| ()),
        None,
        "it has no more"
    );
    follow(&copy, &mut old);
    assert_eq!(old.end_place(), copy.end_place());
    assert_eq!((bases(&old), old.epochs()), (bases(&copy), copy.epochs()));
    let (old, report) = reopen(old, &roots.0, follower());
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(old.end_place(), copy.end_place());
}

#[test]
fn a_copy_goes_on_in_a_segment_that_it_ended_when_it_was_the_owner() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut old = source(&roots.0, 3);
    let mut copy = copy_of(&old, &roots.1);
    follow(&old, &mut copy);
    old.roll();
    settle(&mut old, at(0)).unwrap();
    changed_hands(&mut copy, &mut old, 0);
    append(&mut copy, 7);
    let plan = old.plan_epoch(Begin::Copied((&copy.epochs()[1]).into()));
    run(&mut old, plan).unwrap();
    let refused = fetch(&copy, &mut old).unwrap_err();
    let AppendError::Copy(CopyError::Rolled { segment }) = refused else {
        panic!("{refused}")
    };
    let plan = old.plan_unroll(at(1)).unwrap().unwrap();
    let unrolled = run(&mut old, Ok(plan)).unwrap();
    assert_eq!(unrolled, Chore::Unrolled);
    assert_eq!(old.base_at(old.log_end()), segment);
    follow(&copy, &mut old);
    assert_eq!(
        (bases(&old), old.end_place()),
        (bases(&copy), copy.end_place())
    );
    let (old, _) = reopen(old, &roots.0, follower());
    let all = |log: &Memory| read_all(log, Offset::ZERO).unwrap();
    assert_eq!((bases(&old), all(&old)), (bases(&copy), all(&copy)));
    let quarantine = block_on(roots.0.child("quarantine").list()).unwrap_or_default();
    assert!(
        quarantine.is_empty(),
        "nothing was given up: {quarantine:?}"
    );
}

/// An owner whose records had all expired came back to one that still had them in an open segment, of
/// which it could take over no part.
#[test]
fn a_log_that_expired_more_than_its_source_begins_anew_where_that_does() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut old = source(&roots.0, 3);
    let mut copy = copy_of(&old, &roots.1);
    follow(&old, &mut copy);
    old.roll();
    settle(&mut old, at(0)).unwrap();
    let pinned = old.pin(Offset::ZERO, 0).unwrap();
    let plan = old.plan_truncate(offset(3)).unwrap().unwrap();
    run(&mut old, Ok(plan)).unwrap();
    settle(&mut old, at(0)).unwrap();
    changed_hands(&mut copy, &mut old, 0);
    append(&mut copy, 7);
    let plan = old.plan_epoch(Begin::Copied((&copy.epochs()[1]).into()));
    run(&mut old, plan).unwrap();
    let refused = fetch(&copy, &mut old).unwrap_err();
    let boundary = matches!(refused, AppendError::Copy(CopyError::Boundary { .. }));
    assert!(boundary, "{refused}");
    // What is read of the old segment would be removed by a name that means another file then.
    let refused = old.plan_adopt(copy.identity().history, copy.floor_place());
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    drop(pinned);
    settle(&mut old, at(0)).unwrap();
    let plan = old.plan_adopt(copy.identity().history, copy.floor_place());
    run(&mut old, plan).unwrap();
    assert_eq!(
        (old.log_start(), old.log_end()),
        (Offset::ZERO, Offset::ZERO)
    );
    let (mut old, report) = reopen(old, &roots.0, follower());
    assert!(report.damage.is_empty(), "{report:?}");
    follow(&copy, &mut old);
    assert_eq!(
        (bases(&old), old.end_place()),
        (bases(&copy), copy.end_place())
    );
}

#[test]
fn epochs_that_own_nothing_are_forgotten_without_a_cut() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 3);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    let plan = copy.plan_epoch(Begin::Own);
    run(&mut copy, plan).unwrap();
    let common = shared(&copy, &source);
    assert_eq!(common.offset, copy.log_end());
    let plan = copy.plan_rejoin(common, at(1)).unwrap().unwrap();
    run(&mut copy, Ok(plan)).unwrap();
    assert_eq!(
        (copy.epochs(), copy.log_end()),
        (source.epochs(), offset(3))
    );
    let plan = copy.plan_epoch(Begin::Own);
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), 2, "no number is used twice");
}

/// A copy whose last segment had ended forgot an epoch. The mark that it wrote placed its end at the
/// start of that segment: after a kill all of it was held for torn, and zeroed.
#[test]
fn forgetting_an_epoch_behind_a_segment_that_ended_promises_no_less() {
    for is_sealed in [false, true] {
        let roots = (MemoryDir::new(), MemoryDir::new());
        let source = source(&roots.0, 3);
        let mut copy = copy_of(&source, &roots.1);
        follow(&source, &mut copy);
        copy.roll();
        if is_sealed {
            settle(&mut copy, at(0)).unwrap();
        }
        let plan = copy.plan_epoch(Begin::Own);
        run(&mut copy, plan).unwrap();
        let common = shared(&copy, &source);
        let plan = copy.plan_rejoin(common, at(1)).unwrap().unwrap();
        run(&mut copy, Ok(plan)).unwrap();
        let (mut copy, report) = reopen(copy, &roots.1, follower());
        assert!(
            report.damage.is_empty() && report.quarantined.is_empty() && report.torn.is_none(),
            "{report:?}"
        );
        let all = |log: &Memory| read_all(log, Offset::ZERO).unwrap();
        assert_eq!(all(&copy), all(&source));
        let plan = copy.plan_epoch(Begin::Own);
        run(&mut copy, plan).unwrap();
        assert_eq!(copy.epoch().get(), 2, "no number is used twice");
    }
}

/// A damaged segment is never sealed: every opening looks there for what the mark tells of it.
#[test]
fn forgetting_an_epoch_behind_a_damaged_segment_gives_up_none_of_its_records() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 3);
    let copy = damaged_copy(&source, &roots.1);
    let (mut copy, report) = reopen(copy, &roots.1, follower());
    let damage = report.damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    let common = shared(&copy, &source);
    let plan = copy.plan_rejoin(common, at(1)).unwrap().unwrap();
    run(&mut copy, Ok(plan)).unwrap();
    let (copy, report) = reopen(copy, &roots.1, follower());
    assert_eq!((report.torn, report.damage), (None, damage));
    assert_eq!(
        (copy.log_end(), copy.epochs()),
        (offset(3), source.epochs())
    );
}

/// Nobody could go on in it, nor give it up: the copy asked for ever.
#[test]
fn a_damaged_segment_in_which_the_source_goes_on_is_given_up_and_copied_anew() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut source = source(&roots.0, 3);
    let copy = damaged_copy(&source, &roots.1);
    let (mut copy, _) = reopen(copy, &roots.1, follower());
    let common = shared(&copy, &source);
    let plan = copy.plan_rejoin(common, at(1)).unwrap().unwrap();
    run(&mut copy, Ok(plan)).unwrap();
    append(&mut source, 3);
    let refused = fetch(&source, &mut copy).unwrap_err();
    let AppendError::Copy(CopyError::Damaged { segment }) = refused else {
        panic!("{refused}")
    };
    let base = Common {
        offset: segment,
        epoch: Some(copy.epoch()),
    };
    let plan = copy.plan_rejoin(base, at(1)).unwrap().unwrap();
    run(&mut copy, Ok(plan)).unwrap();
    assert!(copy.damage().is_empty());
    follow(&source, &mut copy);
    let (copy, report) = reopen(copy, &roots.1, follower());
    assert!(report.damage.is_empty(), "{report:?}");
    let all = |log: &Memory| read_all(log, Offset::ZERO).unwrap();
    assert_eq!((bases(&copy), all(&copy)), (bases(&source), all(&source)));
}

#[test]
fn damage_that_was_met_in_what_is_cut_is_none_of_what_comes_there() {
    let root = MemoryDir::new();
    let mut log = source(&root, 6);
    let damage = Damage {
        from: offset(4),
        to: offset(5),
        segment: Offset::ZERO,
    };
    let read = log.found.clone();
    let met = || read.met::<()>(Err(damage.into())).unwrap_err();
    met();
    let plan = log.plan_truncate_suffix(offset(3), at(1)).unwrap().unwrap();
    let done = block_on(plan.run());
    met();
    log.complete_chore(done, at(1)).unwrap();
    met();
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.damage(), &[]);
}
