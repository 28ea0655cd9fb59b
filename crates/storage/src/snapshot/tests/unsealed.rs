//! Segments that were never sealed, since a kill left them damaged: a snapshot has them as they are.

use super::*;
use crate::disk::memory::MemoryDir;
use crate::format::damage::Damage;
use crate::format::edit::Edit;
use crate::testing::open;
use crate::testing::own::{alter, manifest};

/// A log whose first store was damaged when it was killed, with so many batches behind it, and the damage.
fn kept_from_sealing(root: &MemoryDir, behind: usize) -> (Log<MemoryDir>, Vec<Damage>) {
    for seed in 1..=2 {
        let (mut log, _) = open(root, small(), seed, at(0)).unwrap();
        fill(&mut log, 6, 1_000);
    }
    // The second epoch promises the first half, and without its mark the store is read from its start.
    alter(&root.child("p0"), STORE, |bytes| bytes[2_500] ^= 1);
    block_on(root.child("p0").remove("mark")).unwrap();
    let (mut log, report) = open(root, small(), 2, at(1)).unwrap();
    assert!(!report.is_read_only, "{report:?}");
    fill(&mut log, behind, 1_000);
    let damage = log.damage().to_vec();
    assert_eq!(damage.len(), 1, "{report:?}");
    (log, damage)
}

/// How it is restored with what is damaged.
fn with_damage(partition: Partition) -> Restore {
    Restore {
        // Also where its stores are linked they are written again.
        stores: Stores::Linked,
        is_damage_kept: true,
        ..order(partition)
    }
}

#[test]
fn damage_that_was_known_is_linked_remembered_and_not_restored() {
    let root = MemoryDir::new();
    // The damaged segment is the last one of the snapshot, and is never sealed.
    let (mut log, damage) = kept_from_sealing(&root, 0);
    let partition = snapshot(&mut log, &root).unwrap();
    assert_eq!(partition.end, offset(12));
    let linked = block_on(snapped(&root).list()).unwrap();
    assert!(linked.iter().any(|entry| entry.name == STORE));
    let (_, state) = block_on(crate::manifest::read(&snapped(&root))).unwrap();
    assert_eq!(state.damage(), damage);
    assert_eq!(state.end(), None, "an empty segment says where it ends");
    assert_eq!(state.segments().last().unwrap().base, offset(12));
    let error = restore_all(&root, partition).unwrap_err();
    let Error::DamagedStore { file, from, to, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (file.as_str(), *from, *to),
        (STORE, damage[0].from, damage[0].to)
    );
    // A snapshot opened as a log knows it, too.
    let dir = snapped(&root);
    let opened = block_on(Log::open(
        dir,
        root.child("q"),
        identity(),
        small(),
        3,
        at(2),
    ));
    let (opened, report) = opened.unwrap();
    assert_eq!(report.damage, damage);
    assert_eq!(opened.log_end(), offset(12));
}

/// Nothing of the partition came back, and retention had let go of what was thought to be kept.
#[test]
fn a_segment_that_damage_kept_from_being_sealed_is_restored_as_damage_if_that_is_asked_for() {
    // Alone, with one behind it that was sealed, and with another batch that rotted in the snapshot.
    for (behind, rots) in [(0, false), (5, false), (40, true)] {
        let root = MemoryDir::new();
        let (mut log, damage) = kept_from_sealing(&root, behind);
        let partition = snapshot(&mut log, &root).unwrap();
        drop(log);
        block_on(root.child("p0").remove_tree()).unwrap();
        if rots {
            alter(&snapped(&root), STORE, |bytes| bytes[5_500] ^= 1);
        }
        let held = block_on(snapped(&root).read(STORE, 1 << 20)).unwrap();
        let refused = restore_all(&root, partition).unwrap_err();
        assert!(matches!(refused, Error::DamagedStore { .. }), "{refused:?}");
        let (source, topic) = (snapped(&root), restored(&root));
        let done = block_on(restore(
            &source,
            &topic,
            with_damage(partition),
            &mut |_| {},
        ));
        let done = done.unwrap().unwrap();
        assert_eq!(done.end, partition.end);
        assert!(partition.bytes <= done.bytes);
        let (mut log, report) = open_restored(&root).unwrap();
        assert!(!report.is_read_only, "{report:?}");
        let known: Vec<_> = log
            .damage()
            .iter()
            .map(|d| d.from.get()..d.to.get())
            .collect();
        let (from, to) = (damage[0].from.get(), damage[0].to.get());
        let rotten = rots.then_some(5..6);
        assert_eq!(
            known,
            [Some(from..to), rotten]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        );
        fill(&mut log, 3, 1_000);
        let end = partition.end.get() + 3;
        assert_eq!(log.log_end(), offset(end));
        let assert_read = |log: &Log<MemoryDir>| {
            for at in 0..end {
                let plan = log.plan_read(offset(at), Offset::MAX, 1);
                let read = plan.map(|plan| block_on(plan.run()).unwrap().next.get());
                match known.iter().any(|bad| bad.contains(&at)) {
                    true => assert!(read.is_err(), "{at} is not served"),
                    false => assert_eq!(read.unwrap(), at + 1),
                }
            }
        };
        assert_read(&log);
        block_on(log.close(at(7_000))).unwrap();
        drop(log);
        let (log, report) = open_restored(&root).unwrap();
        assert!(report.is_clean, "{report:?}");
        assert_read(&log);
        let left = block_on(snapped(&root).read(STORE, 1 << 20)).unwrap();
        assert_eq!(left, held, "the snapshot is as it was");
    }
}

/// What lay behind its end could not be copied, and it was left as it was.
#[test]
fn a_segment_without_damage_that_was_never_sealed_is_restored_whole_if_that_is_asked_for() {
    for is_last in [true, false] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, 40, 1_000);
        let partition = snapshot(&mut log, &root).unwrap();
        let source = snapped(&root);
        let (header, state) = block_on(crate::manifest::read(&source)).unwrap();
        let segments = state.segments();
        let at = if is_last { segments.len() - 1 } else { 0 };
        let unsealed = segments[at].base;
        let mut edits = state.edits();
        edits.retain(|edit| !matches!(edit, Edit::Seal(seal) if seal.digest.base == unsealed));
        if is_last {
            edits.push(Edit::Add(state.end().unwrap().into()));
        }
        alter(&source, "manifest", |bytes| {
            *bytes = manifest(&header, &edits);
        });
        let refused = restore_all(&root, partition).unwrap_err();
        let Error::NotSealed { segment, .. } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*segment, unsealed);
        let topic = restored(&root);
        let done = block_on(restore(
            &source,
            &topic,
            with_damage(partition),
            &mut |_| {},
        ));
        assert_eq!(done.unwrap().unwrap().bytes, partition.bytes);
        let (log, report) = open_restored(&root).unwrap();
        assert_eq!(report.damage, []);
        assert_eq!(walk(&log).len(), 40);
    }
}

const STORE: &str = "00000000000000000000.log";
