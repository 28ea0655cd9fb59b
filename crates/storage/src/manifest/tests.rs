//! What is appended is there afterwards, whatever happens in between.

use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use corelog_record::{CopyId, HistoryId, LeaderEpoch, Lineage, Offset, PartitionId, TopicId};

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{block_on, poll_once};
use crate::format::edit::{Epoch, Generation, Settings, Start};

fn header() -> Header {
    Header {
        topic: TopicId::from_bytes([1; 16]),
        partition: PartitionId::new(2),
        history: HistoryId::from_bytes([3; 16]),
        copy: CopyId::from_bytes([4; 16]),
    }
}

/// The edit `number` of an endless sequence of different lengths.
fn edit(number: i32) -> Edit {
    let key = format!("key {}", number % 7);
    let value = format!(
        "{number} {}",
        "v".repeat(usize::try_from(number * 97 % 900).unwrap())
    );
    let changes = [(key, Some(value))].into();
    Edit::Settings(Settings { changes })
}

fn epoch(number: i32) -> Edit {
    let state = State::new(header().history);
    let end = state.end().unwrap();
    Edit::Epoch(Epoch {
        epoch: LeaderEpoch::new(number).unwrap(),
        lineage: Lineage::from_bytes([5; 16]),
        offset: end.offset,
        ordinal: end.ordinal,
    })
}

/// The state after the first `count` edits.
fn state(count: i32) -> State {
    let mut state = State::new(header().history);
    for number in 0..count {
        state.apply(&edit(number)).unwrap();
    }
    state
}

fn partition(disk: &MemoryDir) -> MemoryDir {
    let dir = disk.child("topic").child("0");
    block_on(dir.create_all()).unwrap();
    dir
}

#[test]
fn what_is_appended_is_there_when_it_is_opened_again() {
    block_on(async {
        let dir = partition(&MemoryDir::new());
        let mut manifest = Manifest::create(dir.clone(), header(), &[epoch(0)])
            .await
            .unwrap();
        assert_eq!(manifest.state().epochs().len(), 1);
        for number in 0..200 {
            assert_eq!(manifest.append(&edit(number)).await.unwrap(), []);
            let opened = Manifest::open(dir.clone()).await.unwrap();
            assert_eq!(opened.state(), manifest.state());
            assert_eq!(opened.header(), &header());
            assert_eq!(opened.torn(), None);
        }
        // It was written anew several times, and what is superseded is gone.
        let entries = dir.list().await.unwrap();
        assert_eq!(entries.len(), 1);
        assert!(entries[0].bytes < 64 << 10, "{entries:?}");
    });
}

#[test]
fn segments_that_go_are_handed_out() {
    block_on(async {
        let dir = partition(&MemoryDir::new());
        let mut manifest = Manifest::create(dir, header(), &[]).await.unwrap();
        let begin = manifest.state().end().unwrap();
        manifest.append(&Edit::Add(begin.into())).await.unwrap();
        let next = crate::format::edit::Point {
            offset: Offset::new(10).unwrap(),
            ordinal: begin.ordinal.plus(1),
            ..begin
        };
        manifest.append(&Edit::Add(next.into())).await.unwrap();
        let gone = manifest
            .append(&Edit::Expire(Start { start: next.offset }))
            .await
            .unwrap();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].base, Offset::ZERO);
    });
}

/// Each edit of a log with a hundred thousand of them took milliseconds.
#[test]
fn an_edit_copies_no_segments() {
    block_on(async {
        let dir = partition(&MemoryDir::new());
        let mut manifest = Manifest::create(dir, header(), &[]).await.unwrap();
        let begin = manifest.state().end().unwrap();
        manifest.append(&Edit::Add(begin.into())).await.unwrap();
        let place = manifest.state().segments().as_ptr();
        let (base, generation) = (begin.offset, 1);
        let change = Edit::Generation(Generation { base, generation });
        manifest.append(&change).await.unwrap();
        assert_eq!(manifest.state().segments().as_ptr(), place);
        manifest.compact().await.unwrap();
        assert_eq!(manifest.state().segments().as_ptr(), place);
        assert_eq!(manifest.state().segments()[0].generation, 1);
    });
}

