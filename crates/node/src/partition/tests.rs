//! Steps of one partition, one sentence each.

use corelog_protocol::message::ack::Level;
use corelog_record::{Offset, Timestamp};
use corelog_storage::disk::block_on;
use corelog_storage::disk::faulty::{Fault, Match, Operation, When};
use corelog_storage::log::Options;
use corelog_storage::log::lineage::Common;
use corelog_storage::testing;

use super::bench::Bench;
use super::group::BULK_BYTES;
use super::{Answer, Appetite, Incoming, Input, Pace, Policy, Refusal, Rest, Seek, Token};

mod adopted;
mod bulk;
mod full;
mod hold;
mod leap;
mod moved;
mod polls;
mod upkeep;

fn offset(n: u64) -> Offset {
    Offset::ZERO.plus(n)
}

fn durable(bench: &mut Bench, value: &[u8]) -> Offset {
    bench.produce(&[value], Level::Durable).expect("appended").0
}

/// Has a chore fence the log while a flush of `value`, which something else holds, is on its way.
fn fence_beside_a_flush(bench: &mut Bench, value: &[u8]) {
    let fault = Fault::Fail(std::io::ErrorKind::Other);
    let is_mark = Match::on(Operation::Write, "mark");
    bench.faults().fail(is_mark, 1, fault);
    durable(bench, value);
    bench.commit();
    bench.poll();
    bench.step(Input::Tick);
    bench.poll();
    bench.poll();
    assert!(bench.is_fenced, "the mark could not be written");
}

fn park(bench: &mut Bench, from: u64, bytes_min: u64) -> Token {
    match fetch(bench, from, bytes_min, 1 << 20) {
        (token, None) => token,
        (_, Some(bytes)) => panic!("not parked, but {bytes} bytes"),
    }
}

/// Fetches, and gives how many bytes were answered; `None` if it is parked.
fn fetch(bench: &mut Bench, from: u64, bytes_min: u64, bytes_max: usize) -> (Token, Option<usize>) {
    let token = bench.token();
    let appetite = Appetite {
        bytes_max,
        bytes_min,
        may_park: true,
        ..Appetite::ONE
    };
    bench.step(Input::Fetch {
        token,
        from: offset(from),
        appetite,
    });
    match bench.take_told(token) {
        Some(Ok(Answer::Nothing {
            is_parked: true, ..
        })) => (token, None),
        Some(Ok(Answer::Read { plan, .. })) => {
            let read = plan.ready().expect("it is in memory");
            (token, Some(read.bytes))
        }
        other => panic!("neither parked nor read: {other:?}"),
    }
}

