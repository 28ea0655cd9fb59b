//! What lands on a log that was fenced meanwhile.

use std::io::ErrorKind;

use corelog_record::{HistoryId, Offset};

use super::following::{follower, source};
use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{block_on, poll_once};
use crate::log::{AppendError, Begin, ChorePlan, Log};
use crate::testing::{batch, flush, open, read_all, run};

type Disk = FaultyDir<MemoryDir>;

fn written(disk: &Disk) -> Log<Disk> {
    let (mut log, _) = open(disk, small(), 1, at(0)).unwrap();
    for _ in 0..3 {
        log.append(&batch(&[b"durable"], at(0)), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    log
}

/// The group was acknowledged by a log that knew already that a sync had failed which may have been its own.
#[test]
fn a_group_that_lands_on_a_log_that_was_fenced_meanwhile_moves_nothing() {
    let disk = FaultyDir::new(MemoryDir::new());
    let mut log = written(&disk);
    log.append(&batch(&[b"in doubt"], at(0)), at(0)).unwrap();
    let group = log.plan_flush().unwrap();
    let mark = log.plan_chore(at(1_000), true).unwrap();
    let written = block_on(group.run());
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, "mark"), 1, failed);
    run(&mut log, mark, at(1_000)).unwrap_err();
    let landed = log.complete_flush(written, at(1_000));
    assert!(matches!(landed, Err(Error::Fenced)), "{landed:?}");
    assert_eq!(log.durable(), offset(3));
    assert_eq!(log.in_flight_bytes(), 0);
    drop(log);
    let (log, _) = open(&disk, small(), 2, at(2_000)).unwrap();
    let read = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(read.len() as u64, log.durable().get());
}

/// A fence lets go of what waits, and what a full disk gives back behind it is not to wait again.
#[test]
fn a_group_that_finds_no_space_waits_no_more_on_a_log_that_was_fenced_meanwhile() {
    let disk = FaultyDir::new(MemoryDir::new());
    let mut log = written(&disk);
    log.append(&batch(&[&[7; 20_000]], at(0)), at(0)).unwrap();
    let group = log.plan_flush().unwrap();
    let mark = log.plan_chore(at(1_000), true).unwrap();
    disk.faults().set_full(true);
    let full = block_on(group.run());
    disk.faults().set_full(false);
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, "mark"), 1, failed);
    run(&mut log, mark, at(1_000)).unwrap_err();
    let landed = log.complete_flush(full, at(1_000));
    assert!(
        matches!(landed, Err(Error::StorageFull { .. })),
        "{landed:?}"
    );
    assert_eq!((log.pending_bytes(), log.is_full()), (0, false));
}

#[test]
fn an_edit_that_lands_on_a_log_that_was_fenced_meanwhile_changes_nothing() {
    let disk = FaultyDir::new(MemoryDir::new());
    let mut log = written(&disk);
    log.append(&batch(&[b"fails"], at(0)), at(0)).unwrap();
    let group = log.plan_flush().unwrap();
    let truncation = log.plan_truncate(offset(2)).unwrap().unwrap();
    let done = block_on(truncation.run());
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, ".log"), 1, failed);
    let failed = block_on(group.run());
    log.complete_flush(failed, at(0)).unwrap_err();
    let landed = log.complete_chore(done, at(0));
    assert!(matches!(landed, Err(Error::Fenced)), "{landed:?}");
    assert_eq!(log.log_start(), Offset::ZERO);
}

/// Does what fails at the sync of the manifest, as its file was called when it was made.
fn fail_edit(disk: &Disk, log: &mut Log<Disk>, plan: ChorePlan<Disk>) {
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, "manifest.new"), 1, failed);
    run(log, plan, at(1_000)).unwrap_err();
    assert!(!disk.faults().is_pending() && log.is_fenced());
}

#[test]
fn an_epoch_that_may_not_be_durable_is_told_to_nobody_and_one_that_may_be_forgotten_stays() {
    for is_cut in [false, true] {
        let disk = FaultyDir::new(MemoryDir::new());
        let mut log = written(&disk);
        let own = log.plan_epoch(Begin::Own).unwrap();
        run(&mut log, own, at(0)).unwrap();
        let known = log.epochs().to_vec();
        let plan = match is_cut {
            true => log.plan_truncate_suffix(offset(1), at(0)).unwrap(),
            false => Some(log.plan_epoch(Begin::Own).unwrap()),
        };
        fail_edit(&disk, &mut log, plan.unwrap());
        assert_eq!((known.len(), log.epochs()), (2, &known[..]));
    }
}

#[test]
fn an_empty_copy_without_a_mark_does_not_begin_anew_where_that_may_not_be_durable() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&disk, follower(), 1, at(0)).unwrap();
    let history = HistoryId::from_bytes([3; 16]);
    let start = |count| source(&MemoryDir::new(), count).end_place();
    let full = Fault::Fail(ErrorKind::StorageFull);
    disk.faults()
        .fail(Match::on(Operation::CreateFile, "mark.new"), 1, full);
    let adopt = log.plan_adopt(history, start(5)).unwrap();
    run(&mut log, adopt, at(0)).unwrap_err();
    assert!(log.manifest.is_here() && log.mark.is_missing());
    let adopt = log.plan_adopt(history, start(7)).unwrap();
    fail_edit(&disk, &mut log, adopt);
    assert_eq!(log.log_start(), start(5).offset);
}

/// A log without files takes any history that it is given.
#[test]
fn a_log_whose_first_group_leaves_its_manifest_in_doubt_has_files() {
    let disk = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"first"], at(0)), at(0)).unwrap();
    let failed = Fault::Fail(ErrorKind::Other);
    disk.faults()
        .fail(Match::on(Operation::Sync, "manifest.new"), 2, failed);
    flush(&mut log, at(0)).unwrap_err();
    assert!(!disk.faults().is_pending() && log.is_fenced());
    assert!(log.has_files());
}

/// It went on, behind a mark that may have said clean, and no mark was ever written again.
#[test]
fn a_log_is_fenced_if_nobody_waits_until_it_is_closed() {
    let disk = FaultyDir::new(MemoryDir::new());
    let mut log = written(&disk);
    let sync = Match::on(Operation::Sync, "mark");
    disk.faults().hold(sync, When::Before);
    let mut closing = Box::pin(log.close(at(0)));
    assert!(poll_once(closing.as_mut()).is_pending());
    assert_eq!(disk.faults().held(), 1, "the mark is written");
    drop(closing);
    disk.faults().release_all();
    assert!(log.is_fenced());
    let refused = log.append(&batch(&[b"behind"], at(0)), at(0));
    assert!(matches!(refused, Err(AppendError::Fenced)), "{refused:?}");
    drop(log);
    let (log, _) = open(&disk, small(), 2, at(0)).unwrap();
    assert_eq!(log.durable(), offset(3));
}
