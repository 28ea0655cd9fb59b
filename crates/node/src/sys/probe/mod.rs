//! Questions to the machine, asked before the first core starts and by `doctor`.
//!
//! ```text
//! rings        may io_uring be used; is the kernel new enough
//! memlock      what the limit of locked memory allows
//! file_system  what a path is on, and how much room is left
//! device       the block device below: its write cache, its flushes, its sectors
//! clock        what the kernel knows of its clock
//! descriptors  how many files may be open
//! processors   which processors may be run on
//! ```
//!
//! Each answers with a value or with an [`Error`] that says what to do.

mod clock;
mod descriptors;
mod device;
mod file_system;
mod memlock;
mod processors;
mod rings;

pub use clock::{Clock, clock};
pub use descriptors::raise_descriptors;
pub use device::{Device, WriteCache, device};
pub use file_system::{FileSystem, Space, Suitability, data_directory, file_system, space};
pub use memlock::{Memlock, cores_max, memlock};
pub use processors::processors;
pub use rings::{kernel, rings};

use std::io;

use super::Error;

/// Wraps an answer that the kernel did not give.
fn unknown(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Unknown { what, source }
}
