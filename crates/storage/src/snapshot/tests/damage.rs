//! Bytes of a snapshot that are not what they were: none of them leaves it.

use corelog_record::{Ordinal, Position};

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::disk::memory::MemoryDir;
use crate::format::edit::{Digest, Edit, Epoch, Point};
use crate::manifest::Manifest;
use crate::snapshot::export;
use crate::testing::open;
use crate::testing::own::{alter, last_but_one, manifest};

/// A snapshot of its own files: the log they were linked from is gone.
fn made(root: &MemoryDir) -> Partition {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    fill(&mut log, 40, 1_000);
    let partition = snapshot(&mut log, root).unwrap();
    drop(log);
    block_on(root.child("p0").remove_tree()).unwrap();
    partition
}

/// Nothing was made of the snapshot.
fn assert_nothing_left(root: &MemoryDir) {
    let topic = restored(root);
    if block_on(topic.exists()).unwrap() {
        assert_eq!(block_on(topic.list()).unwrap(), []);
    }
    let copy = root.child("elsewhere");
    if block_on(copy.exists()).unwrap() {
        assert_eq!(block_on(copy.list()).unwrap(), []);
    }
}

#[test]
fn a_bad_byte_anywhere_in_a_store_is_found_by_restore_and_export() {
    let whole = MemoryDir::new();
    let partition = made(&whole);
    let stores: Vec<_> = block_on(snapped(&whole).list()).unwrap();
    let stores = stores.into_iter().filter(|e| e.name.ends_with(".log"));
    let mut found = 0;
    for entry in stores {
        let bytes = usize::try_from(entry.bytes).unwrap();
        // Every byte of the first headers, then some of all.
        for place in (0..70).chain((70..bytes).step_by(97)).chain([bytes - 1]) {
            let root = whole.power_cut(1);
            alter(&snapped(&root), &entry.name, |bytes| bytes[place] ^= 0x10);
            let error = restore_all(&root, partition).unwrap_err();
            let Error::DamagedStore {
                file,
                position,
                from,
                to,
                ..
            } = &error
            else {
                panic!("{} at {place}: {error:?}", entry.name)
            };
            assert_eq!(*file, entry.name);
            assert!(position.get() <= place as u64, "{error} at {place}");
            assert!(from < to);
            let linked = Restore {
                stores: Stores::Linked,
                ..order(partition)
            };
            let topic = restored(&root);
            let error = block_on(restore(&snapped(&root), &topic, linked, &mut |_| {}));
            assert!(matches!(error, Err(Error::DamagedStore { .. })));
            let error = block_on(export(
                &shelved(&root),
                &root.child("elsewhere"),
                &mut |_| {},
            ));
            assert!(matches!(error, Err(Error::DamagedStore { .. })));
            assert_nothing_left(&root);
            found += 1;
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_store_that_is_too_short_or_without_its_file_is_damage() {
    let store = "00000000000000000000.log";
    for case in 0..2 {
        let root = MemoryDir::new();
        let partition = made(&root);
        match case {
            0 => alter(&snapped(&root), store, |bytes| bytes.truncate(5_000)),
            _ => block_on(snapped(&root).remove(store)).unwrap(),
        }
        let error = restore_all(&root, partition).unwrap_err();
        let Error::DamagedStore { file, position, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((file.as_str(), *position), (store, Position::ZERO));
        assert_nothing_left(&root);
    }
}

/// A byte behind the end of one store kept all of the snapshot from being exported or restored.
#[test]
fn what_lies_behind_the_end_of_a_store_is_left_behind() {
    let store = "00000000000000000000.log";
    for stores in [Stores::Copied, Stores::Linked] {
        let root = MemoryDir::new();
        let partition = made(&root);
        let bytes = block_on(snapped(&root).read(store, 1 << 20)).unwrap().len();
        alter(&snapped(&root), store, |bytes| bytes.push(b'x'));
        let order = Restore {
            stores,
            ..order(partition)
        };
        let topic = restored(&root);
        block_on(restore(&snapped(&root), &topic, order, &mut |_| {})).unwrap();
        let copy = block_on(topic.child("0").read(store, 1 << 20)).unwrap();
        assert_eq!(copy.len(), bytes, "{stores:?}");
        let (log, report) = open_restored(&root).unwrap();
        assert!(report.damage.is_empty());
        assert_eq!(walk(&log).len(), 40);
    }
}

#[test]
fn two_stores_that_changed_places_are_damage() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 40, 1_000);
    let partition = snapshot(&mut log, &root).unwrap();
    let names: Vec<_> = log
        .segments()
        .map(|s| format!("{:020}.log", s.base.get()))
        .collect();
    let dir = snapped(&root);
    block_on(async {
        dir.rename(&names[0], &dir, "aside").await.unwrap();
        dir.rename(&names[1], &dir, &names[0]).await.unwrap();
        dir.rename("aside", &dir, &names[1]).await.unwrap();
    });
    let error = restore_all(&root, partition).unwrap_err();
    assert!(matches!(error, Error::DamagedStore { .. }), "{error:?}");
}

#[test]
fn a_leader_epoch_that_rotted_is_found_by_the_chain() {
    let root = MemoryDir::new();
    let partition = made(&root);
    let store = "00000000000000000000.log";
    // Outside the checksum of the batch: only the chain covers it.
    alter(&snapped(&root), store, |bytes| bytes[15] ^= 1);
    let error = restore_all(&root, partition).unwrap_err();
    let Error::DamagedStore { from, to, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*from, Offset::ZERO);
    assert!(offset(10) < *to, "the whole segment is not to be trusted");
}

#[test]
fn a_manifest_that_rotted_or_is_missing_or_anothers_is_refused() {
    let whole = MemoryDir::new();
    let partition = made(&whole);
    let length = block_on(snapped(&whole).read("manifest", 1 << 20))
        .unwrap()
        .len();
    for place in (0..72).chain((4096..length).step_by(7)) {
        let root = whole.power_cut(1);
        alter(&snapped(&root), "manifest", |bytes| bytes[place] ^= 0x10);
        let error = restore_all(&root, partition).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{place}: {error:?}");
        assert_nothing_left(&root);
    }
    let other = order(Partition {
        partition: corelog_record::PartitionId::new(3),
        ..partition
    });
    let topic = restored(&whole);
    let error = block_on(restore(&snapped(&whole), &topic, other, &mut |_| {}));
    assert!(matches!(error, Err(Error::Foreign { .. })), "{error:?}");
    let other = Partition {
        end: partition.end.plus(1),
        ..partition
    };
    let error = restore_all(&whole, other).unwrap_err();
    assert!(matches!(error, Error::Unlike { .. }), "{error:?}");
    block_on(snapped(&whole).remove("manifest")).unwrap();
    let error = restore_all(&whole, partition).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn an_index_that_rotted_is_made_anew() {
    let root = MemoryDir::new();
    let partition = made(&root);
    let index = "00000000000000000000.index";
    let sound = block_on(snapped(&root).read(index, 1 << 20)).unwrap();
    alter(&snapped(&root), index, |bytes| bytes.fill(7));
    restore_all(&root, partition).unwrap();
    let made = block_on(restored(&root).child("0").read(index, 1 << 20)).unwrap();
    assert_eq!(made[..64], sound[..64], "the header is as it was");
    assert_eq!((made.len() - 64) % 32, 0);
    let (copy, report) = open_restored(&root).unwrap();
    assert!(report.is_clean);
    assert_eq!(walk(&copy).len(), 40);
}

/// Whoever has an exported directory may change it: the whole node ended.
#[test]
fn a_manifest_whose_epochs_begin_behind_its_end_is_not_restored() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 6, 1_000);
    let partition = snapshot(&mut log, &root).unwrap();
    let source = snapped(&root);
    let (header, state) = block_on(crate::manifest::read(&source)).unwrap();
    let mut edits = state.edits();
    edits.push(Edit::Epoch(Epoch {
        epoch: state.epochs().last().unwrap().epoch.checked_next().unwrap(),
        lineage: Lineage::from_bytes([9; 16]),
        offset: partition.end.plus(10),
        ordinal: Ordinal::new(100).unwrap(),
    }));
    block_on(source.remove("manifest")).unwrap();
    block_on(Manifest::create(source, header, &edits)).unwrap();
    let refused = restore_all(&root, partition).unwrap_err();
    assert!(matches!(refused, Error::Contradicts { .. }), "{refused:?}");
    assert!(!block_on(restored(&root).child("0").exists()).unwrap());
}

/// The second of two batches, of which the manifest counted one, ended the node: there is no number behind its own.
#[test]
fn a_manifest_of_more_batches_than_records_is_not_restored() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 2, 1_000);
    let partition = Partition {
        end: offset(1),
        ..snapshot(&mut log, &root).unwrap()
    };
    let source = snapped(&root);
    let (header, state) = block_on(crate::manifest::read(&source)).unwrap();
    let segment = &state.segments()[0];
    let start = Point {
        ordinal: last_but_one(),
        ..segment.start()
    };
    let mut seal = segment.seal.clone().unwrap();
    seal.digest = Digest {
        ordinal: start.ordinal,
        end: offset(1),
        end_ordinal: Ordinal::MAX,
        batches: 1,
        ..seal.digest
    };
    let edits = [
        Edit::Restart(start),
        Edit::Add(start.into()),
        Edit::Seal(seal),
    ];
    alter(&source, "manifest", |bytes| {
        *bytes = manifest(&header, &edits);
    });
    for is_damage_kept in [true, false] {
        let order = Restore {
            is_damage_kept,
            ..order(partition)
        };
        let refused = block_on(restore(&source, &restored(&root), order, &mut |_| {}));
        assert!(matches!(refused, Err(Error::Format { .. })), "{refused:?}");
        assert_nothing_left(&root);
    }
}

