//! What is bounded, and what is not held while nobody needs it.

use corelog_record::{ByteSize, Offset};

use super::recovery::{STORE, scribble};
use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir as _, block_on};
use crate::format::mark::Slot;
use crate::log::{AppendError, Hold, Log, Options, ReadError, UNSYNCED_BYTES_MAX};
use crate::mark::Mark;
use crate::testing::{batch, flush, open, read_all, run, settle};

#[test]
fn no_more_waits_than_one_group_may_hold() {
    let root = MemoryDir::new();
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(128),
        ..small()
    };
    let (mut log, _) = open(&root, large, 1, at(0)).unwrap();
    let one = batch(&[&vec![b'w'; 1_000_000]], at(0));
    let refused = loop {
        if let Err(error) = log.append(&one, at(0)) {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert!(log.pending_bytes() <= UNSYNCED_BYTES_MAX);
    let pending = log.pending_bytes();
    assert!(UNSYNCED_BYTES_MAX < pending + one.len());
    assert_eq!(flush(&mut log, at(0)).unwrap().unwrap().bytes, pending);
    log.append(&one, at(0)).unwrap();
}

#[test]
fn what_waits_beyond_one_group_goes_out_in_several() {
    let root = MemoryDir::new();
    let many = Options {
        segment_bytes_max: ByteSize::from_mib(128),
        pending_bytes_max: 3 * UNSYNCED_BYTES_MAX,
        ..small()
    };
    let (mut log, _) = open(&root, many, 1, at(0)).unwrap();
    let one = batch(&[&vec![b'g'; 1_000_000]], at(0));
    while log.append(&one, at(0)).is_ok() {}
    let pending = log.pending_bytes();
    assert!(2 * UNSYNCED_BYTES_MAX < pending);
    let mut groups = Vec::new();
    while let Some(flushed) = flush(&mut log, at(0)).unwrap() {
        groups.push(flushed.bytes);
    }
    assert_eq!(groups.iter().sum::<usize>(), pending);
    assert!(2 < groups.len());
    assert!(groups.iter().all(|bytes| *bytes <= UNSYNCED_BYTES_MAX));
    assert_eq!(log.durable(), log.log_end());
    assert_eq!(
        read_all(&log, Offset::ZERO).unwrap().len() as u64,
        log.log_end().get()
    );
}

#[test]
fn groups_hold_no_more_than_they_are_bound_to_but_for_one_batch_of_more() {
    let root = MemoryDir::new();
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(128),
        ..small()
    };
    let (mut log, _) = open(&root, large, 1, at(0)).unwrap();
    let (one, big) = (
        batch(&[&vec![b'b'; 1_000]], at(0)),
        batch(&[&vec![b'B'; 9_000]], at(0)),
    );
    let mut groups = |bytes_max, batches: &[&Vec<u8>]| {
        log.bound_groups(bytes_max);
        for batch in batches {
            log.append(batch, at(0)).unwrap();
        }
        let mut groups = Vec::new();
        while let Some(flushed) = flush(&mut log, at(0)).unwrap() {
            groups.push(flushed.bytes);
        }
        groups
    };
    let (few, more) = (one.len(), big.len());
    let batches = [&one, &one, &one, &big, &one];
    assert_eq!(groups(2 * few, &batches), [2 * few, few, more, few]);
    assert_eq!(groups(1, &[&one, &one]), [few, few]);
    assert_eq!(groups(usize::MAX, &batches), [4 * few + more]);
    let read = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(read.len(), 2 * batches.len() + 2);
}

/// Each held as much as the last one that went, up to 4 MiB.
#[test]
fn groups_of_short_segments_that_wait_take_no_memory_by_what_went_long_before() {
    let root = MemoryDir::new();
    let kept = Options {
        tail_bytes_max: 256 << 20,
        ..small()
    };
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(128),
        ..kept.clone()
    };
    let (mut log, _) = open(&root, large, 1, at(0)).unwrap();
    let four = batch(&[&vec![b'l'; 1_000_000]], at(0)).repeat(4);
    log.append(&four, at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    log.tail.shrink(0);
    log.set_options(kept);
    for _ in 0..10 {
        log.append(&batch(&[&[b's'; 12_000]], at(0)), at(0))
            .unwrap();
    }
    let mut groups = 0;
    while flush(&mut log, at(0)).unwrap().is_some() {
        groups += 1;
    }
    assert_eq!(groups, 10);
    let taken = log.tail_bytes();
    assert!(taken < 8 << 20, "{taken} bytes for ten groups of 12 KB");
}

