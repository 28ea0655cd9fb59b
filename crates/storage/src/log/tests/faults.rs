//! What fails: the disk, its space, the owner of a plan.

use std::io::ErrorKind;

use corelog_record::{ByteSize, Offset};

use super::{at, offset, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, Open, block_on, poll_once};
use crate::log::{AppendError, Hold, Log};
use crate::testing::{batch, chore, flush, open, read_all, run, settle};

type Disk = FaultyDir<MemoryDir>;

/// What a script got acknowledged before something failed.
#[derive(Default)]
struct Acknowledged {
    batches: Vec<(Offset, Vec<u8>)>,
    durable: Offset,
    log_start: Offset,
    /// A cut was asked for, at this offset, and may or may not have happened.
    cut: Option<Offset>,
    is_start_moving: bool,
}

/// A little of everything that a log does. Stops at the first error.
fn script(disk: &Disk, ack: &mut Acknowledged) -> Result<(), Error> {
    let (mut log, _) = open(disk, small(), 1, at(0))?;
    for round in 0..30 {
        work(&mut log, ack, round)?;
    }
    ack.is_start_moving = true;
    if let Some(plan) = log.plan_expire_to(ByteSize::from_kib(40), Hold::NONE)? {
        run(&mut log, plan, at(40_000))?;
    }
    if let Some(plan) = log.plan_truncate(log.log_start().plus(3))? {
        run(&mut log, plan, at(40_000))?;
    }
    (ack.is_start_moving, ack.log_start) = (false, log.log_start());
    settle(&mut log, at(41_000))?;
    let from = Offset::new(ack.durable.get() - 15).unwrap();
    if let Some(plan) = log.plan_truncate_suffix(from, at(42_000))? {
        ack.cut = Some(from);
        run(&mut log, plan, at(42_000))?;
        ack.batches.retain(|(base, _)| *base < log.log_end());
        ack.durable = log.durable();
        ack.cut = None;
    }
    for round in 50..55 {
        work(&mut log, ack, round)?;
    }
    block_on(log.close(at(60_000)))?;
    Ok(())
}

fn work(log: &mut Log<Disk>, ack: &mut Acknowledged, round: i64) -> Result<(), Error> {
    let value = vec![b'v'; 1500];
    let now = at(round * 1000);
    let appended = match log.append(&batch(&[b"small", &value], now), now) {
        Ok(appended) => appended,
        Err(AppendError::Fenced) => return Err(Error::Fenced),
        Err(error) => panic!("{error}"),
    };
    settle(log, now)?;
    let read = block_on(log.plan_read(appended.base, Offset::MAX, 0).unwrap().run()).unwrap();
    ack.batches.push((appended.base, read.pieces[0].to_vec()));
    ack.durable = log.durable();
    Ok(())
}

/// Opens what is left and checks that all acknowledged is there.
fn check(disk: &Disk, ack: &Acknowledged, what: &str) {
    let (log, report) =
        open(disk, small(), 9, at(90_000)).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(report.damage.is_empty(), "{what}: {report:?}");
    let end = ack
        .cut
        .map_or(ack.durable, |cut| Offset::new(cut.get() - 1).unwrap());
    assert!(end <= log.log_end(), "{what}: {report:?}");
    assert!(ack.log_start <= log.log_start(), "{what}: {report:?}");
    let read = read_all(&log, log.log_start()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let first = if ack.is_start_moving {
        log.log_start()
    } else {
        ack.log_start
    };
    let wanted = ack
        .batches
        .iter()
        .filter(|(base, _)| first <= *base && *base < end);
    for (base, bytes) in wanted {
        assert!(
            read.contains(bytes),
            "{what}: batch {base} is lost: {report:?}"
        );
    }
}

#[test]
fn every_operation_fails_once_and_nothing_acknowledged_is_lost() {
    let disk = Disk::new(MemoryDir::new());
    script(&disk, &mut Acknowledged::default()).unwrap();
    let total = disk.faults().total();
    assert!(total > 250, "{total}");
    let faults = [
        Fault::Fail(ErrorKind::Other),
        Fault::Short { bytes: 512 },
        Fault::Torn { seed: 3 },
        Fault::Fail(ErrorKind::StorageFull),
    ];
    for (nth, fault) in (1..=total).flat_map(|nth| faults.map(|fault| (nth, fault))) {
        let disk = Disk::new(MemoryDir::new());
        disk.faults().fail(Match::ANY, nth, fault);
        let mut ack = Acknowledged::default();
        let result = script(&disk, &mut ack);
        let what = format!("operation {nth} with {fault:?} ({result:?})");
        disk.faults().clear();
        let after = Disk::new(disk.inner().power_cut(nth));
        check(&after, &ack, &what);
        check(&disk, &ack, &what);
    }
}

#[test]
fn a_failed_write_or_sync_fences_and_is_never_tried_again() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
        log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
        log.append(&batch(&[b"b"], at(0)), at(0)).unwrap();
        disk.faults().fail(
            Match::on(operation, ".log"),
            1,
            Fault::Fail(ErrorKind::Other),
        );
        assert!(flush(&mut log, at(0)).is_err());
        assert!(log.is_fenced());
        assert_eq!(log.durable(), offset(1));
        let before = disk.faults().total();
        assert!(log.plan_flush().is_none());
        assert!(log.plan_chore(at(10_000), true).is_none());
        let refused = log.append(&batch(&[b"c"], at(0)), at(0));
        assert!(matches!(refused, Err(AppendError::Fenced)));
        assert_eq!(
            disk.faults().total(),
            before,
            "a fenced log does not touch the disk"
        );
        let (log, _) = open(&disk, small(), 2, at(1)).unwrap();
        assert!(!log.is_fenced(), "reopening lifts the fence");
        assert!(offset(1) <= log.log_end());
    }
}

