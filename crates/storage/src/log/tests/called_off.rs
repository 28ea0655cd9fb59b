//! An opening that is called off ends once the disk has answered what it was asked.

use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use corelog_record::{ByteSize, Offset};

use super::at;
use super::recovery::{STORE, scribble};
use super::unread::{BLOCK, Disk, disk, filled, lose, options, reopen};
use crate::disk::faulty::{Fault, Match, Operation, When};
use crate::disk::{Dir, block_on, poll_once};
use crate::log::{CallOff, Log, OpenReport, Options};
use crate::testing::{batch, flush, identity, open, read_all};
use crate::{Error, mark};

/// So many reads of the store may follow: what one batch takes.
const READS_MAX: usize = 8;

type Opened = Result<(Log<Disk>, OpenReport), Error>;

/// What makes a disk bad.
type Spoil = fn(&Disk);

/// Calls an opening off that has read the store so often. Returns what came of it, and how often it read that in all.
fn called_off_behind(disk: &Disk, options: &Options, reads: usize) -> (Opened, usize) {
    let call_off = CallOff::default();
    let options = Options {
        ends_before_unread: true,
        call_off: call_off.clone(),
        ..options.clone()
    };
    let (dir, quarantine) = (disk.child("p0"), disk.child("quarantine"));
    let mut opening = pin!(Log::open(dir, quarantine, identity(), options, 9, at(100)));
    let read = Match::on(Operation::Read, STORE);
    disk.faults().hold(read, When::After);
    for answered in 0.. {
        if answered == reads {
            call_off.call();
        }
        if let Poll::Ready(opened) = poll_once(opening.as_mut()) {
            disk.faults().release_all();
            return (opened, answered);
        }
        assert!(disk.faults().release_one(), "it waits for the disk only");
    }
    unreachable!("an opening has an end")
}

/// A stop, and a deletion, waited for all that an opening asks of a disk that answers late.
#[test]
fn an_opening_that_is_called_off_reads_no_more_than_a_batch() {
    let faults: [Spoil; 3] = [
        |_| {},
        |disk| lose(disk, 2),
        |disk| disk.faults().set_unreadable(STORE, 0..1 << 40),
    ];
    for fault in faults {
        let mut count = 0;
        for reads in 0.. {
            let disk = disk();
            let log = filled(&disk, 5);
            let all = read_all(&log, Offset::ZERO).unwrap();
            drop(log);
            fault(&disk);
            let (opened, answered) = called_off_behind(&disk, &options(), reads);
            disk.faults().clear();
            if answered < reads {
                break;
            }
            assert!(answered - reads <= READS_MAX, "{answered} behind {reads}");
            count += usize::from(matches!(opened, Err(Error::CalledOff)));
            drop(opened);
            let (log, report) = reopen(&disk);
            assert!(report.torn.is_none() && report.damage.is_empty());
            assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all);
        }
        assert!(0 < count);
    }
}

/// It read on for as long as a store has blocks: where the damage is that a log ends with, and where a store that cannot be
/// written is copied.
#[test]
fn an_opening_that_is_called_off_copies_no_more_than_a_piece() {
    const BATCHES: u64 = 20;
    let large = || Options {
        segment_bytes_max: ByteSize::from_mib(32),
        ..Options::default()
    };
    // With one the store is read by pieces, a hundred times; with the other by blocks, thousands of times.
    let copied = |disk: &Disk| {
        let write = Match::on(Operation::Write, STORE);
        disk.faults().fail(write, 1, Fault::Fail(ErrorKind::Other));
    };
    let walked = |disk: &Disk| {
        scribble(disk.inner(), STORE, 0, &[0xff; 64]);
        let bad = 4 << 20..(4 << 20) + 40 * BLOCK;
        disk.faults().set_unreadable(STORE, bad);
    };
    let faults: [(Spoil, usize); 2] = [(copied, 16), (walked, 97)];
    let filled = disk();
    let (mut log, _) = open(&filled, large(), 1, at(0)).unwrap();
    let value = batch(&[&vec![7; 1 << 20]], at(0));
    for _ in 0..BATCHES {
        log.append(&value, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    drop(log);
    block_on(filled.child("p0").remove(mark::NAME)).unwrap();
    for (fault, step) in faults {
        let mut count = 0;
        for reads in (0..).step_by(step) {
            let disk = Disk::new(filled.inner().fork());
            fault(&disk);
            let (opened, answered) = called_off_behind(&disk, &large(), reads);
            disk.faults().clear();
            if answered < reads {
                break;
            }
            assert!(answered - reads <= READS_MAX, "{answered} behind {reads}");
            count += usize::from(matches!(opened, Err(Error::CalledOff)));
            drop(opened);
            let (log, report) = open(&disk, large(), 1, at(100)).unwrap();
            assert!(report.torn.is_none());
            assert!(report.is_read_only || log.durable() == super::offset(BATCHES));
        }
        assert!(2 < count);
    }
}

#[test]
fn an_opening_that_is_over_is_not_called_off_any_more() {
    let disk = disk();
    drop(filled(&disk, 2));
    let (opened, _) = called_off_behind(&disk, &options(), usize::MAX);
    let (log, _) = opened.unwrap();
    log.options.call_off.call();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 2);
    drop(log);
    assert_eq!(reopen(&disk).1.log_end, super::offset(2));
}