fn refused(
    bench: &mut Bench,
    input: impl FnOnce(Token) -> Input<'static, super::bench::Disk>,
) -> Refusal {
    let token = bench.token();
    bench.step(input(token));
    match bench.take_told(token) {
        Some(Err(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_ack_is_due_only_after_the_sync() {
    let mut bench = Bench::new(1);
    bench.faults().hold(Operation::Sync, When::Before);
    durable(&mut bench, b"a");
    assert!(bench.wants_commit);
    bench.commit();
    for _ in 0..20 {
        bench.poll();
        if bench.faults().held() == 0 {
            break;
        }
        assert_eq!(
            bench.durable,
            Offset::ZERO,
            "told as durable while a sync is held"
        );
        bench.faults().release_one();
    }
    bench.settle();
    assert_eq!(bench.durable, offset(1));
}

#[test]
fn what_arrives_while_a_flush_is_on_the_disk_is_one_group() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"first");
    bench.commit();
    bench.settle();
    bench
        .faults()
        .hold(Match::on(Operation::Write, ".log"), When::Before);
    durable(&mut bench, b"second");
    bench.commit();
    bench.poll();
    let writes = bench.faults().count(Operation::Write);
    for value in 0..10_u8 {
        durable(&mut bench, &[value]);
    }
    assert!(!bench.wants_commit, "a group waits for the one before");
    bench.faults().release_all();
    bench.settle();
    assert_eq!(bench.durable, offset(12));
    assert!(
        bench.faults().count(Operation::Write) <= writes + 2,
        "one write for ten records"
    );
}

#[test]
fn an_accepted_record_is_told_at_once_and_durable_wins_over_the_topics_default() {
    let mut bench = Bench::new(1);
    let policy = Policy {
        level: Level::Accepted,
        ..Policy::default()
    };
    bench.step(Input::Policy {
        policy,
        options: Options::default(),
    });
    let batches = testing::batch(&[b"v"], bench.now);
    for (asked, reached) in [
        (None, Level::Accepted),
        (Some(Level::Durable), Level::Durable),
    ] {
        let token = bench.token();
        bench.step(Input::Produce {
            token,
            batches: Incoming::Unchecked(&batches),
            level: asked,
        });
        match bench.take_told(token) {
            Some(Ok(Answer::Appended { level, .. })) => assert_eq!(level, reached),
            other => panic!("not appended: {other:?}"),
        }
    }
}

#[test]
fn nothing_above_the_high_watermark_is_read() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    assert!(bench.read_from(Offset::ZERO).expect("empty").is_empty());
    bench.settle();
    assert_eq!(bench.read_from(Offset::ZERO).expect("read").len(), 1);
    durable(&mut bench, b"b");
    assert_eq!(bench.read_from(Offset::ZERO).expect("read").len(), 1);
    let appetite = Appetite {
        may_park: true,
        ..Appetite::ONE
    };
    let past = refused(&mut bench, |token| Input::Fetch {
        token,
        from: offset(2),
        appetite,
    });
    assert!(
        matches!(past, Refusal::PastHighWatermark { valid } if valid == (Offset::ZERO..offset(1)))
    );
}

#[test]
fn a_failed_sync_fences_until_reopened_and_counts_what_was_only_accepted() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"kept");
    bench.settle();
    bench
        .produce(&[b"x", b"y"], Level::Accepted)
        .expect("appended");
    bench
        .faults()
        .fail(Operation::Sync, 1, Fault::Fail(std::io::ErrorKind::Other));
    bench.settle();
    assert!(bench.is_fenced);
    assert_eq!((bench.accepted_lost, bench.durable), (2, offset(1)));
    let refused = bench.produce(&[b"z"], Level::Durable);
    assert!(matches!(refused, Err(Refusal::Fenced)));
    let mut bench = bench.reopen();
    assert!(offset(1) <= bench.partition.status().log_end);
    durable(&mut bench, b"again");
    bench.settle();
    assert!(!bench.is_fenced);
}

/// A fence held up to 16 MiB that nobody would ever write, and did not count it: on a disk that dies one
/// partition after the other did.
#[test]
fn a_fence_lets_go_of_what_waited_for_the_disk() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"kept");
    bench.settle();
    durable(&mut bench, b"on its way");
    bench.commit();
    durable(&mut bench, b"behind it");
    let fault = Fault::Fail(std::io::ErrorKind::Other);
    bench.faults().fail(Operation::Sync, 1, fault);
    assert!(bench.partition.log.pending_bytes() > 0);
    bench.settle();
    assert!(bench.is_fenced);
    assert_eq!(bench.partition.log.pending_bytes(), 0);
    assert_eq!(bench.partition.unflushed_bytes(), 0);
    let read = bench.read_from(Offset::ZERO).expect("read");
    assert_eq!(read.len(), 1);
    assert_eq!(bench.partition.status().log_end, offset(3));
}

