//! What an unclean stop, a rotten disk or a foreign file leaves, and what opening makes of it.

use std::io::ErrorKind;

use corelog_record::{ByteSize, Offset};

use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{ASIDE_SUFFIX, Dir, File, Open, block_on};
use crate::log::{AppendError, Damage, Event, Log, Options, ReadError, UNSYNCED_BYTES_MAX};
use crate::testing::own::{alter, fill};
use crate::testing::{batch, flush, open, read_all, settle};

type Memory = Log<MemoryDir>;

pub(super) const STORE: &str = "00000000000000000000.log";

/// Changes a file of the log behind its back, durably.
pub(super) fn change(root: &MemoryDir, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    alter(&root.child("p0"), name, change);
}

/// Writes `bytes` at `position` of a file behind the log's back.
pub(super) fn scribble(root: &MemoryDir, name: &str, position: u64, bytes: &[u8]) {
    let start = usize::try_from(position).unwrap();
    change(root, name, |old| {
        old.resize(old.len().max(start + bytes.len()), 0);
        old[start..start + bytes.len()].copy_from_slice(bytes);
    });
}

/// Leaves two batches of a kilobyte in the first store.
pub(super) fn shorten(root: &MemoryDir) {
    let file = block_on(root.child("p0").open(STORE, Open::Write)).unwrap();
    block_on(file.set_len(2500)).unwrap();
}

fn quarantine(root: &MemoryDir) -> Vec<String> {
    let quarantine = root.child("quarantine");
    match block_on(quarantine.list()) {
        Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
        Err(_) => Vec::new(),
    }
}

pub(super) fn reopen(root: &MemoryDir) -> (Memory, crate::log::OpenReport) {
    open(root, small(), 99, at(100)).unwrap()
}

#[test]
fn torn_bytes_at_the_tail_are_quarantined_then_cut() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    let end = log.store_bytes().bytes();
    drop(log);
    scribble(&root, STORE, end, b"not a batch");
    let (mut log, report) = reopen(&root);
    let torn = report.torn.expect("the tail is torn");
    assert_eq!(
        (torn.offset, torn.position.get(), torn.bytes),
        (offset(3), end, 11)
    );
    assert!(report.damage.is_empty());
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(log.take_events(), [Event::Torn(torn)]);
    assert!(log.take_events().is_empty(), "each event is told once");
    let kept = block_on(root.child("quarantine").read(&report.quarantined[0], 100)).unwrap();
    assert_eq!(kept, b"not a batch");
    let epoch = log.epoch();
    log.append(&batch(&[b"next"], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 4);
    drop(log);
    let (log, report) = reopen(&root);
    assert!(report.torn.is_none(), "what was cut is gone: {report:?}");
    assert!(epoch < log.epoch());
}

#[test]
fn a_clean_mark_followed_by_bytes_is_unclean() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    let end = log.store_bytes().bytes();
    block_on(log.close(at(1))).unwrap();
    scribble(&root, STORE, end, b"x");
    let (_, report) = reopen(&root);
    assert!(!report.is_clean);
    assert_eq!(report.torn.map(|torn| torn.bytes), Some(1));
}

#[test]
fn a_closed_store_has_its_exact_length_and_an_idle_one_its_mark() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    settle(&mut log, at(1)).unwrap();
    let image = root.power_cut(1);
    let (_, report) = reopen(&image);
    assert!(report.torn.is_none() && report.damage.is_empty());
    let bytes = log.store_bytes().bytes();
    block_on(log.close(at(1))).unwrap();
    let entries = block_on(root.child("p0").list()).unwrap();
    let store = entries.iter().find(|entry| entry.name == STORE).unwrap();
    assert_eq!(store.bytes, bytes);
    assert!(entries.iter().all(|entry| entry.name != "next"));
}