#[test]
fn an_append_is_taken_whole_or_not_at_all() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let mut bytes = batch(&[b"good"], at(0));
    let good = bytes.len();
    bytes.extend(batch(&[b"bad"], at(0)));
    *bytes.last_mut().unwrap() ^= 1;
    let refused = log.append(&bytes, at(0));
    assert!(
        matches!(refused, Err(AppendError::Invalid { index: 1, .. })),
        "{refused:?}"
    );
    assert_eq!((log.log_end(), log.pending_bytes()), (Offset::ZERO, 0));
    assert!(matches!(
        log.append(&bytes[..good + 5], at(0)),
        Err(AppendError::Invalid { .. })
    ));
    assert!(matches!(log.append(&[], at(0)), Err(AppendError::Empty)));
    log.append(&bytes[..good], at(0)).unwrap();
}

#[test]
fn the_tail_is_read_by_reference_and_gives_its_memory_back() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for _ in 0..5 {
        log.append(&batch(&[&[b't'; 500]], at(0)), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    assert!(
        log.plan_read(Offset::ZERO, Offset::MAX, 1 << 20)
            .unwrap()
            .ready()
            .is_some()
    );
    assert!(
        log.tail_bytes() <= 2 * BLOCK_BYTES,
        "small groups share their block"
    );
    let held = block_on(
        log.plan_read(offset(2), Offset::MAX, 1 << 20)
            .unwrap()
            .run(),
    )
    .unwrap();
    log.tail.shrink(0);
    assert_eq!(log.tail_bytes(), 0);
    assert!(
        log.plan_read(Offset::ZERO, Offset::MAX, 1 << 20)
            .unwrap()
            .ready()
            .is_none()
    );
    assert_eq!(
        held.bytes,
        held.pieces.iter().map(|piece| piece.len()).sum::<usize>()
    );
    assert_eq!(
        read_all(&log, Offset::ZERO).unwrap().len(),
        5,
        "it is on the disk, too"
    );
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let (small, large) = (batch(&[b"s"], at(0)), batch(&[&[b'l'; 100_000]], at(0)));
    log.append(&[small.clone(), large, small].concat(), at(0))
        .unwrap();
    settle(&mut log, at(0)).unwrap();
    let counts: Vec<_> = log.segments().map(|s| s.next.since(s.base)).collect();
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 3);
}

/// Small segments that are rolled when they are a second old.
fn aged() -> Options {
    Options {
        segment_age_max_ms: Some(1_000),
        ..small()
    }
}

/// Each opening made the active segment young again: that of a quiet log in a node that was started more often than
/// segments may be old was never sealed, and its records never expired.
#[test]
fn a_log_that_is_opened_again_and_again_rolls_by_age() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, aged(), 1, at(0)).unwrap();
    let add = |log: &mut Log<MemoryDir>, now| {
        log.append(&batch(&[b"quiet"], now), now).unwrap();
        settle(log, now).unwrap();
    };
    add(&mut log, at(0));
    assert!(log.roll_if_due(at(1_000)));
    add(&mut log, at(1_500));
    for (seed, now) in [(2, 1_700), (3, 1_900)] {
        block_on(log.close(at(now))).unwrap();
        (log, _) = open(&root, aged(), seed, at(now)).unwrap();
        assert!(!log.roll_if_due(at(2_499)));
    }
    assert!(
        log.roll_if_due(at(2_500)),
        "the one before was sealed at 1,500"
    );
}

