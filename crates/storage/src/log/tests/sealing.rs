//! Sealing: several segments at once, and never so far behind that a restart reads for ever.

use corelog_record::{ByteSize, Offset};

use super::{at, small};
use crate::disk::faulty::{FaultyDir, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format::index;
use crate::log::{AppendError, Chore, Damage, Log, Options};
use crate::testing::own::fill;
use crate::testing::{batch, chore, claiming, flush, open, read_all, settle};
use crate::{Error, Now};

/// Appends until the log refuses, flushing but never doing a chore. Returns how many it took.
fn append_until_full(log: &mut Log<MemoryDir>) -> usize {
    for count in 0..10_000 {
        match log.append(&batch(&[&[b'x'; 1000]], at(0)), at(0)) {
            Ok(_) => flush(log, at(0)).unwrap(),
            Err(AppendError::Full { .. }) => return count,
            Err(error) => panic!("{error}"),
        };
    }
    panic!("never full");
}

#[test]
fn many_segments_are_finished_and_sealed_by_two_chores() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 140, 1000);
    let count = log.segments().count() - 1;
    assert!(5 < count && count < 16, "{count}");
    let chores = settle(&mut log, at(1)).unwrap();
    let is_of_many = |chore: &&Chore| matches!(chore, Chore::Finished | Chore::Sealed { .. });
    let of_many: Vec<_> = chores.iter().filter(is_of_many).collect();
    let sealed = Chore::Sealed { segments: count };
    assert_eq!(of_many, [&Chore::Finished, &sealed], "{chores:?}");
    assert!(log.segments().take(count).all(|segment| segment.is_sealed));
    drop(log);
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.damage.is_empty());
    assert!(log.segments().take(count).all(|segment| segment.is_sealed));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 140);
}

/// A clock that doubts the machine's may show long ago; what is sealed by it would expire as soon as the
/// machine's is believed.
#[test]
fn a_recovery_and_a_close_write_down_the_stamp_and_not_the_time_that_things_are_due_by() {
    let root = MemoryDir::new();
    let doubted = |millis| Now {
        time: at(1),
        stamp: at(millis),
    };
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 140, 1000);
    drop(log);
    let (mut log, _) = open(&root, small(), 2, doubted(500)).unwrap();
    let recovered = log.sealed().count();
    assert!(5 < recovered, "{recovered}");
    fill(&mut log, 140, 1000);
    block_on(log.close(doubted(900))).unwrap();
    let (log, _) = open(&root, small(), 3, at(2)).unwrap();
    let times: Vec<_> = log.sealed().map(|(_, seal)| seal.sealed).collect();
    assert!(recovered < times.len(), "{times:?}");
    assert!(times[..recovered].iter().all(|time| *time == at(500)));
    assert!(times[recovered..].iter().all(|time| *time == at(900)));
}

#[test]
fn appends_wait_for_sealing_before_too_much_waits_to_be_read_again() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let taken = append_until_full(&mut log);
    let waiting = log.segments().filter(|segment| !segment.is_sealed).count();
    assert_eq!(waiting, 17, "sixteen, and the one that is appended to");
    assert!(!log.roll_if_due(at(1 << 40)));
    while !matches!(
        chore(&mut log, at(1), false),
        Ok(Some(Chore::Sealed { .. }))
    ) {}
    assert!(
        taken - 16 < append_until_full(&mut log),
        "and go on after it"
    );
}

/// A megabyte of batches of nothing but a header ended four segments, however many waited to be sealed.
#[test]
fn records_that_are_only_claimed_end_no_more_segments_than_may_wait_to_be_sealed() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    // As many records as rows of an index reach over.
    let claims = claiming(1_000_000, at(0)).repeat(4_293);
    let waiting = |log: &Log<MemoryDir>| log.segments().filter(|s| !s.is_sealed).count();
    let until_full = |log: &mut Log<MemoryDir>| {
        for _ in 0..40 {
            match log.append(&claims, at(0)) {
                Ok(_) => flush(log, at(0)).unwrap(),
                Err(AppendError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            };
        }
        waiting(log)
    };
    assert_eq!(until_full(&mut log), 17);
    log.append(&batch(&[b"rolls nothing"], at(0)), at(0))
        .unwrap();
    let upto = log.begin_snapshot();
    assert!(matches!(upto, Err(Error::Busy)), "{upto:?}");
    settle(&mut log, at(1)).unwrap();
    assert_eq!(waiting(&log), 1);
    assert_eq!(until_full(&mut log), 17, "and go on after it");
}

/// It ended as many segments as it took, 64 of 16 MiB, of which no count was asked in between.
#[test]
fn an_append_of_more_records_than_a_segment_reaches_over_is_refused() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let claims = claiming(1_000_000, at(0)).repeat(4_294);
    let refused = log.append(&claims, at(0)).unwrap_err();
    assert!(
        matches!(
            refused,
            AppendError::TooManyRecords {
                records: 4_294_000_000,
                records_max: 4_293_967_295,
            }
        ),
        "{refused}"
    );
    assert_eq!((log.log_end(), log.pending_bytes()), (Offset::ZERO, 0));
    let claims = &claims[..claims.len() / 4_294 * 4_293];
    for segments in [1, 2, 3] {
        log.append(claims, at(0)).unwrap();
        assert_eq!(log.segment_count(), segments, "no more than one ends");
    }
}

