//! The room of snapshots: what a log linked into a directory, as a whole that can be kept, copied
//! and restored.
//!
//! ```text
//! <data>/snapshots/<name>/
//!   snapshot                          what it holds; has its name last: without it there is no snapshot
//!   snapshot.new                      the same in the making, or on its way out
//!   topics/<topic>/topic              the topic's file as it was
//!   topics/<topic>/<partition>/       manifest, stores and indexes, by `Log::plan_snapshot`
//! ```
//!
//! Lives here: the shelf of snapshots ([`begin`], [`commit`], [`find`], [`list`], [`remove`],
//! [`sweep_unfinished`]), and the ways out of one: [`export()`] copies it, [`restore()`] makes a
//! partition of it. Never lives here: the log that is snapshotted, who asks, and how fast (whoever
//! is told of progress may wait before it goes on).
//!
//! Laws kept: a snapshot is there whole or not at all, and so is what is made of it. No byte leaves
//! a snapshot that was not verified on the way: every checksum, every offset, the chain against the
//! digests in the manifest, the manifest against the `snapshot` file. What does not hold is
//! refused, or, if that is asked for, taken over as damage, which nobody serves.

mod copy;
mod damaged;
mod export;
mod in_order;
mod origin;
mod restore;
mod shelf;

#[cfg(test)]
mod tests;

pub use crate::format::snapshot::{NAME, Name, NameError, Partition, Summary, Topic};
pub use copy::Stores;
pub use export::{Exported, export};
pub use restore::{Restore, Restored, restore};
pub(crate) use shelf::is_unfinished;
pub use shelf::{
    Entry, begin, commit, count, find, list, open, partition_dir, remove, sweep_unfinished,
};