#[test]
fn a_manifest_written_anew_says_the_same() {
    block_on(async {
        let dir = partition(&MemoryDir::new());
        let mut manifest = Manifest::create(dir.clone(), header(), &[]).await.unwrap();
        for number in 0..30 {
            manifest.append(&edit(number)).await.unwrap();
        }
        manifest.compact().await.unwrap();
        assert_eq!(manifest.state(), &state(30));
        manifest.append(&edit(30)).await.unwrap();
        assert_eq!(Manifest::open(dir).await.unwrap().state(), &state(31));
    });
}

/// It was refused by whoever opened the log, and sound to whoever was asked what is wrong with it.
#[test]
fn a_manifest_that_was_cut_anywhere_behind_its_last_edit_is_opened_and_goes_on() {
    let dir = partition(&MemoryDir::new());
    let mut manifest = block_on(Manifest::create(dir.clone(), header(), &[])).unwrap();
    for number in 0..3 {
        block_on(manifest.append(&edit(number))).unwrap();
    }
    let whole = block_on(dir.read(NAME, BYTES_MAX)).unwrap();
    let end = usize::try_from(manifest.end).unwrap();
    for len in [end, end + 1, 8191, 8192, 8193, 12_287, whole.len() - 1] {
        let cut = partition(&MemoryDir::new());
        block_on(cut.write_aside(NAME, &whole[..len])).unwrap();
        let mut manifest = block_on(Manifest::open(cut.clone())).unwrap();
        assert_eq!((manifest.state(), manifest.torn()), (&state(3), None));
        block_on(manifest.confirm()).unwrap();
        for number in 3..40 {
            block_on(manifest.append(&edit(number))).unwrap();
            let opened = block_on(Manifest::open(cut.power_cut(1))).unwrap();
            assert_eq!((opened.state(), opened.torn()), (&state(number + 1), None));
        }
    }
    for len in [0, 4095, 4096, end - 16] {
        let cut = partition(&MemoryDir::new());
        block_on(cut.write_aside(NAME, &whole[..len])).unwrap();
        let refused = block_on(Manifest::open(cut)).unwrap_err();
        assert!(matches!(refused, Error::Format { .. }), "{len}: {refused}");
    }
}

#[test]
fn a_missing_manifest_is_not_found() {
    let opened = block_on(Manifest::open(partition(&MemoryDir::new())));
    assert!(
        matches!(opened, Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound)
    );
}

/// Appends edits until one fails; returns how many were promised.
async fn fill<D: Dir>(dir: D, count: i32) -> (i32, Option<Error>) {
    let mut manifest = match Manifest::create(dir, header(), &[]).await {
        Ok(manifest) => manifest,
        Err(error) => return (-1, Some(error)),
    };
    for number in 0..count {
        if let Err(error) = manifest.append(&edit(number)).await {
            let in_doubt = manifest.is_in_doubt();
            assert!(
                in_doubt || manifest.state() == &state(number),
                "known or in doubt"
            );
            if in_doubt {
                assert!(matches!(
                    manifest.append(&edit(0)).await,
                    Err(Error::Fenced)
                ));
            }
            return (number, Some(error));
        }
    }
    (count, None)
}

/// Opens what a power cut left: every promised edit is there, and at most one more.
fn check_after_cut(dir: &MemoryDir, promised: i32, seed: u64) {
    block_on(async {
        let cut = dir.power_cut(seed);
        let mut manifest = match Manifest::open(cut.clone()).await {
            Ok(manifest) => manifest,
            Err(Error::Io { source, .. })
                if promised < 0 && source.kind() == ErrorKind::NotFound =>
            {
                return;
            }
            Err(error) => panic!("seed {seed}: {error:?}"),
        };
        let promised = promised.max(0);
        let read = manifest.state().clone();
        let count = if read == state(promised) {
            promised
        } else {
            promised + 1
        };
        assert_eq!(read, state(count), "seed {seed}");
        manifest.cut_torn().await.unwrap();
        assert_eq!(manifest.torn(), None);
        manifest.append(&edit(count)).await.unwrap();
        let again = Manifest::open(cut.power_cut(seed)).await.unwrap();
        assert_eq!((again.state(), again.torn()), (&state(count + 1), None));
    });
}

