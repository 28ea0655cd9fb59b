//! The topics of a node: which there are, their settings, which core owns which partition.
//!
//! ```text
//! topic      one topic as every core knows it, and its file
//! routes     all topics of a node, as each core holds them
//! files      reading, writing and removing topics in the data directory
//! placement  which core gets which partition
//! admin      creating, altering and deleting, on core 0 alone
//! ```
//!
//! Core 0 decides and writes; a change is durable before any core hears of it, and every core has
//! heard of it before the client does. Placement is not stored: it is computed at start, so
//! changing the number of cores moves no files.
//!
//! What never lives here: partitions' logs and offsets.

mod admin;
mod files;
mod placement;
mod routes;
mod topic;

pub(crate) use admin::{Admin, Change};
pub use files::CatalogError;
pub(crate) use files::{load, partition_dir, quarantine_dir};
pub(crate) use routes::Routes;
pub(crate) use topic::Topic;
