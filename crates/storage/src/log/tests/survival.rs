//! A process that goes and comes back while the machine goes on: what its failed syncs were to
//! cover may be nowhere but in a cache. Every disk operation of a log's life fails once; then the
//! power goes at once, or the process comes back, goes on, and the power goes later.

use std::io::ErrorKind;

use corelog_record::Offset;
use corelog_record::batch::View;

use super::{at, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::{FailedSync, MemoryDir, Step};
use crate::disk::{Dir, block_on};
use crate::log::{Log, OpenReport};
use crate::planted::{self, Bug};
use crate::testing::{batch, chore, flush, open, read_all, run, settle};

type Disk = FaultyDir<MemoryDir>;

/// A batch that was promised: where it lies, and its bytes from the magic byte on, which the server
/// does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promised {
    base: Offset,
    end: Offset,
    bytes: Vec<u8>,
}

/// What a life of a log has promised.
#[derive(Debug, Clone, Default)]
pub(super) struct Promises {
    pub(super) batches: Vec<Promised>,
    /// Appended, but not promised: it may be there or not.
    pub(super) pending: Vec<Promised>,
    /// No change of the log start beyond it was asked for.
    log_start_max: Offset,
    log_start: Offset,
}

/// The batch `number` of an endless sequence of different lengths.
fn any_batch(number: u64) -> Vec<u8> {
    let value =
        vec![u8::try_from(number % 251).unwrap(); usize::try_from(number * 977 % 5000).unwrap()];
    let values: Vec<&[u8]> = (0..number % 3 + 1).map(|_| &value[..]).collect();
    batch(&values, at(i64::try_from(number).unwrap()))
}

/// Lives a life: appends, flushes, rolls, seals, expires, truncates, closes and opens again. Ends
/// when the log is fenced or cannot be opened.
pub(super) fn live(root: &Disk, promises: &mut Promises) {
    let mut number = 0;
    let mut now = 0;
    for _ in 0..3 {
        let Ok((mut log, _)) = open(root, small(), 1, at(now)) else {
            return;
        };
        for step in 0..14_u64 {
            now += 500;
            for _ in 0..=step % 3 {
                append(&mut log, number, promises);
                number += 1;
            }
            let flushed = flush(&mut log, at(now));
            keep(&log, promises, flushed.is_ok());
            let _refused = chore(&mut log, at(now), step % 4 == 0);
            if step == 11 {
                let lowest = Offset::new(log.durable().get() / 2).unwrap();
                promises.log_start_max = promises.log_start_max.max(lowest);
                if let Ok(Some(plan)) = log.plan_truncate(lowest)
                    && run(&mut log, plan, at(now)).is_ok()
                {
                    promises.log_start = log.log_start();
                }
            }
            if log.is_fenced() {
                assert!(flush(&mut log, at(now)).map_or(true, |flushed| flushed.is_none()));
                return;
            }
        }
        if block_on(log.close(at(now))).is_err() {
            return;
        }
        keep(&log, promises, true);
    }
}

fn append(log: &mut Log<Disk>, number: u64, promises: &mut Promises) {
    let bytes = any_batch(number);
    if let Ok(appended) = log.append(&bytes, at(0)) {
        let (base, end) = (appended.base, appended.end);
        promises.pending.push(Promised {
            base,
            end,
            bytes: bytes[16..].to_vec(),
        });
    }
}

/// Notes what became durable.
fn keep(log: &Log<Disk>, promises: &mut Promises, is_ok: bool) {
    if is_ok {
        let durable = log.durable();
        let count = promises
            .pending
            .iter()
            .take_while(|batch| batch.end <= durable)
            .count();
        promises.batches.extend(promises.pending.drain(..count));
    }
}

/// Compares a log with what was promised.
fn check<D: Dir>(log: &Log<D>, report: &OpenReport, promises: &Promises, hint: &str) {
    assert!(report.damage.is_empty(), "{hint}: {report:?}");
    assert!(!report.is_read_only, "{hint}: {report:?}");
    let log_start = log.log_start();
    assert!(
        promises.log_start <= log_start,
        "{hint}: the log start went back"
    );
    assert!(
        log_start <= promises.log_start_max,
        "{hint}: the log start went too far"
    );
    let read = read_all(log, log_start).unwrap_or_else(|error| panic!("{hint}: {error}"));
    let read: Vec<_> = read.iter().map(|bytes| stored(bytes)).collect();
    let expected = promises.batches.iter().chain(&promises.pending);
    let expected: Vec<_> = expected
        .filter(|batch| log_start < batch.end)
        .cloned()
        .collect();
    assert!(
        read.len() <= expected.len(),
        "{hint}: only what was appended is there"
    );
    assert_eq!(read, expected[..read.len()], "{hint}: as it was appended");
    let end = read.last().map_or(log_start, |last| last.end);
    let promised = promises.batches.last().map_or(log_start, |last| last.end);
    assert!(
        promised <= end,
        "{hint}: {promised} was promised, {end} is there: {report:?}"
    );
    assert_eq!(log.durable(), end, "{hint}");
}

pub(super) fn stored(bytes: &[u8]) -> Promised {
    let view = View::verify(bytes).unwrap();
    let (base, end) = (view.base_offset(), view.next_offset());
    Promised {
        base,
        end,
        bytes: bytes[16..].to_vec(),
    }
}