#[test]
fn a_bad_byte_below_the_mark_is_damage_as_soon_as_it_is_read_and_remembered() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 5, 100);
    settle(&mut log, at(1)).unwrap();
    let one = log.store_bytes().bytes() / 5;
    drop(log);
    scribble(&root, STORE, 2 * one + 80, b"rot");
    let (mut log, report) = reopen(&root);
    assert!(
        report.damage.is_empty(),
        "nothing is read below the mark: {report:?}"
    );
    assert!(report.torn.is_none() && !report.is_read_only);
    let damage = Damage {
        from: offset(2),
        to: offset(3),
        segment: Offset::ZERO,
    };
    let read = block_on(log.plan_read(offset(2), Offset::MAX, 0).unwrap().run());
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
    assert_eq!(log.take_events(), [Event::Damage(damage)]);
    assert_eq!(log.damage(), [damage]);
    assert_eq!(read_all(&log, offset(3)).unwrap().len(), 2);
    let before = block_on(
        log.plan_read(Offset::ZERO, Offset::MAX, 1 << 20)
            .unwrap()
            .run(),
    );
    assert_eq!(before.unwrap().next, offset(2));
    // Appends go on.
    let appended = log.append(&batch(&[b"on"], at(0)), at(0)).unwrap();
    assert_eq!(appended.base, offset(5));
    settle(&mut log, at(2)).unwrap();
    assert_eq!(read_all(&log, offset(3)).unwrap().len(), 3);
    block_on(log.close(at(3))).unwrap();
    let (mut log, report) = reopen(&root);
    assert!(report.is_clean, "{report:?}");
    assert_eq!(report.damage, [damage]);
    assert_eq!(log.take_events(), [Event::DamageKnown(damage)]);
    assert_eq!(read_all(&log, offset(3)).unwrap().len(), 3);
}

