//! Fetches that wait at the end of a partition until there is as much as they want.

use corelog_storage::testing;
use proptest::prelude::*;

use super::super::Replication;
use super::*;

#[test]
fn a_parked_fetch_wakes_with_the_high_watermark_and_costs_nothing_before() {
    let mut bench = Bench::new(1);
    let first = park(&mut bench, 0, 1);
    let large = park(&mut bench, 0, 100_000);
    durable(&mut bench, b"a");
    assert!(bench.woken.is_empty(), "woken before the sync");
    bench.settle();
    assert_eq!(bench.woken, vec![first]);
    bench
        .produce(&[&[7; 100_000]], Level::Durable)
        .expect("appended");
    bench.settle();
    assert_eq!(bench.woken, vec![first, large]);
}

#[test]
fn a_fetch_that_wants_more_than_there_is_near_the_end_is_parked_for_the_rest() {
    let mut bench = Bench::new(1);
    for _ in 0..2 {
        durable(&mut bench, &[1; 1_000]);
        bench.settle();
    }
    let token = park(&mut bench, 1, 3_000);
    durable(&mut bench, &[2; 1_000]);
    bench.settle();
    assert!(bench.woken.is_empty());
    durable(&mut bench, &[3; 1_000]);
    bench.settle();
    assert_eq!(bench.woken, vec![token]);
}

/// It waited until as much had come as it lacked, of which none could be in its answer, or for as long as it had said.
#[test]
fn who_waits_for_more_than_a_segment_has_left_gets_that_when_the_next_one_begins() {
    let mut bench = Bench::new(1);
    durable(&mut bench, &[1; 10_000]);
    bench.settle();
    let token = park(&mut bench, 0, 1 << 20);
    durable(&mut bench, &[2; 10_000]);
    bench.settle();
    assert!(bench.woken.is_empty(), "it is in the same segment");
    durable(&mut bench, &[3; 20_000]);
    bench.settle();
    assert_eq!(bench.woken, vec![token]);
}

/// Nobody was woken who waited at a roll that no record had asked for, and whoever came then waited as well: for as long as
/// it had said.
#[test]
fn who_waits_in_a_segment_that_ends_without_a_record_behind_it_gets_what_there_is_and_nobody_waits_there_anew()
 {
    for by_age in [false, true] {
        let mut bench = Bench::new(1);
        let options = Options {
            segment_age_max_ms: by_age.then_some(10_000),
            ..Options::default()
        };
        let policy = Policy::default();
        bench.step(Input::Policy { policy, options });
        durable(&mut bench, &[1; 10_000]);
        bench.settle();
        let (inside, behind) = (park(&mut bench, 0, 1 << 20), park(&mut bench, 1, 1 << 20));
        if by_age {
            bench.go_on();
        } else {
            let (token, target) = (bench.token(), bench.snapshot_dir("s"));
            bench.step(Input::TakeSnapshot { token, target });
            bench.settle();
        }
        assert_eq!(bench.woken, vec![inside], "by age: {by_age}");
        let (_, bytes) = fetch(&mut bench, 0, 1 << 20, 1 << 20);
        assert!(bytes.is_some_and(|bytes| 10_000 < bytes));
        bench.step(Input::Unpark { token: behind });
        park(&mut bench, 1, 1);
    }
}

/// What was accepted before the roll is still to come to it.
#[test]
fn a_segment_that_has_rolled_ends_when_all_of_it_is_durable() {
    let mut bench = Bench::new(1);
    durable(&mut bench, &[1; 5_000]);
    bench.settle();
    let parked = park(&mut bench, 0, 1 << 20);
    durable(&mut bench, &[2; 5_000]);
    let (token, target) = (bench.token(), bench.snapshot_dir("s"));
    bench.step(Input::TakeSnapshot { token, target });
    assert!(bench.woken.is_empty(), "its second record is pending");
    bench.settle();
    assert_eq!(bench.woken, vec![parked]);
    let (_, bytes) = fetch(&mut bench, 0, 1 << 20, 1 << 20);
    assert!(bytes.is_some_and(|bytes| 10_000 < bytes));
}

/// All who waited were woken, most of them only to wait again, if there was room for that still.
#[test]
fn who_waits_at_the_end_goes_on_waiting_when_a_segment_ends_there() {
    let mut bench = Bench::new(1);
    durable(&mut bench, &[1; 10_000]);
    bench.settle();
    let (inside, at_end) = (park(&mut bench, 0, 1 << 20), park(&mut bench, 1, 30_000));
    durable(&mut bench, &[2; 24_000]);
    bench.settle();
    assert_eq!(bench.woken, vec![inside]);
    durable(&mut bench, &[3; 7_000]);
    bench.settle();
    assert_eq!(bench.woken, vec![inside, at_end]);
}

