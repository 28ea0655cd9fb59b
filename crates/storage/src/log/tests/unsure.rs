//! What an opening stepped over, for the disk did not give it, was not written again by that, nor what precedes an end that it did
//! not give: it need not be on the disk.

use std::ops::Range;

use corelog_record::{Offset, Position};

use super::at;
use super::recovery::{STORE, scribble};
use super::unread::{
    BATCH_BYTES, BLOCK, Disk, append, disk, filled, lose, open_before_unread, options, read,
    reopen, writes,
};
use crate::Error;
use crate::disk::faulty::{Fault, Match, Operation};
use crate::disk::memory::FailedSync;
use crate::disk::{BLOCK_BYTES, Dir, File, Open, block_on, padded};
use crate::format::damage::Damage;
use crate::format::mark::Slot;
use crate::log::{Log, OpenReport, Options};
use crate::mark::{self, Mark};
use crate::segment::name;
use crate::testing::own::{self, alter};
use crate::testing::{batch, flush, open, read_all, settle};

/// So many ways in which a failed sync may have kept what it was to, or not, are tried.
const SEEDS: u64 = 8;

/// The blocks of the batch at `offset` that neither its header nor another batch has a part in.
fn middle(offset: u64) -> Range<usize> {
    let start = offset * BATCH_BYTES + BLOCK;
    usize::try_from(start).unwrap()..usize::try_from(start + BLOCK).unwrap()
}

/// Has a bit of the batch at `offset` turn over.
fn rot(disk: &Disk, offset: u64) {
    let at = middle(offset).start;
    alter(&disk.inner().child("p0"), STORE, |bytes| bytes[at] ^= 1);
}

/// Has reads show bytes of the store that the disk lost, or did not, in a sync that failed.
fn doubt(disk: &Disk, range: Range<usize>, seed: u64) {
    let dir = disk.inner().child("p0");
    let bytes = read(disk, STORE);
    alter(&dir, STORE, |bytes| bytes[range].fill(0));
    let file = block_on(dir.open(STORE, Open::Write)).unwrap();
    block_on(file.write_at(padded(&dir, &bytes).into(), 0)).unwrap();
    dir.fail_sync(STORE, FailedSync::Ext4, seed).unwrap();
}

/// Checks that all of it is there behind a power cut.
fn assert_kept(disk: &Disk, all: &[Vec<u8>], seed: u64) {
    let image = disk.inner().power_cut(seed);
    let (log, report) = open(&image, options(), 9, at(900)).unwrap();
    assert!(report.damage.is_empty(), "{seed}: {report:?}");
    assert_eq!(
        read_all(&log, Offset::ZERO).as_deref().ok(),
        Some(all),
        "{seed}"
    );
}

