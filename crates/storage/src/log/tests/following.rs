//! A log that follows another: what it takes, what it refuses, what it keeps.

use corelog_record::batch::patch;
use corelog_record::{HistoryId, LeaderEpoch, Lineage, Offset, Ordinal};

use super::{at, offset, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::lineage::Began;
use crate::log::{
    AppendError, Appended, Begin, Chore, ChorePlan, CopyError, HEARD_EPOCH_MAX, Log, OpenReport,
    Options, PROMOTION_STEP, ReadError, TAKEOVER_STEP,
};
use crate::mark::Mark;
use crate::testing::own;
use crate::testing::{self, batch, open, read_all, settle};

pub(super) type Memory = Log<MemoryDir>;

pub(super) fn follower() -> Options {
    own::follower(small())
}

/// A source of `count` batches of one record, on a disk of its own.
pub(super) fn source(root: &MemoryDir, count: u8) -> Memory {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for number in 0..count {
        append(&mut log, number);
    }
    log
}

pub(super) fn append(log: &mut Memory, number: u8) {
    log.append(&batch(&[&[number; 1500]], at(number.into())), at(0))
        .unwrap();
    settle(log, at(0)).unwrap();
}

/// An empty copy of `source`, which knows its epochs.
pub(super) fn copy_of(source: &Memory, root: &MemoryDir) -> Memory {
    let (mut log, _) = open(root, follower(), 2, at(0)).unwrap();
    let plan = log.plan_adopt(source.identity().history, source.floor_place());
    run(&mut log, plan).unwrap();
    for began in source.epochs().iter().take(1) {
        let plan = log.plan_epoch(Begin::Copied(began.into()));
        run(&mut log, plan).unwrap();
    }
    log
}

pub(super) fn run(
    log: &mut Memory,
    plan: Result<ChorePlan<MemoryDir>, Error>,
) -> Result<Chore, Error> {
    testing::run(log, plan?, at(0))
}

/// Copies the next answer of `source` to the end of `copy`, as far as one epoch reaches.
pub(super) fn fetch(source: &Memory, copy: &mut Memory) -> Result<Appended, AppendError> {
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
pub(super) fn follow(source: &Memory, copy: &mut Memory) {
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

pub(super) fn bases(log: &Memory) -> Vec<Offset> {
    log.segments().map(|segment| segment.base).collect()
}

pub(super) fn reopen(log: Memory, root: &MemoryDir, options: Options) -> (Memory, OpenReport) {
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

/// A source told of a log with as many batches as can be counted. The copy began there, durably, and each batch
/// that came then ended the node, again after each start.
#[test]
fn a_copy_does_not_begin_behind_more_batches_than_records() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 1);
    let (mut copy, _) = open(&roots.1, follower(), 2, at(0)).unwrap();
    let mut start = source.floor_place();
    start.ordinal = Ordinal::MAX;
    let refused = copy.plan_adopt(source.identity().history, start);
    let is_typed = matches!(refused, Err(Error::Contradicts { .. }));
    assert!(is_typed, "{refused:?}");
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
    patch(&mut later, offset(2), LeaderEpoch::new(1).unwrap());
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
    assert_eq!(begun, Chore::EpochBegun);
    assert_eq!(copy.epochs()[1].offset, offset(5));
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
        source.plan_chain_at(offset(39)).unwrap().origin().is_none(),
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

#[test]
fn a_log_for_whose_mark_there_was_no_space_gets_it_by_another_try() {
    let other = HistoryId::from_bytes([3; 16]);
    let start = source(&MemoryDir::new(), 5).end_place();
    type Try = Box<dyn Fn(&mut Memory) -> Result<ChorePlan<MemoryDir>, Error>>;
    let tries: [Try; 2] = [
        Box::new(|log| log.plan_epoch(Begin::Own)),
        Box::new(move |log| log.plan_adopt(other, start)),
    ];
    for plan in tries {
        let mut is_half = false;
        for blocks in 1..16 {
            let root = MemoryDir::new();
            let (mut log, _) = open(&root, follower(), 2, at(0)).unwrap();
            root.set_capacity(Some(root.bytes_in_use() + blocks * 4096));
            let planned = plan(&mut log);
            let is_refused = run(&mut log, planned).is_err();
            root.set_capacity(None);
            is_half |= log.manifest.is_here() && !log.mark.is_here();
            if is_refused {
                let planned = plan(&mut log);
                run(&mut log, planned).unwrap();
            }
            assert!(log.has_files());
        }
        assert!(is_half, "there was space for the manifest alone");
    }
}

/// A log with the manifest that `plan` makes, which found no space for the mark, and which is its own now.
fn without_mark(
    plan: impl Fn(&mut Memory) -> Result<ChorePlan<MemoryDir>, Error>,
) -> (MemoryDir, Memory) {
    let mut tried = (1..16).map(|blocks| {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, follower(), 2, at(0)).unwrap();
        root.set_capacity(Some(root.bytes_in_use() + blocks * 4096));
        let planned = plan(&mut log);
        let _ = run(&mut log, planned);
        root.set_capacity(None);
        log.set_options(small());
        (root, log)
    });
    let found = tried.find(|(_, log)| log.manifest.is_here() && log.mark.is_missing());
    found.expect("there is space for the manifest alone")
}

#[test]
fn a_mark_that_is_made_behind_its_manifest_says_the_same_epoch() {
    let (root, mut log) = without_mark(|log| log.plan_epoch(Begin::Promoted));
    append(&mut log, 1);
    assert_eq!(log.epoch().get(), PROMOTION_STEP - 1);
    let mark = block_on(Mark::open(root.child("p0"))).unwrap().unwrap();
    assert_eq!(mark.last().unwrap().epoch, Some(log.epoch()));
}

/// Its batches would have been of an epoch that no manifest knows, and at offsets below its start.
#[test]
fn an_empty_copy_without_a_mark_takes_records_of_its_own_at_its_start_once_it_has_an_epoch() {
    let other = HistoryId::from_bytes([3; 16]);
    let start = source(&MemoryDir::new(), 5).end_place();
    let (_root, mut log) = without_mark(|log| log.plan_adopt(other, start));
    assert_eq!(
        (log.log_start(), log.log_end()),
        (start.offset, start.offset)
    );
    let refused = log.append(&batch(&[b"first"], at(0)), at(0)).unwrap_err();
    assert!(matches!(refused, AppendError::Following), "{refused}");
    let plan = log.plan_epoch(Begin::Promoted);
    run(&mut log, plan).unwrap();
    append(&mut log, 1);
    assert_eq!(log.durable(), offset(start.offset.get() + 1));
}

/// Each try was as much higher: those of a few seconds came above the epoch by which the owner takes its handover back.
#[test]
fn a_copy_that_takes_over_outranks_an_owner_that_was_killed_a_few_hundred_times() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    copy.set_options(small());
    let owners = copy.epoch();
    for tried in 0..3 {
        let plan = copy.plan_epoch(Begin::TakenOver(owners));
        run(&mut copy, plan).unwrap();
        assert_eq!(copy.epoch().get(), owners.get() + TAKEOVER_STEP + tried);
    }
}

/// The source had begun an epoch further on than the copy was when it was gone: the same number was given out
/// again.
#[test]
fn a_copy_that_takes_over_outranks_what_it_only_heard_of_also_after_a_kill() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    settle(&mut copy, at(0)).unwrap();
    copy.hear_epoch(LeaderEpoch::new(1_000).unwrap());
    assert!(!copy.is_settled(), "the mark does not say it yet");
    settle(&mut copy, at(0)).unwrap();
    assert!(copy.is_settled());
    drop(copy);
    let (mut copy, _) = open(&roots.1, follower(), 3, at(0)).unwrap();
    assert_eq!(copy.epoch(), source.epoch());
    copy.set_options(small());
    let plan = copy.plan_epoch(Begin::Promoted);
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), 1_000 + PROMOTION_STEP);
}

