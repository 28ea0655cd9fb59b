//! What each hot function allocates: a number that is committed here, and may only fall by itself.

use corelog_bench_hot::allocations::{Allocations, Counting};
use corelog_bench_hot::{ALL, Hot};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs before the count: buffers have grown to what they need.
const WARM_RUNS: u32 = 200;
const RUNS: u32 = 100;

/// Allocations in a hundred runs; what a run is for stands in `src/lib.rs`.
const ALLOWED: [(&str, u64); ALL.len()] = [
    ("build", 1000),
    ("check", 0),
    ("records", 0),
    ("decode-produce", 12800),
    ("encode-produce", 6400),
    ("encode-ack", 0),
    ("append", 605),
    ("append-small", 201),
    ("group", 600),
    ("read-tail", 400),
    ("seek", 400),
    ("mark", 1100),
];

#[test]
fn nothing_allocates_more_than_it_did() {
    let found: Vec<_> = ALL
        .iter()
        .map(|(name, hot)| (*name, count(&mut *hot())))
        .collect();
    let names =
        |table: &[(&'static str, u64)]| table.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&ALLOWED), "each has its number");
    let is_more = |((_, found), (_, allowed)): &(&(&str, u64), &(&str, u64))| found > allowed;
    let more: Vec<_> = found.iter().zip(&ALLOWED).filter(is_more).collect();
    assert!(
        more.is_empty(),
        "found and allowed allocations in {RUNS} runs: {more:?}; if it has to be, write it down here: {found:?}"
    );
}

fn count(hot: &mut dyn Hot) -> u64 {
    for _ in 0..WARM_RUNS {
        hot.prepare();
        hot.run();
    }
    let counted = (0..RUNS).map(|_| {
        hot.prepare();
        let before = Allocations::here();
        hot.run();
        Allocations::here().since(before).count
    });
    counted.sum()
}
