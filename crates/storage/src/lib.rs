//! A partition's log on disk: segments of store and index, a manifest, a mark.
//!
//! This crate names no runtime, no socket and, but for [`wal`], no clock. All input and output goes
//! through [`disk::Dir`], so the same log runs on io_uring, on plain files, in memory and under
//! injected faults.
//!
//! Two ways in: [`Wal`] is a write-ahead log with calls that block, for a program that embeds one;
//! [`Log`] decides and hands out plans for I/O, for one that has a runtime to run them on.

pub mod disk;
pub mod epochs;
pub mod format;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
pub mod intake;
pub mod log;
pub mod manifest;
pub mod mark;
pub mod open_files;
pub mod quarantine;
pub mod repair;
pub mod segment;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod verify;
pub mod wal;

mod error;
mod index;
mod now;
mod planted;
mod recovery;
mod scan;
mod scrub;
mod steps;
mod store;

pub use error::Error;
pub use log::{Log, Reader};
pub use now::Now;
pub use wal::Wal;
