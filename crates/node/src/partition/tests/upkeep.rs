//! What a partition does beside its requests, as time goes by.

use super::*;
use crate::partition::{Failed, Replication};

/// Lets this many milliseconds pass, with a tick every 50.
fn pass(bench: &mut Bench, millis: i64) {
    for _ in 0..millis / 50 {
        bench.now = bench.now.saturating_add_millis(50);
        bench.step(Input::Tick);
        bench.settle();
    }
}

#[test]
fn a_partition_with_a_record_now_and_then_syncs_its_mark_when_it_is_left_alone_and_not_for_each_of_them()
 {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"first");
    bench.settle();
    pass(&mut bench, 5_000);
    let syncs = |bench: &Bench| bench.faults().count(Operation::Sync);
    let before = syncs(&bench);
    for _ in 0..50 {
        durable(&mut bench, b"now and then");
        bench.settle();
        pass(&mut bench, 200);
    }
    let syncs_of_records = syncs(&bench) - before;
    assert!(
        (50..60).contains(&syncs_of_records),
        "{syncs_of_records} syncs for 50 records"
    );
    assert_ne!(
        bench.partition.rest(),
        Rest::Idle,
        "the mark is not synced yet"
    );
    pass(&mut bench, 1_000);
    assert_eq!(bench.partition.rest(), Rest::Idle);
    assert_eq!(syncs(&bench) - before, syncs_of_records + 1);
}

/// A partition is looked at from time to time as well, which must not leave one more tick behind each time.
#[test]
fn a_partition_never_has_more_than_one_tick_armed() {
    let mut bench = Bench::new(1);
    for number in 1..=600 {
        durable(&mut bench, b"now and then");
        bench.settle();
        bench.now = bench.now.saturating_add_millis(100);
        if number % 10 == 0 {
            bench.step(Input::Tick);
            bench.settle();
        }
        assert_eq!(bench.ticks_armed, 1, "after {number} records");
        if number % 5 == 0 {
            bench.ticks_armed = 0;
            bench.step(Input::Ticked);
            bench.settle();
        }
    }
}

#[test]
fn a_partition_that_was_busy_syncs_its_mark_soon_after() {
    let mut bench = Bench::new(1);
    for _ in 0..50 {
        durable(&mut bench, b"at once");
        bench.settle();
        bench.now = bench.now.saturating_add_millis(1);
    }
    assert_ne!(bench.partition.rest(), Rest::Idle);
    pass(&mut bench, 100);
    assert_eq!(bench.partition.rest(), Rest::Idle);
}

/// Of a store's sync that fails nothing is known: nothing may be on its way beside it, nor be left behind.
#[test]
fn a_group_waits_for_a_sync_of_space_and_goes_out_behind_it_though_no_descriptor_is_left_for_that()
{
    for shortage in [None, Some(Fault::OutOfFiles)] {
        let mut bench = Bench::new(1);
        until_flushes_are_held(&mut bench);
        if let Some(fault) = shortage {
            bench.faults().fail(Operation::Sync, 1, fault);
        }
        let (_, end) = bench.produce(&[b"waits"], Level::Durable).unwrap();
        bench.commit();
        assert_eq!(bench.running_count(), 1, "a group beside the sync");
        assert!(bench.durable < end);
        bench.settle();
        assert!(!bench.is_fenced);
        assert_eq!(bench.durable, end, "{shortage:?}");
    }
}

/// Appends until a sync of space is about to run.
fn until_flushes_are_held(bench: &mut Bench) {
    for _ in 0..100 {
        bench.produce(&[&[b's'; 400]], Level::Durable).unwrap();
        while bench.wants_commit || bench.running_count() > 0 {
            if bench.is_held {
                return;
            }
            if bench.wants_commit {
                bench.commit();
            }
            bench.poll();
        }
    }
    panic!("space is never synced");
}

/// Clients that truncate on and on.
#[derive(Default)]
struct Truncations {
    outstanding: Vec<Token>,
    lowest: u64,
}

impl Truncations {
    /// Whoever was answered asks again, for one record more.
    fn go_on(&mut self, bench: &mut Bench) {
        self.outstanding.retain(|token| {
            let told = bench.take_told(*token);
            assert!(!matches!(told, Some(Err(_))), "{told:?}");
            told.is_none()
        });
        while self.outstanding.len() < 2 {
            let token = bench.token();
            self.lowest += 1;
            let lowest = offset(self.lowest);
            bench.step(Input::Truncate { token, lowest });
            self.outstanding.push(token);
        }
    }

    /// The same while the disk works for a while. Those have their turn as well.
    fn go_on_long(&mut self, bench: &mut Bench) {
        self.go_on_beside(bench, |_| {});
    }

