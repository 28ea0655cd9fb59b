//! Chance and size of a test: both can be set from outside, and what was in force is printed, so
//! that a failure can be run again.

use std::fmt::Display;
use std::str::FromStr;

/// The random numbers of a test, by the seed in `CORELOG_TEST_SEED` or a fresh one.
pub(crate) fn random(test: &str) -> fastrand::Rng {
    let seed = number("CORELOG_TEST_SEED", fastrand::u64(..));
    println!("{test}: again with CORELOG_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// The number in an environment variable, or `default`.
pub(crate) fn number<T: FromStr + Display>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Err(_) => default,
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    }
}
