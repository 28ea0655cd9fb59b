//! A log that follows another: what it takes, what it refuses, what it keeps.

use corelog_record::{HistoryId, LeaderEpoch, Lineage, Offset};

use super::{at, offset, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::lineage::{Began, Common, Line, common};
use crate::log::{
    AppendError, Appended, Begin, Chore, ChorePlan, CopyError, Log, OpenReport, Options, Ownership,
    ReadError, TAKEOVER_STEP,
};
use crate::testing::{batch, open, read_all, settle};

type Memory = Log<MemoryDir>;

fn follower() -> Options {
    Options {
        ownership: Ownership::Follower,
        ..small()
    }
}

/// A source of `count` batches of one record, on a disk of its own.
fn source(root: &MemoryDir, count: u8) -> Memory {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for number in 0..count {
        append(&mut log, number);
    }
    log
}

fn append(log: &mut Memory, number: u8) {
    log.append(&batch(&[&[number; 1500]], at(number.into())), at(0))
        .unwrap();
    settle(log, at(0)).unwrap();
}

/// An empty copy of `source`, which knows its epochs.
fn copy_of(source: &Memory, root: &MemoryDir) -> Memory {
    let (mut log, _) = open(root, follower(), 2, at(0)).unwrap();
    let plan = log.plan_adopt(source.identity().history, source.floor_place());
    run(&mut log, plan).unwrap();
    for began in source.epochs().iter().take(1) {
        let plan = log.plan_epoch(Begin::Copied(began.into()));
        run(&mut log, plan).unwrap();
    }
    log
}

fn run(log: &mut Memory, plan: Result<ChorePlan<MemoryDir>, Error>) -> Result<Chore, Error> {
    let done = block_on(plan?.run());
    log.complete_chore(done, at(0))
}

/// Copies the next answer of `source` to the end of `copy`, as far as one epoch reaches.
fn fetch(source: &Memory, copy: &mut Memory) -> Result<Appended, AppendError> {
    let end = copy.log_end();
    let mut later = source.epochs().iter().map(|began| began.offset);
    let upto = later.find(|began| end < *began).unwrap_or(Offset::MAX);
    let plan = source.plan_copy(end, upto, 4096);
    let fetched = block_on(plan.unwrap().run()).unwrap();
    let bytes: Vec<u8> = fetched
        .pieces
        .iter()
        .flat_map(|piece| piece.to_vec())
        .collect();
    copy.append_copied(&bytes, fetched.segment_base, at(0))
}

/// Copies all of `source`.
fn follow(source: &Memory, copy: &mut Memory) {
    while copy.log_end() < source.durable() {
        let end = copy.log_end();
        let began = source.epochs().iter().map(Began::from);
        let last = copy.epochs().last().map(|began| began.epoch);
        for began in began.filter(|began| began.offset == end && last < Some(began.epoch)) {
            settle(copy, at(0)).unwrap();
            let plan = copy.plan_epoch(Begin::Copied(began));
            run(copy, plan).unwrap();
        }
        fetch(source, copy).unwrap();
        settle(copy, at(0)).unwrap();
    }
}

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

fn bases(log: &Memory) -> Vec<Offset> {
    log.segments().map(|segment| segment.base).collect()
}

fn reopen(log: Memory, root: &MemoryDir, options: Options) -> (Memory, OpenReport) {
    drop(log);
    open(root, options, 3, at(1)).unwrap()
}

#[test]
fn a_copy_has_the_same_bytes_segments_and_epochs_as_its_source() {
    let (roots, mut source) = ((MemoryDir::new(), MemoryDir::new()), None);
    let source = source.get_or_insert_with(|| self::source(&roots.0, 30));
    let mut copy = copy_of(source, &roots.1);
    follow(source, &mut copy);
    assert!(2 < bases(source).len());
    assert_eq!(bases(&copy), bases(source));
    assert_eq!(copy.durable_place(), source.durable_place());
    assert_eq!(copy.epochs(), source.epochs());
    let all = |log: &Memory| read_all(log, Offset::ZERO).unwrap();
    assert_eq!(all(&copy), all(source));
    let (copy, report) = reopen(copy, &roots.1, follower());
    assert!(!report.is_clean);
    assert_eq!(copy.epochs(), source.epochs(), "a follower begins no epoch");
    assert_eq!(copy.durable_place(), source.durable_place());
}

#[test]
fn a_copy_begins_where_the_oldest_segment_of_its_source_does() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut source = source(&roots.0, 30);
    let plan = source.plan_truncate(offset(15)).unwrap().unwrap();
    run(&mut source, Ok(plan)).unwrap();
    let floor = source.floor_place();
    assert!(Offset::ZERO < floor.offset && floor.offset < source.log_start());
    let mut copy = copy_of(&source, &roots.1);
    assert_eq!(
        (copy.log_start(), copy.log_end()),
        (floor.offset, floor.offset)
    );
    follow(&source, &mut copy);
    assert_eq!(
        (bases(&copy), copy.end_place()),
        (bases(&source), source.end_place())
    );
}

