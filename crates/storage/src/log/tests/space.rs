//! Space ahead of small groups: when it is asked for, and when it is synced.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::task::Poll;

use corelog_record::{ByteSize, Offset, PartitionId, TopicId};

use super::at;
use crate::Error;
use crate::disk::faulty::{Fault, FaultyDir, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir, block_on, poll_once, round_up};
use crate::log::chore::Kind;
use crate::log::{ChorePlan, Identity, Log, Options, UNSYNCED_BYTES_MAX};
use crate::testing::{batch, chore, flush, open, read_all, run};

/// Appends `group`, flushes it, and does the chores that are due.
fn turn<D: Dir>(log: &mut Log<D>, group: &[u8]) {
    log.append(group, at(0)).unwrap();
    flush(log, at(0)).unwrap();
    while chore(log, at(0), false).unwrap().is_some() {}
}

/// Appends and flushes small groups until space that was prepared is to be synced; gives that chore.
fn until_space_is_synced<D: Dir>(log: &mut Log<D>) -> ChorePlan<D> {
    for _ in 0..100 {
        log.append(&batch(&[b"small"], at(0)), at(0)).unwrap();
        flush(log, at(0)).unwrap();
        let Some(plan) = log.plan_chore(at(0), false) else {
            continue;
        };
        assert_eq!(log.chore, Some(Kind::Prepare));
        run(log, plan, at(0)).unwrap();
        return log.plan_chore(at(0), false).expect("it is to be synced");
    }
    panic!("space is never prepared");
}

#[test]
fn space_that_is_prepared_ahead_of_small_groups_is_synced_for_them() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 3_000]], at(0));
    let mut chores = 0;
    for number in 0..200 {
        log.append(&group, at(0)).unwrap();
        root.record();
        flush(&mut log, at(0)).unwrap();
        let trace = root.trace();
        let steps: Vec<_> = trace.steps().iter().map(ToString::to_string).collect();
        let is_one_call = matches!(&steps[..], [_, sync] if sync.starts_with("sync "));
        assert!(is_one_call || number == 0, "group {number}: {steps:?}");
        while chore(&mut log, at(0), false).unwrap().is_some() {
            chores += 1;
        }
    }
    assert!(
        8 <= chores,
        "space was prepared and synced, {chores} in all"
    );
}

/// Of what a store's sync was to cover nothing is known once it failed: nothing may be on its way then.
#[test]
fn space_is_synced_only_while_no_group_is_under_way_and_none_waits() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let sync = until_space_is_synced(&mut log);
    log.append(&batch(&[b"waits"], at(0)), at(0)).unwrap();
    assert!(log.plan_flush().is_none(), "a group beside the sync");
    run(&mut log, sync, at(0)).unwrap();
    let group = log.plan_flush().expect("what waited goes out");
    let done = block_on(group.run());
    log.complete_flush(done, at(0)).unwrap();

    // Far enough for the next steps, with a group under way, or waiting, whenever it is asked.
    let mut prepared = 0;
    for _ in 0..2_000 {
        log.append(&batch(&[b"first"], at(0)), at(0)).unwrap();
        let group = log.plan_flush().expect("nothing holds it");
        prepared += do_chores_but_syncs(&mut log);
        log.append(&batch(&[b"next"], at(0)), at(0)).unwrap();
        let done = block_on(group.run());
        log.complete_flush(done, at(0)).unwrap();
        prepared += do_chores_but_syncs(&mut log);
        flush(&mut log, at(0)).unwrap();
    }
    assert!(3 < prepared, "there was space to sync {prepared} times");
}

/// Does what is due of other chores, and asserts that no space is synced; gives how often space was prepared.
fn do_chores_but_syncs<D: Dir>(log: &mut Log<D>) -> usize {
    let mut prepared = 0;
    while let Some(plan) = log.plan_chore(at(0), false) {
        assert_ne!(log.chore, Some(Kind::Sync));
        prepared += usize::from(log.chore == Some(Kind::Prepare));
        run(log, plan, at(0)).unwrap();
    }
    prepared
}

#[test]
fn a_log_that_rolls_while_its_space_is_synced_goes_on_in_the_next_segment() {
    let root = MemoryDir::new();
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(64),
        ..Options::default()
    };
    let (mut log, _) = open(&root, options, 1, at(0)).unwrap();
    let sync = until_space_is_synced(&mut log);
    let (before, segments) = (log.durable(), log.segments().count());
    log.append(&batch(&[&[b'r'; 60 << 10]], at(0)), at(0))
        .unwrap();
    assert_eq!(log.segments().count(), segments + 1);
    run(&mut log, sync, at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    assert_eq!(log.durable().get(), before.get() + 1);
    while chore(&mut log, at(0), false).unwrap().is_some() {}
    let read = read_all(&log, log.log_start()).unwrap();
    assert_eq!(read.len() as u64, log.durable().get());
}