#[test]
fn a_kill_at_full_load_again_and_again_leaves_no_more_to_read() {
    let root = FaultyDir::new(MemoryDir::new());
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(256),
        ..small()
    };
    let mut reads = Vec::new();
    for life in 0..6 {
        let before = root.faults().count(Operation::Read);
        let (mut log, report) = open(&root, options.clone(), life, at(0)).unwrap();
        reads.push(root.faults().count(Operation::Read) - before);
        assert!(report.damage.is_empty(), "{report:?}");
        loop {
            // No chore is ever done: whoever is killed at full load did few.
            match log.append(&batch(&[&[b'x'; 100_000]], at(0)), at(0)) {
                Ok(_) => flush(&mut log, at(0)).unwrap(),
                Err(AppendError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            };
        }
    }
    let (second, last) = (reads[1], reads[5]);
    assert!(last <= second + 2, "{reads:?}");
    let (mut log, _) = open(&root, options, 9, at(0)).unwrap();
    let unsealed = log.segments().filter(|segment| !segment.is_sealed);
    assert!(
        unsealed.count() <= 1,
        "opening seals what it has read whole"
    );
    let count = log.log_end().get();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len() as u64, count);
    block_on(log.close(at(1))).unwrap();
}

/// Damage of the active segment was remembered and nothing else: no peer's could take its place until
/// the segment was full, which may be never.
#[test]
fn a_damaged_active_segment_is_rolled_at_once_and_sealed_as_what_was_appended() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(5)).unwrap();
    fill(&mut log, 3, 100);
    settle(&mut log, at(6)).unwrap();
    assert_eq!(log.roll_at(), None);
    let damage = Damage {
        segment: Offset::ZERO,
        from: Offset::new(1).unwrap(),
        to: Offset::new(2).unwrap(),
    };
    let end = log.log_end();
    assert!(log.note_damage(damage));
    assert!(log.roll_at() <= Some(at(6)));
    assert!(log.roll_if_due(at(6)));
    assert!(!log.roll_if_due(at(6)), "the next one is whole");
    settle(&mut log, at(7)).unwrap();
    let sealed: Vec<_> = log.sealed().collect();
    assert_eq!(sealed.len(), 1);
    let digest = &sealed[0].1.digest;
    assert_eq!(
        (digest.base, digest.end, digest.batches),
        (Offset::ZERO, end, 3)
    );
    assert_eq!(log.damage(), [damage]);
    fill(&mut log, 2, 100);
    settle(&mut log, at(8)).unwrap();
    drop(log);
    let (log, report) = open(&root, small(), 2, at(9)).unwrap();
    assert_eq!(report.damage, [damage]);
    assert_eq!(log.sealed().count(), 1);
    assert!(log.damaged_unsealed().next().is_none());
}

/// A log that was opened again had one ready for what would be appended next.
#[test]
fn an_index_has_no_row_where_its_store_ends() {
    for is_killed in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, 8, 1000);
        if is_killed {
            drop(log);
        } else {
            block_on(log.close(at(1))).unwrap();
        }
        let aged = Options {
            segment_age_max_ms: Some(1),
            ..small()
        };
        let (mut log, _) = open(&root, aged, 2, at(2)).unwrap();
        assert!(log.roll_if_due(at(1000)));
        settle(&mut log, at(1000)).unwrap();
        let bytes = log.sealed().next().expect("it is of age").1.digest.bytes;
        let dir = root.child("p0");
        let index = block_on(dir.read("00000000000000000000.index", 1 << 20)).unwrap();
        let last = index::row(&index, index::row_count(&index) - 1);
        let last = last.expect("a row for each batch").unwrap();
        assert!(u64::from(last.position) < bytes, "{last:?} of {bytes}");
        // Who opens the log again finds nothing wrong with it.
        block_on(log.close(at(1001))).unwrap();
        let (mut log, _) = open(&root, small(), 3, at(1002)).unwrap();
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 8);
        assert_eq!(settle(&mut log, at(1003)).unwrap(), []);
    }
}

/// What was appended behind a clean end had no rows once the segment was sealed: a look-up there read all of it.
#[test]
fn an_index_of_a_log_that_was_closed_and_went_on_and_was_killed_has_all_rows() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 1000);
    block_on(log.close(at(1))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    fill(&mut log, 5, 1000);
    // What is idle writes its mark: below it, the next opening reads no more.
    settle(&mut log, at(10_000)).unwrap();
    drop(log);
    let (mut log, report) = open(&root, small(), 3, at(10_001)).unwrap();
    assert!(!report.is_clean);
    fill(&mut log, 20, 1000);
    settle(&mut log, at(10_002)).unwrap();
    let index = block_on(root.child("p0").read("00000000000000000000.index", 1 << 20)).unwrap();
    let rows =
        (0..index::row_count(&index)).map(|at| index::row(&index, at).unwrap().unwrap().position);
    let rows: Vec<_> = std::iter::once(0).chain(rows).collect();
    let gaps = rows.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap < 2_000), "{rows:?}");
    assert_eq!(gaps.count(), 14, "{rows:?}");
}