#[test]
fn a_flush_that_the_fence_overtook_and_that_finds_no_space_does_not_wait_either() {
    let mut bench = Bench::new(1);
    durable(&mut bench, &[5; 20_000]);
    bench.settle();
    bench.now = bench.now.saturating_add_millis(2_000);
    // The next one goes to another segment, whose store gets its name first.
    bench.faults().hold(Operation::Rename, When::Before);
    let full = Fault::Fail(std::io::ErrorKind::StorageFull);
    bench.faults().fail(Operation::Rename, 1, full);
    fence_beside_a_flush(&mut bench, &[5; 20_000]);
    assert!(bench.partition.unflushed_bytes() > 20_000, "on its way");
    bench.faults().release_all();
    bench.settle();
    assert!(!bench.faults().is_pending(), "it found no space");
    assert_eq!(bench.full_count, 0, "told as what goes out once there is");
    assert_eq!(bench.partition.unflushed_bytes(), 0);
}

#[test]
fn a_flush_that_several_appends_share_is_one_of_a_round() {
    for (appends, pace) in [(1, Pace::AtOnce), (2, Pace::InRounds)] {
        let mut bench = Bench::new(1);
        for at in 0..appends {
            assert_eq!(durable(&mut bench, b"a"), offset(at));
        }
        let mut effects = super::Effects::new();
        bench.partition.step(Input::Commit, bench.now, &mut effects);
        let flushed_at = |effect| match effect {
            super::Effect::Flush {
                next_pace,
                is_slight,
                ..
            } => Some((next_pace, is_slight)),
            _ => None,
        };
        let told: Vec<_> = effects.drain().filter_map(flushed_at).collect();
        assert_eq!(told, [(pace, true)], "of {appends}");
    }
}

#[test]
fn a_completion_of_an_earlier_opening_is_discarded() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    bench.settle();
    let mut other = Bench::new(2);
    durable(&mut other, b"b");
    other.step(Input::Commit);
    let mut effects = super::Effects::new();
    durable(&mut bench, b"c");
    bench.partition.step(Input::Commit, bench.now, &mut effects);
    for effect in effects.drain() {
        if let super::Effect::Flush { plan, .. } = effect {
            let done = Box::new(block_on(plan.run()));
            bench.step(Input::Flushed {
                generation: 0,
                done,
            });
        }
    }
    assert_eq!(
        bench.durable,
        offset(1),
        "a completion of generation 0 was taken for one of 1"
    );
}

#[test]
fn truncation_moves_the_log_start_and_is_told_when_it_is_durable() {
    let mut bench = Bench::new(1);
    for value in 0..5_u8 {
        durable(&mut bench, &[value]);
    }
    bench.settle();
    let token = bench.token();
    bench.step(Input::Truncate {
        token,
        lowest: offset(3),
    });
    bench.settle();
    match bench.take_told(token) {
        Some(Ok(Answer::Truncated { log_start })) => assert_eq!(log_start, offset(3)),
        other => panic!("not truncated: {other:?}"),
    }
    let appetite = Appetite::ONE;
    let below = refused(&mut bench, |token| Input::Fetch {
        token,
        from: offset(2),
        appetite,
    });
    assert!(matches!(below, Refusal::OutOfRange { valid } if valid == (offset(3)..offset(5))));
    let past = refused(&mut bench, |token| Input::Truncate {
        token,
        lowest: offset(6),
    });
    assert!(matches!(past, Refusal::OutOfRange { valid } if valid == (offset(3)..offset(5))));
    let past = refused(&mut bench, |token| Input::Fetch {
        token,
        from: offset(6),
        appetite,
    });
    assert!(matches!(past, Refusal::OutOfRange { valid } if valid == (offset(3)..offset(5))));
    let bench = bench.power_cut(9);
    assert_eq!(bench.partition.status().log_start, offset(3));
}

