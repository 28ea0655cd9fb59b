//! What an opening misreads does not take the place of what is right on the disk.

use std::io::ErrorKind;
use std::pin::pin;

use corelog_record::Offset;

use super::{at, small};
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir, block_on, poll_once};
use crate::log::Log;
use crate::mark;
use crate::testing::{batch, flush, identity, open, read_all, run, settle};

type Disk = FaultyDir<MemoryDir>;

/// Bytes of a batch, a few of which fill some blocks.
const BYTES: usize = 1_500;

/// A log with a mark within its store, of batches of about `bytes` bytes; closed in order, or stopped.
fn stopped(is_closed: bool, bytes: usize) -> (MemoryDir, Vec<Vec<u8>>) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for number in 0..7 {
        add(&mut log, number, bytes);
        if number == 2 {
            let mark = log.plan_chore(at(10_000), false).unwrap();
            run(&mut log, mark, at(10_000)).unwrap();
        }
    }
    if is_closed {
        block_on(log.close(at(10_001))).unwrap();
    }
    let batches = read_all_of(&root);
    (root, batches)
}

fn add<D: Dir>(log: &mut Log<D>, number: u8, bytes: usize) {
    log.append(&batch(&[&vec![number; bytes]], at(0)), at(0))
        .unwrap();
    flush(log, at(0)).unwrap();
}

