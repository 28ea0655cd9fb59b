//! Whatever survives of the slots, the highest is true.

use std::pin::pin;

use corelog_record::{Chain, CopyId, HistoryId, LeaderEpoch, Offset, Ordinal, Position, Timestamp};

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{block_on, poll_once};
use crate::fuzz::repair;

fn slot(number: u64) -> Slot {
    Slot {
        history: HistoryId::from_bytes([3; 16]),
        copy: CopyId::from_bytes([4; 16]),
        sequence: 0,
        segment: Offset::ZERO,
        generation: 0,
        is_clean: false,
        position: Position::new(number * 100).unwrap(),
        offset: Offset::new(number).unwrap(),
        ordinal: Ordinal::new(number).unwrap(),
        chain: Chain::from_raw(number),
        max_timestamp: Timestamp::from_millis(0),
        epoch: LeaderEpoch::new(0),
        born: None,
    }
}

fn read(dir: &MemoryDir) -> u64 {
    let mark = block_on(Mark::open(dir.clone())).unwrap().unwrap();
    mark.last().unwrap().offset.get()
}

#[test]
fn the_last_slot_written_is_the_one_read() {
    block_on(async {
        let dir = MemoryDir::new();
        assert!(Mark::open(dir.clone()).await.unwrap().is_none());
        let mut mark = Mark::create(dir.clone(), slot(1)).await.unwrap();
        for number in 2..10 {
            mark.write(slot(number)).await.unwrap();
            assert_eq!(read(&dir), number);
            assert_eq!(mark.last().unwrap().sequence, number);
        }
        let mut mark = Mark::open(dir.clone()).await.unwrap().unwrap();
        mark.write_durably(slot(10)).await.unwrap();
        assert_eq!(read(&dir.power_cut(0)), 10);
        assert_eq!(dir.list().await.unwrap()[0].bytes, 8192);
    });
}

#[test]
fn after_a_power_cut_some_slot_written_since_the_last_sync_is_read() {
    for seed in 0..200 {
        let dir = MemoryDir::new();
        let mut mark = block_on(Mark::create(dir.clone(), slot(1))).unwrap();
        let mut synced = 1;
        for number in 2..20 {
            if number % 7 == 0 {
                block_on(mark.write_durably(slot(number))).unwrap();
                synced = number;
            } else {
                block_on(mark.write(slot(number))).unwrap();
            }
            // With two slots, a second write since a sync may cost the synced one.
            let read = read(&dir.power_cut(seed));
            let oldest = if number > synced + 1 { 1 } else { synced };
            assert!(
                oldest <= read,
                "seed {seed}: {read} of [{synced}, {number}]"
            );
            assert!(
                read <= number,
                "seed {seed}: {read} of [{synced}, {number}]"
            );
        }
    }
}

#[test]
fn a_write_that_failed_is_tried_in_the_same_slot() {
    block_on(async {
        let dir = FaultyDir::new(MemoryDir::new());
        let mut mark = Mark::create(dir.clone(), slot(1)).await.unwrap();
        mark.write(slot(2)).await.unwrap();
        for seed in 0..20 {
            dir.faults().fail(Operation::Write, 1, Fault::Torn { seed });
            mark.write(slot(3)).await.unwrap_err();
            assert!([2, 3].contains(&read(dir.inner())));
        }
        mark.write(slot(3)).await.unwrap();
        assert_eq!(read(dir.inner()), 3);
    });
}

#[test]
fn a_mark_is_made_durable_or_not_at_all() {
    for step in 0.. {
        let dir = FaultyDir::new(MemoryDir::new());
        for operation in [
            Operation::Write,
            Operation::Sync,
            Operation::Rename,
            Operation::SyncDir,
        ] {
            dir.faults().hold(operation, When::After);
        }
        let mut work = pin!(Mark::create(dir.clone(), slot(5)));
        let mut is_done = poll_once(work.as_mut()).is_ready();
        for _ in 0..step {
            if !is_done {
                assert!(dir.faults().release_one());
                is_done = poll_once(work.as_mut()).is_ready();
            }
        }
        for seed in 0..20 {
            match block_on(Mark::open(dir.inner().power_cut(seed))).unwrap() {
                None => assert!(!is_done),
                Some(mark) => assert_eq!(mark.last().unwrap().offset.get(), 5),
            }
        }
        if is_done {
            return;
        }
    }
}

#[test]
fn a_slot_of_a_later_version_refuses_to_open() {
    block_on(async {
        let dir = MemoryDir::new();
        Mark::create(dir.clone(), slot(1)).await.unwrap();
        let mut bytes = dir.read(NAME, 8192).await.unwrap();
        bytes[SLOT_BYTES + 8] = 2;
        repair::last_4(&mut bytes[SLOT_BYTES..SLOT_BYTES + 512]);
        dir.write_aside(NAME, &bytes).await.unwrap();
        assert!(matches!(Mark::open(dir).await, Err(Error::Format { .. })));
    });
}

/// A bit that had turned in a version kept the log closed, and repair from it.
#[test]
fn a_slot_whose_version_has_rotted_is_passed_over() {
    block_on(async {
        for (at, bit) in (8..16).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let dir = MemoryDir::new();
            Mark::create(dir.clone(), slot(1)).await.unwrap();
            let mut bytes = dir.read(NAME, 8192).await.unwrap();
            bytes[SLOT_BYTES + at] ^= 1 << bit;
            dir.write_aside(NAME, &bytes).await.unwrap();
            let mark = Mark::open(dir).await.unwrap().unwrap();
            assert_eq!(mark.last(), None, "byte {at}, bit {bit}");
        }
    });
}

#[test]
fn a_mark_without_a_sound_slot_says_nothing() {
    block_on(async {
        let dir = MemoryDir::new();
        for bytes in [vec![], vec![0; 100], vec![0xff; 8192]] {
            dir.write_aside(NAME, &bytes).await.unwrap();
            let mut mark = Mark::open(dir.clone()).await.unwrap().unwrap();
            assert_eq!(mark.last(), None);
            mark.write(slot(3)).await.unwrap();
            assert_eq!(read(&dir), 3);
        }
    });
}

#[test]
fn a_mark_whose_sequence_is_used_up_is_begun_anew() {
    block_on(async {
        let dir = MemoryDir::new();
        let mut mark = Mark::create(dir.clone(), slot(1)).await.unwrap();
        mark.found.last = Some(Slot {
            sequence: u64::MAX - 1,
            ..slot(1)
        });
        mark.write(slot(2)).await.unwrap();
        assert_eq!(mark.last().unwrap().sequence, u64::MAX);
        mark.write(slot(3)).await.unwrap();
        assert_eq!((read(&dir), mark.last().unwrap().sequence), (3, 1));
        mark.write(slot(4)).await.unwrap();
        assert_eq!(read(&dir), 4);
    });
}
