//! The power goes, or an operation fails, at each step of receiving, installing and replacing.

use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::log::Begun;
use crate::testing::own::SEEDS;
use crate::testing::run_up_to;

type Disk = FaultyDir<MemoryDir>;

/// Receives the segments `numbers` and installs them at once.
async fn clone<D: Dir>(
    root: &D,
    log: &mut Log<D>,
    source: &Source,
    numbers: std::ops::Range<usize>,
) -> Result<Chore, Error> {
    let mut ready = Vec::new();
    for number in numbers {
        ready.push(receive(root, source, number, 5_000).await?);
    }
    let plan = log.plan_install(ready, at(9))?;
    Ok(log.complete_chore(plan.run().await, at(9))?)
}

fn sent(source: &Source, numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| source.bytes(number)).collect()
}

#[test]
fn segments_are_installed_whole_or_not_at_all_whenever_the_power_goes_and_then_come_in() {
    let source = Source::new(0);
    let prepared = MemoryDir::new();
    copy(&prepared, &source);
    let all = sent(&source, 0..4);
    let two = sent(&source, 0..2);
    let mut there = 0;
    let operations = (0..).find(|operations| {
        let root = Disk::new(prepared.power_cut(0));
        let (mut log, _) = open(&root, follower(small()), 3, at(2)).unwrap();
        root.faults().hold(Match::ANY, When::Before);
        let done = run_up_to(&root, clone(&root, &mut log, &source, 0..2), *operations);
        let is_done = done.is_some_and(|done| done.is_ok());
        drop(log);
        for seed in 0..SEEDS {
            let root = root.inner().power_cut(seed);
            let (mut log, report) = open(&root, follower(small()), 4, at(10)).unwrap();
            assert!(
                report.damage.is_empty() && report.torn.is_none(),
                "{report:?}"
            );
            assert!(report.quarantined.is_empty(), "nothing is left over");
            let is_there = log.log_end() > Offset::ZERO;
            assert!(is_there || !is_done, "what was installed is there");
            assert_eq!(walk(&log).concat(), if is_there { &two[..] } else { &[] });
            there += usize::from(is_there);
            let first = if is_there { 2 } else { 0 };
            block_on(clone(&root, &mut log, &source, first..4)).unwrap();
            assert_eq!(walk(&log).concat(), all);
            assert_eq!(partials(&root), 0);
        }
        is_done
    });
    assert!(operations.unwrap() > 40, "{operations:?}");
    assert!(there >= usize::try_from(SEEDS).unwrap(), "{there}");
}

/// What is installed counts as what its source acknowledged.
#[test]
fn segments_are_installed_only_into_a_log_that_is_told_of_whenever_the_power_goes() {
    fn told<D: Dir>(root: &D) -> Log<D> {
        let (dir, aside) = (root.child("p0"), root.child("quarantine"));
        let begun = Begun::beside(root.clone(), "p0");
        let opened = Log::open_beside(dir, aside, begun, identity(), follower(small()), 3, at(2));
        block_on(opened).unwrap().0
    }
    let source = Source::new(0);
    let prepared = MemoryDir::new();
    copy(&prepared, &source);
    let operations = (0..).find(|operations| {
        let root = Disk::new(prepared.power_cut(0));
        let mut log = told(&root);
        root.faults().hold(Match::ANY, When::Before);
        let done = run_up_to(&root, clone(&root, &mut log, &source, 0..1), *operations);
        for seed in 0..SEEDS {
            let left = root.inner().power_cut(seed);
            let (_, state) = block_on(manifest::read(&left.child("p0"))).unwrap();
            let is_told = block_on(left.read("p0.begun", 1)).is_ok();
            assert!(state.segments().is_empty() || is_told, "{operations}");
            told(&left);
        }
        done.is_some_and(|done| done.is_ok())
    });
    assert!(operations.unwrap() > 20, "{operations:?}");
}