    /// The same, with something else that is done meanwhile, again and again.
    fn go_on_beside(&mut self, bench: &mut Bench, mut other: impl FnMut(&mut Bench)) {
        let lowest = self.lowest;
        for _ in 0..100 {
            other(bench);
            if bench.wants_commit {
                bench.commit();
            }
            bench.poll();
            self.go_on(bench);
        }
        assert!(
            lowest + 10 <= self.lowest,
            "{} of 100",
            self.lowest - lowest
        );
    }
}

/// A partition of so many records of one byte.
fn partition_of(records: usize) -> Bench {
    let mut bench = Bench::new(1);
    for _ in 0..records {
        durable(&mut bench, b"v");
    }
    bench.settle();
    bench
}

/// Each took the manifest as the one before gave it back: such records were answered when no more of these came.
#[test]
fn truncations_that_keep_coming_hold_up_no_group_of_a_new_segment() {
    for is_sealed in [false, true] {
        let mut bench = partition_of(300);
        if is_sealed {
            let (token, target) = (bench.token(), bench.snapshot_dir("s"));
            bench.step(Input::TakeSnapshot { token, target });
            bench.settle();
        }
        let mut truncations = Truncations::default();
        truncations.go_on(&mut bench);
        let (_, end) = bench.produce(&[&[1; 20_000]], Level::Durable).unwrap();
        truncations.go_on_long(&mut bench);
        assert_eq!(bench.durable, end, "is sealed: {is_sealed}");
    }
}

/// Each went before it: what rolled was not sealed, until appends were refused for that.
#[test]
fn truncations_that_keep_coming_hold_up_neither_a_seal_nor_the_snapshot_that_waits_for_it() {
    let mut bench = partition_of(300);
    let mut truncations = Truncations::default();
    truncations.go_on(&mut bench);
    let (token, target) = (bench.token(), bench.snapshot_dir("s"));
    bench.step(Input::TakeSnapshot { token, target });
    truncations.go_on_long(&mut bench);
    let told = bench.take_told(token);
    assert!(
        matches!(told, Some(Ok(Answer::Snapshotted { .. }))),
        "{told:?}"
    );
}

/// Nothing held the turn that they get when others go first.
#[test]
fn truncations_have_their_turn_between_appends_that_roll_and_roll() {
    let mut bench = partition_of(300);
    let mut truncations = Truncations::default();
    truncations.go_on(&mut bench);
    truncations.go_on_beside(&mut bench, |bench| {
        // Where too much waits it is refused. Never is nothing pending.
        while bench.produce(&[&[1; 10_000]], Level::Durable).is_ok() {}
    });
}

/// A partition with this policy whose segments end only by the records that are claimed, and what ends one.
fn partition_of_claims(policy: Policy) -> (Bench, Vec<u8>) {
    let mut bench = partition_of(300);
    let options = Options::default();
    bench.step(Input::Policy { policy, options });
    let claims = testing::claiming(1_000_000, bench.now).repeat(4_293);
    (bench, claims)
}

/// Appends what ends a segment until that is refused.
fn claim(bench: &mut Bench, claims: &[u8]) {
    while bench.produce_bytes(claims, Level::Durable).is_ok() {}
    let segments = bench.partition.log.segments();
    let unsealed = segments.filter(|segment| !segment.is_sealed).count();
    assert!(unsealed <= 17, "{unsealed}");
}

/// They ended segments without a bound, whose groups took the manifest one after the other.
#[test]
fn truncations_have_their_turn_between_records_that_are_only_claimed() {
    let (mut bench, claims) = partition_of_claims(Policy::default());
    let mut truncations = Truncations::default();
    truncations.go_on(&mut bench);
    truncations.go_on_beside(&mut bench, |bench| claim(bench, &claims));
}

#[test]
fn retention_has_its_turn_between_records_that_are_only_claimed() {
    let (mut bench, claims) = partition_of_claims(Policy {
        retention_bytes: Some(1),
        ..Policy::default()
    });
    for _ in 0..200 {
        claim(&mut bench, &claims);
        if bench.wants_commit {
            bench.commit();
        }
        bench.poll();
    }
    let status = bench.partition.status();
    assert!(Offset::ZERO < status.log_start, "nothing expired");
}

