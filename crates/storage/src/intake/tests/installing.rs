//! What came in becomes part of a log.

use std::io::ErrorKind;

use super::*;
use crate::Now;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::log::Begin;
use crate::log::lineage::Common;

#[test]
fn a_log_that_was_installed_is_the_log_that_was_sent() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let sent: Vec<u8> = (0..source.sealed.len())
        .flat_map(|number| source.bytes(number))
        .collect();
    let last = &source.sealed.last().unwrap().1.digest;
    assert_eq!((log.log_end(), log.durable()), (last.end, last.end));
    assert_eq!(walk(&log).concat(), sent);
    assert_eq!(log.epoch(), source.epochs[1].epoch);
    assert_eq!(log.sealed().collect::<Vec<_>>(), source.sealed);
    assert_eq!(partials(&root), 0);
    settle(&mut log, at(10)).unwrap();
    block_on(log.close(at(11))).unwrap();
    let (log, report) = open(&root, small(), 4, at(12)).unwrap();
    assert!(report.is_clean && report.damage.is_empty() && report.quarantined.is_empty());
    assert_eq!(walk(&log).concat(), sent);
    let (_, state) = block_on(manifest::read(&root.child("p0"))).unwrap();
    let known = |epochs: &[Epoch]| {
        epochs
            .iter()
            .map(|e| (e.epoch, e.lineage, e.offset))
            .collect::<Vec<_>>()
    };
    assert_eq!(known(state.epochs()), known(&source.epochs));
}

/// It is no younger than the clock says that is written down, which may be ahead of what things are due by.
#[test]
fn what_was_installed_is_as_old_as_its_source_says_but_not_younger_than_the_stamp() {
    let source = Source::new(0);
    for (stamp, sealed) in [(at(9), at(1)), (at(-5), at(-5))] {
        let root = MemoryDir::new();
        copy(&root, &source);
        let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
        let ready = block_on(receive(&root, &source, 0, 5_000)).unwrap();
        let time = at(-10);
        let plan = log.plan_install(vec![ready], Now { time, stamp }).unwrap();
        run(&mut log, plan, time).unwrap();
        assert_eq!(log.sealed().next().unwrap().1.sealed, sealed);
    }
}

#[test]
fn records_are_appended_behind_what_was_installed_and_more_is_not() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let ready = |number| block_on(receive(&root, &source, number, 5_000)).unwrap();
    install(&mut log, vec![ready(0)]).unwrap();
    let (second, third) = (ready(1), ready(2));
    let gap = log.plan_install(vec![third.clone()], at(9));
    assert!(matches!(gap, Err(crate::Error::NotNext { .. })), "{gap:?}");
    let end = log.log_end();
    fill(&mut log, 1, 100);
    assert_eq!(log.log_end(), end.plus(1));
    let refused = log.plan_install(vec![second], at(9));
    assert!(
        matches!(refused, Err(crate::Error::NotNext { .. })),
        "records are not passed over, and not waited for: {refused:?}"
    );
    settle(&mut log, at(10)).unwrap();
    assert_eq!(
        log.segments().next_back().unwrap().base,
        end,
        "nor rolled for it"
    );
    drop(log);
    let (log, report) = open(&root, small(), 4, at(12)).unwrap();
    assert_eq!((log.log_end(), report.damage.len()), (end.plus(1), 0));
}

#[test]
fn an_active_segment_that_ends_where_the_next_begins_is_sealed_before_it() {
    let source = Source::new(0);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    for batch in corelog_record::batch::Batches::over(&source.bytes(0)) {
        log.append(batch.unwrap(), at(2)).unwrap();
    }
    settle(&mut log, at(3)).unwrap();
    assert!(!log.segments().next_back().unwrap().is_sealed);
    let ready = vec![block_on(receive(&root, &source, 1, 5_000)).unwrap()];
    let refused = log.plan_install(ready.clone(), at(9));
    assert!(matches!(refused, Err(crate::Error::Busy)), "{refused:?}");
    settle(&mut log, at(9)).unwrap();
    install(&mut log, ready).unwrap();
    let digests = |sealed: Vec<(u32, Seal)>| -> Vec<_> {
        sealed.into_iter().map(|(_, seal)| seal.digest).collect()
    };
    assert_eq!(
        digests(log.sealed().collect()),
        digests(source.sealed[..2].to_vec())
    );
}