#[test]
fn after_a_kill_nothing_below_the_mark_is_read_before_it_is_asked_for() {
    let root = FaultyDir::new(MemoryDir::new());
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (mut log, _) = open(&root, large.clone(), 1, at(0)).unwrap();
    for _ in 0..40 {
        log.append(&batch(&[&vec![b'f'; 100_000]], at(0)), at(0))
            .unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    settle(&mut log, at(1)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    let count = |operation| root.faults().count(operation);
    let (reads, syncs) = (count(Operation::Read), count(Operation::Sync));
    let (mut log, report) = open(&root, large.clone(), 2, at(2)).unwrap();
    assert!(!report.is_clean && report.damage.is_empty());
    assert!(count(Operation::Read) - reads < 24, "of four megabytes");
    assert_eq!(
        count(Operation::Sync) - syncs,
        2,
        "for the end that was read, and for the epoch that begins"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    settle(&mut log, at(3)).unwrap();
    block_on(log.close(at(4))).unwrap();
    let (log, report) = open(&root, large, 3, at(5)).unwrap();
    assert!(report.is_clean);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}

#[test]
fn a_clean_open_waits_for_nobody_and_writes_nothing() {
    let root = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for _ in 0..30 {
        log.append(&batch(&[&[b'f'; 1000]], at(0)), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    block_on(log.close(at(1))).unwrap();
    let before = root.faults().counts();
    let (_, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.is_clean);
    let after = root.faults().counts();
    let opening: Vec<_> = after
        .iter()
        .map(|(operation, count)| {
            (
                *operation,
                count - before.get(operation).copied().unwrap_or(0),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let only = [
        Operation::List,
        Operation::Open,
        Operation::Read,
        Operation::Len,
        Operation::Close,
    ];
    assert!(
        opening
            .iter()
            .all(|(operation, _)| only.contains(operation)),
        "{opening:?}"
    );
    let opens = opening
        .iter()
        .find(|(operation, _)| *operation == Operation::Open);
    assert_eq!(
        opens.map(|(_, count)| *count),
        Some(3),
        "mark, manifest, last block"
    );
}

#[test]
fn damage_that_a_read_meets_is_typed_and_says_where_it_ends() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1000);
    settle(&mut log, at(1)).unwrap();
    let one = log.store_bytes().bytes() / 60;
    scribble(&root, STORE, 4 * one + 80, b"rot");
    log.tail.shrink(0);
    let first = block_on(
        log.plan_read(Offset::ZERO, Offset::MAX, 1 << 20)
            .unwrap()
            .run(),
    );
    assert_eq!(
        first.unwrap().next,
        offset(4),
        "what is good before it is served"
    );
    let error = block_on(
        log.plan_read(offset(4), Offset::MAX, 1 << 20)
            .unwrap()
            .run(),
    );
    let Err(ReadError::Damaged { from, to, segment }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((from, to, segment), (offset(4), offset(5), Offset::ZERO));
    assert_eq!(read_all(&log, to).unwrap().len(), 55);
    let mut reader = log.reader(Offset::ZERO);
    let mut read = 0;
    let error = loop {
        match block_on(reader.next()) {
            Ok(batch) => read += usize::from(batch.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(read, 4);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let behind = block_on(reader.next())
        .unwrap()
        .expect("the batch behind it")
        .base_offset();
    assert_eq!(behind, to, "a reader goes on behind it");
}

#[test]
fn an_earlier_store_that_ends_early_is_damage_and_costs_its_successor_nothing() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    // Rolled, but not sealed: no chore runs.
    fill(&mut log, 20, 1000);
    let first = log.segments().next().unwrap();
    let (bytes, next) = (first.bytes, first.next);
    assert!(next < log.log_end());
    let end = log.log_end();
    drop(log);
    scribble(&root, STORE, bytes - 100, &[0; 100]);
    let (log, report) = reopen(&root);
    assert_eq!(log.log_end(), end);
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!((report.damage[0].to, report.torn), (next, None));
    assert_eq!(read_all(&log, next).unwrap().len() as u64, end.since(next));
}

/// On a full disk they were cut without one.
#[test]
fn bytes_behind_an_earlier_store_are_cut_only_if_there_is_a_copy() {
    for has_room in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, 20, 1000);
        let bytes = log.segments().next().unwrap().bytes;
        drop(log);
        scribble(&root, STORE, bytes, b"foreign");
        let disk = FaultyDir::new(root.clone());
        if !has_room {
            let copy = Match::on(Operation::Allocate, ASIDE_SUFFIX);
            let fault = Fault::Fail(ErrorKind::StorageFull);
            disk.faults().fail(copy, 1, fault);
        }
        let (mut log, report) = open(&disk, small(), 99, at(100)).unwrap();
        assert_eq!(report.quarantined.len(), usize::from(has_room));
        settle(&mut log, at(200)).unwrap();
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 20);
        let stored = block_on(root.child("p0").read(STORE, 1 << 20)).unwrap();
        let behind = &stored[usize::try_from(bytes).unwrap()..];
        assert_eq!(behind.starts_with(b"foreign"), !has_room);
        assert_eq!(behind.is_empty(), has_room);
    }
}

/// What lay there was copied again by each opening, for ever: damaged bytes are never removed.
#[test]
fn what_stays_behind_an_earlier_store_is_not_copied() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1000);
    let bytes = log.segments().next().unwrap().bytes;
    drop(log);
    let far = bytes + UNSYNCED_BYTES_MAX as u64 + 1;
    scribble(&root, STORE, far, b"foreign");
    for seed in 2..5 {
        let (log, report) = open(&root, small(), seed, at(100)).unwrap();
        assert_eq!(report.quarantined, [] as [String; 0]);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 20);
    }
}

/// Options of a log of one segment.
fn large() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    }
}

/// The second opening began at the mark, which the first had moved behind the damage, and went on in the store.
#[test]
fn a_store_with_damage_is_not_appended_to_after_another_kill() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, large(), 1, at(0)).unwrap();
    fill(&mut log, 2, 100);
    let count = UNSYNCED_BYTES_MAX / (1 << 20) + 2;
    fill(&mut log, count, (1 << 20) - 100);
    drop(log);
    let second = batch(&[&[b'f'; 100]], at(0)).len() as u64;
    scribble(&root, STORE, second + 80, &[0xff, 0xff]);
    for seed in [2, 3, 4] {
        let (mut log, report) = open(&root, large(), seed, at(1)).unwrap();
        assert_eq!(report.damage.len(), 1, "{report:?}");
        if seed < 4 {
            continue;
        }
        let end = log.log_end();
        log.append(&batch(&[b"x"], at(2)), at(2)).unwrap();
        settle(&mut log, at(3)).unwrap();
        let segments: Vec<_> = log.segments().collect();
        assert_eq!((segments.len(), segments[1].base), (2, end));
        assert!(!segments[0].is_sealed, "damage is never cut");
    }
}

