//! Where the end of a log is cut, or begins anew: what the mark says then, and what of damage stays.

use std::io::ErrorKind;

use corelog_record::{LeaderEpoch, Offset};

use super::following::{self, Memory};
use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, File, Open, block_on};
use crate::format::edit::{Edit, Generation, Point};
use crate::log::lineage::Began;
use crate::log::work::Garbage;
use crate::log::{Begin, ChorePlan, Damage, Event, Log, Options};
use crate::manifest::Manifest;
use crate::segment::name;
use crate::testing::own::{fill, follower};
use crate::testing::{batch, flush, open, read_all, run, settle};

type Disk = FaultyDir<MemoryDir>;

/// Appends so many batches, four of which make a segment.
fn append(log: &mut Log<Disk>, count: usize) {
    for _ in 0..count {
        log.append(&batch(&[&[b'f'; 3_800]], at(0)), at(0)).unwrap();
        flush(log, at(0)).unwrap();
    }
}

/// The mark's sync number `nth` of `plan` fails, and the process ends; what it was to cover can be read until
/// the power goes. Returns whether there was such a sync.
fn lose_mark(root: &Disk, log: Log<Disk>, plan: ChorePlan<Disk>, nth: u64, seed: u64) -> bool {
    let mut log = log;
    // What a failed sync loses depends on how many operations there were.
    (0..seed).for_each(|_| drop(block_on(root.child("p0").list())));
    let is_mark = Match::on(Operation::Sync, "mark");
    root.faults()
        .fail(is_mark, nth, Fault::Fail(ErrorKind::Other));
    let is_lost = run(&mut log, plan, at(1)).is_err();
    root.faults().clear();
    root.child("p0")
        .inner()
        .lose_unsynced("mark", seed)
        .unwrap();
    is_lost
}

/// Opens what is left, appends one batch, and asserts that it is there when the power went.
fn append_and_cut_power(root: &Disk, seed: u64) {
    let (mut log, _) = open(root, small(), 3, at(2)).unwrap();
    append(&mut log, 1);
    let (end, whole) = (log.durable(), read_all(&log, log.log_start()).unwrap());
    drop(log);
    let (log, report) = open(&root.inner().power_cut(seed), small(), 4, at(3)).unwrap();
    let hint = format!("seed {seed}: {report:?}");
    assert!(!report.is_read_only && report.damage.is_empty(), "{hint}");
    assert_eq!(log.durable(), end, "{hint}");
    assert!(read_all(&log, log.log_start()).unwrap() == whole, "{hint}");
}

/// The mark that spoke of what was cut was the last one known to be on the disk. The one behind the cut
/// was read and believed, and lost with the one behind it: the old one spoke of new files of old names.
#[test]
fn no_mark_that_may_survive_a_cut_speaks_of_what_was_cut() {
    let lost = marks_lost(|log| {
        let base = log.segments().last().unwrap().base;
        assert_eq!(log.durable().get() - base.get(), 3);
        log.plan_truncate_suffix(base, at(1)).unwrap().unwrap()
    });
    assert_eq!(lost, 40);
}

#[test]
fn no_mark_that_may_survive_speaks_of_what_a_log_had_that_begins_anew_below() {
    let lost = marks_lost(|log| {
        let last = log.segments().last().unwrap().base;
        let start = log.segment_at(last).base.place();
        log.roll();
        settle(log, at(0)).unwrap();
        let plan = log.plan_truncate(log.durable()).unwrap().unwrap();
        run(log, plan, at(0)).unwrap();
        settle(log, at(100_000)).unwrap();
        assert_eq!(log.segments().count(), 0);
        log.plan_adopt(log.identity().history, start).unwrap()
    });
    assert!(20 <= lost, "{lost}");
}

/// Plans a cut of a log of seven batches, loses each sync of its mark in many ways, and appends to what a power
/// cut leaves. How many there were to lose.
fn marks_lost(plan: impl Fn(&mut Log<Disk>) -> ChorePlan<Disk>) -> u32 {
    let mut lost = 0;
    for seed in 0..20 {
        for nth in 1..=2 {
            let root = Disk::new(MemoryDir::new());
            let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
            append(&mut log, 7);
            settle(&mut log, at(0)).unwrap();
            let plan = plan(&mut log);
            lost += u32::from(lose_mark(&root, log, plan, nth, seed));
            append_and_cut_power(&root, seed);
        }
    }
    lost
}