/// Of a mark that an orderly stop had written it was neither said in time nor by the next stop.
#[test]
fn a_copy_that_takes_over_outranks_what_it_heard_of_beside_a_clean_mark() {
    for is_killed in [true, false] {
        let roots = (MemoryDir::new(), MemoryDir::new());
        let source = source(&roots.0, 5);
        let mut copy = copy_of(&source, &roots.1);
        follow(&source, &mut copy);
        settle(&mut copy, at(0)).unwrap();
        block_on(copy.close(at(0))).unwrap();
        let (mut copy, _) = open(&roots.1, follower(), 3, at(0)).unwrap();
        copy.hear_epoch(LeaderEpoch::new(1_000).unwrap());
        if is_killed {
            settle(&mut copy, at(0)).unwrap();
            assert!(copy.is_settled());
        } else {
            block_on(copy.close(at(0))).unwrap();
        }
        drop(copy);
        let (mut copy, report) = open(&roots.1, follower(), 4, at(0)).unwrap();
        assert_eq!(report.is_clean, !is_killed);
        copy.set_options(small());
        let plan = copy.plan_epoch(Begin::Promoted);
        run(&mut copy, plan).unwrap();
        assert_eq!(copy.epoch().get(), 1_000 + PROMOTION_STEP);
    }
}