#[test]
fn an_empty_store_that_waits_at_the_end_gives_way() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let faulty = FaultyDir::new(root.clone());
    let (mut log, _) = open(&faulty, small(), 3, at(2)).unwrap();
    // A store is made for a group that then cannot be written.
    let write = Match {
        operation: Some(Operation::Write),
        suffix: ".log",
    };
    let faults = faulty.faults();
    faults.fail(write, 1, Fault::Fail(ErrorKind::Other));
    log.append(&batch(&[b"x"], at(2)), at(2)).unwrap();
    flush(&mut log, at(2)).unwrap_err();
    drop(log);
    let (mut log, _) = open(&root, follower(small()), 3, at(3)).unwrap();
    let empty = name::store(Offset::ZERO, 0);
    assert!(files(&root).contains(&empty));
    let generation = log.generation_next(Offset::ZERO);
    assert_eq!(generation, 1);
    let dir = root.child("p0");
    let ready = |generation| {
        let mut intake = block_on(Intake::open(&dir, source.of(0, generation), at(5))).unwrap();
        block_on(intake.push(&source.bytes(0))).unwrap();
        block_on(intake.finish()).unwrap()
    };
    let taken = log.plan_install(vec![ready(0)], at(9));
    assert!(
        matches!(taken, Err(crate::Error::NotNext { .. })),
        "{taken:?}"
    );
    install(&mut log, vec![ready(generation)]).unwrap();
    settle(&mut log, at(10)).unwrap();
    assert!(!files(&root).contains(&empty));
    assert_eq!(walk(&log).concat(), source.bytes(0));
}

#[test]
fn a_source_of_another_lineage_is_refused() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let mut ready = block_on(receive(&root, &source, 0, 5_000)).unwrap();
    ready.epochs[0].lineage = corelog_record::Lineage::from_bytes([3; 16]);
    let refused = log.plan_install(vec![ready], at(9)).unwrap_err();
    assert!(
        matches!(refused, crate::Error::OtherLineage { .. }),
        "{refused:?}"
    );
    assert_eq!(log.log_end(), Offset::ZERO);
}

#[test]
fn epochs_that_do_not_begin_one_behind_the_other_are_refused() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let last = source.sealed.len() - 1;
    let ready = |number| block_on(receive(&root, &source, number, 5_000)).unwrap();
    install(&mut log, (0..last).map(ready).collect()).unwrap();
    let mut forged = ready(last);
    forged.epochs.push(Epoch {
        epoch: source.epochs[1].epoch.next(),
        ..source.epochs[0]
    });
    let refused = log.plan_install(vec![forged], at(9)).unwrap_err();
    assert!(
        matches!(refused, crate::Error::Contradicts { .. }),
        "{refused:?}"
    );
    install(&mut log, vec![ready(last)]).unwrap();
}

/// What an epoch with the last number ruled was taken in, and the copy could never take over.
#[test]
fn segments_of_an_epoch_that_leaves_no_room_for_another_are_refused() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let mut ready = block_on(receive(&root, &source, 0, 5_000)).unwrap();
    ready.epochs[0].epoch = corelog_record::LeaderEpoch::new(i32::MAX).unwrap();
    let refused = log.plan_install(vec![ready], at(9)).unwrap_err();
    assert!(
        matches!(refused, crate::Error::EpochTooHigh { .. }),
        "{refused:?}"
    );
    assert_eq!(log.log_end(), Offset::ZERO);
    let plan = log.plan_epoch(Begin::Promoted).unwrap();
    run(&mut log, plan, at(3)).unwrap();
}

/// A copy began an epoch of its own, and died before it owned the partition. What was installed then was
/// said to be of that epoch, and the epoch it was of was never known.
#[test]
fn segments_are_not_installed_over_an_epoch_of_this_copys_own() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let plan = log.plan_epoch(Begin::Promoted).unwrap();
    run(&mut log, plan, at(3)).unwrap();
    let ready = vec![block_on(receive(&root, &source, 0, 5_000)).unwrap()];
    let refused = log.plan_install(ready.clone(), at(9)).unwrap_err();
    assert!(
        matches!(refused, crate::Error::OwnEpoch { .. }),
        "{refused:?}"
    );
    let common = Common {
        offset: Offset::ZERO,
        epoch: Some(source.epochs[0].epoch),
    };
    let plan = log.plan_rejoin(common, at(9)).unwrap().unwrap();
    run(&mut log, plan, at(3)).unwrap();
    install(&mut log, ready).unwrap();
    assert_eq!(log.epochs(), &source.epochs[..1]);
}

#[test]
fn nothing_is_appended_or_planned_while_segments_are_put_at_the_end() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let ready = |number| block_on(receive(&root, &source, number, 5_000)).unwrap();
    let plan = log.plan_install(vec![ready(0)], at(9)).unwrap();
    let refused = log.append(&batch(&[b"x"], at(9)), at(9));
    assert!(matches!(refused, Err(crate::log::AppendError::Cutting)));
    assert!(log.plan_flush().is_none() && log.plan_chore(at(9), true).is_none());
    run(&mut log, plan, at(9)).unwrap();
    log.append(&batch(&[b"x"], at(9)), at(9)).unwrap();
}

