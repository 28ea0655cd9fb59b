//! Bugs that were fixed, each with its story.

use std::io::ErrorKind;

use corelog_record::{ByteSize, Offset};

use super::following::{self, follower};
use super::recovery::{STORE, change};
use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format::edit::{Edit, Settings};
use crate::log::lineage::Began;
use crate::log::{AppendError, Begin, Hold, Log, Options, ReadError};
use crate::manifest::Manifest;
use crate::testing::own::fill;
use crate::testing::{batch, flush, open, run, settle};

type Disk = FaultyDir<MemoryDir>;

fn append_and_flush<D: Dir>(log: &mut Log<D>, count: usize) {
    for _ in 0..count {
        log.append(&batch(&[b"a record of some bytes"], at(0)), at(0))
            .unwrap();
        flush(log, at(0)).unwrap();
    }
}

/// While the end was being cut off, appends were taken, flushed and acknowledged; then the cut took
/// them along. What was only pending ended the program.
#[test]
fn nothing_is_appended_while_the_end_of_the_log_is_cut_off() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append_and_flush(&mut log, 3);
    let plan = log.plan_truncate_suffix(offset(2), at(1)).unwrap().unwrap();
    let refused = log.append(&batch(&[b"refused"], at(0)), at(0));
    assert!(matches!(refused, Err(AppendError::Cutting)), "{refused:?}");
    run(&mut log, plan, at(1)).unwrap();
    assert_eq!((log.log_end(), log.durable()), (offset(2), offset(2)));
    assert_eq!(
        log.append(&batch(&[b"taken"], at(0)), at(0)).unwrap().base,
        offset(2)
    );
}

/// The log start had moved past a batch that no mark had covered yet. When that batch rotted, it
/// looked torn, the log ended below its start, and each opening panicked.
#[test]
fn a_log_start_is_a_promise_of_all_below_it() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append_and_flush(&mut log, 5);
    let plan = log.plan_truncate(offset(4)).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    drop(log);
    change(&root, STORE, |bytes| bytes[150] ^= 1);
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(offset(4) <= log.log_start());
    assert!(report.torn.is_none(), "{report:?}");
    assert!(!report.damage.is_empty(), "{report:?}");
}

/// The manifest had room for the cut but not for the epoch after it, and the disk was full: the log
/// in memory went on uncut and acknowledged what the next opening quarantined.
#[test]
fn a_cut_that_is_durable_but_not_finished_fences() {
    let mut hits = 0;
    for fill in 440..520 {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        append_and_flush(&mut log, 3);
        drop(log);
        pad_manifest(&root, fill);
        let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
        append_and_flush(&mut log, 1);
        let before = log.durable();
        let plan = log.plan_truncate_suffix(offset(2), at(3)).unwrap().unwrap();
        let is_new = Match::on(Operation::CreateFile, "manifest.new");
        root.faults()
            .fail(is_new, 1, Fault::Fail(ErrorKind::StorageFull));
        let completed = run(&mut log, plan, at(3));
        if root.faults().is_pending() {
            continue;
        }
        hits += 1;
        assert!(completed.is_err());
        drop(log.append(&batch(&[b"acknowledged?"], at(4)), at(4)));
        let flushed = flush(&mut log, at(4))
            .ok()
            .flatten()
            .map(|flushed| flushed.durable);
        root.faults().clear();
        drop(log);
        let (log, _) = open(&root, small(), 5, at(5)).unwrap();
        assert!(
            flushed.is_none_or(|durable| durable <= log.durable()),
            "{before} {flushed:?}"
        );
    }
    assert!(hits > 0, "the manifest was never full");
}

/// Fills the manifest with edits that say nothing.
fn pad_manifest(root: &Disk, count: u32) {
    let mut manifest = block_on(Manifest::open(root.child("p0"))).unwrap();
    for number in 0..count {
        let changes = [("k".to_owned(), Some(number.to_string()))].into();
        block_on(manifest.append(&Edit::Settings(Settings { changes }))).unwrap();
    }
}