#[test]
fn a_sync_of_space_that_fails_fences_the_log_and_loses_no_acknowledged_record() {
    let root = FaultyDir::new(MemoryDir::new());
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let sync = until_space_is_synced(&mut log);
    let acknowledged = log.durable();
    root.faults()
        .fail(Operation::Sync, 1, Fault::Fail(io::ErrorKind::Other));
    log.append(&batch(&[b"waits"], at(0)), at(0)).unwrap();
    let failed = run(&mut log, sync, at(0)).unwrap_err();
    assert!(matches!(failed, Error::Io { .. }), "{failed:?}");
    assert!(log.is_fenced() && log.plan_flush().is_none());
    let (log, _) = open(&root.inner().power_cut(1), Options::default(), 2, at(1)).unwrap();
    assert_eq!(log.durable(), acknowledged);
    let read = read_all(&log, log.log_start()).unwrap();
    assert_eq!(read.len() as u64, acknowledged.get());
}

/// Those that are written to by turns would all ask at once, and whoever is written to meanwhile wait for it.
#[test]
fn partitions_ask_for_space_at_different_times() {
    let root = MemoryDir::new();
    let group = batch(&[&[b'g'; 400]], at(0));
    let mut asked = BTreeMap::new();
    for number in 0..64 {
        // By the number of the partition as well as by the topic.
        let topic = TopicId::from_bytes([number / 8; 16]);
        let identity = Identity::new(topic, PartitionId::new(u32::from(number % 8)));
        let (dir, quarantine) = (root.child(&number.to_string()), root.child("quarantine"));
        let opened = Log::open(dir, quarantine, identity, Options::default(), 1, at(0));
        let (mut log, _) = block_on(opened).unwrap();
        let appends = (0..1_000).find(|_| {
            log.append(&group, at(0)).unwrap();
            flush(&mut log, at(0)).unwrap();
            chore(&mut log, at(0), false).unwrap().is_some()
        });
        *asked.entry(appends.unwrap()).or_insert(0) += 1;
    }
    let most = asked.values().max().copied().unwrap_or_default();
    assert!(most <= 64 / 8, "{asked:?}");
}

/// A log that went through half a step while the next one was zeroed waited for the rest of it, each time.
#[test]
fn a_log_whose_steps_are_as_large_as_they_get_asks_for_the_next_a_whole_one_ahead() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 60 << 10]], at(0));
    let (step, group_bytes) = (8 << 20, group.len() as u64);
    let mut asked = 0;
    for _ in 0..700 {
        log.append(&group, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        let (held, space) = (log.active().bytes(), log.active().space_bytes);
        let ahead = space - held;
        while chore(&mut log, at(0), false).unwrap().is_some() {}
        let is_asked = space < log.active().space_bytes;
        let least = if held < 2 * step {
            held.min(step) / 2
        } else {
            step
        };
        assert!(
            !is_asked || least <= ahead + group_bytes,
            "{ahead} ahead of {held}"
        );
        asked += u32::from(is_asked && step <= held);
    }
    assert!(3 <= asked, "{asked}");
}

const MIB: u64 = 1 << 20;

/// What a group waits for at most of zeros.
const PART: u64 = MIB / 2;

/// Goes on until a chore of this `kind` is due; gives it, with others done.
fn until_due<D: Dir>(log: &mut Log<D>, group: &[u8], kind: Kind) -> ChorePlan<D> {
    for _ in 0..10_000 {
        log.append(group, at(0)).unwrap();
        flush(log, at(0)).unwrap();
        while let Some(plan) = log.plan_chore(at(0), false) {
            if log.chore == Some(kind) {
                return plan;
            }
            run(log, plan, at(0)).unwrap();
        }
    }
    panic!("{kind:?} is never due");
}

/// Appends and flushes until a group waits for space.
fn until_one_waits<D: Dir>(log: &mut Log<D>, group: &[u8]) {
    for _ in 0..10_000 {
        log.append(group, at(0)).unwrap();
        if flush(log, at(0)).unwrap().is_none() {
            return;
        }
    }
    panic!("no group waits");
}

