//! Damage goes when the segment comes in again.

use std::io::ErrorKind;
use std::pin::pin;

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::poll_once;
use crate::format::quarantine::{Name, Reason};
use crate::log::{Damage, Event, ReadError};
use crate::testing::read_all;
use corelog_record::Position;

/// Scrubs the whole log, all of which the disk gives.
fn scrub<D: Dir>(log: &mut Log<D>) -> Vec<Damage> {
    let pieces = own::scrub(log, 1 << 20, at(20));
    let last = pieces.last().unwrap();
    assert!(last.is_pass_complete);
    assert!(last.is_whole);
    assert_eq!(last.upto, log.sealed().last().unwrap().1.digest.end);
    pieces.into_iter().flat_map(|piece| piece.damage).collect()
}

/// Has the segment at `base` come in again.
fn heal<D: Dir>(root: &D, log: &mut Log<D>, source: &Source, number: usize) -> Chore {
    let base = source.sealed[number].1.digest.base;
    let of = source.of(number, log.generation_next(base));
    let mut intake = block_on(Intake::open(&root.child("p0"), of, at(30))).unwrap();
    block_on(intake.push(&source.bytes(number))).unwrap();
    let ready = block_on(intake.finish()).unwrap();
    let plan = log.plan_replace(ready, at(31)).unwrap();
    run(log, plan, at(31)).unwrap()
}

#[test]
fn a_damaged_segment_is_healed_its_damage_forgotten_and_the_old_file_quarantined() {
    let source = Source::new(25);
    let sent: Vec<u8> = (0..source.sealed.len())
        .flat_map(|number| source.bytes(number))
        .collect();
    for bit in [5, 8 * 3_000, 8 * 9_000 + 3] {
        let (root, mut log) = replica(&source);
        let base = source.sealed[2].1.digest.base;
        let store = name::store(base, 0);
        root.child("p0").flip(&store, bit).unwrap();
        let damage = scrub(&mut log);
        assert!(!damage.is_empty() && damage.iter().all(|damage| damage.segment == base));
        settle(&mut log, at(21)).unwrap();
        let read = read_all(&log, base);
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
        let healed = heal(&root, &mut log, &source, 2);
        let Chore::Replaced {
            quarantined: Some(quarantined),
        } = healed
        else {
            panic!("{healed:?}")
        };
        let (generation, seal) = log.sealed().nth(2).unwrap();
        assert_eq!((generation, &seal.digest), (1, &source.sealed[2].1.digest));
        let kept = block_on(root.child("quarantine").read(&quarantined, 1 << 20)).unwrap();
        assert_eq!(kept.len(), source.bytes(2).len());
        assert_ne!(kept, source.bytes(2), "what was damaged is kept as it was");
        let repaired = Event::Repaired {
            segment: base,
            generation,
        };
        let told = log.take_events();
        assert_eq!(told.last(), Some(&repaired), "{told:?}");
        assert_eq!(scrub(&mut log), []);
        assert_eq!(log.damage(), []);
        assert_eq!(walk(&log).concat(), sent);
        settle(&mut log, at(32)).unwrap();
        assert!(!files(&root).contains(&store));
        drop(log);
        let (log, report) = open(&root, small(), 4, at(40)).unwrap();
        assert!(
            report.damage.is_empty() && report.quarantined.is_empty(),
            "{report:?}"
        );
        assert_eq!(walk(&log).concat(), sent);
    }
}

/// Nobody knew for a week if the disk gives it.
#[test]
fn what_replaces_a_segment_that_a_scrub_could_not_read_is_read_in_the_same_pass() {
    let source = Source::new(25);
    for number in [2, source.sealed.len() - 1] {
        let (prepared, mut log) = replica(&source);
        block_on(log.close(at(11))).unwrap();
        let root = FaultyDir::new(prepared.power_cut(0));
        let (mut log, _) = open(&root, small(), 4, at(12)).unwrap();
        let base = source.sealed[number].1.digest.base;
        let store = name::store(base, 0);
        root.faults().set_unreadable(store.leak(), 0..1 << 40);
        let (mut bytes, mut is_over) = (0, false);
        while !is_over {
            let plan = log.plan_scrub(at(20), 1 << 20).unwrap().unwrap();
            let scrubbed = log.complete_scrub(block_on(plan.run()), at(20));
            if let Some((segment, _)) = scrubbed.error {
                assert_eq!(segment, base);
                heal(&root, &mut log, &source, number);
            }
            (bytes, is_over) = (bytes + scrubbed.bytes, scrubbed.is_pass_complete);
        }
        let sealed = source.sealed.iter().map(|(_, seal)| seal.digest.bytes);
        assert_eq!(bytes, sealed.sum::<u64>());
    }
}