#[test]
fn more_bad_bytes_than_can_be_unsynced_are_damage_not_torn() {
    let large = large();
    for (flipped, is_read_only) in [(80, false), (8, true)] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, large.clone(), 1, at(0)).unwrap();
        fill(&mut log, 2, 100);
        fill(
            &mut log,
            UNSYNCED_BYTES_MAX / (1 << 20) + 2,
            (1 << 20) - 100,
        );
        let (end, one) = (log.log_end(), log.segments().next().unwrap().bytes);
        assert!(UNSYNCED_BYTES_MAX as u64 + 1000 < one);
        drop(log);
        let second = batch(&[&[b'f'; 100]], at(0)).len() as u64;
        // A flipped payload leaves the length to step by; a flipped length leaves nothing.
        scribble(&root, STORE, second + flipped, &[0xff, 0xff]);
        let (mut log, report) = open(&root, large.clone(), 2, at(1)).unwrap();
        assert!(report.torn.is_none(), "{report:?}");
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(report.damage[0].from, offset(1));
        assert_eq!(report.is_read_only, is_read_only, "{report:?}");
        let appended = log.append(&batch(&[b"x"], at(2)), at(2));
        if is_read_only {
            assert!(matches!(appended, Err(AppendError::ReadOnly { .. })));
            assert_eq!(
                read_all(&log, Offset::ZERO).unwrap().len(),
                1,
                "it serves up to there"
            );
            let error = log.plan_read(offset(1), Offset::MAX, 0).unwrap_err();
            assert!(matches!(error, ReadError::Damaged { .. }));
            let (_, again) = open(&root, large.clone(), 3, at(3)).unwrap();
            assert_eq!(again.damage, report.damage, "damage is never cut");
        } else {
            assert_eq!(appended.unwrap().base, end);
            settle(&mut log, at(3)).unwrap();
            assert!(offset(10) < log.durable());
        }
    }
}

#[test]
fn a_store_shorter_than_its_mark_is_damage_and_read_only() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 5, 1000);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    shorten(&root);
    let (log, report) = reopen(&root);
    assert!(report.is_read_only);
    let damage = Damage {
        from: offset(2),
        to: offset(5),
        segment: Offset::ZERO,
    };
    assert_eq!(report.damage, [damage]);
    assert_eq!(log.durable(), offset(5), "durable never moves backwards");
    let read = block_on(
        log.plan_read(Offset::ZERO, Offset::MAX, 1 << 20)
            .unwrap()
            .run(),
    );
    assert_eq!(read.unwrap().next, offset(2));
}

#[test]
fn files_that_the_manifest_does_not_name_go_to_quarantine_and_next_goes() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 2, 100);
    block_on(log.close(at(1))).unwrap();
    let dir = root.child("p0");
    let stray = "00000000000000000777.log";
    block_on(dir.write_aside(stray, b"somebody's batches")).unwrap();
    block_on(dir.write_aside("next", b"")).unwrap();
    block_on(dir.write_aside("00000000000000000000.index.new", b"x")).unwrap();
    let (mut log, report) = reopen(&root);
    assert!(report.is_clean);
    assert_eq!(report.quarantined.len(), 1);
    let (file, quarantined) = (stray.to_owned(), report.quarantined[0].clone());
    assert_eq!(log.take_events(), [Event::Unnamed { file, quarantined }]);
    assert!(report.quarantined[0].ends_with(stray), "{report:?}");
    assert_eq!(quarantine(&root), report.quarantined);
    let left: Vec<_> = block_on(dir.list())
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(left, [STORE, "manifest", "mark"]);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 2);
}

