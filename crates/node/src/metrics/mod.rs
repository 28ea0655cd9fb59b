//! What a node counts: per-core counters that their core publishes by relaxed stores, read by
//! anyone at any time, and the states of cores, partitions and connections, asked for by message.
//!
//! ```text
//! counters    one core's counters: name, kind and meaning of each
//! histogram   durations in fixed buckets
//! pulse       how one core's loop goes
//! slow        where the time of slow acknowledgements went
//! topic       one topic
//! partition   one partition
//! replica     one partition that is not the node's alone
//! connection  one client connection
//! quarantine  what the node's quarantine holds
//! ```
//!
//! No lock and no read-modify-write atomic: each counter has one writer, its core. What is read
//! is a snapshot of each number, not of all numbers at one instant.

mod connection;
mod counters;
mod histogram;
mod partition;
mod pulse;
mod quarantine;
mod replica;
mod slow;
mod topic;

pub use connection::ConnectionSnapshot;
pub use counters::{CoreSnapshot, Sample, SampleKind};
pub use histogram::HistogramSnapshot;
pub use partition::{Lag, LogSnapshot, PartitionSnapshot, PartitionState};
pub use pulse::{PulseSnapshot, WatchSnapshot};
pub use quarantine::QuarantineShare;
pub use replica::ReplicaSnapshot;
pub use slow::{SlowAck, SlowAcks};
pub use topic::TopicSnapshot;

pub(crate) use counters::{Counters, add, count_numbered, set, sub};
pub(crate) use quarantine::shares;