/// What a copy of the disk gives whoever opens it.
fn read_all_of(root: &MemoryDir) -> Vec<Vec<u8>> {
    let (log, report) = open(&root.fork(), small(), 2, at(20_000)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(log.durable(), log.log_end());
    read_all(&log, Offset::ZERO).unwrap()
}

/// Opens the log, with a bit turned over in the `nth` read of a store, and appends to it. Returns what an opening
/// after that reads, and whether there were so many reads.
fn misreading(root: &MemoryDir, nth: u64, seed: u64, harm: impl Fn(&Disk)) -> (Vec<Vec<u8>>, bool) {
    let image = root.fork();
    let disk = FaultyDir::new(image.clone());
    harm(&disk);
    let flip = Fault::Flip { seed };
    disk.faults()
        .fail(Match::on(Operation::Read, ".log"), nth, flip);
    // It may refuse to open, and opens the next time.
    if let Ok((mut log, _)) = open(&disk, small(), 3, at(30_000)) {
        disk.faults().clear();
        add(&mut log, 99, BYTES);
        drop(log);
    }
    let happened = disk.faults().happened();
    let is_any = happened.iter().any(|happened| happened.fault == flip);
    (read_all_of(&image), is_any)
}

fn assert_harmless(is_closed: bool, bytes: usize, harm: impl Fn(&Disk)) {
    let (root, batches) = stopped(is_closed, bytes);
    // Of small batches any field is met.
    let seeds = (8 * BYTES / bytes).min(128) as u64;
    let mut reads = 0;
    for nth in 1.. {
        let mut is_any = false;
        for seed in 0..seeds {
            let (read, happened) = misreading(&root, nth, seed, &harm);
            let what = format!("read {nth}, seed {seed}");
            assert!(batches.len() <= read.len(), "{what}");
            assert!(read[..batches.len()] == batches, "{what}");
            is_any |= happened;
        }
        if !is_any {
            break;
        }
        reads += 1;
    }
    assert!(2 <= reads, "the last block is read twice at least");
}

/// It was read once more to be written again, and whatever that read gave was written over it.
#[test]
fn what_recovery_misreads_is_not_written_over_what_is_right() {
    assert_harmless(false, BYTES, |_| {});
}

/// No checksum of a batch covers its epoch.
#[test]
fn no_field_that_recovery_misreads_is_written_over_what_is_right() {
    assert_harmless(false, 10, |_| {});
}

/// The first group after an opening begins with the block that was there.
#[test]
fn a_misread_last_block_is_not_written_in_front_of_the_next_group() {
    assert_harmless(true, BYTES, |_| {});
}

/// The copy was believed without a look at it.
#[test]
fn a_store_that_recovery_copies_is_verified_before_it_takes_the_place_of_the_other() {
    assert_harmless(false, BYTES, |disk| {
        let refused = Fault::Fail(ErrorKind::Other);
        disk.faults()
            .fail(Match::on(Operation::Write, "000.log"), 1, refused);
    });
}

/// It was compared with the other alone: where that was read otherwise than before, and twice alike, the log was served with what
/// had been acknowledged as damage, and the mark told that all of it was durable.
#[test]
fn a_copy_without_the_batches_that_were_found_does_not_take_the_place_of_the_store() {
    let (root, batches) = stopped(false, BYTES);
    // So that all of it is in doubt.
    block_on(root.child("p0").remove(mark::NAME)).unwrap();
    let refused = Fault::Fail(ErrorKind::Other);
    let mut refusals = 0;
    for nth in 1.. {
        let mut is_over = false;
        for seed in 0..16 {
            let image = root.fork();
            let disk = FaultyDir::new(image.clone());
            let on = |operation| Match::on(operation, "000.log");
            disk.faults().fail(on(Operation::Write), 1, refused);
            for read in [nth, nth + 1] {
                disk.faults()
                    .fail(on(Operation::Read), read, Fault::Flip { seed });
            }
            let opened = open(&disk, small(), 3, at(30_000));
            let happened = disk.faults().happened();
            disk.faults().clear();
            is_over |= happened.iter().all(|happened| happened.fault == refused);
            // Twice misread before that, a batch is none to anybody.
            let is_copied = happened.first().is_some_and(|first| first.fault == refused);
            if !is_copied || happened.len() < 3 {
                continue;
            }
            let what = format!("reads from {nth} on, seed {seed}");
            match opened {
                Ok((log, report)) => {
                    assert!(report.damage.is_empty(), "{what}: {report:?}");
                    let read = read_all(&log, Offset::ZERO);
                    assert!(read.is_ok_and(|read| read == batches), "{what}");
                }
                Err(Error::Damaged { .. }) => {
                    let entries = block_on(disk.child("p0").list()).unwrap();
                    let is_copy = |name: &str| name.ends_with(".1.log");
                    assert!(!entries.iter().any(|entry| is_copy(&entry.name)), "{what}");
                    refusals += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
            assert!(read_all_of(&image) == batches, "{what}");
        }
        if is_over {
            break;
        }
    }
    assert!(
        0 < refusals,
        "the copy is read, and what it is compared with"
    );
}

/// The next segment that began there was given the name, and the file with it.
#[test]
fn a_store_that_recovery_copied_leaves_its_name_free() {
    let (root, batches) = stopped(false, BYTES);
    let disk = FaultyDir::new(root);
    let refused = Fault::Fail(ErrorKind::Other);
    let store = Match::on(Operation::Write, "000.log");
    disk.faults().fail(store, 1, refused);
    let (log, report) = open(&disk, small(), 3, at(30_000)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), batches);
    let entries = block_on(disk.child("p0").list()).unwrap();
    let stores = entries.iter().filter(|entry| entry.name.ends_with(".log"));
    let stores: Vec<_> = stores.map(|entry| &*entry.name).collect();
    assert_eq!(stores, ["00000000000000000000.1.log"]);
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    assert!(report.quarantined[0].ends_with("-00000000000000000000.log"));
}

/// A file of zeros as long as a segment went to quarantine, which nobody ever empties.
#[test]
fn an_empty_store_that_cannot_be_written_is_removed() {
    let (root, batches) = stopped(false, BYTES);
    let disk = FaultyDir::new(root);
    let (mut log, _) = open(&disk, small(), 3, at(30_000)).unwrap();
    log.roll();
    log.append(&batch(&[b"lost"], at(30_001)), at(30_001))
        .unwrap();
    let refused = Fault::Fail(ErrorKind::Other);
    let next = Match::on(Operation::Write, "00000000000000000007.log");
    disk.faults().fail(next.clone(), 1, refused);
    flush(&mut log, at(30_001)).unwrap_err();
    drop(log);
    disk.faults().fail(next, 1, refused);
    let (mut log, report) = open(&disk, small(), 4, at(40_000)).unwrap();
    assert_eq!(disk.faults().happened().len(), 2);
    assert_eq!(report.quarantined, [] as [String; 0]);
    let entries = block_on(disk.child("p0").list()).unwrap();
    let stores = entries.iter().filter(|entry| entry.name.ends_with(".log"));
    let stores: Vec<_> = stores.map(|entry| &*entry.name).collect();
    let next = "00000000000000000007.1.log";
    assert_eq!(stores, ["00000000000000000000.log", next]);
    add(&mut log, 99, BYTES);
    drop(log);
    let (log, report) = open(&disk, small(), 5, at(50_000)).unwrap();
    assert_eq!(report.quarantined, [] as [String; 0]);
    let all = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(all[..7], batches);
    assert_eq!(all.len(), 8);
}

/// The second attempt, for the sake of what cannot be read, synced the same file, and believed that.
#[test]
fn a_sync_that_failed_is_not_tried_again_where_the_store_cannot_be_copied() {
    let (root, batches) = stopped(false, BYTES);
    let disk = FaultyDir::new(root);
    let refused = Fault::Fail(ErrorKind::Other);
    let store = Match::on(Operation::Sync, "000.log");
    disk.faults().fail(store, 1, refused);
    // Below the mark, where only a copy reads.
    disk.faults()
        .set_unreadable("000.log", 0..BLOCK_BYTES as u64);
    let error = open(&disk, small(), 3, at(30_000)).unwrap_err();
    assert!(
        matches!(error, Error::Io { action: "sync", .. }),
        "{error:?}"
    );
    disk.faults().clear();
    let (log, report) = open(&disk, small(), 4, at(40_000)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), batches);
}

/// The bytes of all files of `dir`.
fn files(dir: &MemoryDir) -> Vec<Vec<u8>> {
    let entries = block_on(dir.list()).unwrap_or_default();
    let read = |name: &str| block_on(dir.read(name, 1 << 20)).unwrap();
    entries.iter().map(|entry| read(&entry.name)).collect()
}

/// A sector goes bad between one look at it and the next.
#[test]
fn what_the_disk_does_not_give_while_it_is_verified_stays_as_it_is() {
    let (root, _) = stopped(false, BYTES);
    let store = block_on(root.child("p0").read("00000000000000000000.log", 1 << 20)).unwrap();
    let end = store.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut opened = 0;
    for nth in 0.. {
        let mut is_over = false;
        for block in (0..end).step_by(BLOCK_BYTES) {
            let image = root.fork();
            let disk = FaultyDir::new(image.clone());
            disk.faults()
                .hold(Match::on(Operation::Read, "000.log"), When::Before);
            let (dir, quarantine) = (disk.child("p0"), disk.child("quarantine"));
            let mut opening = pin!(Log::open(
                dir,
                quarantine,
                identity(),
                small(),
                3,
                at(30_000)
            ));
            let mut poll = poll_once(opening.as_mut());
            for _ in 0..nth {
                is_over |= !disk.faults().release_one();
                if poll.is_pending() {
                    poll = poll_once(opening.as_mut());
                }
            }
            let bad = block as u64..(block + BLOCK_BYTES) as u64;
            disk.faults().set_unreadable("000.log", bad);
            disk.faults().release_all();
            if poll.is_pending() {
                poll = poll_once(opening.as_mut());
            }
            assert!(poll.is_ready());
            opened += 1;
            let mut kept = files(&image.child("p0"));
            kept.extend(files(&image.child("quarantine")));
            let is_there = kept.iter().any(|bytes| bytes.starts_with(&store[..end]));
            assert!(is_there, "read {nth}, block at {block}");
        }
        if is_over {
            break;
        }
    }
    assert!(12 <= opened, "a few reads, of some blocks each");
}

/// Its rows were made over a misread header, and contradicted what is right from there on: that was remembered as damage.
#[test]
fn what_is_misread_while_an_index_is_made_anew_is_no_damage() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    // Small ones, so that many a bit is a header's.
    for number in 0..40 {
        add(&mut log, number, 10);
    }
    log.roll();
    add(&mut log, 99, 10);
    settle(&mut log, at(1)).unwrap();
    let whole = read_all(&log, Offset::ZERO).unwrap();
    block_on(log.close(at(2))).unwrap();
    let index = "00000000000000000000.index";
    block_on(root.child("p0").remove(index)).unwrap();
    assert_no_damage(&root, &whole);
}