#[test]
fn stores_without_a_manifest_and_foreign_manifests_refuse_to_open() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 2, 100);
    block_on(log.close(at(1))).unwrap();
    let other = crate::log::Identity::new(
        corelog_record::TopicId::from_bytes([8; 16]),
        corelog_record::PartitionId::new(0),
    );
    let (dir, aside) = (root.child("p0"), root.child("quarantine"));
    let opened = block_on(Log::open(dir.clone(), aside, other, small(), 1, at(2)));
    assert!(matches!(opened, Err(Error::Foreign { .. })));
    block_on(dir.remove("manifest")).unwrap();
    assert!(matches!(
        open(&root, small(), 1, at(2)),
        Err(Error::NoManifest { .. })
    ));
}

#[test]
fn an_index_that_is_missing_or_wrong_is_rebuilt_from_its_store() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1000);
    settle(&mut log, at(1)).unwrap();
    log.tail.shrink(0);
    let all = read_all(&log, Offset::ZERO).unwrap();
    block_on(log.close(at(2))).unwrap();
    let dir = root.child("p0");
    block_on(dir.remove("00000000000000000000.index")).unwrap();
    let second = {
        let names = block_on(dir.list()).unwrap();
        names
            .into_iter()
            .map(|e| e.name)
            .find(|name| name.ends_with(".index"))
            .unwrap()
    };
    scribble(&root, &second, 70, b"rot");
    let (mut log, report) = reopen(&root);
    assert!(report.is_clean && report.damage.is_empty());
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    let chores = settle(&mut log, at(200)).unwrap();
    let is_rebuilt = |chore: &&_| matches!(chore, crate::log::Chore::IndexRebuilt);
    assert_eq!(chores.iter().filter(is_rebuilt).count(), 2, "{chores:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    assert!(settle(&mut log, at(201)).unwrap().is_empty());
}

#[test]
fn a_sealed_store_that_is_too_long_is_told_and_what_is_behind_is_not_read() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1000);
    settle(&mut log, at(1)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    let bytes = log.segments().next().unwrap().bytes;
    block_on(log.close(at(2))).unwrap();
    scribble(&root, STORE, bytes, b"behind");
    let (mut log, report) = reopen(&root);
    assert!(report.is_clean && report.damage.is_empty());
    let surplus = Event::Surplus {
        segment: Offset::ZERO,
        bytes: 6,
    };
    assert_eq!(log.take_events(), [surplus]);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}

#[test]
fn damage_is_told_as_new_once_and_as_known_afterwards() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1000);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    block_on(root.child("p0").remove(STORE)).unwrap();
    let (mut log, report) = reopen(&root);
    let [damage] = report.damage[..] else {
        panic!("{report:?}")
    };
    assert_eq!(log.take_events(), [Event::Damage(damage)]);
    block_on(log.close(at(101))).unwrap();
    let (mut log, _) = reopen(&root);
    assert_eq!(log.take_events(), [Event::DamageKnown(damage)]);
}

#[test]
fn a_lookup_by_time_does_not_pass_over_a_damaged_segment() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for number in 0..20_i64 {
        let one = batch(&[&[b'f'; 1000]], at(number));
        log.append(&one, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    let first = log.segments().next().unwrap();
    drop(log);
    // Rolled, and its end is gone; the rest of it is sound.
    scribble(&root, STORE, first.bytes - 100, &[0; 100]);
    let (mut log, report) = reopen(&root);
    assert_eq!(report.damage.len(), 1, "{report:?}");
    let found = |log: &Memory| {
        block_on(log.plan_find_time(at(3), Offset::MAX).run())
            .unwrap()
            .unwrap()
    };
    assert_eq!(found(&log), (offset(3), at(3)));
    block_on(log.close(at(101))).unwrap();
    let (log, report) = reopen(&root);
    assert!(report.is_clean, "{report:?}");
    assert_eq!(found(&log), (offset(3), at(3)));
}