/// A log that filled its space while the next step was zeroed waited for all of it, 15 to 108 ms.
#[test]
fn a_group_that_waits_for_space_gets_what_is_there() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 60 << 10]], at(0));
    while log.active().bytes() < 8 * MIB {
        turn(&mut log, &group);
    }
    for waits in [false, true] {
        let prepare = until_due(&mut log, &group, Kind::Prepare);
        if waits {
            until_one_waits(&mut log, &group);
        }
        let before = log.active().space_bytes;
        run(&mut log, prepare, at(0)).unwrap();
        let grown = log.active().space_bytes - before;
        assert_eq!(grown == 0, waits, "{grown}");
        let prepared = waits.then(|| do_chores_but_syncs(&mut log));
        assert!(
            prepared.is_none_or(|chores| chores == 0),
            "before the group"
        );
        flush(&mut log, at(0)).unwrap();
        assert_eq!(log.pending_bytes(), 0);
    }
    let next = until_due(&mut log, &group, Kind::Prepare);
    let before = log.active().space_bytes;
    run(&mut log, next, at(0)).unwrap();
    assert!(
        before + PART < log.active().space_bytes,
        "nobody waits any more"
    );
    let read = read_all(&log, log.log_start()).unwrap();
    assert_eq!(read.len() as u64, log.durable().get());
}

#[test]
fn a_group_that_prepares_its_space_itself_waits_for_few_zeros() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 60 << 10]], at(0));
    for _ in 0..1_000 {
        let space = log.active().space_bytes;
        log.append(&group, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        let grown = log.active().space_bytes - space;
        assert!(grown <= group.len() as u64 + PART + 4096, "{grown}");
    }
}

/// A log was full with 4 MiB left, as a whole step of 8 MiB was not there, and took those 4 MiB each time.
#[test]
fn a_disk_that_has_what_a_group_needs_is_not_full() {
    for value_bytes in [60 << 10, 300 << 10] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
        let group = batch(&[&vec![b'g'; value_bytes]], at(0));
        while log.active().bytes() < 16 * MIB {
            turn(&mut log, &group);
        }
        let space = log.active().space_bytes - log.active().bytes();
        root.set_capacity(Some(root.bytes_in_use() + 4 * MIB));
        let count = (space + 4 * MIB) / group.len() as u64 - 1;
        for number in 0..count {
            log.append(&group, at(0))
                .unwrap_or_else(|e| panic!("{number}: {e}"));
            flush(&mut log, at(0)).unwrap();
            // There is none to prepare ahead.
            let _ = chore(&mut log, at(0), false);
        }
        assert!(!log.is_full());
        assert_eq!(log.durable(), log.log_end());
    }
}

#[test]
fn a_group_that_waits_for_a_store_made_ahead_gets_what_is_there() {
    let root = MemoryDir::new();
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..Options::default()
    };
    let (mut log, _) = open(&root, options, 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 60 << 10]], at(0));
    let next = until_due(&mut log, &group, Kind::Next);
    let segments = log.segments().count();
    until_one_waits(&mut log, &group);
    assert_eq!(log.segments().count(), segments + 1, "only behind the roll");
    run(&mut log, next, at(0)).unwrap();
    let (_, made) = log.next.as_ref().expect("a store made ahead");
    assert_eq!(*made, 0);
    flush(&mut log, at(0)).unwrap();
    while chore(&mut log, at(0), false).unwrap().is_some() {}
    assert_eq!(log.pending_bytes(), 0);
    let read = read_all(&log, log.log_start()).unwrap();
    assert_eq!(read.len() as u64, log.durable().get());
}