#[test]
fn without_space_for_the_manifest_segments_wait_and_come_in_later() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let ready = vec![block_on(receive(&root, &source, 0, 5_000)).unwrap()];
    root.set_capacity(Some(root.bytes_in_use()));
    let refused = install(&mut log, ready.clone()).unwrap_err();
    assert!(refused.is_shortage(), "{refused:?}");
    assert!(!log.is_fenced());
    assert_eq!((log.log_end(), partials(&root)), (Offset::ZERO, 1));
    root.set_capacity(None);
    install(&mut log, ready).unwrap();
    assert_eq!(walk(&log).concat(), source.bytes(0));
}

/// The manifest named a store that was nowhere, and the log was fenced.
#[test]
fn a_segment_whose_file_is_gone_is_not_installed_and_comes_in_again() {
    let source = Source::new(0);
    let root = MemoryDir::new();
    copy(&root, &source);
    let sent = source.bytes(0);
    let mut intake = block_on(Intake::open(&root.child("p0"), source.of(0, 0), at(5))).unwrap();
    block_on(intake.push(&sent[..10_000])).unwrap();
    // The partition is reopened a day later, and whoever receives goes on.
    let day = 24 * 60 * 60 * 1_000;
    let (mut log, _) = open(&root, follower(small()), 3, at(5 + day)).unwrap();
    assert_eq!(partials(&root), 0);
    block_on(intake.push(&sent[10_000..])).unwrap();
    let ready = block_on(intake.finish()).unwrap();
    let refused = install(&mut log, vec![ready]).unwrap_err();
    assert!(
        matches!(refused, crate::Error::ReceivedGone { .. }),
        "{refused:?}"
    );
    assert!(!log.is_fenced());
    let (_, state) = block_on(manifest::read(&root.child("p0"))).unwrap();
    assert!(state.segments().is_empty());
    let ready = vec![block_on(receive(&root, &source, 0, 5_000)).unwrap()];
    install(&mut log, ready).unwrap();
    assert_eq!(walk(&log).concat(), sent);
}

#[test]
fn a_pinned_file_stays_when_retention_removes_its_segment() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    let (generation, seal) = log.sealed().next().unwrap();
    assert!(
        log.pin(seal.digest.base, generation + 1).is_none(),
        "another generation"
    );
    assert!(
        log.pin(seal.digest.base.plus(1), generation).is_none(),
        "no segment there"
    );
    let pinned = log.pin(seal.digest.base, generation).unwrap();
    let name = pinned.name().to_owned();
    let plan = log.plan_truncate(seal.digest.end).unwrap().unwrap();
    run(&mut log, plan, at(10)).unwrap();
    settle(&mut log, at(10)).unwrap();
    assert!(files(&root).contains(&name));
    let read = block_on(root.child("p0").read(&name, 1 << 20)).unwrap();
    assert_eq!(read, source.bytes(0));
    drop(pinned);
    settle(&mut log, at(11)).unwrap();
    assert!(!files(&root).contains(&name));
}

#[test]
fn an_install_that_the_manifest_knows_of_is_finished_by_an_opening() {
    let source = Source::new(25);
    let (root, mut log) = replica(&source);
    block_on(log.close(at(11))).unwrap();
    let dir = root.child("p0");
    let store = name::store(source.sealed[1].1.digest.base, 0);
    let partial = crate::intake::partial::named(&store, at(5));
    block_on(dir.rename(&store, &dir, &partial)).unwrap();
    let (log, report) = open(&root, small(), 4, at(12)).unwrap();
    assert!(
        report.damage.is_empty() && report.quarantined.is_empty(),
        "{report:?}"
    );
    assert_eq!(walk(&log).concat(), sent(&source));
    assert_eq!(partials(&root), 0);
    drop(log);
    // Less than all of it is not taken for it.
    block_on(dir.rename(&store, &dir, &partial)).unwrap();
    let file = block_on(dir.open(&partial, crate::disk::Open::Write)).unwrap();
    block_on(crate::disk::File::set_len(&file, 4_096)).unwrap();
    let (_, report) = open(&root, small(), 4, at(13)).unwrap();
    assert_eq!(report.damage.len(), 1);
}

fn sent(source: &Source) -> Vec<u8> {
    (0..source.sealed.len())
        .flat_map(|number| source.bytes(number))
        .collect()
}