#[test]
fn a_log_that_is_read_only_or_fenced_is_not_snapshotted() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 5, 1_000);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    let store = "00000000000000000000.log";
    alter(&root.child("p0"), store, |bytes| bytes.truncate(2_500));
    let (mut log, report) = open(&root, small(), 2, at(1)).unwrap();
    assert!(report.is_read_only);
    let refused = log.begin_snapshot();
    assert!(
        matches!(refused, Err(Error::ReadOnly { .. })),
        "{refused:?}"
    );
    block_on(log.close(at(2))).unwrap();
    assert!(matches!(log.begin_snapshot(), Err(Error::Fenced)));
}

/// An operator whose only copy has a bad byte could have nothing of it.
#[test]
fn what_is_damaged_is_restored_as_damage_if_that_is_asked_for() {
    let store = "00000000000000000000.log";
    for stores in [Stores::Linked, Stores::Copied] {
        for is_missing in [false, true] {
            let root = MemoryDir::new();
            let partition = made(&root);
            match is_missing {
                false => alter(&snapped(&root), store, |bytes| bytes[5_000] ^= 0x10),
                true => block_on(snapped(&root).remove(store)).unwrap(),
            }
            let order = Restore {
                stores,
                is_damage_kept: true,
                ..order(partition)
            };
            let topic = restored(&root);
            let done = block_on(restore(&snapped(&root), &topic, order, &mut |_| {}));
            assert_eq!(done.unwrap().unwrap().end, partition.end);
            let (log, report) = open_restored(&root).unwrap();
            assert!(report.is_clean, "{report:?}");
            // A batch that is damaged took all behind it in its segment with it.
            let (from, to) = if is_missing { (0, 15) } else { (4, 5) };
            let known: Vec<_> = log
                .damage()
                .iter()
                .map(|d| (d.from.get(), d.to.get()))
                .collect();
            assert_eq!(known, [(from, to)]);
            let read = |from| {
                log.plan_read(offset(from), Offset::MAX, 1)
                    .map(|plan| block_on(plan.run()).unwrap().next.get())
            };
            assert!(read(from).is_err(), "what is damaged is not served");
            assert_eq!(read(to).unwrap(), to + 1);
            assert_eq!(read(15).unwrap(), 16);
            assert_eq!(read(39).unwrap(), 40);
            if !is_missing {
                assert_eq!(read(3).unwrap(), 4);
            }
        }
    }
}

