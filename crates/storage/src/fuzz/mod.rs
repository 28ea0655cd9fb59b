//! The room of fuzz targets: what is done with bytes that anyone may have written.
//!
//! Lives here: one function for each format and for what is built on them, from arbitrary bytes to
//! nothing, which panics if a law is broken; inputs to begin with, taken from a log that works. The
//! package `fuzz` beside this crate gives them to libFuzzer, the tests here try some thousands of
//! inputs each. Never lives here: a law of its own.
//!
//! A random change seldom gets past a checksum. So the first byte of an input says whether checksums,
//! lengths and sequence numbers are put right first, and the meaning behind them is tried too.

mod decoders;
mod recovery;
pub(crate) mod repair;
mod seeds;
mod store;

#[cfg(test)]
pub(crate) mod tests;

/// Something to be fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, in `fuzz_targets` too.
    pub name: &'static str,
    /// What is done with an input. It panics if a law is broken.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "batch",
        run: decoders::batch,
        seeds: seeds::batches,
    },
    Target {
        name: "index",
        run: decoders::index,
        seeds: seeds::indexes,
    },
    Target {
        name: "manifest",
        run: decoders::manifest,
        seeds: seeds::manifests,
    },
    Target {
        name: "mark",
        run: decoders::mark,
        seeds: seeds::marks,
    },
    Target {
        name: "files",
        run: decoders::files,
        seeds: seeds::files,
    },
    Target {
        name: "names",
        run: decoders::names,
        seeds: seeds::names,
    },
    Target {
        name: "store",
        run: store::scan,
        seeds: seeds::stores,
    },
    Target {
        name: "recovery",
        run: recovery::open,
        seeds: seeds::recoveries,
    },
];

/// The target `name`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let target = TARGETS.iter().find(|target| target.name == name);
    match target {
        Some(target) => *target,
        None => panic!("no target is called {name}"),
    }
}

/// The first byte's say, and the bytes behind it.
fn split(input: &[u8]) -> Option<(u8, &[u8])> {
    let (how, bytes) = input.split_first()?;
    Some((*how, bytes))
}
