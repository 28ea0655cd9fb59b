//! The functions that a node, or its client, runs for each batch, frame or acknowledgement, each by itself
//! and without a disk or a socket under it.
//!
//! ```text
//! batches      building, checking and walking batches
//! wire         frames in, frames out
//! log          appending, taking a group, reading the tail, finding a place on disk, the mark
//! sink         a disk in memory, which may forget
//! allocations  an allocator that counts
//! ```
//!
//! The micro-benches time what is listed here (`cargo bench -p corelog-bench-hot`), `guard` counts its
//! instructions, and `tests/` its allocations.

pub mod allocations;

mod batches;
mod log;
mod sink;
mod wire;

/// One of them, with all that it needs.
pub trait Hot {
    /// How many batches, frames or acknowledgements a run is for: figures are told for each.
    fn count(&self) -> u64;

    /// How many bytes of batches a run passes over or moves; 0 if it does neither.
    fn bytes(&self) -> u64 {
        0
    }

    /// What has to be done before a run and is not measured.
    fn prepare(&mut self) {}

    /// What is measured.
    fn run(&mut self);
}

/// Sets one up.
pub type SetUp = fn() -> Box<dyn Hot>;

/// The name of each, and how it is set up.
pub const ALL: [(&str, SetUp); 12] = [
    ("build", || Box::new(batches::Build::new())),
    ("check", || Box::new(batches::Check::new())),
    ("records", || Box::new(batches::Walk::new())),
    ("decode-produce", || Box::new(wire::DecodeProduce::new())),
    ("encode-produce", || Box::new(wire::EncodeProduce::new())),
    ("encode-ack", || Box::new(wire::EncodeAck::new())),
    ("append", || Box::new(log::Append::large())),
    ("append-small", || Box::new(log::Append::small())),
    ("group", || Box::new(log::Group::new())),
    ("read-tail", || Box::new(log::ReadTail::new())),
    ("seek", || Box::new(log::Seek::new())),
    ("mark", || Box::new(log::WriteMark::new())),
];

/// Runs it so many times; what is in here and not in [`Hot::prepare`] is what `guard` counts.
pub fn repeat(hot: &mut dyn Hot, runs: u32) {
    for _ in 0..runs {
        hot.prepare();
        measured(hot);
    }
}

/// A name that callgrind finds.
#[inline(never)]
fn measured(hot: &mut dyn Hot) {
    hot.run();
}