/// With none before it, only the mark says how old the first one is.
#[test]
fn the_first_segment_of_a_log_that_is_opened_again_and_again_rolls_by_age() {
    for is_killed in [false, true] {
        let mut root = MemoryDir::new();
        let (mut log, _) = open(&root, aged(), 1, at(0)).unwrap();
        for (seed, now) in [(2, 500), (3, 900)] {
            let added = at(now - 400);
            log.append(&batch(&[b"quiet"], added), added).unwrap();
            settle(&mut log, added).unwrap();
            if is_killed {
                root = root.power_cut(seed);
            } else {
                block_on(log.close(at(now))).unwrap();
            }
            (log, _) = open(&root, aged(), seed, at(now)).unwrap();
        }
        assert!(!log.roll_if_due(at(1_099)), "is killed: {is_killed}");
        assert!(
            log.roll_if_due(at(1_100)),
            "it began at 100, is killed: {is_killed}"
        );
    }
}

/// A mark of before that told nothing stayed as it was while the log was quiet.
#[test]
fn a_quiet_log_whose_mark_does_not_tell_how_old_it_is_is_as_old_as_its_first_opening() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, aged(), 1, at(0)).unwrap();
    log.append(&batch(&[b"quiet"], at(0)), at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    block_on(log.close(at(0))).unwrap();
    forget_age(&root);
    for (seed, now) in [(2, 5_000), (3, 5_500), (4, 5_900)] {
        (log, _) = open(&root, aged(), seed, at(now)).unwrap();
        assert!(!log.roll_if_due(at(5_999)));
        block_on(log.close(at(now))).unwrap();
    }
    (log, _) = open(&root, aged(), 5, at(6_000)).unwrap();
    assert!(log.roll_if_due(at(6_000)));
}

/// Makes the mark one of before, which is clean.
fn forget_age(root: &MemoryDir) {
    block_on(async {
        let mut mark = Mark::open(root.child("p0")).await.unwrap().unwrap();
        let last = *mark.last().unwrap();
        assert!(last.is_clean && last.born == Some(at(0)));
        let unclean = Slot {
            is_clean: false,
            born: None,
            ..last
        };
        let clean = Slot {
            is_clean: true,
            ..unclean
        };
        for slot in [unclean, clean] {
            mark.write_durably(slot).await.unwrap();
        }
    });
}

#[test]
fn a_segment_rolls_by_age_and_expires_by_its_seal_time() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, aged(), 1, at(0)).unwrap();
    assert!(
        !log.roll_if_due(at(5_000)),
        "a segment without records has no age"
    );
    // The record's own time lies far in the future: it neither keeps nor deletes anything.
    log.append(&batch(&[b"old"], at(1_000_000)), at(5_000))
        .unwrap();
    settle(&mut log, at(5_000)).unwrap();
    assert!(!log.roll_if_due(at(5_999)));
    assert!(log.roll_if_due(at(6_000)));
    settle(&mut log, at(6_000)).unwrap();
    assert!(
        log.plan_expire(at(6_000), Hold::NONE).unwrap().is_none(),
        "sealed at that very time"
    );
    let plan = log.plan_expire(at(6_001), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(7_000)).unwrap();
    assert_eq!((log.log_start(), log.segments().count()), (offset(1), 0));
    settle(&mut log, at(7_000)).unwrap();
    let left = block_on(crate::disk::Dir::list(&crate::disk::Dir::child(
        &root, "p0",
    )))
    .unwrap();
    assert!(
        left.iter().all(|entry| !entry.name.ends_with(".log")),
        "{left:?}"
    );
    block_on(log.close(at(8_000))).unwrap();
    let (mut log, report) = open(&root, small(), 2, at(9_000)).unwrap();
    assert!(report.is_clean);
    assert_eq!((log.log_start(), log.log_end()), (offset(1), offset(1)));
    assert_eq!(
        log.append(&batch(&[b"new"], at(0)), at(9_000))
            .unwrap()
            .base,
        offset(1)
    );
}

#[test]
fn a_lookup_by_time_finds_the_first_batch_at_or_after_it() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for millis in [10, 30, 20, 30, 50] {
        log.append(&batch(&[&[b't'; 5_000]], at(millis)), at(0))
            .unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    assert!(log.segments().count() > 1);
    let find = |millis| {
        let found = block_on(log.plan_find_time(at(millis), Offset::MAX).run()).unwrap();
        found.map(|(offset, _)| offset.get())
    };
    assert_eq!(
        [find(0), find(10), find(11), find(30)],
        [Some(0), Some(0), Some(1), Some(1)]
    );
    assert_eq!([find(31), find(50), find(51)], [Some(4), Some(4), None]);
}

