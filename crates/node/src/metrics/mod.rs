//! What a node counts: per-core counters that their core publishes by relaxed stores, read by
//! anyone at any time, and the states of partitions, asked for by message.
//!
//! No lock and no read-modify-write atomic: each counter has one writer, its core. What is read
//! is a snapshot of each number, not of all numbers at one instant.

mod counters;
mod histogram;
mod partition;
mod quarantine;
mod slow;

pub use counters::{CoreSnapshot, Sample, SampleKind};
pub use histogram::HistogramSnapshot;
pub use partition::{Lag, PartitionSnapshot, PartitionState};
pub use quarantine::QuarantineShare;
pub use slow::SlowAck;

pub(crate) use counters::{Counters, add, count_numbered, sub};
pub(crate) use quarantine::shares;
