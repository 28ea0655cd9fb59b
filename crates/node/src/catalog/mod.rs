//! The topics of a node: which there are, their settings, which core owns which partition.
//!
//! ```text
//! topic      one topic as every core knows it, and its file
//! routes     all topics of a node, as each core holds them
//! ledger     the topics' files, kept as the cores know the topics
//! files      reading, writing and removing topics in the data directory
//! spare      blocks for what makes room on a full disk
//! placement  which core gets which partition
//! admin      creating, altering and deleting, on core 0 alone
//! snapshots  taking, listing and deleting snapshots, likewise
//! last       where the last snapshot of each partition ends
//! clone      partitions of another node's topic, here too
//! replicas   what the node is to partitions that are not its alone
//! promises   what the node promised not to take over
//! peers      who follows the node's partitions, written down and forgotten
//! room       room in the file of a topic for all of that
//! origins    topics that follow as a whole, kept as their sources are
//! restore    making a topic of one in a snapshot
//! space      room on the disk for what a clone or a restore copies
//! ```
//!
//! Core 0 decides and writes; a change is durable before any core hears of it, and every core has
//! heard of it before the client does. Placement is not stored: it is computed at start, so
//! changing the number of cores moves no files.
//!
//! What never lives here: partitions' logs and offsets.

mod admin;
mod clone;
mod files;
mod grave;
mod last;
mod ledger;
mod origins;
mod peers;
mod placement;
mod promises;
mod replicas;
mod restore;
mod room;
mod routes;
mod snapshots;
mod space;
mod spare;
mod topic;

pub(crate) use admin::{Admin, Change};
pub use files::CatalogError;
pub(crate) use files::{is_there, load, partition_dir, quarantine_dir, topic_dir};
pub(crate) use last::LastSnapshots;
pub(crate) use peers::{Forgotten, Newcomer, is_in_place_of};
pub(crate) use restore::sweep_restores;
pub(crate) use routes::Routes;
pub(crate) use snapshots::{load_snapshots, snapshot_dir};
pub(crate) use topic::Topic;
