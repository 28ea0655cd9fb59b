//! Whatever of a manifest is lost, the log is there again: all that was durable and not expired, and
//! nothing that never was.

mod epochs;
mod sealed;
mod stores;
mod used;

use std::io::ErrorKind;

use corelog_record::{ByteSize, HistoryId, Offset};
use fastrand::Rng;

use super::{Known, Plan, Refusal, Step, plan};
use crate::disk::faulty::{Fault, FaultyDir, Match};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, Open, block_on};
use crate::format::edit::Frame;
use crate::format::manifest::EDITS_AT;
use crate::log::{Hold, Log, Options};
use crate::testing::own::{self, alter, at, offset};
use crate::testing::{batch, flush, identity, open, read_all, run, settle};

fn small() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(8),
        index_interval_bytes: 512,
        ..Options::default()
    }
}

fn known() -> Known {
    let identity = identity();
    Known {
        topic: Some(identity.topic),
        partition: Some(identity.partition),
        now: at(9),
        seed: 5,
        interval_bytes: 512,
    }
}

fn fill(log: &mut Log<MemoryDir>, rng: &mut Rng, batches: u64) {
    fill_behind_mark(log, rng, batches);
    settle(log, at(0)).unwrap();
}

/// Appends what the mark is not told of.
fn fill_behind_mark(log: &mut Log<MemoryDir>, rng: &mut Rng, batches: u64) {
    for _ in 0..batches {
        let value = vec![rng.u8(..); rng.usize(1..900)];
        log.append(&batch(&[&value, b"second"], at(0)), at(0))
            .unwrap();
        flush(log, at(0)).unwrap();
    }
}

/// A log that lived: appended to, expired, truncated, cut, killed and reopened.
fn lived(root: &MemoryDir, rng: &mut Rng) -> Log<MemoryDir> {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    fill(&mut log, rng, 30);
    for step in 0..rng.u64(0..8) {
        match rng.u8(0..6) {
            0 | 1 => fill(&mut log, rng, 20),
            2 => {
                let lowest = rng.u64(log.log_start().get()..=log.durable().get());
                let plan = log.plan_truncate(Offset::new(lowest).unwrap()).unwrap();
                if let Some(plan) = plan {
                    run(&mut log, plan, at(0)).unwrap();
                }
            }
            3 => {
                let bytes = ByteSize::from_kib(rng.u32(8..40));
                if let Some(plan) = log.plan_expire_to(bytes, Hold::NONE).unwrap() {
                    run(&mut log, plan, at(0)).unwrap();
                }
            }
            4 => {
                let from = rng.u64(log.log_start().get()..=log.durable().get());
                let from = Offset::new(from).unwrap();
                let now = at(i64::try_from(step).unwrap());
                if let Ok(Some(plan)) = log.plan_truncate_suffix(from, now) {
                    run(&mut log, plan, at(0)).unwrap();
                }
            }
            _ => {
                drop(log);
                (log, _) = open(root, small(), step, at(0)).unwrap();
            }
        }
    }
    settle(&mut log, at(0)).unwrap();
    log
}

fn planned(root: &MemoryDir) -> Result<Plan<MemoryDir>, Refusal> {
    block_on(plan(root.child("p0"), known(), &mut |_| {}))
}

fn names(dir: &MemoryDir, suffix: &str) -> Vec<String> {
    let names = own::names(dir).into_iter();
    names.filter(|name| name.ends_with(suffix)).collect()
}