/// All up to the segment's end was remembered as damage, and refused for good.
#[test]
fn a_lookup_by_time_that_meets_damage_tells_of_no_more_than_there_may_be_and_has_none_remembered() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for number in 0..60_i64 {
        let one = batch(&[&[b'f'; 300]], at(number));
        log.append(&one, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    settle(&mut log, at(0)).unwrap();
    let segments: Vec<_> = log.segments().collect();
    let end = segments[1].base;
    let batch_bytes = segments[0].bytes / end.get();
    // Two neighbours: what the length of the first leads to is no batch either.
    for number in [2, 3] {
        scribble(&root, STORE, number * batch_bytes + 100, &[0; 8]);
    }
    let found = block_on(log.plan_find_time(at(2), Offset::MAX).run());
    let Err(ReadError::Damaged { from, to, .. }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(from, offset(2));
    assert!(to < end, "{to} of {end}");
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.damage(), []);
}

#[test]
fn a_durable_append_waits_for_no_allocation_rename_or_directory_sync_outside_a_roll() {
    use crate::disk::faulty::{FaultyDir, Operation};
    let root = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let metadata = || {
        let counts = root.faults().counts();
        let of = |operation| counts.get(&operation).copied().unwrap_or(0);
        let renames = of(Operation::Rename) + of(Operation::SyncDir) + of(Operation::CreateFile);
        renames + of(Operation::Allocate) + of(Operation::SetLen)
    };
    let mut rolls = 0;
    for number in 0..300 {
        let segments = log.segments().count();
        log.append(&batch(&[&[b'd'; 400]], at(0)), at(0)).unwrap();
        let is_roll = segments < log.segments().count();
        let (before, writes) = (metadata(), root.faults().count(Operation::Write));
        let synced = root.faults().count(Operation::Sync);
        flush(&mut log, at(0)).unwrap();
        if is_roll {
            rolls += 1;
        } else {
            assert_eq!(metadata(), before, "append {number}");
            assert_eq!(
                root.faults().count(Operation::Write),
                writes + 1,
                "one write"
            );
            assert_eq!(root.faults().count(Operation::Sync), synced + 1, "one sync");
        }
        while crate::testing::chore(&mut log, at(0), false)
            .unwrap()
            .is_some()
        {}
    }
    assert!(rolls > 5, "{rolls}");
}

#[test]
fn a_log_that_is_never_idle_syncs_its_mark_once_a_minute() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    root.record();
    for now in (0..150_000).step_by(100).map(at) {
        log.append(&batch(&[b"b"], now), now).unwrap();
        flush(&mut log, now).unwrap();
        while crate::testing::chore(&mut log, now, false)
            .unwrap()
            .is_some()
        {}
    }
    let trace = root.trace();
    let of_mark = trace
        .steps()
        .iter()
        .filter(|step| step.name().ends_with("mark"));
    let is_sync = |step: &String| step.starts_with("fdatasync ");
    let syncs = of_mark.map(ToString::to_string).filter(is_sync).count();
    assert_eq!(syncs, 2, "in two and a half minutes");
}

#[test]
fn a_busy_mark_lags_little_and_an_idle_one_is_synced() {
    use crate::log::Chore;
    use crate::testing::chore;
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    log.append(&batch(&[b"b"], at(0)), at(10)).unwrap();
    flush(&mut log, at(10)).unwrap();
    assert_eq!(chore(&mut log, at(20), false).unwrap(), None, "not yet");
    assert_eq!(
        chore(&mut log, at(1_000), false).unwrap(),
        Some(Chore::Marked),
        "by age"
    );
    assert_eq!(chore(&mut log, at(1_001), false).unwrap(), None);
    assert_eq!(
        chore(&mut log, at(1_100), true).unwrap(),
        Some(Chore::Marked),
        "synced"
    );
    assert_eq!(chore(&mut log, at(1_101), true).unwrap(), None);
    let (log, report) = open(&root.power_cut(1), small(), 2, at(2_000)).unwrap();
    assert_eq!(log.durable(), offset(2), "{report:?}");
}
