//! A drive that fails: what it does not give takes it seconds each time, so it is not asked for all that there is.

use corelog_record::{ByteSize, Offset};

use super::recovery::STORE;
use super::unread::{BLOCK, Disk, append, disk, lose};
use super::{at, offset, small};
use crate::disk::faulty::Operation;
use crate::disk::unread::UNREAD_MAX;
use crate::disk::{Dir, block_on};
use crate::format::index::ROW_BYTES;
use crate::log::{Log, Options, ReadError};
use crate::testing::own::{alter, scrub};
use crate::testing::{batch, open, read_all, settle};

const INDEX: &str = "00000000000000000000.index";
const SECOND: &str = "00000000000000000640.log";
/// So many batches are more than such a drive is asked for, in a segment that takes no more.
const BATCHES: u64 = 640;

fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(8),
        ..small()
    }
}

fn reopen(disk: &Disk) -> Log<Disk> {
    open(disk, options(), 1, at(0)).unwrap().0
}

/// Two sealed segments of which nothing is in memory.
fn two_segments() -> (Disk, Log<Disk>) {
    let disk = disk();
    let mut log = reopen(&disk);
    (0..BATCHES).for_each(|_| append(&mut log));
    log.roll();
    (0..10).for_each(|_| append(&mut log));
    log.roll();
    append(&mut log);
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.segments().next().unwrap().next, offset(BATCHES));
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let log = reopen(&disk);
    (disk, log)
}

/// Has each batch of the first segment but the first one be unreadable, or each other one.
fn lose_each(disk: &Disk, step: usize) {
    (1..BATCHES)
        .step_by(step)
        .for_each(|number| lose(disk, number));
}

/// How many reads of the disk there are meanwhile.
fn reads<T>(disk: &Disk, work: impl FnOnce() -> T) -> (T, usize) {
    let count = || disk.faults().count(Operation::Read);
    let before = count();
    let done = work();
    (done, usize::try_from(count() - before).unwrap())
}

fn read_from(log: &Log<Disk>, from: u64) -> Result<Offset, ReadError> {
    let plan = log.plan_read(offset(from), Offset::MAX, 0)?;
    block_on(plan.run()).map(|fetched| fetched.next)
}

/// Each batch was asked for to make an index: a read had its place among those of its core for hours.
#[test]
fn an_index_is_made_of_what_a_drive_gives_before_it_fails_too_often() {
    for (is_wrong, step) in [(false, 2), (true, 1), (true, 2)] {
        let (disk, mut log) = two_segments();
        let dir = disk.inner().child("p0");
        match is_wrong {
            // Rows of it are known all the same.
            true => alter(&dir, INDEX, |index| {
                let last = index.len() - 1;
                index[last] ^= 1;
            }),
            false => block_on(dir.remove(INDEX)).unwrap(),
        }
        let all = read_all(&log, offset(BATCHES)).unwrap();
        lose_each(&disk, step);
        let (first, count) = reads(&disk, || read_from(&log, 0));
        assert_eq!(first.unwrap(), offset(1));
        let walks = 1 + usize::from(is_wrong);
        assert!(count < 10 * walks * UNREAD_MAX, "{count}");
        let (again, count) = reads(&disk, || read_from(&log, 0));
        assert_eq!(again.unwrap(), offset(1));
        assert!(count < 10, "it is made once: {count}");
        let last = read_from(&log, BATCHES - 1).unwrap_err();
        assert!(matches!(last, ReadError::Disk { .. }), "{last}");
        // What is given again is read, and is no damage.
        disk.faults().clear();
        assert_eq!(read_all(&log, offset(BATCHES)).unwrap(), all);
        let read = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!(read.len() as u64, BATCHES + 11);
        log.take_events();
        assert_eq!(log.damage(), []);
    }
}

/// More than a read takes at once was without a row, and so was taken for damage once the disk gave it.
#[test]
fn what_a_drive_gives_again_behind_what_an_index_was_made_of_is_no_damage() {
    let disk = disk();
    let large = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (mut log, _) = open(&disk, large.clone(), 1, at(0)).unwrap();
    let one = batch(&[&[b'l'; 256 << 10]], at(0));
    for _ in 0..170 {
        log.append(&one, at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    log.roll();
    append(&mut log);
    settle(&mut log, at(1)).unwrap();
    block_on(log.close(at(2))).unwrap();
    drop(log);
    block_on(disk.inner().child("p0").remove(INDEX)).unwrap();
    for number in 1..=UNREAD_MAX {
        let start = (number * one.len()) as u64 + BLOCK;
        disk.faults().set_unreadable(STORE, start..start + 1);
    }
    let (mut log, _) = open(&disk, large, 1, at(3)).unwrap();
    assert_eq!(read_from(&log, 0).unwrap(), offset(1));
    disk.faults().clear();
    assert_eq!(read_from(&log, 169).unwrap(), offset(170));
    log.take_events();
    assert_eq!(log.damage(), []);
}

/// Rows that the store did not confirm were let go of, and the file was written over without them: behind a header that
/// leads nowhere they are all that leads on.
#[test]
fn rows_stay_where_the_disk_gives_nothing_of_their_store_for_a_while() {
    let disk = disk();
    let mut log = reopen(&disk);
    for _ in 0..3 {
        let half = [b'l'; 600_000];
        let large = batch(&[&half, &half], at(0));
        log.append(&large, at(0)).unwrap();
    }
    settle(&mut log, at(0)).unwrap();
    log.roll();
    append(&mut log);
    settle(&mut log, at(1)).unwrap();
    block_on(log.close(at(2))).unwrap();
    drop(log);
    let mut log = reopen(&disk);
    let index = || block_on(disk.inner().child("p0").read(INDEX, 1 << 20)).unwrap();
    let before = index();
    assert!(before.len() > ROW_BYTES);
    disk.faults().set_unreadable(STORE, 0..1 << 40);
    read_from(&log, 1).unwrap_err();
    disk.faults().clear();
    settle(&mut log, at(10_000)).unwrap();
    assert_eq!(index(), before);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 4);
}

/// A pass asked for each batch of a segment before it came to the next one, or to another log.
#[test]
fn a_scrub_leaves_a_segment_of_which_a_drive_gives_too_little() {
    // Behind the first one no row leads to a batch that is given, or each leads to the next.
    for (step, errors) in [(1, 1), (2, UNREAD_MAX)] {
        let (disk, mut log) = two_segments();
        lose_each(&disk, step);
        alter(&disk.inner().child("p0"), SECOND, |store| {
            store[20_000] ^= 1;
        });
        let (pieces, count) = reads(&disk, || scrub(&mut log, 1 << 20, at(200)));
        assert!(count < 20 * UNREAD_MAX, "{count}");
        let failed = pieces.iter().filter(|piece| piece.error.is_some());
        assert_eq!(failed.count(), errors);
        assert!(pieces.last().is_some_and(|last| !last.is_whole));
        let [damage] = log.damage() else {
            panic!("{:?}", log.damage())
        };
        assert_eq!(damage.segment, offset(BATCHES));
        disk.faults().clear();
        scrub(&mut log, 1 << 20, at(300));
        assert_eq!(log.damage().len(), 1);
    }
}
