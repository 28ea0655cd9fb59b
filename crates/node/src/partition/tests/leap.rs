//! A partition while the machine's clock is far ahead of the node's, and when that is believed.

use corelog_record::ByteSize;

use super::super::Rest;
use super::*;

const DAY: i64 = 24 * 3_600_000;
const YEAR: i64 = 365 * DAY;

/// A retention age of a week.
fn a_week() -> Policy {
    Policy {
        retention_age_ms: Some(7 * DAY.unsigned_abs()),
        ..Policy::default()
    }
}

/// A partition that sealed many segments while the node's clock was a year behind the machine's.
fn sealed_in_probation(policy: Policy) -> Bench {
    let mut bench = Bench::new(1);
    bench.ahead_ms = YEAR;
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(32),
        segment_age_max_ms: Some(DAY),
        ..Options::default()
    };
    bench.step(Input::Policy { policy, options });
    for _ in 0..40 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    assert!(bench.partition.status().segment_count > 2);
    bench
}

fn start_after(bench: &mut Bench, millis: i64) -> Offset {
    bench.now = bench.now.saturating_add_millis(millis);
    for _ in 0..10 {
        bench.step(Input::Tick);
        bench.settle();
    }
    bench.partition.status().log_start
}

/// Seals once carried the time of the clock that was behind: a machine that was a year behind at its start,
/// and whose clock was then set, lost in an hour what it was given in that hour.
#[test]
fn what_is_sealed_before_a_leap_is_believed_is_as_young_as_it_is_afterwards() {
    let mut bench = sealed_in_probation(a_week());
    bench.ahead_ms = 0;
    assert_eq!(start_after(&mut bench, YEAR), Offset::ZERO);
    assert_eq!(start_after(&mut bench, 6 * DAY), Offset::ZERO);
    assert!(Offset::ZERO < start_after(&mut bench, 2 * DAY));
}

/// What was sealed meanwhile says that it was next year: it kept all behind it until then.
#[test]
fn a_leap_that_is_taken_back_keeps_what_was_sealed_until_more_is_and_a_week_has_passed() {
    let mut bench = sealed_in_probation(a_week());
    bench.ahead_ms = 0;
    assert_eq!(start_after(&mut bench, 8 * DAY), Offset::ZERO);
    let before = bench.partition.status().segment_count;
    for _ in 0..40 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    assert!(before < bench.partition.status().segment_count);
    assert_eq!(start_after(&mut bench, 6 * DAY), Offset::ZERO);
    assert!(Offset::ZERO < start_after(&mut bench, 2 * DAY));
    assert!(bench.partition.status().segment_count < before);
    block_on(bench.partition.into_log().0.close(bench.now)).expect("closed");
}

/// What was sealed meanwhile said nothing of its age, and that kept it from going for its bytes, too: the
/// disk filled up.
#[test]
fn what_is_too_much_goes_also_before_a_leap_is_believed() {
    let mut bench = sealed_in_probation(Policy {
        retention_bytes: Some(100 << 10),
        ..Policy::default()
    });
    assert!(Offset::ZERO < start_after(&mut bench, 1));
    assert!(bench.partition.status().segment_count < 5);
}

/// Nobody looked at it again, and it kept its records until it was given another one.
#[test]
fn a_partition_at_rest_is_looked_at_when_a_leap_is_believed() {
    let mut bench = sealed_in_probation(a_week());
    start_after(&mut bench, DAY);
    let Rest::Until(time) = bench.partition.rest() else {
        panic!("{:?}", bench.partition.rest());
    };
    assert!(bench.now < time && time < bench.now.saturating_add_millis(YEAR));
    bench.ahead_ms = 0;
    start_after(&mut bench, YEAR);
    let expires = bench.now.saturating_add_millis(8 * DAY);
    assert!(matches!(bench.partition.rest(), Rest::Until(time) if time < expires));
    assert!(Offset::ZERO < start_after(&mut bench, 8 * DAY));
}