/// A source forgot the epochs that ended below its log start, so that a copy of its oldest segment met
/// batches of an epoch that nobody could tell it of.
#[test]
fn a_copy_learns_the_epochs_of_all_batches_that_its_source_still_has() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut source = source(&roots.0, 3);
    let plan = source.plan_epoch(Begin::Own);
    run(&mut source, plan).unwrap();
    append(&mut source, 3);
    let plan = source.plan_truncate(offset(4)).unwrap().unwrap();
    run(&mut source, Ok(plan)).unwrap();
    append(&mut source, 4);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    assert_eq!(
        (copy.epochs(), copy.end_place()),
        (source.epochs(), source.end_place())
    );
}

#[test]
fn batches_that_do_not_follow_are_refused_by_name_and_change_nothing() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut source = source(&roots.0, 8);
    let mut copy = copy_of(&source, &roots.1);
    let stored = read_all(&source, Offset::ZERO).unwrap();
    let zero = Offset::ZERO;
    copy.append_copied(&stored[..2].concat(), zero, at(0))
        .unwrap();
    let mut refused = |bytes: &[u8], segment| {
        let before = (copy.end_place(), copy.pending_bytes());
        let error = copy.append_copied(bytes, segment, at(0)).unwrap_err();
        assert_eq!((copy.end_place(), copy.pending_bytes()), before, "{error}");
        error
    };
    let gap = |index, found, expected| CopyError::Gap {
        index,
        found: offset(found),
        expected: offset(expected),
    };
    let named = |error: AppendError| match error {
        AppendError::Copy(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(named(refused(&stored[3], zero)), gap(0, 3, 2));
    assert_eq!(named(refused(&stored[1], zero)), gap(0, 1, 2));
    let hole = [&stored[2][..], &stored[4]].concat();
    assert_eq!(named(refused(&hole, zero)), gap(1, 4, 3));
    let boundary = named(refused(&stored[2], offset(1)));
    assert!(matches!(boundary, CopyError::Boundary { .. }), "{boundary}");
    let mut rotten = stored[2].clone();
    *rotten.last_mut().unwrap() ^= 1;
    assert!(matches!(
        refused(&rotten, zero),
        AppendError::Invalid { index: 0, .. }
    ));
    let cut = &stored[2][..stored[2].len() - 1];
    assert!(matches!(
        refused(cut, zero),
        AppendError::Invalid { index: 0, .. }
    ));
    let mut later = stored[2].clone();
    corelog_record::batch::patch(&mut later, offset(2), LeaderEpoch::new(1).unwrap());
    let unknown = named(refused(&later, zero));
    assert!(
        matches!(unknown, CopyError::EpochUnknown { index: 0, .. }),
        "{unknown}"
    );
    assert!(matches!(refused(&[], zero), AppendError::Empty));

    settle(&mut copy, at(0)).unwrap();
    let began = Began {
        epoch: LeaderEpoch::new(1).unwrap(),
        lineage: Lineage::from_bytes([9; 16]),
        offset: offset(2),
    };
    let plan = copy.plan_epoch(Begin::Copied(began));
    run(&mut copy, plan).unwrap();
    let falls = named(copy.append_copied(&stored[2], zero, at(0)).unwrap_err());
    assert!(matches!(falls, CopyError::EpochFalls { .. }), "{falls}");
    let owned = source.append_copied(&stored[2], zero, at(0)).unwrap_err();
    assert_eq!(named(owned), CopyError::Owned);
}

#[test]
fn a_follower_takes_nothing_of_its_own() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 3);
    let mut copy = copy_of(&source, &roots.1);
    let refused = copy.append(&batch(&[b"mine"], at(0)), at(0)).unwrap_err();
    assert!(matches!(refused, AppendError::Following), "{refused}");
    copy.set_options(Options {
        segment_age_max_ms: Some(0),
        ..follower()
    });
    fetch(&source, &mut copy).unwrap();
    assert_eq!(copy.roll_at(), None);
    assert!(!copy.roll_if_due(at(1_000_000)));
}