/// Without an index nothing but the end tells the chain, and what was met before has bent it: it was restored as sound.
#[test]
fn a_changed_epoch_beside_other_damage_is_restored_as_damage() {
    let store = "00000000000000000000.log";
    let root = MemoryDir::new();
    let partition = made(&root);
    alter(&snapped(&root), store, |bytes| {
        let length = bytes.len() / 15;
        bytes[4 * length + 500] ^= 0x10;
        bytes[5 * length + 15] ^= 0x10;
    });
    block_on(snapped(&root).remove("00000000000000000000.index")).unwrap();
    let order = Restore {
        is_damage_kept: true,
        ..order(partition)
    };
    block_on(restore(
        &snapped(&root),
        &restored(&root),
        order,
        &mut |_| {},
    ))
    .unwrap();
    let (log, _) = open_restored(&root).unwrap();
    let known = log.damage().iter().map(|it| (it.from.get(), it.to.get()));
    assert_eq!(known.collect::<Vec<_>>(), [(4, 6)]);
}

/// It was refused.
#[test]
fn what_cannot_be_read_of_a_snapshot_is_restored_as_damage_if_that_is_asked_for() {
    let store = "00000000000000000000.log";
    for stores in [Stores::Linked, Stores::Copied] {
        let root = FaultyDir::new(MemoryDir::new());
        let partition = made(root.inner());
        root.faults().set_unreadable(store, 4096..8192);
        let refused = restore_all(&root, partition).unwrap_err();
        assert!(refused.is_unreadable(), "{refused:?}");
        let order = Restore {
            stores,
            is_damage_kept: true,
            ..order(partition)
        };
        let topic = restored(&root);
        let done = block_on(restore(&snapped(&root), &topic, order, &mut |_| {}));
        assert_eq!(done.unwrap().unwrap().end, partition.end);
        root.faults().clear();
        let (log, report) = open_restored(&root).unwrap();
        assert!(report.is_clean, "{report:?}");
        let [damage] = log.damage() else {
            panic!("{report:?}")
        };
        // The block holds the end of a batch, some others, and the beginning of one.
        assert_eq!((damage.from, damage.to), (offset(3), offset(8)));
        let read = |from| {
            log.plan_read(offset(from), Offset::MAX, 1)
                .map(|plan| block_on(plan.run()).unwrap().next.get())
        };
        assert!(read(3).is_err(), "what is damaged is not served");
        for sound in [2, 8, 14, 39] {
            assert_eq!(read(sound).unwrap(), sound + 1);
        }
    }
}

/// All behind it in its segment was remembered as damage, though every byte was right.
#[test]
fn a_byte_that_turns_over_on_its_way_from_a_snapshot_is_no_damage() {
    for stores in [Stores::Linked, Stores::Copied] {
        let root = MemoryDir::new();
        let partition = made(&root);
        let disk = FaultyDir::new(root);
        let flip = Fault::Flip { seed: 3 };
        let read = Match::on(Operation::Read, "00000000000000000000.log");
        disk.faults().fail(read, 1, flip);
        let order = Restore {
            stores,
            is_damage_kept: true,
            ..order(partition)
        };
        let (source, topic) = (snapped(&disk), restored(&disk));
        block_on(restore(&source, &topic, order, &mut |_| {})).unwrap();
        assert_eq!(disk.faults().happened().len(), 1);
        let (log, _) = open_restored(&disk).unwrap();
        assert_eq!(log.damage(), []);
        assert_eq!(walk(&log).len(), 40);
    }
}