#[test]
fn zeroing_that_is_under_way_stops_behind_its_part_and_an_error_leaves_what_was_done() {
    for fails in [false, true] {
        let root = FaultyDir::new(MemoryDir::new());
        let (mut log, _) = open(&root, Options::default(), 1, at(0)).unwrap();
        let group = batch(&[&[b'g'; 60 << 10]], at(0));
        while log.active().bytes() < 8 * MIB {
            turn(&mut log, &group);
        }
        let prepare = until_due(&mut log, &group, Kind::Prepare);
        let before = log.active().space_bytes;
        root.faults().hold(Operation::Allocate, When::Before);
        let mut run = pin!(prepare.run());
        assert!(poll_once(run.as_mut()).is_pending());
        // The reservation, and two parts.
        for turn in 0..3 {
            if fails && turn == 2 {
                let full = Fault::Fail(io::ErrorKind::StorageFull);
                root.faults().fail(Operation::Allocate, 1, full);
            }
            assert!(root.faults().release_one());
            assert!(poll_once(run.as_mut()).is_pending());
        }
        until_one_waits(&mut log, &group);
        root.faults().release_all();
        let Poll::Ready(done) = poll_once(run.as_mut()) else {
            panic!("it goes on with zeros while a group waits");
        };
        let completed = log.complete_chore(done, at(0));
        assert_eq!(completed.is_err(), fails, "{completed:?}");
        let parts = (log.active().space_bytes - before) / PART;
        assert_eq!(parts, 3 - u64::from(fails));
        while chore(&mut log, at(10_000), false).unwrap().is_some() {}
        flush(&mut log, at(10_000)).unwrap();
        assert_eq!(log.pending_bytes(), 0);
        let (durable, image) = (log.durable(), root.inner().power_cut(1));
        let (log, _) = open(&image, Options::default(), 2, at(20_000)).unwrap();
        assert_eq!(log.durable(), durable);
        assert_eq!(
            read_all(&log, log.log_start()).unwrap().len() as u64,
            durable.get()
        );
    }
}

#[test]
fn space_that_recovery_made_nothing_sure_of_is_prepared_again() {
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(40),
        ..Options::default()
    };
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, options.clone(), 1, at(0)).unwrap();
    // Groups for which space is only reserved, and the whole of the next segment's.
    let group = batch(&[&[b'g'; 300 << 10]], at(0));
    while log.segments().count() < 2 {
        turn(&mut log, &group);
    }
    assert_eq!(log.active().space_bytes, 40 * MIB);
    drop(log);
    let (log, _) = open(&root, options, 2, at(0)).unwrap();
    let (bytes, space) = (log.active().bytes(), log.active().space_bytes);
    assert!(
        bytes < space && space <= round_up(bytes) + UNSYNCED_BYTES_MAX as u64 + BLOCK_BYTES as u64
    );
}

/// Cuts the power at random; the log opens each time, takes appends, has lost nothing that was acknowledged, and finds no damage.
fn assert_survives(root: &MemoryDir, options: &Options, acknowledged: Offset) {
    for seed in 0..30 {
        let disk = root.power_cut(seed);
        let (mut log, _) = open(&disk, options.clone(), 2, at(1)).unwrap();
        assert_eq!(log.read_only_from(), None, "seed {seed}");
        assert_eq!(log.damage(), [], "seed {seed}");
        assert!(acknowledged <= log.durable(), "seed {seed}");
        turn(&mut log, &batch(&[b"goes on"], at(1)));
    }
}

#[test]
fn space_that_no_sync_has_covered_lies_where_recovery_looks_for_it() {
    let root = MemoryDir::used();
    let options = Options {
        pending_bytes_max: 2 * UNSYNCED_BYTES_MAX,
        ..Options::default()
    };
    let (mut log, _) = open(&root, options.clone(), 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 100 << 10]], at(0));
    for _ in 0..100 {
        turn(&mut log, &group);
    }
    let acknowledged = log.durable();
    log.append(&group, at(0)).unwrap();
    let on_its_way = log.plan_flush().unwrap();
    for _ in 0..200 {
        log.append(&group, at(0)).unwrap();
        while chore(&mut log, at(0), false).unwrap().is_some() {}
    }
    assert_survives(&root, &options, acknowledged);
    let done = block_on(on_its_way.run());
    log.complete_flush(done, at(0)).unwrap();
}

#[test]
fn a_store_that_is_made_while_a_group_of_the_one_before_is_under_way_is_empty_after_a_power_cut() {
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(64),
        ..Options::default()
    };
    for is_next_made in [false, true] {
        let root = MemoryDir::used();
        let (mut log, _) = open(&root, options.clone(), 1, at(0)).unwrap();
        for _ in 0..=usize::from(is_next_made) {
            turn(&mut log, &batch(&[&[b'g'; 20 << 10]], at(0)));
        }
        let acknowledged = log.durable();
        log.append(&batch(&[b"small"], at(0)), at(0)).unwrap();
        let on_its_way = log.plan_flush().unwrap();
        assert_eq!(log.next.is_some(), is_next_made);
        log.append(&batch(&[&[b'r'; 60 << 10]], at(0)), at(0))
            .unwrap();
        while chore(&mut log, at(0), false).unwrap().is_some() {}
        assert!(log.active().store.is_some(), "the store is there");
        assert_survives(&root, &options, acknowledged);
        let done = block_on(on_its_way.run());
        log.complete_flush(done, at(0)).unwrap();
    }
}
