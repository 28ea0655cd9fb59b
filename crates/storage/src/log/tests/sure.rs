//! What an opening could not make sure of is tried again by the log that is open.

use corelog_record::{Offset, Timestamp};

use super::unread::{
    Disk, append, disk, filled, lose, open_before_unread, options, reopen, writes,
};
use super::unsure::{
    SEEDS, assert_open_without_first, doubt, fail_all, go_on, middle, rot,
};
use super::{at, offset};
use crate::disk::faulty::Operation;
use crate::log::{Chore, Event, Log};
use crate::testing::{chore, open, read_all, settle};

/// How long it rests before each try, in milliseconds.
const RESTS: [i64; 6] = [5_000, 10_000, 20_000, 40_000, 60_000, 60_000];

/// A log with a first store that takes nothing of one kind, and a disk without room for a copy.
fn hidden(disk: &Disk, operation: Operation) -> Log<Disk> {
    go_on(disk);
    disk.faults().set_full(true);
    fail_all(disk, operation);
    let mut opened = reopen(disk);
    assert_open_without_first(&opened);
    let events = opened.0.take_events();
    let is_told = |event: &Event| matches!(event, Event::Unsure { why, .. } if !why.is_empty());
    assert!(events.iter().any(is_told), "{events:?}");
    opened.0
}

/// Whether each try of those that a log makes at some time made it sure.
fn tries(log: &mut Log<Disk>, time: Timestamp) -> Vec<bool> {
    let mut tries = Vec::new();
    while let Some(done) = chore(log, time, true).unwrap() {
        if let Chore::MadeSure { is_sure, .. } = done {
            tries.push(is_sure);
        }
    }
    tries
}

/// Checks that what is read from an offset on is what was appended, also behind a power cut.
fn assert_sure(disk: &Disk, log: &Log<Disk>, all: &[Vec<u8>], from: usize, seed: u64) {
    let start = offset(from as u64);
    assert_eq!(read_all(log, start).unwrap(), all[from..]);
    let image = disk.inner().power_cut(seed);
    let (log, _) = open(&image, options(), 9, at(900_000)).unwrap();
    assert_eq!(read_all(&log, start).unwrap(), all[from..], "{seed}");
}

/// It was damage until somebody opened the partition again, a minute after the cause was gone.
#[test]
fn what_could_not_be_made_sure_of_is_shown_once_it_is_written_again() {
    for (seed, is_rotten) in (0..SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        for operation in [Operation::Write, Operation::Sync] {
            let disk = disk();
            let log = filled(&disk, 5);
            let mut all = read_all(&log, Offset::ZERO).unwrap();
            drop(log);
            if is_rotten {
                rot(&disk, 1);
            }
            if operation == Operation::Write {
                doubt(&disk, middle(3), seed);
            }
            let mut log = hidden(&disk, operation);
            let mut now = at(100);
            for rest in RESTS {
                assert_eq!(log.unsure_at(), Some(now.saturating_add_millis(rest)));
                let early = now.saturating_add_millis(rest - 1);
                assert_eq!(tries(&mut log, early), []);
                now = now.saturating_add_millis(rest);
                // Where it is, and as a copy.
                assert_eq!(tries(&mut log, now), [false, false]);
                assert!(log.plan_read(Offset::ZERO, Offset::MAX, 0).is_err());
            }
            disk.faults().clear();
            // Others are sealed behind it meanwhile.
            (0..10).for_each(|_| append(&mut log));
            settle(&mut log, now).unwrap();
            assert!(log.segments().nth(1).unwrap().is_sealed);
            now = log.unsure_at().unwrap();
            assert_eq!(tries(&mut log, now), [true]);
            assert_eq!((log.unsure_at(), log.is_settled()), (None, true));
            let events = log.take_events();
            let is_told = |event: &Event| matches!(event, Event::Sure { .. });
            assert!(events.iter().any(is_told), "{events:?}");
            assert_eq!(log.damage().len(), usize::from(is_rotten));
            assert_eq!(log.segments().next().unwrap().is_sealed, !is_rotten);
            all.extend(read_all(&log, offset(5)).unwrap());
            let from = if is_rotten { 2 } else { 0 };
            assert_sure(&disk, &log, &all, from, seed);
            crate::disk::block_on(log.close(now)).unwrap();
            drop(log);
            assert!(reopen(&disk).1.is_clean);
        }
    }
}

/// A place that takes no write takes none a minute later, whatever room there is.
#[test]
fn what_takes_no_write_is_shown_once_there_is_room_for_a_copy() {
    for (seed, is_rotten) in (0..SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = disk();
        let log = filled(&disk, 5);
        let mut all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        if is_rotten {
            rot(&disk, 1);
        }
        doubt(&disk, middle(3), seed);
        let mut log = hidden(&disk, Operation::Write);
        disk.faults().set_full(false);
        let now = log.unsure_at().unwrap();
        assert_eq!(tries(&mut log, now), [false, true]);
        let events = log.take_events();
        let is_copied = |event: &Event| matches!(event, Event::StoreReplaced { .. });
        assert!(events.iter().any(is_copied), "{events:?}");
        assert_eq!(log.damage().len(), usize::from(is_rotten));
        assert_eq!(log.segments().next().unwrap().is_sealed, !is_rotten);
        append(&mut log);
        all.extend(read_all(&log, offset(5)).unwrap());
        let from = if is_rotten { 2 } else { 0 };
        assert_sure(&disk, &log, &all, from, seed);
        drop(log);
        let (log, report) = reopen(&disk);
        assert_eq!(report.damage.len(), usize::from(is_rotten), "{report:?}");
        // The old file has gone to quarantine before.
        assert_eq!(report.quarantined, [] as [String; 0]);
        assert_eq!(read_all(&log, offset(from as u64)).unwrap(), all[from..]);
    }
}

#[test]
fn what_is_let_go_is_not_made_sure_of() {
    let disk = disk();
    drop(filled(&disk, 5));
    let mut log = hidden(&disk, Operation::Write);
    let plan = log.plan_truncate(offset(5)).unwrap().unwrap();
    let done = crate::disk::block_on(plan.run());
    log.complete_chore(done, at(200)).unwrap();
    assert_eq!(tries(&mut log, at(60_000)), []);
    assert_eq!((log.unsure_at(), log.is_settled()), (None, true));
}

/// Of what precedes the end that the disk does not give, what the mark tells of is sure in any case.
#[test]
fn what_precedes_the_end_that_is_not_given_is_damage_as_long_as_it_cannot_be_written() {
    for is_marked in [false, true] {
        let disk = disk();
        let mut log = filled(&disk, 2);
        if is_marked {
            settle(&mut log, at(0)).unwrap();
        }
        (0..3).for_each(|_| append(&mut log));
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        lose(&disk, 4);
        fail_all(&disk, Operation::Write);
        let (mut log, report) = open_before_unread(&disk);
        assert!(report.is_read_only, "{report:?}");
        assert_eq!(report.log_end, offset(4));
        let sure = if is_marked { 2 } else { 0 };
        let from = report.damage.iter().map(|damage| damage.from).min();
        assert_eq!(from, Some(offset(sure)));
        disk.inner().record();
        let now = log.unsure_at().unwrap();
        assert_eq!(tries(&mut log, now), [false], "no copy is made");
        disk.faults().clear();
        let now = log.unsure_at().unwrap();
        assert_eq!(tries(&mut log, now), [true]);
        assert_eq!(log.damage().len(), 1);
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..4]);
        assert!(!writes(&disk, super::recovery::STORE).is_empty());
    }
}