/// It was sealed as it was read, and a power cut took what readers had been shown.
#[test]
fn a_store_of_which_something_was_stepped_over_is_written_again_before_it_is_sealed() {
    for seed in 0..SEEDS {
        let disk = disk();
        drop(filled(&disk, 5));
        doubt(&disk, middle(3), seed);
        lose(&disk, 3);
        let (mut log, report) = open_before_unread(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        append(&mut log);
        drop(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        let first = log.segments().next().unwrap();
        assert!(first.is_sealed);
        let all = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!(all.len(), 6);
        assert_kept(&disk, &all, seed);
    }
}

/// The mark said of it that a sync had returned for it: the next opening took it for durable, and did not read it.
#[test]
fn the_mark_does_not_vouch_for_what_was_stepped_over() {
    let ends: [fn(Log<Disk>); 3] = [
        drop,
        |mut log| drop(settle(&mut log, at(200)).unwrap()),
        |mut log| block_on(log.close(at(200))).unwrap(),
    ];
    for (seed, end) in (0..SEEDS).flat_map(|seed| ends.map(|end| (seed, end))) {
        let disk = disk();
        drop(filled(&disk, 5));
        doubt(&disk, middle(3), seed);
        lose(&disk, 3);
        let (log, report) = open_before_unread(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        end(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        let all = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!(all.len(), 5);
        assert_kept(&disk, &all, seed);
    }
}

/// That something stands in the next one shows that it was synced; that the disk does not give what stands there does not.
#[test]
fn a_store_before_one_that_cannot_be_read_is_written_again_before_it_is_sealed() {
    for seed in 0..SEEDS {
        let disk = disk();
        let log = filled(&disk, 6);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        doubt(&disk, middle(4), seed);
        disk.faults().set_unreadable("5.log", 0..BATCH_BYTES);
        let (log, report) = open_before_unread(&disk);
        assert!(report.is_read_only, "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..5]);
        assert_kept(&disk, &all, seed);
    }
}

/// Has an opening step over what the disk does not give of the batch at 3, and the log go on in the next store.
fn go_on(disk: &Disk) {
    lose(disk, 3);
    let (mut log, _) = open_before_unread(disk);
    append(&mut log);
    drop(log);
    disk.faults().clear();
}

/// Only a store that was whole was written again: of one that stayed damaged elsewhere a power cut took what readers had been
/// shown.
#[test]
fn what_is_given_of_a_store_that_stays_damaged_is_written_again_before_it_is_shown() {
    for (seed, is_rotten) in (0..SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = disk();
        let log = filled(&disk, 5);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        match is_rotten {
            true => rot(&disk, 1),
            false => lose(&disk, 1),
        }
        doubt(&disk, middle(3), seed);
        go_on(&disk);
        if !is_rotten {
            lose(&disk, 1);
        }
        let (log, report) = reopen(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(report.damage[0].from, super::offset(1));
        let is_shown = |log: &Log<_>| read_all(log, super::offset(2)).unwrap()[1] == all[3];
        assert!(is_shown(&log));
        drop(log);
        let image = disk.inner().power_cut(seed);
        let (log, report) = open(&image, options(), 9, at(900)).unwrap();
        assert!(report.damage.len() <= 1, "{report:?}");
        let shown = read_all(&log, super::offset(2)).unwrap();
        assert_eq!(shown[1], all[3], "{seed}");
    }
}

fn try_open(disk: &Disk) -> Result<(Log<Disk>, OpenReport), Error> {
    open(disk, options(), 9, at(100))
}

/// Each try of a log that could not be opened wrote all stores before the last one again, for nothing.
#[test]
fn an_opening_that_fails_has_written_to_no_store_before_the_last_one() {
    let faults: [fn(&Disk); 2] = [
        |disk| disk.faults().set_unreadable("5.log", 0..BATCH_BYTES),
        |disk| {
            let store = "00000000000000000005.log";
            scribble(disk.inner(), store, BATCH_BYTES, b"not a batch");
            disk.faults().set_full(true);
        },
    ];
    for fault in faults {
        let disk = disk();
        drop(filled(&disk, 5));
        go_on(&disk);
        block_on(disk.child("p0").remove(mark::NAME)).unwrap();
        fault(&disk);
        disk.inner().record();
        for _ in 0..2 {
            let refused = try_open(&disk).map(|_| ()).unwrap_err();
            assert!(
                refused.is_unreadable() || refused.is_shortage(),
                "{refused}"
            );
        }
        assert_eq!(writes(&disk, STORE).len(), 0);
        disk.faults().clear();
        disk.faults().set_full(false);
        disk.inner().record();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 6);
        assert!(
            !writes(&disk, STORE).is_empty(),
            "nothing tells that it was synced"
        );
    }
}

/// That a store was begun shows that the one before it was synced, whatever the mark tells.
#[test]
fn stores_that_were_rolled_behind_are_not_written_again() {
    let disk = disk();
    let log = filled(&disk, 16);
    let all = read_all(&log, Offset::ZERO).unwrap();
    assert!(log.segments().all(|segment| !segment.is_sealed));
    drop(log);
    block_on(disk.child("p0").remove(mark::NAME)).unwrap();
    disk.inner().record();
    let (log, _) = reopen(&disk);
    let trace = disk.inner().trace();
    let steps = trace.steps().iter();
    let written =
        steps.filter(|step| step.operation() == Operation::Write && name::is_store(step.name()));
    let written: std::collections::BTreeSet<_> = written.map(|step| step.name()).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written.iter().all(|name| name.ends_with("15.log")));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}

/// It closed the partition for good, as what bytes say: the first read of it was right.
#[test]
fn a_store_that_is_read_otherwise_when_it_is_written_again_keeps_no_log_closed() {
    let mut count = 0;
    for nth in 1.. {
        let disk = disk();
        drop(filled(&disk, 5));
        go_on(&disk);
        let flip = Fault::Flip { seed: 1 };
        for read in nth..nth + 40 {
            disk.faults()
                .fail(Match::on(Operation::Read, STORE), read, flip);
        }
        let opened = try_open(&disk);
        let happened = disk.faults().happened();
        let is_any = happened.iter().any(|happened| happened.fault == flip);
        disk.faults().clear();
        if !is_any {
            break;
        }
        let (log, report) = opened.unwrap();
        drop(log);
        let is_hidden = !report.damage.is_empty();
        let (log, report) = reopen(&disk);
        let is_given = read_all(&log, Offset::ZERO).is_ok_and(|all| all.len() == 6);
        count += usize::from(is_hidden && is_given && report.damage.is_empty());
    }
    assert!(0 < count, "what was read otherwise is asked for again");
}

/// The ends of a log that go before an opening.
const ENDS: [fn(Log<Disk>); 2] = [drop, |mut log| block_on(log.close(at(200))).unwrap()];

/// Checks that the log is open with all of its first store as damage, and with what follows.
fn assert_open_without_first((log, report): &(Log<Disk>, OpenReport)) {
    let is_first = |it: &Damage| (it.from, it.to) == (Offset::ZERO, super::offset(5));
    assert!(report.damage.iter().any(is_first), "{report:?}");
    assert!(!report.is_read_only, "{report:?}");
    assert!(log.plan_read(Offset::ZERO, Offset::MAX, 0).is_err());
    assert_eq!(read_all(log, super::offset(5)).unwrap().len(), 1);
}

/// It was to be written again, and each start failed for want of its file.
#[test]
fn a_damaged_store_that_is_gone_keeps_no_log_closed() {
    for end in ENDS {
        let disk = disk();
        drop(filled(&disk, 5));
        go_on(&disk);
        end(reopen(&disk).0);
        lose(&disk, 3);
        end(open_before_unread(&disk).0);
        disk.faults().clear();
        block_on(disk.child("p0").remove(STORE)).unwrap();
        for _ in 0..3 {
            let opened = reopen(&disk);
            assert_open_without_first(&opened);
            end(opened.0);
        }
    }
}

/// Has each operation of this kind on the store fail.
fn fail_all(disk: &Disk, operation: Operation) {
    for nth in 1..100 {
        let fault = Fault::Fail(std::io::ErrorKind::Other);
        disk.faults().fail(Match::on(operation, STORE), nth, fault);
    }
}

/// It was to be written again, and each start failed for want of a place for it.
#[test]
fn a_damaged_store_that_cannot_be_written_again_keeps_no_log_closed() {
    let operations = [Operation::Write, Operation::Sync];
    for (operation, is_rotten) in operations.map(|it| [(it, false), (it, true)]).concat() {
        for (end, open) in ENDS.into_iter().zip([reopen, open_before_unread]) {
            let disk = disk();
            drop(filled(&disk, 5));
            if is_rotten {
                rot(&disk, 1);
            }
            go_on(&disk);
            match is_rotten {
                true => disk.faults().set_full(true),
                false => lose(&disk, 3),
            }
            fail_all(&disk, operation);
            let opened = open(&disk);
            assert_open_without_first(&opened);
            disk.faults().clear();
            end(opened.0);
            let (log, report) = reopen(&disk);
            assert_eq!(report.damage.len(), usize::from(is_rotten), "{report:?}");
            let from = if is_rotten { 2 } else { 0 };
            let rest = read_all(&log, super::offset(from)).unwrap();
            assert_eq!(rest.len() as u64, 6 - from);
        }
    }
}

/// The same of one that is whole.
#[test]
fn a_whole_store_that_cannot_be_written_again_keeps_no_log_closed() {
    let disk = disk();
    drop(filled(&disk, 5));
    go_on(&disk);
    disk.faults().set_full(true);
    fail_all(&disk, Operation::Write);
    let opened = reopen(&disk);
    assert_open_without_first(&opened);
    assert!(!opened.0.segments().next().unwrap().is_sealed);
    disk.faults().clear();
    drop(opened);
    let (log, report) = reopen(&disk);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 6);
    assert!(log.segments().next().unwrap().is_sealed);
}

/// It was written anew with what is known of the last store: what was promised of that was torn to the opening after.
#[test]
fn a_mark_promises_no_less_behind_what_was_stepped_over() {
    let options = own::follower(options());
    let follow = |disk: &Disk| {
        let (log, report) = open(disk, options.clone(), 9, at(100)).unwrap();
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(report.damage[0].from, super::offset(3));
        assert_eq!(report.log_end, super::offset(5));
        assert!(report.torn.is_none(), "{report:?}");
        log
    };
    for end in ENDS {
        let disk = disk();
        drop(filled(&disk, 5));
        // As a cut leaves it that ends where a store begins.
        let mut mark = block_on(Mark::open(disk.child("p0"))).unwrap().unwrap();
        let cut = Slot {
            segment: super::offset(5),
            offset: super::offset(5),
            position: Position::ZERO,
            ..*mark.last().unwrap()
        };
        block_on(mark.write_durably(cut)).unwrap();
        for _ in 0..3 {
            lose(&disk, 3);
            end(follow(&disk));
        }
        disk.faults().clear();
        rot(&disk, 3);
        end(follow(&disk));
    }
}

/// The bytes of the first batch of [`sharing`].
const FIRST_BYTES: u64 = 1_100;

/// Fills a disk with five batches, of which each shares a block with the one before it, and returns them: the mark tells of the
/// first `marked`. Those behind the first are as large as others of this file.
fn sharing(disk: &Disk, marked: u64) -> Vec<Vec<u8>> {
    let (mut log, _) = reopen(disk);
    let empty = batch(&[&[b'f'; 1_000]], at(0)).len() - 1_000;
    let value = vec![b'f'; usize::try_from(FIRST_BYTES).unwrap() - empty];
    log.append(&batch(&[&value], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    for count in 1..5 {
        if count == marked {
            settle(&mut log, at(200)).unwrap();
        }
        append(&mut log);
    }
    read_all(&log, Offset::ZERO).unwrap()
}

/// Where the first `count` batches of [`sharing`] end.
fn end_of(count: u64) -> usize {
    let end = count
        .checked_sub(1)
        .map_or(0, |behind| FIRST_BYTES + behind * BATCH_BYTES);
    usize::try_from(end).unwrap()
}

/// It was synced, which proves nothing behind a sync that failed: a power cut took what readers had been shown.
#[test]
fn what_precedes_the_end_that_is_not_given_is_written_again_before_it_is_shown() {
    for (seed, is_shared) in (0..SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = disk();
        let (all, doubted, lost) = match is_shared {
            // What of the last sound batch lies in a block with the one behind it.
            true => {
                let end = end_of(4);
                (sharing(&disk, 0), end / BLOCK_BYTES * BLOCK_BYTES..end, 3)
            }
            false => {
                let log = filled(&disk, 5);
                (read_all(&log, Offset::ZERO).unwrap(), middle(1), 4)
            }
        };
        doubt(&disk, doubted, seed);
        lose(&disk, lost);
        disk.inner().record();
        let (log, report) = open_before_unread(&disk);
        assert!(report.is_read_only, "{report:?}");
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..4]);
        drop(log);
        assert_kept(&disk, &all, seed);
        let written = writes(&disk, STORE);
        assert_eq!(written.len(), 1, "{written:?}");
        let end = if is_shared {
            10 * BLOCK
        } else {
            4 * BATCH_BYTES
        };
        assert!(written[0].ends_with(&format!("[0, {end})")), "{written:?}");
    }
}

/// What the mark tells of is sure, and shares its last block with what nothing verifies.
#[test]
fn nothing_is_written_of_a_log_whose_mark_tells_of_all_that_precedes_the_end_that_is_not_given() {
    let disk = disk();
    let all = sharing(&disk, 4);
    lose(&disk, 3);
    disk.inner().record();
    let (log, report) = open_before_unread(&disk);
    assert!(report.is_read_only, "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..4]);
    assert_eq!(writes(&disk, STORE), [] as [String; 0]);
}

/// Of what precedes the end that is not given, what the mark tells of is sure in any case.
#[test]
fn what_precedes_the_end_that_is_not_given_is_damage_as_long_as_it_cannot_be_written() {
    let operations = [Operation::Write, Operation::Sync];
    for (operation, sure) in operations.map(|it| [(it, 0), (it, 2)]).concat() {
        let disk = disk();
        let all = sharing(&disk, sure);
        lose(&disk, 3);
        fail_all(&disk, operation);
        let (log, report) = open_before_unread(&disk);
        assert!(report.is_read_only, "{report:?}");
        assert_eq!(report.log_end, super::offset(4));
        let from = report.damage.iter().map(|damage| damage.from).min();
        assert_eq!(from, Some(super::offset(sure)), "{report:?}");
        assert_eq!(
            shown(&log),
            (0..5).map(|offset| offset < sure).collect::<Vec<_>>()
        );
        drop(log);
        disk.faults().clear();
        lose(&disk, 3);
        let (log, report) = open_before_unread(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..4]);
        drop(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    }
}

/// Which of the first five batches are given to who reads them.
fn shown<D: Dir>(log: &Log<D>) -> Vec<bool> {
    let is_shown = |offset| {
        let read = log.plan_read(super::offset(offset), Offset::MAX, 0);
        read.is_ok_and(|plan| block_on(plan.run()).is_ok_and(|read| !read.pieces.is_empty()))
    };
    (0..5).map(is_shown).collect()
}

/// Checks that each batch of [`sharing`] that the log gives is in its store behind a power cut, and returns how many it gives.
fn assert_written(disk: &Disk, log: &Log<Disk>, all: &[Vec<u8>], (seed, what): (u64, &str)) -> u64 {
    let image = disk.inner().power_cut(seed);
    let store = log.segments[0].store_name();
    let bytes = block_on(image.child("p0").read(&store, 1 << 20)).unwrap();
    let mut count = 0;
    for (offset, is_shown) in (0..).zip(shown(log)) {
        if is_shown {
            let batch = &all[usize::try_from(offset).unwrap()];
            let written = &bytes[end_of(offset)..end_of(offset + 1)];
            assert!(written == batch, "{offset} is lost: {what}");
            count += 1;
        }
    }
    count
}

/// A block that was given when its batches were verified, and then not, was left with the part of a sound one that lies in it, and
/// that was shown: a power cut took it.
#[test]
fn no_power_cut_takes_what_is_shown_however_often_a_shared_block_is_not_given() {
    let unread = Fault::Torn { seed: 0 };
    let before_unread = Options {
        ends_before_unread: true,
        ..options()
    };
    let mut count = 0;
    for (lost, marked) in [(2, 0), (2, 2), (3, 0), (3, 2)] {
        for seed in 0..SEEDS / 2 {
            for nth in 1.. {
                let disk = disk();
                let all = sharing(&disk, marked);
                doubt(&disk, end_of(marked)..end_of(5), seed);
                lose(&disk, lost);
                // So often a block is asked for before it is left.
                for read in nth..nth + 4 {
                    disk.faults()
                        .fail(Match::on(Operation::Read, STORE), read, unread);
                }
                let opened = open(&disk, before_unread.clone(), 9, at(100));
                let happened = disk.faults().happened();
                let is_any = happened.iter().any(|happened| happened.fault == unread);
                disk.faults().clear();
                if let Ok((log, report)) = opened {
                    let what = format!("{lost} {marked} {seed}, reads from {nth} on: {report:?}");
                    count += assert_written(&disk, &log, &all, (seed, &what));
                }
                if !is_any {
                    break;
                }
            }
        }
    }
    assert!(100 < count, "{count}");
}