/// The mark spoke of the store behind, in which it was, and said no less of those before: what rotted at the end of the
/// last one was cut as torn, and its offsets were given out again.
#[test]
fn what_a_mark_of_an_emptied_store_promises_is_not_torn() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 7);
    let bases: Vec<_> = log.segments().map(|segment| segment.base).collect();
    assert_eq!(bases.len(), 2);
    let plan = log.plan_truncate_suffix(bases[1], at(1)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    assert_eq!(log.durable(), bases[1]);
    drop(log);
    let store = root.child("p0");
    let bytes = block_on(store.read(STORE, 1 << 20)).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let bit = 8 * (written as u64 - 100);
    store.inner().flip(STORE, bit).unwrap();
    let (mut log, report) = open(&root, small(), 2, at(2)).unwrap();
    let is_torn = |event: &Event| matches!(event, Event::Torn(_));
    assert!(!log.take_events().iter().any(is_torn));
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(log.durable(), bases[1]);
}

/// The mark says less before the edit; if that does not come, it has to say all again.
#[test]
fn a_cut_that_does_not_come_leaves_a_mark_that_is_written_again() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 7);
    settle(&mut log, at(0)).unwrap();
    block_on(log.close(at(0))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(1)).unwrap();
    let is_manifest = Match::on(Operation::Open, "manifest");
    root.faults().fail(is_manifest, 1, Fault::OutOfFiles);
    let plan = log.plan_truncate_suffix(offset(2), at(1)).unwrap().unwrap();
    let refused = run(&mut log, plan, at(1)).unwrap_err();
    assert!(refused.is_shortage() && !log.is_fenced(), "{refused}");
    let marked = |log: &Log<Disk>| log.mark.get().unwrap().last().unwrap().offset;
    assert_eq!(marked(&log), offset(2));
    settle(&mut log, at(10_000)).unwrap();
    assert_eq!(marked(&log), offset(7));
}

/// Rows every 4 KiB: each fourth batch of `filled` has one.
fn sparse() -> Options {
    Options {
        index_interval_bytes: 4096,
        ..small()
    }
}

/// A log of twelve batches in one segment, and the length of a batch.
fn filled(root: &MemoryDir) -> (Memory, usize) {
    let (mut log, _) = open(root, sparse(), 1, at(0)).unwrap();
    fill(&mut log, 12, 1_000);
    let one = usize::try_from(log.store_bytes().bytes() / 12).unwrap();
    assert_eq!(log.segments().count(), 1);
    (log, one)
}

fn cut(log: &mut Memory, from: u64) -> Result<(), Error> {
    let plan = log.plan_truncate_suffix(offset(from), at(1))?;
    run(log, plan.unwrap(), at(1)).map(drop)
}

