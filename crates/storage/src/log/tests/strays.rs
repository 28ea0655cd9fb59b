//! Files that somebody else left in a partition's directory, or a killed opening in quarantine.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use corelog_record::{Offset, Position, TopicId};

use super::recovery::{STORE, reopen, scribble};
use super::{at, offset, small};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::disk::std::StdDir;
use crate::disk::{ASIDE_SUFFIX, BLOCK_BYTES, Dir, block_on};
use crate::format::quarantine::{Name, Reason};
use crate::log::{Chore, Event};
use crate::segment::name;
use crate::testing::own::fill;
use crate::testing::{batch, flush, identity, open, own, read_all, settle};

type Disk = FaultyDir<MemoryDir>;

/// One such file kept a sound partition closed for good.
#[test]
fn a_file_that_cannot_be_moved_stays_and_the_log_opens() {
    let temporary = tempfile::tempdir().unwrap();
    let root = StdDir::new(temporary.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"here"], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    block_on(log.close(at(1))).unwrap();
    // With what is put before it in quarantine the first name is too long for a file system; the second is no text.
    let (long, odd) = ("x".repeat(200), OsStr::from_bytes(b"backup\xff"));
    let dir = temporary.path().join("p0");
    fs::write(dir.join(&long), "not ours").unwrap();
    fs::write(dir.join(odd), "not ours").unwrap();
    for seed in 2..4 {
        let (mut log, report) = open(&root, small(), seed, at(2)).unwrap();
        assert!(
            report.damage.is_empty() && report.quarantined.is_empty(),
            "{report:?}"
        );
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
        let strays = log.take_events();
        let strays = strays
            .iter()
            .filter(|event| matches!(event, Event::Stray { .. }));
        assert_eq!(strays.count(), 2);
        block_on(log.close(at(3))).unwrap();
    }
    assert!(dir.join(&long).exists() && dir.join(odd).exists());
}

/// A kill while bytes were copied to quarantine left a part of them there for good, beside the whole of the next time.
#[test]
fn what_a_killed_opening_left_unfinished_in_quarantine_goes() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    let end = log.store_bytes().bytes();
    drop(log);
    scribble(&root, STORE, end, b"torn");
    let quarantine = root.child("quarantine");
    let unfinished = |topic| {
        let file = format!("{STORE}{ASIDE_SUFFIX}");
        let name = Name {
            time: at(1),
            reason: Reason::Torn,
            topic,
            partition: identity().partition,
            position: Position::ZERO,
            file,
        };
        name.to_string()
    };
    let (ours, other) = (
        unfinished(identity().topic),
        unfinished(TopicId::from_bytes([9; 16])),
    );
    block_on(async {
        quarantine.create().await.unwrap();
        for name in [&ours, &other] {
            quarantine.write_aside(name, b"to").await.unwrap();
        }
    });
    let (_, report) = reopen(&root);
    let mut left = vec![other];
    left.extend(report.quarantined);
    left.sort();
    let entries = block_on(quarantine.list()).unwrap();
    let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, left);
}

/// A kill while a segment was copied, to be cut or to go on, left another whole one in quarantine for ever.
#[test]
fn a_copy_that_never_took_a_stores_place_is_quarantined_as_torn() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    block_on(log.close(at(1))).unwrap();
    let dir = root.child("p0");
    let store = block_on(dir.read(STORE, 1 << 20)).unwrap();
    let copy = "00000000000000000000.1.log";
    let unnamed = "00000000000000000900.1.log";
    for name in [copy, unnamed] {
        block_on(dir.write_aside(name, &store)).unwrap();
    }
    let (log, report) = reopen(&root);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 3);
    let reason = |file: &str| {
        let name = report.quarantined.iter().find(|name| name.ends_with(file));
        name.unwrap().parse::<Name>().unwrap().reason
    };
    assert_eq!(reason(copy), Reason::Torn);
    assert_eq!(reason(unnamed), Reason::Unnamed);
}

/// Its zeros were read from the end on, for hours, and with one byte in the size of a file turned over none of it had been written.
#[test]
fn a_store_longer_than_any_that_was_made_is_not_read() {
    const ABSURD: u64 = 1 << 43;
    let temporary = tempfile::tempdir().unwrap();
    let root = StdDir::new(temporary.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"here"], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    drop(log);
    let dir = temporary.path().join("p0");
    let open_store = |name: &str| {
        fs::File::options()
            .write(true)
            .open(dir.join(name))
            .unwrap()
    };
    let bytes = open_store(STORE).metadata().unwrap().len();
    // The log's own, of which it says what to do.
    open_store(STORE).set_len(ABSURD).unwrap();
    for _ in 0..2 {
        let Err(refused) = open(&root, small(), 2, at(1)) else {
            panic!("it is read to its end")
        };
        assert!(matches!(&refused, crate::Error::Format { file, .. } if file == STORE));
        assert!(
            refused.cause().contains("cut it to 4328521728 bytes"),
            "{refused:?}"
        );
        assert_eq!(open_store(STORE).metadata().unwrap().len(), ABSURD);
    }
    // As short as it says is short enough.
    open_store(STORE).set_len(bytes + (1 << 26)).unwrap();
    let (log, report) = open(&root, small(), 2, at(1)).unwrap();
    assert!(
        report.torn.is_none() && report.damage.is_empty(),
        "{report:?}"
    );
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
    drop(log);
    // Another one is not the log's, whatever is in it.
    let other = "00000000000000000900.log";
    fs::File::create(dir.join(other))
        .unwrap()
        .set_len(ABSURD)
        .unwrap();
    let (_, report) = open(&root, small(), 3, at(2)).unwrap();
    let [kept] = &report.quarantined[..] else {
        panic!("{report:?}")
    };
    assert!(kept.ends_with(other));
    // Without a manifest any store may be.
    fs::remove_file(dir.join("manifest")).unwrap();
    open_store(STORE).set_len(ABSURD).unwrap();
    let refused = open(&root, small(), 4, at(3)).map(drop);
    assert!(
        matches!(refused, Err(crate::Error::NoManifest { .. })),
        "{refused:?}"
    );
}