/// Opens what a killed process left, while the machine goes on, and cuts the power only later.
fn check_after_kill(dir: &MemoryDir, promised: i32) {
    block_on(async {
        let mut manifest = match Manifest::open(dir.clone()).await {
            Ok(manifest) => manifest,
            Err(_) if promised < 0 => return,
            Err(error) => panic!("{error:?}"),
        };
        let promised = promised.max(0);
        let is_one_more = manifest.state() == &state(promised + 1);
        let count = promised + i32::from(is_one_more);
        assert_eq!(manifest.state(), &state(count));
        manifest.cut_torn().await.unwrap();
        manifest.append(&edit(count)).await.unwrap();
        for seed in 0..10 {
            let cut = Manifest::open(dir.power_cut(seed)).await.unwrap();
            assert_eq!(cut.state(), &state(count + 1), "seed {seed}");
        }
    });
}

#[test]
fn each_disk_operation_fails_once_and_no_promised_edit_is_lost() {
    let count = 40;
    let probe = FaultyDir::new(partition(&MemoryDir::new()));
    assert_eq!(block_on(fill(probe.clone(), count)).0, count);
    let faults = [
        Fault::Fail(ErrorKind::Other),
        Fault::Torn { seed: 7 },
        Fault::Short { bytes: 99 },
    ];
    for nth in 1..=probe.faults().total() {
        for fault in faults {
            let dir = FaultyDir::new(partition(&MemoryDir::new()));
            dir.faults().fail(Match::ANY, nth, fault);
            let (promised, error) = block_on(fill(dir.clone(), count));
            assert!(error.is_some() || promised == count);
            for seed in 0..5 {
                check_after_cut(dir.inner(), promised, seed);
            }
            // What a failed sync was to cover is lost, though reads still show it.
            for name in [NAME.to_owned(), image::aside()] {
                let _missing = dir.inner().lose_unsynced(&name, nth);
            }
            check_after_kill(dir.inner(), promised);
        }
    }
}

/// Does `work` up to a moment: before or behind an operation of the disk. Gives what came of it if it ended before.
fn up_to<T>(dir: &FaultyDir<MemoryDir>, moment: u32, work: impl Future<Output = T>) -> Option<T> {
    let when = match moment % 2 {
        0 => When::Before,
        _ => When::After,
    };
    for operation in [
        Operation::Allocate,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::SyncDir,
    ] {
        dir.faults().hold(operation, when);
    }
    let mut work = pin!(work);
    for passed in 0..=moment / 2 {
        assert_eq!(dir.faults().release_one(), 0 < passed);
        if let Poll::Ready(done) = poll_once(work.as_mut()) {
            return Some(done);
        }
    }
    None
}

#[test]
fn a_power_cut_at_any_moment_loses_no_promised_edit() {
    let count = 40;
    for step in 0.. {
        let dir = FaultyDir::new(partition(&MemoryDir::new()));
        let promised = std::cell::Cell::new(-1);
        let work = async {
            let mut manifest = Manifest::create(dir.clone(), header(), &[]).await.unwrap();
            promised.set(0);
            for number in 0..count {
                manifest.append(&edit(number)).await.unwrap();
                promised.set(number + 1);
            }
        };
        let is_done = up_to(&dir, step, work).is_some();
        for seed in 0..5 {
            check_after_cut(dir.inner(), promised.get(), seed);
        }
        check_after_kill(dir.inner(), promised.get());
        if is_done {
            assert!(step > 100, "there were many moments");
            return;
        }
    }
}

/// A manifest of several pieces, its edits, and one more.
fn of_pieces() -> (FaultyDir<MemoryDir>, Manifest<FaultyDir<MemoryDir>>, Edit) {
    let long = |number: i32| {
        let changes = [(number.to_string(), Some("v".repeat(3_000)))].into();
        Edit::Settings(Settings { changes })
    };
    let dir = FaultyDir::new(partition(&MemoryDir::new()));
    let edits = Vec::from_iter((0..300).map(long));
    let manifest = block_on(Manifest::create(dir.clone(), header(), &edits)).unwrap();
    (dir, manifest, long(300))
}

/// The state with one more edit.
fn with(state: &State, edit: &Edit) -> State {
    let mut state = state.clone();
    state.apply(edit).unwrap();
    state
}

