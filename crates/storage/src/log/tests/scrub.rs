//! A scrub finds what has changed in sealed segments, tells readers and the manifest, and nothing it
//! meets on its way disturbs the log.

use std::io::ErrorKind;
use std::ops::Range;

use corelog_record::batch::{Batches, View};
use corelog_record::{ByteSize, Offset};
use fastrand::Rng;

use super::{at, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Chore, Damage, Hold, Log, ReadError, Scrubbed};
use crate::open_files;
use crate::segment::{Index, Stage};
use crate::testing::own::{self, alter, stores};
use crate::testing::{batch, chore, flush, open, read_all, run, settle};

/// A log of some segments, all sealed but the last.
fn filled<D: Dir>(root: &D, batches: u64) -> Log<D> {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    fill(&mut log, batches);
    log
}

fn fill<D: Dir>(log: &mut Log<D>, batches: u64) {
    for number in 0..batches {
        let value = vec![u8::try_from(number % 251).unwrap(); 300 + (number % 7) as usize * 90];
        log.append(&batch(&[&value, b"second"], at(0)), at(0))
            .unwrap();
        flush(log, at(0)).unwrap();
    }
    settle(log, at(0)).unwrap();
}

/// Scrubs to the end of a pass.
fn scrub<D: Dir>(log: &mut Log<D>, bytes_max: usize) -> Vec<Scrubbed> {
    let pieces = own::scrub(log, bytes_max, at(200));
    assert!(pieces.iter().all(|piece| piece.error.is_none()));
    pieces
}

fn damage_in(pieces: &[Scrubbed]) -> Vec<Damage> {
    pieces
        .iter()
        .flat_map(|piece| piece.damage.clone())
        .collect()
}

/// The offsets and the place of each batch of a store.
fn batches_of(bytes: &[u8]) -> Vec<(Range<Offset>, Range<usize>)> {
    let mut at = 0;
    let all = Batches::over(bytes).map(|batch| {
        let view = View::verify(batch.unwrap()).unwrap();
        at += view.bytes().len();
        (
            view.base_offset()..view.next_offset(),
            at - view.bytes().len()..at,
        )
    });
    all.collect()
}

/// The names of sealed stores, oldest first, and of their indexes.
fn sealed<D: Dir>(log: &Log<D>) -> Vec<(String, String)> {
    let sealed = log
        .segments
        .iter()
        .filter(|segment| matches!(segment.stage, Stage::Sealed(_)));
    sealed
        .map(|segment| (segment.store_name(), segment.index_name()))
        .collect()
}

/// Every offset outside the damage reads as it was written; every one inside tells of it.
fn check_reads<D: Dir>(log: &Log<D>, whole: &[Vec<u8>]) {
    for bytes in whole {
        let view = View::verify(bytes).unwrap();
        let (base, end) = (view.base_offset(), view.next_offset());
        let is_damaged = log.damage().iter().any(|d| d.from < end && base < d.to);
        let read = log.plan_read(base, end, 1);
        let read = read.and_then(|plan| block_on(plan.run()));
        match (is_damaged, read) {
            (true, Err(ReadError::Damaged { .. })) => {}
            (false, Ok(fetched)) => assert_eq!(&*fetched.pieces[0], &bytes[..]),
            // What shares an index row with a bent chain cannot be believed either.
            (false, Err(ReadError::Damaged { from, to, .. })) => {
                assert!(log.damage().iter().any(|d| d.from < to && from < d.to));
                assert!(to.since(from) <= 100, "{from}..{to}");
            }
            (_, other) => {
                let got = other.map(|fetched| fetched.bytes);
                panic!("{base}..{end}, damaged: {is_damaged}: {got:?}")
            }
        }
    }
}

#[test]
fn a_pass_over_sound_segments_finds_nothing_and_its_end_survives_a_restart() {
    for bytes_max in [1, 70_000, 1 << 20] {
        let root = MemoryDir::new();
        let mut log = filled(&root, 200);
        let sealed_bytes: u64 = log
            .segments()
            .filter(|s| s.is_sealed)
            .map(|s| s.bytes)
            .sum();
        assert!(sealed(&log).len() > 4);
        assert_eq!(log.scrubbed_at(), None);
        let pieces = scrub(&mut log, bytes_max);
        assert_eq!(damage_in(&pieces), []);
        assert_eq!(
            pieces.iter().map(|piece| piece.bytes).sum::<u64>(),
            sealed_bytes
        );
        let last = pieces.last().unwrap();
        let end = log.segments().rfind(|s| s.is_sealed).unwrap().next;
        assert_eq!((last.is_pass_complete, last.upto), (true, end));
        assert!(pieces.iter().all(|piece| piece.index.is_none()));
        let chores = settle(&mut log, at(300)).unwrap();
        assert_eq!(chores, [Chore::Scrubbed { time: at(200) }]);
        assert_eq!(log.scrubbed_at(), Some(at(200)));
        let (log, _) = open(&root.power_cut(1), small(), 2, at(400)).unwrap();
        assert_eq!(log.scrubbed_at(), Some(at(200)));
    }
}