/// The first flush after a clean close takes the mark along, and such a truncation was once told
/// that the disk had failed.
#[test]
fn a_truncation_waits_for_a_flush_that_holds_the_mark() {
    let mut bench = Bench::new(1);
    for value in 0..5_u8 {
        durable(&mut bench, &[value]);
    }
    bench.settle();
    let closed = block_on(bench.partition.into_log().0.close(bench.now));
    assert!(closed.is_ok(), "not closed: {closed:?}");
    let mut bench = Bench::open(bench.disk, 2, bench.now);
    bench.faults().hold(Match::ANY, When::Before);
    durable(&mut bench, b"more");
    bench.commit();
    bench.poll();
    let token = bench.token();
    bench.step(Input::Truncate {
        token,
        lowest: offset(3),
    });
    let told = bench.take_told(token);
    assert!(
        told.is_none(),
        "told while the flush is on the disk: {told:?}"
    );
    bench.faults().release_all();
    bench.settle();
    match bench.take_told(token) {
        Some(Ok(Answer::Truncated { log_start })) => assert_eq!(log_start, offset(3)),
        other => panic!("not truncated: {other:?}"),
    }
}

#[test]
fn sealed_segments_expire_by_bytes_and_by_age_but_never_the_active_one() {
    for policy in [
        Policy {
            retention_bytes: Some(1),
            ..Policy::default()
        },
        Policy {
            retention_age_ms: Some(1_000),
            ..Policy::default()
        },
    ] {
        let mut bench = Bench::new(1);
        for _ in 0..40 {
            durable(&mut bench, &[5; 4_000]);
            bench.settle();
        }
        assert!(bench.partition.status().segment_count > 2);
        let options = Options::default();
        bench.step(Input::Policy { policy, options });
        bench.go_on();
        let status = bench.partition.status();
        assert_eq!(status.segment_count, 1);
        assert!(Offset::ZERO < status.log_start);
        assert_eq!(status.log_end, offset(40));
    }
}

#[test]
fn offsets_are_found_by_place_and_by_time() {
    let mut bench = Bench::new(1);
    for second in 0..3 {
        bench.now = Timestamp::from_millis(1_000_000 + second * 1_000);
        durable(&mut bench, b"v");
        bench.settle();
    }
    let mut found = |seek| {
        let token = bench.token();
        bench.step(Input::Find { token, seek });
        match bench.take_told(token) {
            Some(Ok(Answer::Found { offset, .. })) => Some(offset),
            Some(Ok(Answer::Search { plan, .. })) => block_on(plan.run())
                .expect("searched")
                .map(|(offset, _)| offset),
            other => panic!("not found: {other:?}"),
        }
    };
    assert_eq!(found(Seek::Earliest), Some(offset(0)));
    assert_eq!(found(Seek::Latest), Some(offset(3)));
    assert_eq!(
        found(Seek::Time(Timestamp::from_millis(1_001_000))),
        Some(offset(1))
    );
    assert_eq!(found(Seek::Time(Timestamp::from_millis(1_002_001))), None);
}

#[test]
fn closing_wakes_who_is_parked_and_refuses_what_comes() {
    let mut bench = Bench::new(1);
    let parked = park(&mut bench, 0, 1);
    bench.step(Input::Close);
    assert_eq!(bench.woken, vec![parked]);
    assert!(matches!(
        bench.produce(&[b"v"], Level::Durable),
        Err(Refusal::Closing)
    ));
    assert!(!bench.partition.has_outstanding());
}

/// Neither starts a chore any more: such a truncation once waited for ever.
#[test]
fn a_truncation_of_a_closing_or_a_fenced_partition_is_refused_at_once() {
    let truncate = |token| Input::Truncate {
        token,
        lowest: Offset::ZERO,
    };
    let mut bench = Bench::new(1);
    bench.step(Input::Close);
    assert!(matches!(refused(&mut bench, truncate), Refusal::Closing));

    let mut bench = Bench::new(1);
    bench.produce(&[b"v"], Level::Durable).expect("appended");
    bench
        .faults()
        .fail(Operation::Sync, 1, Fault::Fail(std::io::ErrorKind::Other));
    bench.settle();
    assert!(bench.is_fenced);
    assert!(matches!(refused(&mut bench, truncate), Refusal::Fenced));
}