#[test]
fn a_log_is_there_again_after_its_manifest_was_lost() {
    let mut refused = 0;
    for seed in 0..250 {
        let mut rng = Rng::with_seed(seed);
        let root = MemoryDir::new();
        let mut log = lived(&root, &mut rng);
        let (log_start, durable) = (log.log_start(), log.durable());
        let expected = read_all(&log, log_start).unwrap();
        if rng.bool() {
            block_on(log.close(at(1))).unwrap();
        }
        drop(log);
        let dir = root.child("p0");
        let loss = rng.u8(0..3);
        match loss {
            0 => block_on(dir.remove("manifest")).unwrap(),
            1 => alter(&dir, "manifest", |bytes| {
                bytes[100 + usize::from(rng.u8(..))] ^= 1;
            }),
            _ => {
                let last = block_on(dir.read("manifest", 1 << 20)).unwrap();
                let last = last.iter().rposition(|byte| *byte != 0).unwrap();
                alter(&dir, "manifest", |bytes| bytes[rng.usize(4096..=last)] ^= 1);
            }
        }
        let before = names(&dir, "");
        let plan = match planned(&root) {
            Ok(plan) if plan.is_empty() => continue, // A torn end: opening deals with it.
            Ok(plan) => plan,
            // Everything may be gone but an empty store, or the first store's index.
            Err(Refusal::NoStores | Refusal::StartUnknown { .. }) => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}, loss {loss}: {error}"),
        };
        assert!(
            open(&root, small(), 7, at(2)).is_err(),
            "seed {seed}: it is not opened before"
        );
        block_on(plan.run()).unwrap();
        let after = names(&dir, "");
        for name in &before {
            let is_kept = after.iter().any(|now| now.starts_with(name.as_str()));
            assert!(is_kept, "seed {seed}: {name} is still there");
        }
        let (log, report) = open(&root.power_cut(seed), small(), 7, at(3))
            .unwrap_or_else(|error| panic!("seed {seed}, loss {loss}: {error:?}"));
        assert_eq!(report.damage, [], "seed {seed}, loss {loss}");
        assert_eq!(log.durable(), durable, "seed {seed}, loss {loss}");
        assert!(
            log.log_start() <= log_start,
            "seed {seed}: nothing is lost at the front"
        );
        assert_eq!(
            read_all(&log, log_start).unwrap(),
            expected,
            "seed {seed}, loss {loss}"
        );
        read_all(&log, log.log_start()).unwrap();
    }
    assert!(refused < 60, "{refused}");
}

/// With the mark at the end of the log nothing was held against the epochs of the new manifest.
#[test]
fn a_log_whose_mark_lags_is_there_again_after_its_manifest_was_damaged() {
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let root = MemoryDir::new();
        let mut log = lived(&root, &mut rng);
        fill_behind_mark(&mut log, &mut rng, 20);
        let log_start = log.log_start();
        let expected = read_all(&log, log_start).unwrap();
        drop(log);
        let dir = root.child("p0");
        let last = block_on(dir.read("manifest", 1 << 20)).unwrap();
        let last = last.iter().rposition(|byte| *byte != 0).unwrap();
        alter(&dir, "manifest", |bytes| {
            bytes[rng.usize(EDITS_AT..=last)] ^= 1;
        });
        match planned(&root) {
            Ok(plan) if plan.is_empty() => continue,
            Ok(plan) => block_on(plan.run()).unwrap(),
            Err(Refusal::NoStores | Refusal::StartUnknown { .. }) => continue,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let (log, report) = open(&root.power_cut(seed), small(), 7, at(3)).unwrap();
        assert_eq!((report.damage, report.torn), (vec![], None), "seed {seed}");
        assert_eq!(read_all(&log, log_start).unwrap(), expected, "seed {seed}");
    }
}

/// What was left of it was sound, and there was nothing to repair.
#[test]
fn a_manifest_that_lost_its_last_edits_is_made_anew_where_the_mark_knows_of_more() {
    let is_manifest = |step: &Step| matches!(step, Step::Manifest { .. });
    let mut repaired = 0;
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let root = MemoryDir::new();
        let log = lived(&root, &mut rng);
        let (log_start, durable) = (log.log_start(), log.durable());
        let expected = read_all(&log, log_start).unwrap();
        drop(log);
        let bytes = block_on(root.child("p0").read("manifest", 1 << 20)).unwrap();
        let mut edit = EDITS_AT;
        while let Some(frame) = bytes.get(edit..).and_then(Frame::read) {
            let root = root.power_cut(0);
            alter(&root.child("p0"), "manifest", |bytes| bytes[edit..].fill(0));
            edit += frame.bytes();
            match planned(&root) {
                Ok(plan) if !plan.steps().iter().any(is_manifest) => continue,
                Ok(plan) => block_on(plan.run()).unwrap(),
                Err(Refusal::NoStores | Refusal::StartUnknown { .. }) => continue,
                Err(error) => panic!("seed {seed}, before {edit}: {error}"),
            }
            repaired += 1;
            let (log, report) = open(&root, small(), 7, at(3)).unwrap();
            assert_eq!(report.damage, [], "seed {seed}");
            assert_eq!(log.durable(), durable, "seed {seed}");
            assert_eq!(read_all(&log, log_start).unwrap(), expected, "seed {seed}");
        }
    }
    assert!(100 < repaired, "{repaired}");
}