#[test]
fn a_log_without_sealed_segments_has_nothing_to_scrub() {
    let (mut log, _) = open(&MemoryDir::new(), small(), 1, at(0)).unwrap();
    assert!(log.plan_scrub(at(0), 1 << 20).unwrap().is_none());
    fill(&mut log, 3);
    assert!(log.plan_scrub(at(0), 1 << 20).unwrap().is_none());
    assert_eq!(settle(&mut log, at(1)).unwrap(), []);
}

#[test]
fn a_scrub_leaves_no_file_open_and_no_index_in_memory() {
    let root = MemoryDir::new();
    block_on(filled(&root, 200).close(at(1))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    let before = open_files::usage();
    scrub(&mut log, 1 << 20);
    assert_eq!(open_files::usage(), before);
    for segment in &log.segments {
        if let Index::File(index) = &segment.index {
            assert!(!index.is_loaded());
        }
    }
}

#[test]
fn every_changed_byte_of_a_store_is_found_and_all_else_is_served() {
    let root = MemoryDir::new();
    let log = filled(&root, 120);
    let whole = read_all(&log, Offset::ZERO).unwrap();
    let stores = sealed(&log);
    let mut rng = Rng::with_seed(5);
    for round in 0..300 {
        let root = root.power_cut(1);
        let dir = root.child("p0");
        let (name, index) = &stores[rng.usize(..stores.len())];
        let bytes = block_on(dir.read(name, 1 << 20)).unwrap();
        let all = batches_of(&bytes);
        let (offsets, place) = &all[rng.usize(..all.len())];
        // Headers are small: without help they would seldom be hit.
        let is_header = rng.bool();
        let place_end = if is_header {
            place.start + 61
        } else {
            place.end
        };
        let position = rng.usize(place.start..place_end);
        let flip = 1 << rng.u8(0..8);
        alter(&dir, name, |bytes| bytes[position] ^= flip);
        let has_index = rng.u8(0..4) > 0;
        if !has_index {
            block_on(dir.remove(index)).unwrap();
        }
        let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
        let damage = damage_in(&scrub(&mut log, [100, 64 << 10, 1 << 20][round % 3]));
        let hint = format!("{name} at {position}, bit {flip}, index {has_index}: {damage:?}");
        let is_found = damage
            .iter()
            .any(|d| d.from <= offsets.start && offsets.end <= d.to);
        assert!(is_found, "{hint}");
        if has_index {
            let count: u64 = damage.iter().map(|d| d.to.since(d.from)).sum();
            assert!(count <= 8, "no more than lies between two rows: {hint}");
        }
        check_reads(&log, &whole);
        settle(&mut log, at(300)).unwrap();
        let (log, report) = open(&root.power_cut(2), small(), 3, at(400)).unwrap();
        let is_known = |d: &Damage| {
            log.damage()
                .iter()
                .any(|k| k.from <= d.from && d.to <= k.to)
        };
        assert!(damage.iter().all(is_known), "{hint}");
        assert_eq!(report.damage, log.damage());
        check_reads(&log, &whole);
    }
}

#[test]
fn sound_batches_that_are_not_those_appended_are_damage() {
    let root = MemoryDir::new();
    let mut log = filled(&root, 120);
    let (name, _) = sealed(&log)[1].clone();
    let dir = root.child("p0");
    let bytes = block_on(dir.read(&name, 1 << 20)).unwrap();
    let (offsets, place) = batches_of(&bytes)[9].clone();
    // The epoch lies outside the batch's checksum: only the chain knows.
    alter(&dir, &name, |bytes| bytes[place.start + 15] ^= 1);
    let damage = damage_in(&scrub(&mut log, 1 << 20));
    assert_eq!(damage.len(), 1);
    assert!(damage[0].from <= offsets.start && offsets.end <= damage[0].to);
    assert!(damage[0].to.since(damage[0].from) <= 8, "{damage:?}");
    let known = damage_in(&scrub(&mut log, 1 << 20));
    assert_eq!(known, [], "what is known is not told again");
}

#[test]
fn another_partitions_store_in_a_stores_place_is_damage_from_end_to_end() {
    let (root, other) = (MemoryDir::new(), MemoryDir::new());
    let mut log = filled(&root, 120);
    let dir = other.child("p0");
    // The same batches, at the same places, of another history.
    let mut identity = crate::testing::identity();
    identity.history = corelog_record::HistoryId::from_bytes([9; 16]);
    let opened = Log::open(dir.clone(), other.child("q"), identity, small(), 1, at(0));
    let mut foreign = block_on(opened).unwrap().0;
    let (mut names, mut bytes) = (Vec::new(), Vec::new());
    for number in 0..120_u64 {
        let value = vec![7; 300 + (number % 7) as usize * 90];
        foreign
            .append(&batch(&[&value, b"second"], at(0)), at(0))
            .unwrap();
        flush(&mut foreign, at(0)).unwrap();
    }
    settle(&mut foreign, at(0)).unwrap();
    for (name, _) in sealed(&foreign) {
        bytes.push(block_on(dir.read(&name, 1 << 20)).unwrap());
        names.push(name);
    }
    assert_eq!(names[1], sealed(&log)[1].0);
    alter(&root.child("p0"), &names[1], |store| {
        store.clone_from(&bytes[1]);
    });
    let damage = damage_in(&scrub(&mut log, 1 << 20));
    let segment = log.segments().nth(1).unwrap();
    let (from, to) = (segment.base, segment.next);
    assert_eq!(
        damage,
        [Damage {
            from,
            to,
            segment: from
        }]
    );
}

#[test]
fn a_store_that_is_missing_or_short_is_damage_and_one_too_long_is_told() {
    let root = MemoryDir::new();
    let mut log = filled(&root, 200);
    let dir = root.child("p0");
    let names = sealed(&log);
    for segment in &log.segments {
        block_on(segment.store.as_ref().unwrap().close()).unwrap();
    }
    block_on(dir.remove(&names[1].0)).unwrap();
    alter(&dir, &names[2].0, |bytes| bytes.truncate(bytes.len() / 2));
    alter(&dir, &names[3].0, |bytes| bytes.extend([0; 77]));
    let pieces = scrub(&mut log, 1 << 20);
    let damage = damage_in(&pieces);
    let segments: Vec<_> = log.segments().collect();
    let (second, third) = (&segments[1], &segments[2]);
    let missing = Damage {
        from: second.base,
        to: second.next,
        segment: second.base,
    };
    assert_eq!(damage[0], missing);
    assert_eq!((damage[1].segment, damage[1].to), (third.base, third.next));
    assert!(third.base < damage[1].from);
    assert_eq!(damage.len(), 2);
    assert_eq!(
        pieces.iter().map(|piece| piece.surplus_bytes).max(),
        Some(77)
    );
}

#[test]
fn an_index_that_is_not_right_is_made_anew_and_is_no_damage() {
    type Change = fn(&mut Vec<u8>, &mut Rng);
    let changes: [Change; 5] = [
        |bytes, rng| {
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(0..8);
        },
        |bytes, rng| bytes.truncate(64 + 32 * rng.usize(0..3)),
        |bytes, rng| bytes.truncate(rng.usize(1..bytes.len() - 1) | 1),
        |bytes, _| bytes.extend_from_within(64..96),
        |bytes, _| drop(bytes.drain(96..128)),
    ];
    let root = MemoryDir::new();
    block_on(filled(&root, 120).close(at(1))).unwrap();
    let mut rng = Rng::with_seed(3);
    for round in 0..200 {
        let root = root.power_cut(1);
        let dir = root.child("p0");
        let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
        let (_, name) = sealed(&log)[rng.usize(0..3)].clone();
        let right = block_on(dir.read(&name, 1 << 20)).unwrap();
        match changes.get(round % 6) {
            Some(change) => alter(&dir, &name, |bytes| change(bytes, &mut rng)),
            None => block_on(dir.remove(&name)).unwrap(),
        }
        let is_same = block_on(dir.read(&name, 1 << 20)).is_ok_and(|bytes| bytes == right);
        assert!(!is_same, "the index was changed");
        let pieces = scrub(&mut log, 2_000);
        assert_eq!(damage_in(&pieces), [], "round {round}");
        assert!(
            pieces.iter().any(|piece| piece.index.is_some()),
            "round {round}"
        );
        settle(&mut log, at(300)).unwrap();
        assert_eq!(
            block_on(dir.read(&name, 1 << 20)).unwrap(),
            right,
            "round {round}"
        );
    }
}

#[test]
fn what_expires_or_is_cut_or_replaced_while_it_is_read_is_no_damage() {
    let mut found = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let root = MemoryDir::new();
        let mut log = filled(&root, 60);
        let mut plan = None;
        for step in 0..200_u32 {
            match rng.u32(0..12) {
                0..=1 => fill(&mut log, rng.u64(1..20)),
                2 => {
                    let lowest = Offset::new(rng.u64(0..=log.durable().get())).unwrap();
                    if let Ok(Some(plan)) = log.plan_truncate(lowest) {
                        run(&mut log, plan, at(0)).unwrap();
                    }
                }
                3 => {
                    let bytes = ByteSize::from_kib(rng.u32(20..80));
                    if let Ok(Some(plan)) = log.plan_expire_to(bytes, Hold::NONE) {
                        run(&mut log, plan, at(0)).unwrap();
                    }
                }
                4 => {
                    let range = log.log_start().get()..=log.durable().get();
                    let from = Offset::new(rng.u64(range)).unwrap();
                    if let Ok(Some(plan)) = log.plan_truncate_suffix(from, at(step.into())) {
                        run(&mut log, plan, at(0)).unwrap();
                    }
                }
                5 => drop(chore(&mut log, at(step.into()), true).unwrap()),
                6 => {
                    block_on(log.close(at(1))).unwrap();
                    (log, _) = open(&root, small(), 2, at(2)).unwrap();
                    plan = None;
                }
                7 => plan = None,
                8..=9 => {
                    let bytes_max = [1, 3_000, 1 << 20][rng.usize(0..3)];
                    plan = log.plan_scrub(at(0), bytes_max).unwrap();
                }
                _ => {
                    let Some(plan) = plan.take() else { continue };
                    let done = block_on(plan.run());
                    let piece = log.complete_scrub(done, at(0));
                    assert_eq!(piece.damage, [], "seed {seed}, step {step}");
                    assert_eq!(piece.index, None, "seed {seed}, step {step}");
                    found.0 += usize::from(piece.bytes > 0);
                    found.1 += usize::from(piece.is_pass_complete);
                }
            }
        }
        assert_eq!(log.damage(), []);
        read_all(&log, log.log_start()).unwrap();
    }
    assert!(found.0 > 300 && found.1 > 50, "{found:?}");
}

