//! Snapshots of a partition that is written to, whose disk fails, that is fenced or closed.

use std::io::ErrorKind;

use corelog_protocol::message::ack::Level;
use corelog_record::Offset;
use corelog_storage::disk::faulty::{Fault, Operation, When};

use crate::partition::bench::Bench;
use crate::partition::{Answer, Input, Refusal};

#[test]
fn a_snapshot_ends_where_it_was_asked_for_and_appends_go_on() {
    let mut bench = Bench::new(3);
    bench.produce(&[b"a"], Level::Durable).expect("appended");
    bench.produce(&[b"b"], Level::Accepted).expect("appended");
    let token = bench.token();
    let target = bench.snapshot_dir("first");
    bench.step(Input::TakeSnapshot { token, target });
    bench.produce(&[b"c"], Level::Durable).expect("appended");
    settle(&mut bench);
    match bench.take_told(token) {
        Some(Ok(Answer::Snapshotted {
            log_start,
            end,
            segments,
            ..
        })) => {
            assert_eq!((log_start, end), (Offset::ZERO, Offset::ZERO.plus(2)));
            assert_eq!(segments, 1);
        }
        other => panic!("not taken: {other:?}"),
    }
    assert_eq!(bench.partition.status().durable, Offset::ZERO.plus(3));
}

/// It ended one more segment than may wait to be sealed.
#[test]
fn a_snapshot_begins_when_no_longer_too_much_waits_to_be_sealed() {
    let mut bench = Bench::new(3);
    while bench.produce(&[&[1; 20_000]], Level::Durable).is_ok() {}
    let has_ended = |bench: &Bench| {
        let end = bench.partition.log.log_end();
        bench.partition.log.base_at(end) == end
    };
    let token = bench.token();
    let target = bench.snapshot_dir("late");
    bench.step(Input::TakeSnapshot { token, target });
    assert!(!has_ended(&bench), "17 wait");
    settle(&mut bench);
    assert!(has_ended(&bench));
    match bench.take_told(token) {
        Some(Ok(Answer::Snapshotted { end, .. })) => {
            assert_eq!(end, bench.partition.status().durable);
        }
        other => panic!("not taken: {other:?}"),
    }
}

#[test]
fn a_snapshot_that_waits_to_begin_ends_no_segment_once_it_is_given_up_or_the_partition_closes() {
    for closes in [false, true] {
        let mut bench = Bench::new(3);
        while bench.produce(&[&[1; 20_000]], Level::Durable).is_ok() {}
        let end = bench.partition.log.log_end();
        let token = bench.token();
        let target = bench.snapshot_dir("late");
        bench.step(Input::TakeSnapshot { token, target });
        assert!(bench.take_told(token).is_none(), "it waits");
        bench.step(match closes {
            false => Input::AbandonSnapshot { token },
            true => Input::Close,
        });
        match bench.take_told(token) {
            Some(Err(Refusal::NotSealed)) => assert!(!closes),
            Some(Err(Refusal::Closing)) => assert!(closes),
            other => panic!("it was not given up: {other:?}"),
        }
        settle(&mut bench);
        assert_ne!(bench.partition.log.base_at(end), end);
    }
}

#[test]
fn a_link_that_fails_refuses_the_snapshot_and_nothing_else() {
    let mut bench = Bench::new(4);
    bench.produce(&[b"a"], Level::Durable).expect("appended");
    bench
        .faults()
        .fail(Operation::Link, 1, Fault::Fail(ErrorKind::PermissionDenied));
    let token = bench.token();
    let target = bench.snapshot_dir("failed");
    bench.step(Input::TakeSnapshot { token, target });
    settle(&mut bench);
    let told = bench.take_told(token);
    assert!(
        matches!(told, Some(Err(Refusal::Failed { .. }))),
        "{told:?}"
    );
    assert!(!bench.partition.status().is_fenced);
    let again = bench.token();
    let target = bench.snapshot_dir("again");
    bench.step(Input::TakeSnapshot {
        token: again,
        target,
    });
    settle(&mut bench);
    let told = bench.take_told(again);
    assert!(
        matches!(told, Some(Ok(Answer::Snapshotted { .. }))),
        "{told:?}"
    );
}

#[test]
fn a_fence_and_a_close_refuse_the_snapshot_that_waits() {
    let mut bench = Bench::new(5);
    bench.produce(&[b"a"], Level::Durable).expect("appended");
    bench
        .faults()
        .fail(Operation::Sync, 1, Fault::Fail(ErrorKind::Other));
    let token = bench.token();
    let target = bench.snapshot_dir("fenced");
    bench.step(Input::TakeSnapshot { token, target });
    settle(&mut bench);
    let told = bench.take_told(token);
    assert!(matches!(told, Some(Err(Refusal::Fenced))), "{told:?}");

    let mut bench = Bench::new(6);
    bench.produce(&[b"a"], Level::Durable).expect("appended");
    let token = bench.token();
    let target = bench.snapshot_dir("closed");
    bench.step(Input::TakeSnapshot { token, target });
    bench.step(Input::Close);
    settle(&mut bench);
    let told = bench.take_told(token);
    assert!(matches!(told, Some(Err(Refusal::Closing))), "{told:?}");
}

/// A large partition's snapshot was once declared failed while its links went on: they came into a
/// directory that was being removed.
#[test]
fn a_snapshot_is_given_up_only_before_linking_begins() {
    let mut bench = Bench::new(7);
    bench.produce(&[b"a"], Level::Durable).expect("appended");
    settle(&mut bench);
    bench.faults().hold(Operation::Link, When::Before);
    let token = bench.token();
    let target = bench.snapshot_dir("linking");
    bench.step(Input::TakeSnapshot { token, target });
    for _ in 0..200 {
        bench.now = bench.now.saturating_add_millis(100);
        bench.step(Input::Tick);
        bench.poll();
        if bench.faults().held() > 0 {
            break;
        }
    }
    assert_eq!(bench.faults().held(), 1, "it links");
    bench.step(Input::AbandonSnapshot { token });
    assert!(bench.take_told(token).is_none(), "told while it links");
    bench.faults().release_all();
    settle(&mut bench);
    let told = bench.take_told(token);
    assert!(
        matches!(told, Some(Ok(Answer::Snapshotted { .. }))),
        "{told:?}"
    );

    bench.produce(&[b"b"], Level::Durable).expect("appended");
    let token = bench.token();
    let target = bench.snapshot_dir("waiting");
    bench.step(Input::TakeSnapshot { token, target });
    bench.step(Input::AbandonSnapshot { token });
    let told = bench.take_told(token);
    assert!(matches!(told, Some(Err(Refusal::NotSealed))), "{told:?}");
}

fn settle(bench: &mut Bench) {
    for _ in 0..20 {
        bench.now = bench.now.saturating_add_millis(100);
        bench.step(Input::Tick);
        bench.settle();
    }
}