/// The disk was full just when a new partition had its manifest and not yet its mark: it never got
/// one, could not be cut, and each of its openings was unclean.
#[test]
fn a_full_disk_at_birth_leaves_a_log_with_a_mark() {
    let root = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"x", b"y"], at(0)), at(0)).unwrap();
    let is_mark = Match::on(Operation::CreateFile, "mark.new");
    root.faults()
        .fail(is_mark, 1, Fault::Fail(ErrorKind::StorageFull));
    assert!(flush(&mut log, at(0)).is_err());
    settle(&mut log, at(1000)).unwrap();
    assert_eq!(log.durable(), offset(2));
    append_and_flush(&mut log, 1);
    let cut = log
        .plan_truncate_suffix(offset(2), at(2000))
        .unwrap()
        .expect("it can be cut");
    run(&mut log, cut, at(2000)).unwrap();
    block_on(log.close(at(3000))).unwrap();
    let (log, report) = open(&root, small(), 2, at(4000)).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert_eq!(log.log_end(), offset(2));
}

/// The index of a store that was being recovered was held to a length of zero, so no row of it was
/// ever used, and one bad length hid all that followed.
#[test]
fn a_bad_length_is_stepped_over_by_index_rows() {
    let root = MemoryDir::new();
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (mut log, _) = open(&root, large.clone(), 1, at(0)).unwrap();
    fill(&mut log, 40, 500_000);
    let one = usize::try_from(log.store_bytes().bytes()).unwrap() / 40;
    block_on(log.close(at(1))).unwrap();
    block_on(root.child("p0").remove("mark")).unwrap();
    change(&root, STORE, |bytes| bytes[one + 8] ^= 0x40);
    let (log, report) = open(&root, large, 2, at(2)).unwrap();
    assert!(!report.is_read_only, "{report:?}");
    assert_eq!(log.durable(), offset(40));
    assert_eq!(
        (report.damage[0].from, report.damage[0].to),
        (offset(1), offset(2))
    );
}

/// A damaged segment was sealed like any other, so a clean stop made the damage unknown.
#[test]
fn damage_is_still_known_after_a_clean_stop_and_never_sealed() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    // Rolled, and not sealed before the end.
    fill(&mut log, 20, 1000);
    drop(log);
    change(&root, STORE, |bytes| bytes[1200] ^= 1);
    let (mut log, first) = open(&root, small(), 2, at(1000)).unwrap();
    assert!(!first.damage.is_empty());
    for time in [2000, 3000] {
        append_and_flush(&mut log, 1);
        settle(&mut log, at(time)).unwrap();
        assert!(!log.segments().next().unwrap().is_sealed);
        block_on(log.close(at(time))).unwrap();
        let report;
        (log, report) = open(&root, small(), 3, at(time + 100)).unwrap();
        assert!(
            report.is_clean && report.quarantined.is_empty(),
            "{report:?}"
        );
        assert_eq!(report.damage, first.damage);
        let read = log.plan_read(offset(1), Offset::MAX, 1 << 20);
        assert!(matches!(read, Err(ReadError::Damaged { .. })));
    }
    assert_eq!(log.log_end(), offset(22));
}

/// The base offset lies outside the checksum: a rotten one was handed to readers, who skipped
/// records and read others twice.
#[test]
fn a_rotten_base_offset_is_damage() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    append_and_flush(&mut log, 5);
    let one = usize::try_from(log.store_bytes().bytes()).unwrap() / 5;
    log.tail.shrink(0);
    for flip in [2, 0x40] {
        change(&root, STORE, |bytes| bytes[one + 7] ^= flip);
        let read = block_on(
            log.plan_read(offset(1), Offset::MAX, 1 << 20)
                .unwrap()
                .run(),
        );
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
        change(&root, STORE, |bytes| bytes[one + 7] ^= flip);
    }
}

/// A damaged segment is never sealed, and so stopped retention for ever.
#[test]
fn retention_passes_a_damaged_segment() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 12, 3_000);
    drop(log);
    change(&root, STORE, |bytes| bytes[14_000] ^= 1);
    let (mut log, report) = open(&root, small(), 2, at(1)).unwrap();
    assert!(!report.damage.is_empty());
    for _ in 0..20 {
        append_and_flush(&mut log, 1);
        fill(&mut log, 1, 3_000);
        settle(&mut log, at(1_000)).unwrap();
    }
    let segments = log.segments().count();
    let plan = log
        .plan_expire(at(2_000), Hold::NONE)
        .unwrap()
        .expect("something to expire");
    run(&mut log, plan, at(2_000)).unwrap();
    assert!(log.segments().count() < segments - 1);
    assert!(log.damage().is_empty(), "the damaged segment is gone");
}

