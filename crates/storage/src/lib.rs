//! A partition's log on disk: segments of store and index, a manifest, a mark.
//!
//! This crate names no runtime, no clock and no socket. All input and output goes through
//! [`disk::Dir`], so the same log runs on io_uring, on plain files, in memory and under injected
//! faults.

pub mod disk;
pub mod format;
pub mod log;
pub mod manifest;
pub mod mark;

mod error;

pub use error::Error;
pub use log::Log;