#[test]
fn an_epoch_that_is_not_above_or_began_elsewhere_is_refused() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut source = source(&roots.0, 3);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    let began = |epoch, from| {
        Begin::Copied(Began {
            epoch: LeaderEpoch::new(epoch).unwrap(),
            lineage: Lineage::from_bytes([9; 16]),
            offset: offset(from),
        })
    };
    for refused in [began(0, 3), began(1, 2), began(1, 4)] {
        let error = copy.plan_epoch(refused).unwrap_err();
        assert!(matches!(error, Error::EpochOrder { .. }), "{error}");
    }
    let error = source.plan_epoch(began(1, 3)).unwrap_err();
    assert!(
        matches!(error, Error::EpochOrder { .. }),
        "an owner takes none: {error}"
    );
    let plan = copy.plan_epoch(began(4, 3));
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), 4);
}

#[test]
fn a_promoted_copy_goes_on_in_an_epoch_of_its_own() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    copy.set_options(small());
    let plan = copy.plan_epoch(Begin::Own).unwrap();
    let refused = copy.append(&batch(&[b"early"], at(0)), at(0)).unwrap_err();
    assert!(matches!(refused, AppendError::Cutting), "{refused}");
    let begun = run(&mut copy, Ok(plan)).unwrap();
    assert!(matches!(begun, Chore::EpochBegun { offset: end, .. } if end == offset(5)));
    let appended = copy.append(&batch(&[b"mine"], at(0)), at(0)).unwrap();
    assert_eq!((appended.base, appended.epoch.get()), (offset(5), 1));
    settle(&mut copy, at(0)).unwrap();
    let shared = &copy.epochs()[..1];
    assert_eq!(shared, source.epochs());
    assert_ne!(copy.epochs()[1].lineage, shared[0].lineage);
}

#[test]
fn the_chain_is_known_at_every_batch_from_memory_and_from_disk() {
    let root = MemoryDir::new();
    let source = source(&root, 40);
    let mut places = vec![source.floor_place()];
    let mut reader = source.reader(Offset::ZERO);
    while let Some(view) = block_on(reader.next()).unwrap() {
        let last = places[places.len() - 1];
        places.push(crate::format::edit::Point {
            offset: view.next_offset(),
            ordinal: last.ordinal.plus(1),
            chain: last.chain.extend(view.header_bytes()),
        });
    }
    drop(reader);
    let check = |log: &Memory| {
        for place in &places {
            let plan = log.plan_chain_at(place.offset).unwrap();
            assert_eq!(block_on(plan.run()).unwrap(), *place);
        }
    };
    assert!(
        source.plan_chain_at(offset(39)).unwrap().is_ready(),
        "it is in the tail"
    );
    check(&source);
    let (source, _) = reopen(source, &root, small());
    check(&source);
    let error = source.plan_chain_at(offset(41)).unwrap_err();
    assert!(matches!(error, ReadError::OutOfRange { .. }), "{error}");
}

#[test]
fn a_log_of_another_history_or_with_newer_records_is_not_adopted() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    let (history, place) = (source.identity().history, source.floor_place());
    let error = copy.plan_adopt(history, place).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    let other = HistoryId::from_bytes([3; 16]);
    let error = copy.plan_adopt(other, source.end_place()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
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
    assert_eq!(unrolled, Chore::Unrolled { segment });
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
    let plan = old.plan_truncate(offset(3)).unwrap().unwrap();
    run(&mut old, Ok(plan)).unwrap();
    changed_hands(&mut copy, &mut old, 0);
    append(&mut copy, 7);
    let plan = old.plan_epoch(Begin::Copied((&copy.epochs()[1]).into()));
    run(&mut old, plan).unwrap();
    let refused = fetch(&copy, &mut old).unwrap_err();
    let boundary = matches!(refused, AppendError::Copy(CopyError::Boundary { .. }));
    assert!(boundary, "{refused}");
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

#[test]
fn a_copy_that_takes_over_outranks_an_owner_that_was_killed_a_few_hundred_times() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    copy.set_options(small());
    let before = copy.epoch().get();
    let plan = copy.plan_epoch(Begin::TakenOver);
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), before + TAKEOVER_STEP);
}