/// It waited for what never comes to an owner that was replaced for as long as it had said, up to a minute.
#[test]
fn who_waits_looks_again_when_another_node_becomes_the_owner_and_at_no_other_change() {
    let mut bench = Bench::new(1);
    let token = park(&mut bench, 0, 1);
    let policy = Policy {
        retention_bytes: Some(1),
        ..Policy::default()
    };
    bench.step(Input::Policy {
        policy,
        options: Options::default(),
    });
    assert!(bench.woken.is_empty(), "it is the owner as before");
    let policy = Policy {
        replication: Replication::Replaced,
        ..policy
    };
    bench.step(Input::Policy {
        policy,
        options: Options::default(),
    });
    assert_eq!(bench.woken, vec![token]);
}

/// A fetch once waited for the next record wherever it began within what was flushed at once.
#[test]
fn a_fetch_from_the_middle_of_what_became_readable_at_once_is_answered_at_once() {
    let mut bench = Bench::new(1);
    for number in 0..4 {
        durable(&mut bench, &[number; 1_000]);
    }
    bench.settle();
    for from in 0..4 {
        let (_, bytes) = fetch(&mut bench, from, 1, 1);
        assert!(bytes.is_some_and(|bytes| bytes > 1_000), "{from}");
    }
    // Two are enough, or all that fit.
    let (_, two) = fetch(&mut bench, 2, 2_000, 1 << 20);
    assert!(two.is_some_and(|bytes| bytes > 2_000));
    let (_, one) = fetch(&mut bench, 1, 1_500, 1_500);
    assert!(one.is_some_and(|bytes| bytes > 1_000));
    park(&mut bench, 2, 3_000);
    park(&mut bench, 4, 1);
}

#[derive(Clone, Debug)]
enum Step {
    /// Appends a value of so many bytes.
    Append(usize),
    /// What was appended becomes readable, all at once.
    Flush,
    /// Of the batches that are readable, and the end, the one at this part of 256.
    Fetch {
        part: u8,
        bytes_min: u64,
        bytes_max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fetch = (any::<u8>(), 0u64..6_000, 1usize..6_000);
    prop_oneof![
        3 => (0usize..1_500).prop_map(Step::Append),
        1 => Just(Step::Flush),
        4 => fetch.prop_map(|(part, bytes_min, bytes_max)| Step::Fetch {
            part,
            bytes_min,
            bytes_max,
        }),
    ]
}

/// What is readable, as a list of the bytes of each batch, and who waits: from which batch on, for how many
/// bytes.
#[derive(Default)]
struct Model {
    batches: Vec<u64>,
    waiting: Vec<(Token, usize, u64)>,
}

impl Model {
    fn readable(&self, from: usize) -> u64 {
        self.batches[from..].iter().sum()
    }

    /// What a fetch is answered; `None` if it has to wait.
    fn answer(&self, from: usize, bytes_min: u64, bytes_max: usize) -> Option<u64> {
        let mut taken = 0;
        for bytes in &self.batches[from..] {
            if 0 < taken && (bytes_max as u64) < taken + bytes {
                return Some(taken);
            }
            taken += bytes;
        }
        (bytes_min.max(1) <= taken).then_some(taken)
    }

    /// Who has as much as they want by now, and waits no more.
    fn woken(&mut self) -> Vec<Token> {
        let (awake, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, from, bytes_min)| (*bytes_min).max(1) <= self.readable(*from));
        self.waiting = waiting;
        awake.into_iter().map(|(token, ..)| token).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_fetch_waits_just_as_long_as_there_is_less_than_it_wants(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut bench = Bench::new(1);
        // One segment, all of it in memory.
        let (policy, options) = (Policy::default(), Options::default());
        bench.step(Input::Policy { policy, options });
        let mut model = Model::default();
        let mut appended = Vec::new();
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    let value = vec![7; bytes];
                    durable(&mut bench, &value);
                    appended.push(testing::batch(&[&value], bench.now).len() as u64);
                }
                Step::Flush => {
                    bench.settle();
                    model.batches.append(&mut appended);
                    let mut woken = std::mem::take(&mut bench.woken);
                    woken.sort_unstable();
                    prop_assert_eq!(woken, model.woken());
                }
                Step::Fetch { part, bytes_min, bytes_max } => {
                    let from = usize::from(part) * (model.batches.len() + 1) / 256;
                    let (token, bytes) = fetch(&mut bench, from as u64, bytes_min, bytes_max);
                    let expected = model.answer(from, bytes_min, bytes_max);
                    prop_assert_eq!(bytes.map(|bytes| bytes as u64), expected);
                    if expected.is_none() {
                        model.waiting.push((token, from, bytes_min));
                    }
                }
            }
        }
    }
}