/// Rows behind those of the file were made over what was misread, and contradicted what is right.
#[test]
fn what_is_misread_while_an_index_is_completed_is_no_damage() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    (0..20).for_each(|number| add(&mut log, number, 10));
    block_on(log.close(at(1))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    (20..60).for_each(|number| add(&mut log, number, 10));
    let mark = log.plan_chore(at(10_000), false).unwrap();
    run(&mut log, mark, at(10_000)).unwrap();
    let whole = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    assert_no_damage(&root, &whole);
}

/// Opens the log, has a bit turned over in one of its first reads of a store then, and reads all of it twice.
fn assert_no_damage(root: &MemoryDir, whole: &[Vec<u8>]) {
    let mut flips = 0;
    for nth in 1..=3 {
        for seed in 0..400 {
            let disk = FaultyDir::new(root.fork());
            let (mut log, _) = open(&disk, small(), 3, at(20_000)).unwrap();
            let store = Match::on(Operation::Read, "000.log");
            disk.faults().fail(store, nth, Fault::Flip { seed });
            for _ in 0..2 {
                let read = read_all(&log, Offset::ZERO).unwrap();
                assert!(read == whole, "read {nth}, seed {seed}");
            }
            settle(&mut log, at(20_001)).unwrap();
            assert_eq!(log.damage(), [], "read {nth}, seed {seed}");
            flips += disk.faults().happened().len();
        }
    }
    assert!(800 <= flips, "{flips}");
}