#[test]
fn a_segment_is_replaced_whole_or_not_at_all_whenever_the_power_goes() {
    let source = Source::new(0);
    let (prepared, mut log) = replica(&source);
    let (base, all) = (
        source.sealed[1].1.digest.base,
        sent(&source, 0..source.sealed.len()),
    );
    prepared
        .child("p0")
        .flip(&name::store(base, 0), 77)
        .unwrap();
    let (from, to) = (base, source.sealed[1].1.digest.end);
    log.note_damage(crate::log::Damage {
        from,
        to,
        segment: base,
    });
    settle(&mut log, at(10)).unwrap();
    block_on(log.close(at(11))).unwrap();
    let mut healed = 0;
    let operations = (0..).find(|operations| {
        let root = Disk::new(prepared.power_cut(0));
        let (mut log, report) = open(&root, small(), 3, at(12)).unwrap();
        assert!(report.is_clean && report.damage.len() == 1);
        root.faults().hold(Match::ANY, When::Before);
        let replacing = async {
            let dir = root.child("p0");
            let mut intake = Intake::open(&dir, source.of(1, 1), at(13)).await?;
            let rest = usize::try_from(intake.position()).unwrap();
            intake.push(&source.bytes(1)[rest..]).await?;
            let ready = intake.finish().await?;
            let plan = log.plan_replace(ready, at(14))?;
            Ok::<_, Error>(log.complete_chore(plan.run().await, at(14))?)
        };
        let done = run_up_to(&root, replacing, *operations);
        let is_done = done.is_some_and(|done| done.is_ok());
        drop(log);
        for seed in 0..SEEDS {
            let root = root.inner().power_cut(seed);
            let (log, report) = open(&root, small(), 4, at(20)).unwrap();
            let is_healed = report.damage.is_empty();
            assert!(is_healed || !is_done, "what was healed stays so");
            healed += usize::from(is_healed);
            if is_healed {
                assert_eq!(walk(&log).concat(), all);
                let old = name::store(base, 0);
                assert!(
                    !files(&root).contains(&old),
                    "the old file is in quarantine"
                );
            }
        }
        is_done
    });
    assert!(operations.unwrap() > 30, "{operations:?}");
    assert!(healed >= usize::try_from(SEEDS).unwrap(), "{healed}");
}

#[test]
fn an_error_at_any_step_loses_nothing_and_all_comes_in_after_a_reopening() {
    let source = Source::new(0);
    let prepared = MemoryDir::new();
    copy(&prepared, &source);
    let all = sent(&source, 0..2);
    let mut failed = 0;
    for nth in 1.. {
        let root = Disk::new(prepared.power_cut(0));
        let (mut log, _) = open(&root, follower(small()), 3, at(2)).unwrap();
        let kind = match nth % 2 {
            0 => ErrorKind::StorageFull,
            _ => ErrorKind::Other,
        };
        root.faults().fail(Match::ANY, nth, Fault::Fail(kind));
        let done = block_on(clone(&root, &mut log, &source, 0..2));
        let is_over = root.faults().is_pending();
        root.faults().clear();
        if done.is_err() {
            failed += 1;
            if !log.is_fenced() {
                block_on(clone(&root, &mut log, &source, 0..2)).unwrap();
                assert_eq!(walk(&log).concat(), all);
            }
        }
        drop(log);
        let (mut log, report) = open(&root, follower(small()), 4, at(10)).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        if log.log_end() == Offset::ZERO {
            block_on(clone(&root, &mut log, &source, 0..2)).unwrap();
        }
        assert_eq!(walk(&log).concat(), all);
        if is_over {
            break;
        }
    }
    assert!(failed > 30, "{failed}");
}

#[test]
fn a_directory_that_cannot_be_listed_fences_no_log_that_takes_segments_in() {
    let source = Source::new(0);
    let prepared = MemoryDir::new();
    copy(&prepared, &source);
    for nth in 1.. {
        let root = Disk::new(prepared.power_cut(0));
        let (mut log, _) = open(&root, follower(small()), 3, at(2)).unwrap();
        let faults = root.faults();
        faults.fail(Operation::List, nth, Fault::Fail(ErrorKind::Other));
        let _told = block_on(clone(&root, &mut log, &source, 0..2));
        assert!(!log.is_fenced(), "list {nth}");
        if faults.is_pending() {
            assert!(1 < nth, "it is listed");
            break;
        }
    }
}