/// It was encoded, and written, in one go: nobody else had the core meanwhile.
#[test]
fn others_go_on_while_a_long_file_is_written_anew_and_a_power_cut_leaves_the_old_one_or_the_new_one()
 {
    for moment in 0.. {
        let (dir, mut manifest, edit) = of_pieces();
        let old = manifest.state().clone();
        let new = with(&old, &edit);
        let done = up_to(
            &dir,
            moment,
            manifest.append_all(std::slice::from_ref(&edit)),
        );
        dir.faults().release_all();
        for seed in 0..5 {
            let cut = block_on(Manifest::open(dir.inner().power_cut(seed))).unwrap();
            let is_new = cut.state() == &new;
            assert!(is_new || (done.is_none() && cut.state() == &old), "{seed}");
        }
        let killed = block_on(Manifest::open(dir.clone())).unwrap();
        assert!([&old, &new].contains(&killed.state()));
        if !manifest.is_in_doubt() {
            // Who called for it is gone, and somebody else goes on.
            block_on(manifest.append_all(&[edit])).unwrap();
            let cut = block_on(Manifest::open(dir.inner().power_cut(0))).unwrap();
            assert_eq!((manifest.state(), cut.state()), (&new, &new));
        }
        if done.is_some() {
            assert!(moment > 20, "there were many moments");
            return;
        }
    }
}

#[test]
fn a_long_file_of_which_a_piece_fails_is_without_effect_and_takes_no_space() {
    let (probe, mut manifest, edit) = of_pieces();
    let before = probe.faults().total();
    block_on(manifest.append_all(&[edit])).unwrap();
    let faults = [
        Fault::Fail(ErrorKind::Other),
        Fault::Fail(ErrorKind::StorageFull),
        Fault::Short { bytes: 99 },
    ];
    for nth in 1..=probe.faults().total() - before {
        for fault in faults {
            let (dir, mut manifest, edit) = of_pieces();
            let old = manifest.state().clone();
            let new = with(&old, &edit);
            dir.faults().fail(Match::ANY, nth, fault);
            let written = block_on(manifest.append_all(std::slice::from_ref(&edit)));
            let is_full = matches!(written, Err(Error::StorageFull { .. }));
            let opened = block_on(Manifest::open(dir.clone())).unwrap();
            if manifest.is_in_doubt() {
                assert!(written.is_err() && !is_full, "{nth}: {written:?}");
                assert!([&old, &new].contains(&opened.state()));
                continue;
            }
            let known = if written.is_ok() { &new } else { &old };
            assert_eq!((manifest.state(), opened.state()), (known, known));
            assert_eq!(block_on(dir.list()).unwrap().len(), 1, "{nth}");
            block_on(manifest.append_all(&[edit])).unwrap();
            let opened = block_on(Manifest::open(dir)).unwrap();
            assert_eq!((manifest.state(), opened.state()), (&new, &new));
        }
    }
}

#[test]
fn room_is_kept_for_the_edits_that_make_space_on_a_full_disk() {
    block_on(async {
        let dir = FaultyDir::new(partition(&MemoryDir::new()));
        let mut manifest = Manifest::create(dir.clone(), header(), &[]).await.unwrap();
        // As a log does: room is made behind each edit, until the disk is full.
        for number in 0..100 {
            manifest.append(&edit(number)).await.unwrap();
            manifest.make_room().await.unwrap();
        }
        dir.faults().set_full(true);
        for number in 1..=20 {
            manifest.append(&epoch(number)).await.unwrap();
            manifest.make_room().await.unwrap();
        }
        assert_eq!(manifest.state().epochs().len(), 20);
        assert!(!manifest.is_in_doubt());
    });
}