#[test]
fn a_truncation_that_nobody_waits_for_any_longer_does_not_begin_and_one_that_has_begun_goes_on() {
    let mut bench = partition_of(20);
    let [begun, waiting] = [1, 5].map(|lowest| {
        let (token, lowest) = (bench.token(), offset(lowest));
        bench.step(Input::Truncate { token, lowest });
        token
    });
    for token in [begun, waiting] {
        bench.step(Input::AbandonTruncation { token });
    }
    let told = bench.take_told(waiting);
    assert!(matches!(told, Some(Err(Refusal::Busy))), "{told:?}");
    assert!(bench.take_told(begun).is_none());
    bench.settle();
    let told = bench.take_told(begun);
    assert!(
        matches!(told, Some(Ok(Answer::Truncated { log_start })) if log_start == offset(1)),
        "{told:?}"
    );
}

/// Each took an edit, and a turn, of its own.
#[test]
fn truncations_that_wait_are_done_at_once() {
    let mut bench = partition_of(20);
    let tokens = [1, 5, 9, 5].map(|lowest| {
        let (token, lowest) = (bench.token(), offset(lowest));
        bench.step(Input::Truncate { token, lowest });
        token
    });
    bench.settle();
    let told = tokens.map(|token| match bench.take_told(token) {
        Some(Ok(Answer::Truncated { log_start })) => log_start.get(),
        other => panic!("not truncated: {other:?}"),
    });
    assert_eq!(told, [1, 9, 9, 9]);
}

/// A chore that failed for good was counted as a group, and among chores it was missing.
#[test]
fn a_fence_tells_whether_a_group_failed_or_a_chore() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"kept");
    bench.settle();
    let fault = Fault::Fail(std::io::ErrorKind::Other);
    bench.faults().fail(Operation::Sync, 1, fault);
    let (token, lowest) = (bench.token(), bench.durable);
    bench.step(Input::Truncate { token, lowest });
    bench.settle();
    assert_eq!(bench.failed, Some(Failed::Chore));

    let mut bench = bench.reopen();
    durable(&mut bench, b"lost");
    bench.faults().fail(Operation::Sync, 1, fault);
    bench.settle();
    assert_eq!(bench.failed, Some(Failed::Flush));
}

/// What only waited was done behind a handover, and told as done, by a node that did not own the partition: its owner has all of
/// it to this day.
#[test]
fn a_truncation_that_waits_as_another_node_comes_to_own_the_partition_is_not_done() {
    for (replication, is_told) in [
        (Replication::Follower, true),
        (Replication::Replaced, false),
    ] {
        let mut bench = Bench::new(1);
        for value in 0..5_u8 {
            durable(&mut bench, &[value]);
        }
        bench.settle();
        let [begun, waits] = [3, 4].map(|lowest| {
            let (token, lowest) = (bench.token(), offset(lowest));
            bench.step(Input::Truncate { token, lowest });
            token
        });
        assert!(bench.partition.is_start_moving());
        let policy = Policy {
            replication,
            ..Policy::default()
        };
        let options = Options::default();
        bench.step(Input::Policy { policy, options });
        let told = bench.take_told(waits);
        assert!(matches!(told, Some(Err(Refusal::NotOwner))), "{told:?}");
        assert!(bench.partition.is_start_moving(), "it has begun");
        bench.settle();
        assert!(!bench.partition.is_start_moving());
        assert_eq!(bench.partition.status().log_start, offset(3));
        // A handover goes on from there; one that is fenced has nobody who does.
        let told = bench.take_told(begun);
        match told {
            Some(Ok(Answer::Truncated { .. })) => assert!(is_told),
            Some(Err(Refusal::NotOwner)) => assert!(!is_told),
            other => panic!("{replication:?}: {other:?}"),
        }
    }
}

/// A handover did not wait for what retention had begun to let go of: the new owner had that to this day.
#[test]
fn the_start_of_a_log_is_moving_until_what_retention_has_begun_is_done() {
    let mut bench = Bench::new(1);
    for _ in 0..40 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    let expiring = Policy {
        retention_bytes: Some(1),
        ..Policy::default()
    };
    let change = |bench: &mut Bench, policy| {
        let options = Options::default();
        bench.step(Input::Policy { policy, options });
    };
    change(&mut bench, expiring);
    for _ in 0..1_000 {
        if bench.partition.is_start_moving() {
            break;
        }
        bench.poll();
        if bench.running_count() == 0 {
            bench.now = bench.now.saturating_add_millis(500);
            bench.step(Input::Tick);
        }
    }
    let handing_over = Policy {
        replication: Replication::Follower,
        ..Policy::default()
    };
    change(&mut bench, handing_over);
    assert!(bench.partition.is_start_moving(), "it has begun");
    assert_eq!(bench.partition.status().log_start, Offset::ZERO);
    bench.settle();
    assert!(Offset::ZERO < bench.partition.status().log_start);
    assert!(!bench.partition.is_start_moving());
}
