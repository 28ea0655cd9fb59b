//! A partition whose disk is full.

use super::*;

/// Takes the disk's space, and appends until that is seen.
fn fill(bench: &mut Bench) {
    bench.faults().set_full(true);
    let batches = testing::batch(&[&[5; 4_000]], bench.now);
    while !bench.partition.status().is_full {
        let token = bench.token();
        bench.step(Input::Produce {
            token,
            batches: Incoming::Unchecked(&batches),
            level: Some(Level::Durable),
        });
        bench.settle();
    }
}

/// It waits for a chore that holds what it needs; the chore finds no space.
#[test]
fn a_group_held_by_a_chore_that_finds_no_space_is_told_or_goes_out() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    bench.settle();
    bench.faults().hold(Operation::Allocate, When::Before);
    for _ in 0..60 {
        durable(&mut bench, &[5; 900]);
        bench.commit();
        bench.poll();
        bench.poll();
    }
    let end = bench.partition.status().log_end;
    assert!(bench.faults().held() > 0, "a chore waits");
    assert!(bench.durable < end, "a group waits for it");
    bench.faults().set_full(true);
    bench.faults().release_all();
    for _ in 0..40 {
        bench.settle();
        bench.now = bench.now.saturating_add_millis(1_000);
        bench.step(Input::Tick);
    }
    assert!(
        bench.full_count > 0 || bench.durable == end,
        "the producer waits for ever"
    );
}

/// Only what a fence lost was counted.
#[test]
fn what_was_accepted_and_finds_no_space_when_the_log_is_closed_is_counted_as_lost() {
    for is_full in [true, false] {
        let mut bench = Bench::new(1);
        durable(&mut bench, b"a");
        bench.settle();
        bench.faults().set_full(is_full);
        let values: [&[u8]; 2] = [&[5; 10_000], &[6; 10_000]];
        for _ in 0..2 {
            // The second one goes to another segment.
            bench.produce(&values, Level::Accepted).expect("appended");
        }
        let (mut log, accepted) = bench.partition.into_log();
        let closed = block_on(log.close(bench.now));
        assert_eq!(closed.is_err(), is_full, "{closed:?}");
        assert_eq!(accepted.lost(log.durable()), 2 * u64::from(is_full));
    }
}

/// Whoever begins to wait after that has to look: a handover waited until its time was over.
#[test]
fn that_there_is_no_space_is_told_once_and_seen_until_there_is() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    bench.settle();
    fill(&mut bench);
    assert_eq!(bench.full_count, 1);
    for _ in 0..10 {
        bench.now = bench.now.saturating_add_millis(1_000);
        bench.step(Input::Tick);
        bench.settle();
    }
    assert_eq!(bench.full_count, 1);
    assert!(bench.partition.status().is_full);
    bench.faults().set_full(false);
    for _ in 0..10 {
        bench.now = bench.now.saturating_add_millis(1_000);
        bench.step(Input::Tick);
        bench.settle();
    }
    let status = bench.partition.status();
    assert!(!status.is_full);
    assert_eq!(bench.durable, status.log_end);
}

/// Each tick asks for space again, and finds none: retention once never had its turn.
#[test]
fn what_is_to_expire_goes_although_a_full_disk_is_asked_for_space_at_every_turn() {
    let mut bench = Bench::new(1);
    for _ in 0..40 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    fill(&mut bench);
    let before = bench.partition.status().segment_count;
    let policy = Policy {
        retention_bytes: Some(1),
        ..Policy::default()
    };
    bench.now = bench.now.saturating_add_millis(1_000);
    bench.step(Input::Tick);
    bench.step(Input::Policy {
        policy,
        options: Options::default(),
    });
    for _ in 0..40 {
        bench.settle();
        bench.now = bench.now.saturating_add_millis(1_000);
        bench.step(Input::Tick);
    }
    let after = bench.partition.status().segment_count;
    assert!(
        after < before.min(4),
        "{after} segments of {before} are left"
    );
}