/// Fails the next sync of the manifest.
fn fail_edit(root: &Disk) {
    let is_edit = Match::on(Operation::Sync, "manifest");
    let fault = Fault::Fail(ErrorKind::Other);
    root.faults().fail(is_edit, 1, fault);
}

/// What the failed sync was to cover is readable until the power goes.
fn lose_edit(root: &Disk, seed: u64) {
    let dir = root.child("p0");
    dir.inner().lose_unsynced("manifest", seed).unwrap();
}

/// A truncation after a clean opening left the mark clean. Its sync failed, the process came back,
/// found the log clean and the log start moved, made neither durable, and the next power cut moved
/// the log start back.
#[test]
fn a_clean_mark_does_not_vouch_for_an_edit_whose_sync_failed() {
    for seed in 0..10 {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        append_and_flush(&mut log, 5);
        block_on(log.close(at(1))).unwrap();
        let (mut log, report) = open(&root, small(), 2, at(2)).unwrap();
        assert!(report.is_clean, "{report:?}");
        let plan = log.plan_truncate(offset(3)).unwrap().unwrap();
        fail_edit(&root);
        run(&mut log, plan, at(3)).unwrap_err();
        assert!(log.is_fenced());
        drop(log);
        lose_edit(&root, seed);
        let (log, _) = open(&root, small(), 3, at(4)).unwrap();
        let shown = log.log_start();
        let image = root.inner().power_cut(seed);
        let (log, _) = open(&image, small(), 4, at(5)).unwrap();
        assert_eq!(log.log_start(), shown);
    }
}

/// The first group after a clean stop added its store before it unset the mark. The sync of the
/// `add` failed, the process came back and found all clean, wrote acknowledged groups to the store,
/// and when the power went no manifest named it.
#[test]
fn a_clean_mark_does_not_vouch_for_a_store_whose_add_failed() {
    for seed in 0..10 {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        append_and_flush(&mut log, 1);
        log.roll();
        settle(&mut log, at(1)).unwrap();
        block_on(log.close(at(1))).unwrap();
        let (mut log, report) = open(&root, small(), 2, at(2)).unwrap();
        assert!(report.is_clean, "{report:?}");
        log.append(&batch(&[b"fails"], at(2)), at(2)).unwrap();
        fail_edit(&root);
        flush(&mut log, at(3)).unwrap_err();
        drop(log);
        lose_edit(&root, seed);
        let (mut log, _) = open(&root, small(), 3, at(4)).unwrap();
        append_and_flush(&mut log, 3);
        let acknowledged = log.durable();
        let image = root.inner().power_cut(seed);
        let (log, report) = open(&image, small(), 4, at(5)).unwrap();
        assert!(acknowledged <= log.log_end(), "{report:?}");
    }
}

/// An empty copy of `source` on another disk, which knows its first epoch.
fn copy_of(source: &Log<MemoryDir>, root: &Disk) -> Log<Disk> {
    let (mut copy, _) = open(root, follower(), 2, at(0)).unwrap();
    let plan = copy.plan_adopt(source.identity().history, source.floor_place());
    run(&mut copy, plan.unwrap(), at(0)).unwrap();
    let first = Began::from(&source.epochs()[0]);
    let plan = copy.plan_epoch(Begin::Copied(first));
    run(&mut copy, plan.unwrap(), at(0)).unwrap();
    copy
}

/// Appends the next batches of `source` below `upto` to `copy`, and flushes them.
fn copy_next(source: &Log<MemoryDir>, copy: &mut Log<Disk>, upto: u64) -> Result<(), Error> {
    let plan = source.plan_copy(copy.log_end(), offset(upto), 2_000);
    let fetched = block_on(plan.unwrap().run()).unwrap();
    let bytes: Vec<u8> = fetched.pieces.iter().flat_map(|p| p.to_vec()).collect();
    let appended = copy.append_copied(&bytes, fetched.segment_base, at(0));
    appended.unwrap();
    flush(copy, at(0)).map(drop)
}