/// A disk that kept it for a minute put one more into quarantine each minute, for as long as somebody read there.
#[test]
fn of_a_segment_that_is_damaged_again_and_again_one_store_is_kept() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    for number in [2, 1, 2, 2, 1] {
        let base = source.sealed[number].1.digest.base;
        let generation = log.generation_next(base) - 1;
        let store = name::store(base, generation);
        let bit = u64::from(generation) + 5;
        root.child("p0").flip(&store, bit).unwrap();
        assert!(!scrub(&mut log).is_empty());
        let healed = heal(&root, &mut log, &source, number);
        let Chore::Replaced { quarantined } = healed else {
            panic!("{healed:?}")
        };
        assert_eq!(quarantined.is_some(), generation == 0, "{quarantined:?}");
        settle(&mut log, at(32)).unwrap();
        assert!(
            !files(&root).contains(&store),
            "neither is it left where it was"
        );
        assert_eq!(scrub(&mut log), []);
    }
    let kept = block_on(root.child("quarantine").list()).unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

/// An opening copies what it steps over, and the copy begins where the store does if its first batch is bad. The store went,
/// and all that was kept was that.
#[test]
fn a_part_of_a_store_that_is_in_quarantine_does_not_have_the_store_go() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let base = source.sealed[2].1.digest.base;
    let store = name::store(base, 0);
    root.child("p0").flip(&store, 5).unwrap();
    assert!(!scrub(&mut log).is_empty());
    let part = Name {
        time: at(19),
        reason: Reason::Damaged,
        topic: identity().topic,
        partition: identity().partition,
        position: Position::ZERO,
        file: store.clone(),
    };
    let whole = source.bytes(2).len();
    let quarantine = root.child("quarantine");
    block_on(quarantine.create()).unwrap();
    block_on(quarantine.write_aside(&part.to_string(), &vec![1; whole - 1])).unwrap();
    let healed = heal(&root, &mut log, &source, 2);
    let Chore::Replaced {
        quarantined: Some(kept),
    } = healed
    else {
        panic!("{healed:?}")
    };
    let kept = block_on(quarantine.read(&kept, 1 << 20)).unwrap();
    assert_eq!(kept.len(), whole);
}

/// What was gone came back with a power cut, and went to quarantine.
#[test]
fn a_store_that_goes_beside_one_in_quarantine_is_gone_for_good() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let base = source.sealed[2].1.digest.base;
    for generation in 0..2 {
        let store = name::store(base, generation);
        root.child("p0").flip(&store, 5).unwrap();
        assert!(!scrub(&mut log).is_empty());
        heal(&root, &mut log, &source, 2);
    }
    for seed in 0..20 {
        let left = root.power_cut(seed);
        assert!(!files(&left).contains(&name::store(base, 1)), "{seed}");
    }
}

#[test]
fn a_missing_store_is_healed_as_well() {
    let source = Source::new(25);
    let (root, log) = replica(&source);
    drop(log);
    let base = source.sealed[1].1.digest.base;
    block_on(root.child("p0").remove(&name::store(base, 0))).unwrap();
    let (mut log, report) = open(&root, small(), 4, at(20)).unwrap();
    assert_eq!(report.damage.len(), 1);
    let healed = heal(&root, &mut log, &source, 1);
    assert_eq!(healed, Chore::Replaced { quarantined: None });
    assert!(log.damage().is_empty());
    let sent: Vec<u8> = (0..source.sealed.len())
        .flat_map(|number| source.bytes(number))
        .collect();
    assert_eq!(walk(&log).concat(), sent);
}

#[test]
fn damage_that_readers_of_the_old_file_still_find_is_not_that_of_the_new_one() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let base = source.sealed[2].1.digest.base;
    let plan = log.plan_read(base, Offset::MAX, 64 << 10).unwrap();
    root.child("p0").flip(&name::store(base, 0), 5).unwrap();
    heal(&root, &mut log, &source, 2);
    let read = block_on(plan.run());
    assert!(
        matches!(read, Err(ReadError::Damaged { .. })),
        "it reads the old file"
    );
    settle(&mut log, at(40)).unwrap();
    assert!(log.damage().is_empty());
    assert!(read_all(&log, base).is_ok());
}