#[test]
fn a_scrub_that_was_given_up_keeps_no_file_from_being_removed() {
    let root = MemoryDir::new();
    let mut log = filled(&root, 120);
    let plan = log.plan_scrub(at(0), 3_000).unwrap().unwrap();
    let done = block_on(plan.run());
    log.complete_scrub(done, at(0));
    let end = log.durable();
    let under_way = log.plan_scrub(at(0), 3_000).unwrap().unwrap();
    let plan = log.plan_truncate(end).unwrap().unwrap();
    run(&mut log, plan, at(0)).unwrap();
    settle(&mut log, at(1)).unwrap();
    assert_eq!(
        stores(&root).len(),
        2,
        "what is being read stays until it was read"
    );
    drop(under_way);
    settle(&mut log, at(1)).unwrap();
    assert_eq!(stores(&root).len(), 1);
}

#[test]
fn a_piece_that_was_planned_before_another_changes_nothing() {
    let root = MemoryDir::new();
    let mut log = filled(&root, 120);
    let old = log.plan_scrub(at(0), 1 << 20).unwrap().unwrap();
    let new = log.plan_scrub(at(0), 1 << 20).unwrap().unwrap();
    let (old, new) = (block_on(old.run()), block_on(new.run()));
    let stale = log.complete_scrub(old, at(0));
    assert_eq!((stale.bytes, stale.is_pass_complete), (0, false));
    // The pass it belonged to is given up: the next piece begins another.
    log.complete_scrub(new, at(0));
    let pieces = scrub(&mut log, 1 << 20);
    assert!(pieces.last().unwrap().is_pass_complete);
}