/// A follower begins no epoch when it opens, and so wrote nothing to its manifest: an edit whose sync had
/// failed was read, batches went into the store that it named and were told durable, and the power took
/// the edit with all of them.
#[test]
fn a_follower_makes_sure_of_the_edit_that_an_opening_only_read() {
    for seed in 0..10 {
        let root = Disk::new(MemoryDir::new());
        let source = following::source(&MemoryDir::new(), 20);
        let border = source.segments().next().unwrap().next;
        let mut copy = copy_of(&source, &root);
        while copy.log_end() < border {
            copy_next(&source, &mut copy, border.get()).unwrap();
        }
        block_on(copy.close(at(1))).unwrap();
        let (mut copy, _) = open(&root, follower(), 3, at(1)).unwrap();
        fail_edit(&root);
        copy_next(&source, &mut copy, 20).unwrap_err();
        drop(copy);
        lose_edit(&root, seed);
        let (mut copy, _) = open(&root, follower(), 3, at(2)).unwrap();
        copy_next(&source, &mut copy, 20).unwrap();
        copy_next(&source, &mut copy, 20).unwrap();
        let (durable, image) = (copy.durable(), root.inner().power_cut(seed));
        let (copy, report) = open(&image, follower(), 4, at(3)).unwrap();
        assert!(durable <= copy.durable(), "seed {seed}: {report:?}");
    }
}

/// The same with an epoch that began at the source: without it its batches looked torn.
#[test]
fn a_follower_makes_sure_of_the_epoch_that_an_opening_only_read() {
    for seed in 0..10 {
        let root = Disk::new(MemoryDir::new());
        let mut source = following::source(&MemoryDir::new(), 5);
        let plan = source.plan_epoch(Begin::Own);
        following::run(&mut source, plan).unwrap();
        (0..3).for_each(|number| following::append(&mut source, number));
        let mut copy = copy_of(&source, &root);
        while copy.log_end() < offset(5) {
            copy_next(&source, &mut copy, 5).unwrap();
        }
        block_on(copy.close(at(1))).unwrap();
        let (mut copy, _) = open(&root, follower(), 3, at(1)).unwrap();
        fail_edit(&root);
        let second = Began::from(&source.epochs()[1]);
        let plan = copy.plan_epoch(Begin::Copied(second)).unwrap();
        run(&mut copy, plan, at(0)).unwrap_err();
        drop(copy);
        lose_edit(&root, seed);
        let (mut copy, _) = open(&root, follower(), 3, at(2)).unwrap();
        copy_next(&source, &mut copy, 8).unwrap();
        copy_next(&source, &mut copy, 8).unwrap();
        let (durable, image) = (copy.durable(), root.inner().power_cut(seed));
        let (copy, report) = open(&image, follower(), 4, at(3)).unwrap();
        assert!(durable <= copy.durable(), "seed {seed}: {report:?}");
    }
}

/// A process died with an edit written and not synced. The next opening found the edit, removed the
/// files that it did not name any more, and failed before it wrote to the manifest; the power went,
/// and with it the edit: the manifest named files that were gone.
#[test]
fn a_file_is_tidied_away_only_when_it_is_durably_not_named() {
    for seed in 0..20 {
        let root = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        for _ in 0..12 {
            let value = [b'x'; 3000];
            log.append(&batch(&[&value], at(0)), at(0)).unwrap();
            settle(&mut log, at(0)).unwrap();
        }
        block_on(log.close(at(0))).unwrap();
        let (mut log, _) = open(&root, small(), 2, at(1)).unwrap();
        let plan = log.plan_truncate(log.durable()).unwrap().unwrap();
        fail_edit(&root);
        run(&mut log, plan, at(1)).unwrap_err();
        drop(log);
        let is_edit = Match::on(Operation::Write, "manifest");
        let fault = Fault::Fail(ErrorKind::Other);
        root.faults().fail(is_edit, 1, fault);
        // Nor can it be written anew.
        let anew = Match::on(Operation::CreateFile, "manifest.new");
        root.faults().fail(anew, 1, fault);
        open(&root, small(), 3, at(2)).unwrap_err();
        let image = root.inner().power_cut(seed);
        let (_, report) = open(&image, small(), 4, at(3)).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
    }
}