/// With the quarantine in another file system the old store stayed where it was, and the next start refused the partition for it.
#[test]
fn what_is_replaced_goes_to_another_file_system_as_far_as_the_disk_gives_it() {
    let source = Source::new(25);
    for is_given in [true, false] {
        let (prepared, mut log) = replica(&source);
        block_on(log.close(at(11))).unwrap();
        let root = FaultyDir::new(prepared.power_cut(0));
        let (mut log, _) = open(&root, small(), 4, at(12)).unwrap();
        let store = name::store(source.sealed[2].1.digest.base, 0);
        if !is_given {
            root.faults().set_unreadable(store.clone().leak(), 0..4096);
        }
        let there = Match::on(Operation::Rename, format!("-{store}").leak());
        let fault = Fault::Fail(ErrorKind::CrossesDevices);
        root.faults().fail(there, 1, fault);
        let healed = heal(&root, &mut log, &source, 2);
        let Chore::Replaced { quarantined, .. } = healed else {
            panic!("{healed:?}")
        };
        assert!(!files(root.inner()).contains(&store));
        assert_eq!(quarantined.is_some(), is_given);
        if let Some(kept) = quarantined {
            let kept = block_on(root.child("quarantine").read(&kept, 1 << 20));
            assert_eq!(kept.unwrap(), source.bytes(2));
        }
    }
}

/// All of a segment was said to be damaged while it was repaired.
#[test]
fn a_file_that_is_moved_away_for_its_repair_is_no_damage_to_a_scrub() {
    let source = Source::new(25);
    let (root, log) = replica(&source);
    drop(log);
    let disk = FaultyDir::new(root);
    let (mut log, _) = open(&disk, small(), 4, at(20)).unwrap();
    let of = source.of(0, log.generation_next(Offset::ZERO));
    let mut intake = block_on(Intake::open(&disk.child("p0"), of, at(30))).unwrap();
    block_on(intake.push(&source.bytes(0))).unwrap();
    let ready = block_on(intake.finish()).unwrap();
    let mut replacing = pin!(log.plan_replace(ready, at(31)).unwrap().run());
    disk.faults().hold(Operation::Rename, When::After);
    let store = name::store(Offset::ZERO, 0);
    while files(&disk).contains(&store) {
        assert!(poll_once(replacing.as_mut()).is_pending());
        disk.faults().release_one();
    }
    let piece = log.plan_scrub(at(31), 1 << 20).unwrap().unwrap();
    let scrubbed = log.complete_scrub(block_on(piece.run()), at(31));
    assert_eq!(scrubbed.damage, []);
    disk.faults().release_all();
    log.complete_chore(block_on(replacing), at(32)).unwrap();
    assert_eq!(scrub(&mut log), []);
}

/// No event told of it, and behind a stop in order nothing did until somebody read there again.
#[test]
fn damage_that_is_met_while_another_segment_is_replaced_is_told() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let bad = source.sealed[2].1.digest.base;
    root.child("p0").flip(&name::store(bad, 0), 5).unwrap();
    let of = source.of(0, log.generation_next(Offset::ZERO));
    let mut intake = block_on(Intake::open(&root.child("p0"), of, at(30))).unwrap();
    block_on(intake.push(&source.bytes(0))).unwrap();
    let ready = block_on(intake.finish()).unwrap();
    let plan = log.plan_replace(ready, at(31)).unwrap();
    let read = read_all(&log, bad);
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
    run(&mut log, plan, at(31)).unwrap();
    let is_it = |damage: &Damage| damage.segment == bad;
    let told = log.take_events();
    let is_told = |event: &Event| matches!(event, Event::Damage(damage) if is_it(damage));
    assert!(told.iter().any(is_told), "{told:?}");
    assert!(log.damage().iter().any(is_it));
}

#[test]
fn only_the_same_segment_with_newer_files_takes_the_place_of_one() {
    let source = Source::new(25);
    let other = Source::new(20);
    let (root, mut log) = replica(&source);
    let ready = |source: &Source, number, generation| {
        let of = source.of(number, generation);
        let mut intake = block_on(Intake::open(&root.child("p0"), of, at(30))).unwrap();
        block_on(intake.push(&source.bytes(number))).unwrap();
        block_on(intake.finish()).unwrap()
    };
    let is_refused =
        |plan: Result<_, crate::Error>| matches!(plan, Err(crate::Error::NotSame { .. }));
    let last = source.sealed.len() - 1;
    assert!(
        is_refused(log.plan_replace(ready(&other, last, 1), at(31)).map(drop)),
        "other batches"
    );
    assert!(
        is_refused(log.plan_replace(ready(&source, 1, 0), at(31)).map(drop)),
        "no newer files"
    );
    assert!(log.plan_replace(ready(&source, 1, 3), at(31)).is_ok());
}