/// The power goes: whatever survives is enough.
pub(super) fn cut_power(root: &Disk, promises: &Promises, hint: &str) {
    for seed in 0..2 {
        let cut = root.inner().power_cut(seed);
        let hint = format!("{hint}, power cut {seed}");
        let (log, report) =
            open(&cut, small(), 2, at(1 << 20)).unwrap_or_else(|e| panic!("{hint}: {e:?}"));
        check(&log, &report, promises, &hint);
    }
}

/// Only the process goes. It comes back, goes on, and then the power goes, with nothing lost of
/// either life. What a failed sync was to cover is lost unless it is written again.
pub(super) fn kill(root: &Disk, mut promises: Promises, seed: u64, hint: &str) {
    let hint = format!("{hint}, killed");
    let dir = root.child("p0");
    let how = FailedSync::ALL[usize::try_from(seed % 4).unwrap()];
    if let Ok(entries) = block_on(dir.inner().list()) {
        for entry in entries {
            dir.inner().fail_sync(&entry.name, how, seed).unwrap();
        }
    }
    root.faults().clear();
    let (mut log, report) =
        open(root, small(), 3, at(1 << 20)).unwrap_or_else(|e| panic!("{hint}: {e:?}"));
    check(&log, &report, &promises, &hint);
    // All that is left was made durable by opening: it is promised from now on.
    keep(&log, &mut promises, true);
    promises.pending.clear();
    cut_power(root, &promises, &format!("{hint}, opened"));
    for number in 0..5 {
        append(&mut log, 1000 + number, &mut promises);
        flush(&mut log, at(1 << 20)).unwrap_or_else(|e| panic!("{hint}: {e:?}"));
        keep(&log, &mut promises, true);
    }
    assert!(promises.pending.is_empty(), "{hint}: the log goes on");
    cut_power(root, &promises, &format!("{hint}, gone on"));
}

#[test]
fn no_promised_record_is_lost_when_the_power_goes_after_the_process_came_back() {
    let root = FaultyDir::new(MemoryDir::new());
    let mut promises = Promises::default();
    live(&root, &mut promises);
    assert!(
        promises.pending.is_empty(),
        "without faults all is promised"
    );
    assert!(promises.batches.len() > 60);
    let total = root.faults().total();
    let others = [
        Fault::Fail(ErrorKind::StorageFull),
        Fault::Torn { seed: 5 },
        Fault::Short { bytes: 1000 },
    ];
    for (nth, other) in (1..=total).zip(others.into_iter().cycle()) {
        for fault in [Fault::Fail(ErrorKind::Other), other] {
            let hint = format!("operation {nth} of {total}, {fault:?}");
            let root = FaultyDir::new(MemoryDir::new());
            root.faults().fail(Match::ANY, nth, fault);
            let mut promises = Promises::default();
            live(&root, &mut promises);
            cut_power(&root, &promises, &hint);
            kill(&root, promises, nth, &hint);
        }
    }
}

/// Whether torn bytes come back that a recovery cut which died before its sync. Two batches were
/// appended behind the mark and the first of them rotted; the next recovery sees zeros there, goes on
/// with a batch as long as the first, and then the power goes.
fn do_torn_bytes_return(seed: u64) -> bool {
    const STORE: &str = "00000000000000000000.log";
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"marked"], at(0)), at(0)).unwrap();
    settle(&mut log, at(1)).unwrap();
    let marked: u64 = log.segments().map(|segment| segment.bytes).sum();
    for value in [[b'p'; 5000], [b'q'; 5000]] {
        log.append(&batch(&[&value], at(2)), at(2)).unwrap();
    }
    flush(&mut log, at(2)).unwrap();
    drop(log);
    let bit = 8 * (marked + 100);
    root.child("p0").flip(STORE, bit).unwrap();
    root.record();
    let (log, report) = open(&root, small(), 2, at(3)).unwrap();
    assert!(report.torn.is_some(), "{report:?}");
    let end = log.log_end();
    drop(log);
    let trace = root.trace();
    let is_sync = |step: &Step| step.operation() == Operation::Sync && step.name() == STORE;
    let before = trace.steps().iter().position(is_sync).unwrap();
    let root = trace.disk_after(before);
    root.child("p0").lose_unsynced(STORE, seed).unwrap();
    let (mut log, report) = open(&root, small(), 3, at(4)).unwrap();
    assert!(report.torn.is_none(), "nothing shows: {report:?}");
    assert_eq!(log.log_end(), end);
    log.append(&batch(&[&[b'n'; 5000]], at(5)), at(5)).unwrap();
    flush(&mut log, at(5)).unwrap();
    let end = log.durable();
    drop(log);
    let (log, report) = open(&root.power_cut(seed), small(), 4, at(6)).unwrap();
    report.torn.is_some() || log.log_end() != end
}

/// The second recovery found nothing between the mark and the end, and wrote nothing: the torn bytes
/// came back behind what was appended then, and where they held a whole batch, as its successor.
#[test]
fn torn_bytes_that_a_dead_recovery_cut_do_not_come_back_behind_new_ones() {
    for seed in 0..16 {
        assert!(!do_torn_bytes_return(seed), "seed {seed}");
    }
    let mut seeds = 0..16;
    let is_found = planted::with(Bug::PageBelieved, || seeds.any(do_torn_bytes_return));
    assert!(is_found, "zeros that are only shown are no zeros");
}