/// What the last store held is lost with it: the log ends before what the mark tells of, and was not opened.
#[test]
fn a_log_without_its_last_store_is_repaired_to_what_is_left() {
    for has_manifest in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, &mut Rng::with_seed(4), 60);
        let expected = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        let dir = root.child("p0");
        block_on(dir.remove(names(&dir, ".log").last().unwrap())).unwrap();
        match has_manifest {
            true => alter(&dir, "manifest", |bytes| bytes[EDITS_AT + 300] ^= 1),
            false => block_on(dir.remove("manifest")).unwrap(),
        }
        let plan = planned(&root).unwrap();
        let is_mark = |step: &Step| matches!(step, Step::Displace { file, .. } if file == "mark");
        assert!(plan.steps().iter().any(is_mark), "{:?}", plan.steps());
        block_on(plan.run()).unwrap();
        assert!(planned(&root).unwrap().is_empty());
        let (log, report) = open(&root, small(), 7, at(3)).unwrap();
        assert_eq!(report.damage, []);
        let left = read_all(&log, Offset::ZERO).unwrap();
        assert!(!left.is_empty() && expected.starts_with(&left));
    }
}

#[test]
fn a_plan_changes_nothing_and_a_repair_that_was_interrupted_is_begun_again() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    let log = lived(&root, &mut rng);
    let (log_start, expected) = (log.log_start(), read_all(&log, log.log_start()).unwrap());
    drop(log);
    let dir = root.child("p0");
    block_on(dir.remove("manifest")).unwrap();
    for index in names(&dir, ".index").iter().skip(1) {
        alter(&dir, index, |bytes| bytes[70] ^= 1);
    }
    let before = names(&dir, "");
    assert!(planned(&root).unwrap().steps().len() > 2);
    assert_eq!(names(&dir, ""), before);
    for seed in 0..60 {
        let disk = FaultyDir::new(root.power_cut(seed));
        let failing = Fault::Torn { seed };
        let plan = block_on(plan(disk.child("p0"), known(), &mut |_| {})).unwrap();
        let before = disk.faults().total();
        disk.faults().fail(Match::ANY, seed + 1, failing);
        let _done_or_not = block_on(plan.run());
        assert!(before < disk.faults().total());
        let cut = disk.inner().power_cut(seed);
        match planned(&cut) {
            Ok(plan) => block_on(plan.run()).unwrap(),
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let (log, _) = open(&cut, small(), 7, at(3)).unwrap();
        assert_eq!(read_all(&log, log_start).unwrap(), expected, "seed {seed}");
    }
}

/// It had been moved aside before the one that takes its place was there: what expired was read again then, and epochs got
/// other lineages.
#[test]
fn a_repair_that_was_interrupted_still_has_what_it_was_planned_from() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    drop(lived(&root, &mut rng));
    let bytes = block_on(root.child("p0").read("manifest", 1 << 20)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // One of its last edits, as far as all can be known without those behind it.
    let mut damaged = (EDITS_AT..end).rev().map(|position| {
        let root = root.power_cut(0);
        alter(&root.child("p0"), "manifest", |bytes| bytes[position] ^= 1);
        root
    });
    let root = damaged
        .find(|root| planned(root).is_ok_and(|plan| !plan.is_empty()))
        .expect("an edit");
    let repaired = |root: &MemoryDir| {
        block_on(planned(root).unwrap().run()).unwrap();
        let (log, _) = open(root, small(), 7, at(3)).unwrap();
        (
            log.log_start(),
            log.epochs().first().copied(),
            log.durable(),
        )
    };
    let expected = repaired(&root.power_cut(0));
    let mut interrupted = 0;
    for (nth, is_full) in (1..60).flat_map(|nth| [false, true].map(|is_full| (nth, is_full))) {
        let disk = FaultyDir::new(root.power_cut(0));
        let plan = block_on(plan(disk.child("p0"), known(), &mut |_| {})).unwrap();
        let fault = match is_full {
            true => Fault::Fail(ErrorKind::StorageFull),
            false => Fault::Torn { seed: nth },
        };
        disk.faults().fail(Match::ANY, nth, fault);
        interrupted += u64::from(block_on(plan.run()).is_err());
        disk.faults().clear();
        for after in [disk.inner().power_cut(nth), disk.inner().clone()] {
            assert_eq!(repaired(&after), expected, "operation {nth}, {is_full}");
        }
    }
    assert!(interrupted > 10, "{interrupted}");
}

