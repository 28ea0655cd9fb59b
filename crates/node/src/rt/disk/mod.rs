//! Directories and files driven by io_uring.
//!
//! ```text
//! dir        a directory; its entries are read and changed on the pool of directory threads
//! file       a file, read and written around the page cache (except on tmpfs, which has no other)
//! patience   waiting for a descriptor when there is none left
//! polling    whether the device can be polled for completions
//! reclaim    space of removed files, given back a little at a time
//! buf        aligned buffers, registered with the kernel while they fit
//! unreadable files that the disk does not give, for tests
//! ```
//!
//! It passes the suite that every implementation of [`corelog_storage::disk::Dir`] passes.

mod buf;
mod dir;
mod file;
mod patience;
mod polling;
mod reclaim;

pub use buf::{UringBuf, UringBytes};
pub use dir::UringDir;
pub use file::UringFile;
pub(crate) use reclaim::LEAVING_MAX;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod unreadable;