#[test]
fn a_plan_that_is_dropped_fences() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
    drop(log.plan_flush().unwrap());
    assert!(log.is_fenced());
}

#[test]
fn a_flush_that_is_dropped_halfway_fences() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
    disk.faults().hold(Operation::Write, When::Before);
    {
        let mut running = std::pin::pin!(log.plan_flush().unwrap().run());
        assert!(poll_once(running.as_mut()).is_pending());
    }
    assert!(log.is_fenced());
}

#[test]
fn a_full_disk_refuses_appends_and_resumes_by_itself() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    for _ in 0..20 {
        log.append(&batch(&[&[b'x'; 3000]], at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    disk.faults().set_full(true);
    let mut refused = None;
    for _ in 0..20 {
        if let Err(error) = log.append(&batch(&[&[b'y'; 3000]], at(1)), at(1)) {
            refused = Some(error);
            break;
        }
        let _ = flush(&mut log, at(1));
        let _ = chore(&mut log, at(1), false);
    }
    assert!(
        matches!(refused, Some(AppendError::StorageFull)),
        "{refused:?}"
    );
    assert!(!log.is_fenced());
    let (durable, end) = (log.durable(), log.log_end());
    assert!(durable < end);
    assert!(
        log.plan_flush().is_none(),
        "the disk is not asked again at once"
    );
    assert_eq!(
        read_all(&log, Offset::ZERO).unwrap().len() as u64,
        durable.get()
    );

    let expired = log
        .plan_expire_to(ByteSize::from_kib(30), Hold::NONE)
        .unwrap()
        .unwrap();
    run(&mut log, expired, at(2)).unwrap();
    assert!(
        Offset::ZERO < log.log_start(),
        "retention goes on while the disk is full"
    );

    disk.faults().set_full(false);
    settle(&mut log, at(1_000)).unwrap();
    assert!(!log.is_full());
    assert_eq!(log.durable(), end, "what was pending went out by itself");
    log.append(&batch(&[b"z"], at(2_000)), at(2_000)).unwrap();
    settle(&mut log, at(2_000)).unwrap();
    block_on(log.close(at(3_000))).unwrap();
}

/// Sealing waited for the space that only expiring what is sealed could free: asking for space came
/// first, failed, and put sealing off with itself.
#[test]
fn a_disk_that_fills_at_a_roll_seals_what_rolled_so_that_retention_frees_it() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    let one = batch(&[&[b'x'; 3000]], at(0));
    while log.segments().count() < 3 {
        log.append(&one, at(0)).unwrap();
        if log.segments().count() < 3 {
            flush(&mut log, at(0)).unwrap();
        }
    }
    let end = log.log_end();
    disk.inner().set_capacity(Some(disk.inner().bytes_in_use()));
    disk.faults().set_full(true);
    assert!(flush(&mut log, at(0)).is_err());
    assert!(log.is_full());
    // One chore each time that asking for space is due again, at the worst.
    for round in 1..=6 {
        let _ = chore(&mut log, at(round * 200), false);
    }
    let sealed = log.segments().filter(|segment| segment.is_sealed);
    assert_eq!(sealed.count(), 2, "what rolled is sealed");

    // What retention removes is all the space there is.
    disk.faults().set_full(false);
    let plan = log.plan_expire(at(5_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(2_000)).unwrap();
    settle(&mut log, at(3_000)).unwrap();
    assert!(!log.is_full());
    assert_eq!(log.durable(), end, "what was pending went out by itself");
    assert_eq!(read_all(&log, log.log_start()).unwrap().len(), 1);
    block_on(log.close(at(4_000))).unwrap();
}

#[test]
fn on_a_full_disk_a_log_is_rolled_sealed_truncated_expired_and_closed() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    for _ in 0..20 {
        log.append(&batch(&[&[b'x'; 3000]], at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    let end = log.log_end();
    disk.faults().set_full(true);
    log.begin_snapshot().unwrap();
    settle(&mut log, at(1)).unwrap();
    assert!(
        log.segments().all(|segment| segment.is_sealed),
        "what was rolled is sealed"
    );
    for lowest in [1, 2] {
        let plan = log.plan_truncate(offset(lowest)).unwrap().unwrap();
        run(&mut log, plan, at(2)).unwrap();
    }
    let plan = log.plan_expire(at(1_000), Hold::NONE).unwrap().unwrap();
    run(&mut log, plan, at(3)).unwrap();
    settle(&mut log, at(4)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (end, end));
    block_on(log.close(at(5))).unwrap();
    let (log, report) = open(&disk, small(), 2, at(6)).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert_eq!((log.log_start(), log.log_end()), (end, end));
}

#[test]
fn a_first_append_on_a_full_disk_waits_and_is_written_when_there_is_space() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    disk.faults().set_full(true);
    log.append(&batch(&[b"a"], at(0)), at(0)).unwrap();
    assert!(matches!(
        flush(&mut log, at(0)),
        Err(Error::StorageFull { .. })
    ));
    assert!(matches!(
        chore(&mut log, at(0), false),
        Err(Error::StorageFull { .. })
    ));
    assert!(
        chore(&mut log, at(1), false).unwrap().is_none(),
        "not at once again"
    );
    disk.faults().set_full(false);
    settle(&mut log, at(1_000)).unwrap();
    assert_eq!(log.durable(), offset(1));
    block_on(log.close(at(3_000))).unwrap();
    let (log, report) = open(&disk, small(), 2, at(4_000)).unwrap();
    assert!(
        report.is_clean && report.quarantined.is_empty(),
        "{report:?}"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
}

#[test]
fn a_store_that_recovery_cannot_write_again_goes_on_in_a_new_file() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = Disk::new(MemoryDir::new());
        let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
        for _ in 0..5 {
            log.append(&batch(&[&[b'x'; 900]], at(0)), at(0)).unwrap();
            flush(&mut log, at(0)).unwrap();
        }
        let before = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        disk.faults().fail(
            Match::on(operation, ".log"),
            1,
            Fault::Fail(ErrorKind::Other),
        );
        let (mut log, report) = open(&disk, small(), 2, at(1)).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(
            report.quarantined.len(),
            1,
            "the old file is kept: {report:?}"
        );
        log.append(&batch(&[b"on"], at(1)), at(1)).unwrap();
        settle(&mut log, at(1)).unwrap();
        block_on(log.close(at(2))).unwrap();
        let (log, report) = open(&disk, small(), 3, at(3)).unwrap();
        assert!(
            report.is_clean && report.quarantined.is_empty(),
            "{report:?}"
        );
        let after = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!((after.len(), &after[..5]), (6, &before[..]));
    }
}

/// An opening after a kill in between waited for nothing, and may have read a manifest over which a write was still
/// under way.
#[test]
fn an_opening_takes_a_clean_mark_back_before_it_writes_the_manifest() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"kept"], at(0)), at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    block_on(log.close(at(1))).unwrap();
    drop(log);
    let dir = disk.child("p0");
    let unnamed = crate::segment::name::store(offset(900), 0);
    drop(block_on(dir.open(&unnamed, Open::Create)).unwrap());
    for (operation, file) in [
        (Operation::Write, "manifest"),
        (Operation::CreateFile, "manifest.new"),
        (Operation::Write, "mark"),
        (Operation::CreateFile, "mark.new"),
    ] {
        let fault = Fault::Fail(ErrorKind::Other);
        disk.faults().fail(Match::on(operation, file), 1, fault);
    }
    assert!(open(&disk, small(), 2, at(2)).is_err());
    assert_eq!(disk.faults().happened()[0].name, "mark");
    disk.faults().clear();
    let (mut log, report) = open(&disk, small(), 2, at(2)).unwrap();
    assert!(report.is_clean && report.quarantined.is_empty());
    assert!(block_on(dir.open(&unnamed, Open::Read)).is_err());
    for seed in 0..20 {
        let (log, report) = open(&disk.inner().power_cut(seed), small(), 3, at(3)).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
    }
    block_on(log.close(at(4))).unwrap();
    drop(log);
    let (log, report) = open(&disk, small(), 4, at(5)).unwrap();
    assert!(report.is_clean, "closing says it again");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
}