/// Its length was taken for that of the link: sealed ones were told to be damaged, and of the last one an opening wrote the
/// first block over, through the link.
#[test]
fn a_store_that_is_a_link_is_served_and_not_written_over() {
    let temporary = tempfile::tempdir().unwrap();
    let root = StdDir::new(temporary.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 60, 1000);
    settle(&mut log, at(1)).unwrap();
    let written = read_all(&log, Offset::ZERO).unwrap();
    let stores: Vec<_> = log.segments().map(|it| name::store(it.base, 0)).collect();
    assert!(stores.len() > 2, "{stores:?}");
    block_on(log.close(at(2))).unwrap();
    let (dir, away) = (temporary.path().join("p0"), temporary.path().join("away"));
    fs::create_dir(&away).unwrap();
    for store in &stores {
        fs::rename(dir.join(store), away.join(store)).unwrap();
        symlink(away.join(store), dir.join(store)).unwrap();
    }
    let kept = || {
        let read = |store| fs::read(away.join(store)).unwrap();
        stores.iter().map(read).collect::<Vec<_>>()
    };
    let before = kept();
    let (mut log, report) = open(&root, small(), 2, at(3)).unwrap();
    assert!(report.is_clean && report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), written);
    assert_eq!(kept(), before);
    fill(&mut log, 1, 1000);
    // Killed: the last one is read.
    drop(log);
    let (log, report) = open(&root, small(), 3, at(5)).unwrap();
    assert!(!report.is_clean && report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 61);
}

/// The quarantine of [`identity`]'s log lies in another file system, for one move.
fn elsewhere(disk: &Disk, file: &'static str) {
    let move_there = Match::on(Operation::Rename, file);
    let fault = Fault::Fail(ErrorKind::CrossesDevices);
    disk.faults().fail(move_there, 1, fault);
}

/// A rename does not go there: a start refused the partition for as long as the file was there.
#[test]
fn what_goes_to_a_quarantine_in_another_file_system_is_copied_there_before_it_is_gone() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    block_on(log.close(at(1))).unwrap();
    let (dir, aside) = (disk.child("p0"), disk.child("quarantine"));
    let stray = "00000000000000000777.log";
    let bytes = vec![7; 3 * BLOCK_BYTES + 1];
    block_on(dir.write_aside(stray, &bytes)).unwrap();
    // Until there is room for it the file stays.
    block_on(aside.create()).unwrap();
    elsewhere(&disk, "-00000000000000000777.log");
    disk.faults().fail(
        Match::on(Operation::Allocate, ".log.new"),
        1,
        Fault::Fail(ErrorKind::StorageFull),
    );
    let refused = open(&disk, small(), 2, at(2)).map(drop).unwrap_err();
    assert!(refused.is_shortage(), "{refused}");
    assert_eq!(block_on(dir.read(stray, 1 << 20)).unwrap(), bytes);
    assert_eq!(own::names(&aside), [""; 0]);
    elsewhere(&disk, "-00000000000000000777.log");
    let (log, report) = open(&disk, small(), 3, at(3)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 3);
    let [kept] = &report.quarantined[..] else {
        panic!("{report:?}")
    };
    let disk = disk.inner().power_cut(1);
    let kept = block_on(disk.child("quarantine").read(kept, 1 << 20));
    assert_eq!(kept.unwrap(), bytes);
    assert_eq!(own::names(&disk.child("p0")), [STORE, "manifest", "mark"]);
}

/// The log was fenced, behind an edit that had cut it.
#[test]
fn what_is_cut_goes_to_a_quarantine_in_another_file_system() {
    let disk = Disk::new(MemoryDir::new());
    let (mut log, _) = open(&disk, small(), 1, at(0)).unwrap();
    fill(&mut log, 3, 100);
    let before = read_all(&log, Offset::ZERO).unwrap();
    elsewhere(&disk, "-00000000000000000000.log");
    let plan = log.plan_truncate_suffix(offset(1), at(1)).unwrap();
    let done = block_on(plan.unwrap().run());
    let cut = log.complete_chore(done, at(1)).unwrap();
    let Chore::SuffixCut { quarantined, .. } = cut else {
        panic!("{cut:?}")
    };
    let [kept] = &quarantined[..] else {
        panic!("{quarantined:?}")
    };
    let kept = block_on(disk.child("quarantine").read(kept, 1 << 20)).unwrap();
    assert!(kept.starts_with(&before.concat()));
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), before[..1]);
}