#[test]
fn a_full_disk_is_no_failure_and_the_manifest_goes_on_when_there_is_space() {
    block_on(async {
        let dir = FaultyDir::new(partition(&MemoryDir::new()));
        let mut manifest = Manifest::create(dir.clone(), header(), &[]).await.unwrap();
        dir.faults().set_full(true);
        let mut number = 0;
        let error = loop {
            match manifest.append(&edit(number)).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(number > 5, "edits go into space that is there already");
        assert!(matches!(error, Error::StorageFull { .. }), "{error:?}");
        assert!(!manifest.is_in_doubt());
        assert_eq!(manifest.state(), &state(number));
        let names = dir.list().await.unwrap();
        assert_eq!(names.len(), 1, "what was written aside takes no space");
        dir.faults().set_full(false);
        manifest.append(&edit(number)).await.unwrap();
        assert_eq!(
            Manifest::open(dir).await.unwrap().state(),
            &state(number + 1)
        );
    });
}

/// The room was only for later, but for want of a descriptor the edit before it was reported as
/// failed: it was tried again, did not follow from itself, and ended the program.
#[test]
fn room_that_finds_no_descriptor_is_made_later() {
    for operation in [Operation::CreateFile, Operation::Remove] {
        let dir = FaultyDir::new(partition(&MemoryDir::new()));
        let mut manifest = block_on(Manifest::create(dir.clone(), header(), &[])).unwrap();
        let number = leave_no_room(&mut manifest);
        dir.faults().fail(operation, 1, Fault::OutOfFiles);
        block_on(manifest.make_room()).unwrap();
        assert!(!dir.faults().is_pending());
        assert!(!manifest.is_in_doubt());
        block_on(manifest.make_room()).unwrap();
        assert!(manifest.end + ROOM_BYTES <= manifest.space_end);
        assert_eq!(manifest.state(), &state(number));
    }
}

/// Renamed into place, the new file is the one that is read: that its name is not durable for want
/// of a descriptor is a failure that no later try mends.
#[test]
fn a_new_file_that_is_in_place_and_not_made_sure_of_is_no_shortage() {
    let dir = FaultyDir::new(partition(&MemoryDir::new()));
    let mut manifest = block_on(Manifest::create(dir.clone(), header(), &[])).unwrap();
    leave_no_room(&mut manifest);
    dir.faults().fail(Operation::SyncDir, 1, Fault::OutOfFiles);
    let error = block_on(manifest.make_room()).unwrap_err();
    assert!(!error.is_shortage(), "{error:?}");
    assert!(manifest.is_in_doubt());
}

/// Appends edits until room is to be made. Returns how many.
fn leave_no_room<D: Dir>(manifest: &mut Manifest<D>) -> i32 {
    let mut number = 0;
    while manifest.end + ROOM_BYTES <= manifest.space_end {
        block_on(manifest.append(&edit(number))).unwrap();
        number += 1;
    }
    number
}

#[test]
fn an_append_that_was_dropped_leaves_the_manifest_in_doubt() {
    let dir = FaultyDir::new(partition(&MemoryDir::new()));
    let mut manifest = block_on(Manifest::create(dir.clone(), header(), &[])).unwrap();
    dir.faults().hold(Operation::Sync, When::Before);
    assert!(poll_once(pin!(manifest.append(&edit(0)))).is_pending());
    assert!(manifest.is_in_doubt());
    dir.faults().release_all();
    assert!(matches!(
        block_on(manifest.append(&edit(0))),
        Err(Error::Fenced)
    ));
}

/// A sync that fails and a process that starts again: the edit can be read, but it may be nowhere
/// but in a cache. What is appended next must not stand on it before it is made sure of.
#[test]
fn an_edit_whose_sync_failed_is_written_again_before_another_follows() {
    for seed in 0..50 {
        let dir = FaultyDir::new(partition(&MemoryDir::new()));
        let mut manifest = block_on(Manifest::create(dir.clone(), header(), &[])).unwrap();
        let mut number = 0;
        while manifest.end % 4096 < 2048 {
            block_on(manifest.append(&edit(number))).unwrap();
            number += 1;
        }
        let changes = [("long".to_owned(), Some("v".repeat(3000)))].into();
        let long = Edit::Settings(Settings { changes });
        dir.faults()
            .fail(Operation::Sync, 1, Fault::Fail(ErrorKind::Other));
        block_on(manifest.append(&long)).unwrap_err();
        dir.inner().lose_unsynced(NAME, seed).unwrap();

        let mut manifest = block_on(Manifest::open(dir.clone())).unwrap();
        block_on(manifest.append(&edit(number))).unwrap();
        let cut = block_on(Manifest::open(dir.inner().power_cut(seed))).unwrap();
        assert_eq!(cut.state(), manifest.state(), "seed {seed}");
        assert!(cut.state().settings().contains_key("long"));
    }
}

/// It kept the log closed until somebody had it opened again.
#[test]
fn a_byte_that_turns_over_on_its_way_from_the_disk_refuses_no_manifest() {
    let root = FaultyDir::new(MemoryDir::new());
    let dir = root.child("partition");
    let edits: Vec<_> = (0..20).map(edit).collect();
    let opened = || block_on(Manifest::open(dir.clone())).unwrap();
    block_on(dir.create()).unwrap();
    block_on(Manifest::create(dir.clone(), header(), &edits)).unwrap();
    let expected = opened().state().clone();
    for seed in 0..2_000 {
        let read = Match::on(Operation::Read, NAME);
        root.faults().fail(read, 1, Fault::Flip { seed });
        assert_eq!(*opened().state(), expected, "seed {seed}");
        root.faults().clear();
    }
}