#[test]
fn a_mark_that_was_cut_within_its_first_words_hinders_no_repair() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    let log = lived(&root, &mut rng);
    let durable = log.durable();
    drop(log);
    let dir = root.child("p0");
    block_on(dir.remove("manifest")).unwrap();
    alter(&dir, "mark", |bytes| {
        bytes.truncate(10);
        bytes.resize(2 * BLOCK_BYTES, 0);
    });
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, _) = open(&root, small(), 7, at(3)).unwrap();
    assert_eq!(log.durable(), durable);
}

#[test]
fn a_sound_manifest_stays_and_wrong_indexes_are_written_anew() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, &mut rng, 60);
    drop(log);
    let dir = root.child("p0");
    assert!(planned(&root).unwrap().is_empty());
    let indexes = names(&dir, ".index");
    let right = block_on(dir.read(&indexes[1], 1 << 20)).unwrap();
    alter(&dir, &indexes[1], |bytes| bytes[80] ^= 1);
    block_on(dir.remove(&indexes[2])).unwrap();
    let plan = planned(&root).unwrap();
    assert_eq!(plan.steps().len(), 2);
    block_on(plan.run()).unwrap();
    assert_eq!(block_on(dir.read(&indexes[1], 1 << 20)).unwrap(), right);
    assert!(planned(&root).unwrap().is_empty());
    assert!(names(&dir, "").contains(&format!("{}.old-{}", indexes[1], at(9).millis())));
}

#[test]
fn what_cannot_be_known_is_refused() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, &mut rng, 60);
    drop(log);
    block_on(root.child("p0").remove("manifest")).unwrap();
    let stores = names(&root.child("p0"), ".log");
    let refused = |change: &dyn Fn(&MemoryDir)| {
        let root = root.power_cut(1);
        change(&root.child("p0"));
        planned(&root).unwrap_err()
    };
    let gap = refused(&|dir| block_on(dir.remove(&stores[2])).unwrap());
    assert!(matches!(gap, Refusal::Gap { .. }), "{gap}");
    let foreign = refused(&|dir| {
        let index = stores[1].replace(".log", ".index");
        let history = HistoryId::from_bytes([9; 16]);
        let bytes = block_on(dir.read(&index, 1 << 20)).unwrap();
        let header = crate::format::index::Header::decode(&bytes).unwrap();
        let header = crate::format::index::Header { history, ..header }.encode();
        alter(dir, &index, |bytes| bytes[..64].copy_from_slice(&header));
    });
    assert!(matches!(foreign, Refusal::Histories { .. }), "{foreign}");
    let other = refused(&|dir| alter(dir, &stores[1], |bytes| bytes[15] ^= 1));
    assert!(matches!(other, Refusal::Disagree { .. }), "{other}");
    let unknown = refused(&|dir| {
        block_on(dir.remove(&stores[0])).unwrap();
        for index in names(dir, ".index") {
            block_on(dir.remove(&index)).unwrap();
        }
    });
    assert!(matches!(unknown, Refusal::StartUnknown { .. }), "{unknown}");
    let nothing = refused(&|dir| {
        for store in names(dir, ".log") {
            block_on(dir.remove(&store)).unwrap();
        }
    });
    assert!(matches!(nothing, Refusal::NoStores), "{nothing}");
    let dir = root.power_cut(1).child("p0");
    block_on(dir.remove("mark")).unwrap();
    let nobody = Known {
        topic: None,
        ..known()
    };
    let refusal = block_on(plan(dir, nobody, &mut |_| {})).unwrap_err();
    assert!(matches!(refusal, Refusal::NoIdentity), "{refusal}");
}

#[test]
fn a_store_with_damage_is_not_sealed_and_opening_tells_of_it() {
    let mut rng = Rng::with_seed(4);
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, &mut rng, 60);
    let end = log.durable();
    drop(log);
    let dir = root.child("p0");
    let stores = names(&dir, ".log");
    alter(&dir, &stores[1], |bytes| bytes[200] ^= 1);
    block_on(dir.remove("manifest")).unwrap();
    let plan = planned(&root).unwrap();
    let manifest = plan.steps().iter().find_map(|step| match step {
        Step::Manifest { end, .. } => Some(*end),
        _ => None,
    });
    assert_eq!(manifest, Some(end));
    block_on(plan.run()).unwrap();
    let (log, report) = open(&root, small(), 7, at(3)).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(log.durable(), end);
}