/// The epoch lies outside a batch's checksum. The cut made the chain anew from what it read, and what
/// stayed was sealed with it: the damage was no damage any more, and no copy was equal to the log.
#[test]
fn a_cut_does_not_believe_batches_that_the_chain_contradicts() {
    // Between two rows, and behind the last one.
    for (rotten, from, behind) in [(5, 10, 8), (9, 11, 12)] {
        let root = MemoryDir::new();
        let (mut log, one) = filled(&root);
        change(&root, STORE, |bytes| bytes[rotten * one + 15] ^= 1);
        let refused = cut(&mut log, from).unwrap_err();
        let Error::Damaged { from, to, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!((from, to), (offset(behind - 4), offset(behind)));
        assert_eq!((log.is_fenced(), log.log_end()), (false, offset(12)));
        // Below the damage all is known.
        cut(&mut log, behind - 4).unwrap();
        assert_eq!(log.log_end(), from);
        assert!(log.damage().is_empty(), "{:?}", log.damage());
    }
}

/// An opening that stepped over the damage knows no chain behind it.
#[test]
fn a_cut_above_damage_that_an_opening_stepped_over_is_refused() {
    let root = MemoryDir::new();
    let (mut log, one) = filled(&root);
    // What lies below an epoch was durable, and without a mark all of it is read.
    let plan = log.plan_epoch(Begin::Own);
    following::run(&mut log, plan).unwrap();
    drop(log);
    block_on(root.child("p0").remove(crate::mark::NAME)).unwrap();
    change(&root, STORE, |bytes| bytes[5 * one + 15] ^= 1);
    let (mut log, report) = open(&root, sparse(), 2, at(1)).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    let refused = cut(&mut log, 10).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
    cut(&mut log, 5).unwrap();
    assert_eq!((log.log_end(), log.damage()), (offset(5), &[][..]));
}

/// The damage was forgotten only where it began behind the cut: what came there was not served, for ever.
#[test]
fn damage_ends_where_the_log_was_cut() {
    let root = MemoryDir::new();
    let (mut log, _) = filled(&root);
    let found = Damage {
        from: offset(3),
        to: offset(6),
        segment: Offset::ZERO,
    };
    log.note_damage(found);
    settle(&mut log, at(1)).unwrap();
    cut(&mut log, 5).unwrap();
    fill(&mut log, 3, 1_000);
    let left = Damage {
        to: offset(5),
        ..found
    };
    for _ in 0..2 {
        assert_eq!(log.damage(), [left]);
        assert_eq!(read_all(&log, offset(5)).unwrap().len(), 3);
        settle(&mut log, at(2)).unwrap();
        block_on(log.close(at(3))).unwrap();
        log = open(&root, sparse(), 2, at(4)).unwrap().0;
    }
}

/// A store that is not there was an error of the disk: the log was fenced, and again after each opening.
#[test]
fn a_store_that_is_gone_is_cut_as_one_that_is_damaged() {
    for (from, is_cut) in [(4, true), (2, true), (5, false)] {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        append(&mut log, 12);
        settle(&mut log, at(1)).unwrap();
        drop(log);
        block_on(root.child("p0").remove("00000000000000000004.log")).unwrap();
        let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
        let plan = log.plan_truncate_suffix(offset(from), at(2));
        let plan = plan.unwrap().unwrap();
        let done = run(&mut log, plan, at(2));
        assert!(!log.is_fenced(), "{from}: {done:?}");
        if is_cut {
            done.unwrap();
            assert_eq!(log.log_end(), offset(from));
            append(&mut log, 1);
        } else {
            assert!(matches!(done, Err(Error::Damaged { .. })), "{done:?}");
        }
    }
}

/// A disk that could not be read for a moment fenced the log, of which nothing had been changed.
#[test]
fn a_cut_that_cannot_read_what_it_is_to_cut_changes_nothing() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 7);
    log.tail.shrink(0);
    let cut = |log: &mut Log<Disk>| {
        let plan = log.plan_truncate_suffix(offset(6), at(1)).unwrap().unwrap();
        run(log, plan, at(1)).map(drop)
    };
    // Less is tried, too.
    for nth in 1..=2 {
        let is_read = Match::on(Operation::Read, ".log");
        let fault = Fault::Fail(ErrorKind::Other);
        root.faults().fail(is_read, nth, fault);
    }
    let failed = cut(&mut log).unwrap_err();
    assert!(matches!(failed, Error::Io { .. }), "{failed}");
    root.faults().clear();
    assert!(!log.is_fenced());
    append(&mut log, 1);
    assert_eq!(log.durable(), offset(8));
    cut(&mut log).unwrap();
    assert_eq!(log.durable(), offset(6));
}

/// The name of a file that could not be removed came to mean another file, which went in its place a minute later.
#[test]
fn a_log_is_not_cut_while_files_are_to_be_removed_whose_names_may_come_again() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 7);
    let last = log.segments().last().unwrap().base;
    let store = log.segment_at(last).store.clone().unwrap();
    log.garbage.push(Garbage {
        store,
        names: vec![name::store(last, 9)],
        is_reusable: false,
    });
    log.remove_retry_at = at(60_000);
    let cut = |log: &mut Log<Disk>| log.plan_truncate_suffix(last, at(1)).map(drop);
    assert!(matches!(cut(&mut log), Err(Error::Busy)));
    assert_eq!(log.remove_retry_at, at(1));
}