/// It was told as not applied, and the records were gone once the partition was reopened.
#[test]
fn a_truncation_whose_edit_fails_may_have_taken_effect() {
    let mut bench = Bench::new(1);
    bench.produce(&[b"v"], Level::Durable).expect("appended");
    bench.settle();
    let token = bench.token();
    let lowest = bench.partition.status().durable;
    bench
        .faults()
        .fail(Operation::Sync, 1, Fault::Fail(std::io::ErrorKind::Other));
    bench.step(Input::Truncate { token, lowest });
    bench.settle();
    assert!(bench.is_fenced);
    let told = bench.take_told(token);
    assert!(matches!(told, Some(Err(Refusal::InDoubt))), "{told:?}");
}

#[test]
fn an_invalid_batch_is_refused_whole() {
    let mut bench = Bench::new(1);
    let good = testing::batch(&[b"v"], bench.now);
    let mut bad = good.clone();
    *bad.last_mut().expect("bytes") ^= 1;
    let token = bench.token();
    bench.step(Input::Produce {
        token,
        batches: Incoming::Unchecked(&[good, bad].concat()),
        level: None,
    });
    match bench.take_told(token) {
        Some(Err(Refusal::Invalid { batch_index, .. })) => assert_eq!(batch_index, 1),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(bench.partition.status().log_end, Offset::ZERO);
}

/// Removing files that the log no longer names harms nobody: this once ended the process.
#[test]
fn a_removal_that_fails_is_tried_again_and_fences_nothing() {
    let mut bench = Bench::new(1);
    for _ in 0..40 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    let policy = Policy {
        retention_bytes: Some(1),
        ..Policy::default()
    };
    let fault = Fault::Fail(std::io::ErrorKind::PermissionDenied);
    bench.faults().fail(Operation::Remove, 1, fault);
    bench.step(Input::Policy {
        policy,
        options: Options::default(),
    });
    bench.go_on();
    assert!(!bench.faults().is_pending(), "a removal failed");
    let tries = bench.faults().count(Operation::Remove);
    (0..4).for_each(|_| bench.go_on());
    let more = bench.faults().count(Operation::Remove) - tries;
    assert!(more > 0, "it is tried again");
    assert!(!bench.is_fenced);
    assert_eq!(bench.partition.status().segment_count, 1);
}

/// A mark that cannot be written fences at once; the flush that is on the disk still comes back,
/// and reopening has to wait for it. This once ended the process.
#[test]
fn a_chore_that_fences_leaves_the_flush_on_the_disk_outstanding() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    bench.settle();
    bench.now = bench.now.saturating_add_millis(2_000);
    bench
        .faults()
        .hold(Match::on(Operation::Write, ".log"), When::Before);
    fence_beside_a_flush(&mut bench, b"b");
    assert!(bench.partition.has_outstanding(), "a flush is on the disk");
    bench.faults().release_all();
    bench.settle();
    assert!(!bench.partition.has_outstanding());
}

/// The node once aborted where a log was cut and its waiters were told of more than it had left.
#[test]
fn a_cut_below_what_was_told_is_told_before_its_answer_and_appends_go_on() {
    let mut bench = Bench::new(1);
    for value in [b"a", b"b", b"c"] {
        durable(&mut bench, value);
        bench.settle();
    }
    let epoch = bench.partition.epochs().last().map(|last| last.epoch);
    let parked = park(&mut bench, 3, 1);
    let token = bench.token();
    let common = Common {
        offset: offset(1),
        epoch,
    };
    let change = Box::new(super::Change::Rejoin(common));
    bench.step(Input::Change { token, change });
    bench.settle();
    let told = bench.take_told(token).expect("it is told");
    assert!(matches!(told, Ok(Answer::Changed(_))));
    assert_eq!(bench.durable, offset(1));
    assert_eq!(bench.woken, vec![parked]);
    assert_eq!(durable(&mut bench, b"d"), offset(1));
    bench.settle();
    assert_eq!(bench.durable, offset(2));
}