/// A number that leaves none above it would have kept the copy from ever being an owner.
#[test]
fn an_epoch_that_leaves_no_room_for_another_is_not_believed() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    let before = copy.epoch().get();
    copy.hear_epoch(LeaderEpoch::new(i32::MAX).unwrap());
    settle(&mut copy, at(0)).unwrap();
    let told = Began {
        epoch: LeaderEpoch::new(i32::MAX).unwrap(),
        lineage: source.epochs()[0].lineage,
        offset: copy.log_end(),
    };
    let refused = copy.plan_epoch(Begin::Copied(told)).map(drop);
    assert!(
        matches!(refused, Err(Error::EpochTooHigh { .. })),
        "{refused:?}"
    );
    copy.set_options(small());
    let plan = copy.plan_epoch(Begin::Promoted);
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), before + PROMOTION_STEP);
}

/// A copy heard of the highest epoch that copies take, in a request that anybody may send. Promoted, it began one above that,
/// which no copy took, for good.
#[test]
fn what_was_only_heard_leaves_room_for_epochs_that_copies_take() {
    let roots = (MemoryDir::new(), MemoryDir::new());
    let source = source(&roots.0, 5);
    let mut copy = copy_of(&source, &roots.1);
    follow(&source, &mut copy);
    let before = copy.epoch().get();
    copy.hear_epoch(LeaderEpoch::new(HEARD_EPOCH_MAX + 1).unwrap());
    copy.set_options(small());
    let plan = copy.plan_epoch(Begin::Promoted);
    run(&mut copy, plan).unwrap();
    assert_eq!(copy.epoch().get(), before + PROMOTION_STEP);

    let roots = (MemoryDir::new(), MemoryDir::new());
    let mut heard = copy_of(&copy, &roots.1);
    follow(&copy, &mut heard);
    heard.hear_epoch(LeaderEpoch::new(HEARD_EPOCH_MAX).unwrap());
    heard.set_options(small());
    let plan = heard.plan_epoch(Begin::Promoted);
    run(&mut heard, plan).unwrap();
    assert_eq!(heard.epoch().get(), HEARD_EPOCH_MAX + PROMOTION_STEP);
    let last = *heard.epochs().last().unwrap();
    let mut next = copy_of(&heard, &roots.0);
    follow(&heard, &mut next);
    let told = Began::from(&last);
    let plan = next.plan_epoch(Begin::Copied(told));
    run(&mut next, plan).unwrap();
    assert_eq!(next.epoch(), heard.epoch());
}

/// A partition was handed over before its first record was on disk: that ended the node.
#[test]
fn first_records_that_wait_while_their_log_becomes_a_follower_are_durable_in_epoch_zero() {
    for is_full in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        log.append(&batch(&[b"first"], at(0)), at(0)).unwrap();
        if is_full {
            root.set_capacity(Some(0));
            assert!(settle(&mut log, at(0)).unwrap_err().is_shortage());
            root.set_capacity(None);
        }
        assert!(!log.has_files());
        log.set_options(follower());
        settle(&mut log, at(1_000)).unwrap();
        assert_eq!(log.durable(), offset(1));
        let known: Vec<_> = log.epochs().iter().map(|e| (e.epoch, e.offset)).collect();
        assert_eq!(known, [(LeaderEpoch::ZERO, Offset::ZERO)]);
        let (epochs, stored) = (log.epochs().to_vec(), read_all(&log, Offset::ZERO).unwrap());
        let (log, report) = reopen(log, &root, follower());
        assert!(
            report.torn.is_none() && report.damage.is_empty(),
            "{report:?}"
        );
        assert_eq!(log.epochs(), epochs);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), stored);
    }
}

/// No row of its index would tell of what is behind.
#[test]
fn a_segment_of_a_source_that_is_larger_than_any_can_be_is_copied_no_further() {
    let source = source(&MemoryDir::new(), 1);
    let mut copy = copy_of(&source, &MemoryDir::new());
    let epoch = source.epochs()[0].epoch;
    let claims = |number: u64| {
        let mut bytes = testing::claiming(1_000_000, at(0));
        patch(&mut bytes, offset(1_000_000 * number), epoch);
        bytes
    };
    let reached: Vec<_> = (0..4_294).flat_map(claims).collect();
    copy.append_copied(&reached, Offset::ZERO, at(0)).unwrap();
    let refused = copy.append_copied(&claims(4_294), Offset::ZERO, at(0));
    let segment = Offset::ZERO;
    let is_told = matches!(
        refused,
        Err(AppendError::Copy(CopyError::SegmentTooLarge { segment: told })) if told == segment
    );
    assert!(is_told, "{refused:?}");
}