/// A copy that began anew forgot the epoch that it had taken over from its source, and was to give its number out again.
#[test]
fn a_log_that_begins_anew_knows_what_epochs_it_had_also_after_a_kill() {
    let mut killed = 0;
    for (seed, nth) in (0..20).flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        append(&mut log, 3);
        settle(&mut log, at(0)).unwrap();
        log.set_options(follower(small()));
        let began = Began {
            epoch: LeaderEpoch::new(7).unwrap(),
            lineage: log.epochs()[0].lineage,
            offset: log.log_end(),
        };
        let plan = log.plan_epoch(Begin::Copied(began)).unwrap();
        run(&mut log, plan, at(1)).unwrap();
        let start = Point {
            offset: offset(100),
            ..log.end_place()
        };
        let plan = log.plan_adopt(log.identity().history, start).unwrap();
        killed += u32::from(lose_mark(&root, log, plan, nth, seed));
        let (log, _) = open(&root, small(), 2, at(2)).unwrap();
        assert_eq!(log.epoch_above(1).unwrap().get(), log.epoch().get() + 1);
        assert!(7 < log.epoch().get(), "{:?} of {seed}, {nth}", log.epoch());
    }
    assert_eq!(killed, 40);
}

/// A log whose last store is shorter than its mark tells, with an empty store behind it, and where that
/// begins.
fn read_only() -> (Disk, Log<Disk>, Point) {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 3);
    settle(&mut log, at(1)).unwrap();
    log.roll();
    log.append(&batch(&[b"lost"], at(1)), at(1)).unwrap();
    let is_group = Match::on(Operation::Write, "00000000000000000003.log");
    root.faults()
        .fail(is_group, 1, Fault::Fail(ErrorKind::Other));
    flush(&mut log, at(1)).unwrap_err();
    drop(log);
    let file = block_on(root.child("p0").open(STORE, Open::Write)).unwrap();
    block_on(file.set_len(5_000)).unwrap();
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.is_read_only, "{report:?}");
    let named = log.manifest.get().unwrap().state().segments();
    let behind = named[1].start();
    assert_eq!((named.len(), behind.offset), (2, log.durable()));
    (root, log, behind)
}

/// The manifest knew the end of the last segment and let it go; the log in memory had no other: the
/// whole node ended.
#[test]
fn a_read_only_log_is_not_truncated() {
    let (_root, mut log, _) = read_only();
    for lowest in [1, 3] {
        let refused = log.plan_truncate(offset(lowest)).unwrap_err();
        assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    }
    assert!(log.plan_truncate(Offset::ZERO).unwrap().is_none());
}

/// The empty store stayed, its name was taken, and the first group fenced the log.
#[test]
fn a_read_only_log_begins_anew_where_an_empty_store_waits() {
    let (_root, mut log, start) = read_only();
    log.set_options(follower(small()));
    let plan = log.plan_adopt(log.identity().history, start).unwrap();
    run(&mut log, plan, at(3)).unwrap();
    log.set_options(small());
    let plan = log.plan_epoch(Begin::Own).unwrap();
    run(&mut log, plan, at(3)).unwrap();
    append(&mut log, 1);
    assert_eq!((log.durable(), log.is_fenced()), (offset(4), false));
}

/// The number of the copy wrapped, to the name of the first file.
#[test]
fn a_segment_in_its_last_generation_is_neither_cut_nor_copied() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append(&mut log, 3);
    drop(log);
    let dir = root.child("p0");
    let mut manifest = block_on(Manifest::open(dir.clone())).unwrap();
    let (base, generation) = (Offset::ZERO, u32::MAX);
    let last = Edit::Generation(Generation { base, generation });
    block_on(manifest.append(&last)).unwrap();
    let store = name::store(base, generation);
    block_on(dir.rename(STORE, &dir, &store)).unwrap();
    let is_refused = |error: Option<Error>| {
        let told = format!("{error:?}");
        assert!(told.contains("GenerationsExhausted"), "{told}");
    };
    // In place it takes no write.
    let fault = Fault::Fail(ErrorKind::Other);
    root.faults()
        .fail(Match::on(Operation::Write, ".log"), 1, fault);
    is_refused(open(&root, small(), 2, at(1)).err());
    root.faults().clear();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    assert_eq!(read_all(&log, base).unwrap().len(), 3);
    assert_eq!(
        log.generation_next(base),
        generation,
        "there is none behind it"
    );
    let plan = log.plan_truncate_suffix(offset(2), at(2)).unwrap().unwrap();
    is_refused(run(&mut log, plan, at(2)).err());
    assert!(!log.is_fenced());
    append(&mut log, 1);
    assert_eq!(read_all(&log, base).unwrap().len(), 4);
}