#[test]
fn a_disk_that_fails_to_read_is_no_damage_and_fences_nothing() {
    let root = FaultyDir::new(MemoryDir::new());
    block_on(filled(&root, 120).close(at(1))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    root.faults().clear();
    let before = root.faults().total();
    scrub(&mut log, 5_000);
    let count = root.faults().total() - before;
    assert!(count > 20);
    for nth in 1..=count {
        let root = FaultyDir::new(root.inner().power_cut(1));
        let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
        root.faults().clear();
        let before = root.faults().total();
        root.faults()
            .fail(Match::ANY, nth, Fault::Fail(ErrorKind::Other));
        let mut failures = 0;
        while let Some(plan) = log.plan_scrub(at(0), 5_000).unwrap() {
            let piece = log.complete_scrub(block_on(plan.run()), at(0));
            assert_eq!(piece.damage, []);
            match piece.error {
                None => {}
                Some((segment, Error::Io { file, .. })) => {
                    assert!(file.starts_with(&format!("{:020}", segment.get())));
                    failures += 1;
                }
                Some((_, error)) => panic!("{error}"),
            }
            if piece.is_pass_complete {
                break;
            }
        }
        assert!(before < root.faults().total());
        assert!(failures <= 1, "operation {nth}");
        assert_eq!(log.damage(), [], "operation {nth}");
        assert!(!log.is_fenced(), "operation {nth}");
        settle(&mut log, at(300)).unwrap();
        let is_whole = log.scrubbed_at().is_some();
        assert_eq!(is_whole, failures == 0, "operation {nth}");
    }
}

/// It was remembered for good, though the disk had the right bytes.
#[test]
fn a_byte_that_turns_over_on_its_way_from_the_disk_is_no_damage() {
    let root = FaultyDir::new(MemoryDir::new());
    let mut log = filled(&root, 60);
    // Some of these turn the epoch of a batch, which no checksum covers.
    for seed in 0..2_000 {
        let flip = Fault::Flip { seed };
        root.faults()
            .fail(Match::on(Operation::Read, ".log"), 1 + seed % 7, flip);
        assert_eq!(damage_in(&scrub(&mut log, 20_000)), [], "{seed}");
        root.faults().clear();
    }
    for seed in 0..60 {
        let root = FaultyDir::new(MemoryDir::new());
        let mut log = filled(&root, 60);
        let end = log.log_end().plus(4);
        let group = batch(&[&[b'm'; 900]], at(0));
        for _ in 0..4 {
            log.append(&group, at(0)).unwrap();
            flush(&mut log, at(0)).unwrap();
        }
        drop(log);
        let flip = Fault::Flip { seed };
        root.faults()
            .fail(Match::on(Operation::Read, ".log"), 1 + seed % 6, flip);
        let (log, report) = open(&root, small(), 2, at(1)).unwrap();
        assert_eq!((log.log_end(), report.damage), (end, Vec::new()), "{seed}");
    }
}

#[test]
fn damage_that_a_scrub_found_survives_every_power_cut_or_is_found_again() {
    let root = MemoryDir::new();
    let log = filled(&root, 120);
    let whole = read_all(&log, Offset::ZERO).unwrap();
    let (name, _) = sealed(&log)[1].clone();
    alter(&root.child("p0"), &name, |bytes| bytes[700] ^= 1);
    for seed in 0..40 {
        let disk = FaultyDir::new(root.power_cut(seed));
        let (mut log, _) = open(&disk, small(), seed, at(0)).unwrap();
        disk.faults().clear();
        disk.faults()
            .fail(Match::ANY, seed + 1, Fault::Torn { seed });
        while let Ok(Some(plan)) = log.plan_scrub(at(0), 4_000) {
            if log
                .complete_scrub(block_on(plan.run()), at(0))
                .is_pass_complete
            {
                break;
            }
        }
        let _fenced_or_not = settle(&mut log, at(1));
        let claimed = (log.scrubbed_at(), log.damage().to_vec());
        let cut = disk.inner().power_cut(seed);
        let (mut log, report) = open(&cut, small(), 9, at(2)).unwrap();
        if claimed.0.is_some() {
            assert_eq!(
                report.damage, claimed.1,
                "the end of a pass is told after its damage"
            );
            assert_eq!(log.scrubbed_at(), claimed.0);
        }
        scrub(&mut log, 4_000);
        assert_eq!(log.damage().len(), 1, "seed {seed}");
        check_reads(&log, &whole);
    }
}

#[test]
fn closing_remembers_damage_that_no_chore_has_written_yet() {
    let root = MemoryDir::new();
    let mut log = filled(&root, 60);
    let damage = Damage {
        from: Offset::new(4).unwrap(),
        to: Offset::new(6).unwrap(),
        segment: Offset::ZERO,
    };
    assert!(log.note_damage(damage));
    assert!(!log.note_damage(damage), "it is known");
    block_on(log.close(at(1))).unwrap();
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.is_clean);
    assert_eq!(log.damage(), [damage]);
}
