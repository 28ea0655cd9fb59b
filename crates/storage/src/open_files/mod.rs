//! The room of what is open: how many files and maps one thread holds, whichever logs they are of.
//!
//! Lives here: the two bounded tables of a thread (`Table`, one counts descriptors, one bytes of
//! mapped indexes), the `Handle` of a file that is closed when others are needed more and opened
//! again when it is, and the [`Limits`]. Never lives here: what is in the files.
//!
//! A thread that has thousands of logs cannot keep a store, a manifest and a mark of each open. The
//! tables belong to the thread, as handles do: a core sets its limits once, and no log has to be told.
//!
//! Laws kept:
//! - What goes is what was used least recently.
//! - What is in use never goes, and whoever writes to a file uses it until the sync has returned: no
//!   file with unsynced bytes that somebody relies on is closed.
//! - Beyond a limit is only what is in use.

mod handle;
mod table;

use std::cell::RefCell;

pub(crate) use self::handle::Handle;
pub(crate) use self::table::{Holder, Place};

use self::table::Table;

/// What the logs of one thread may keep open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors of open files.
    pub files_max: usize,
    /// Bytes of mapped indexes, each counted with what a map costs besides.
    pub map_bytes_max: usize,
}

/// What the logs of one thread keep open.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Descriptors of open files, those being opened included. On a ring a store that is written to takes two.
    pub(crate) files: usize,
    /// Bytes of mapped indexes.
    pub(crate) map_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 256,
            map_bytes_max: 64 << 20,
        }
    }
}

/// Sets what the logs of this thread may keep open from now on, and closes what is too much.
pub fn limit(limits: Limits) {
    files(|table| table.set_max(limits.files_max));
    maps(|table| table.set_max(limits.map_bytes_max));
}

/// What the logs of this thread keep open.
#[cfg(test)]
pub(crate) fn usage() -> Usage {
    Usage {
        files: files(|table| table.used()).unwrap_or_default(),
        map_bytes: maps(|table| table.used()).unwrap_or_default(),
    }
}

/// The table of open files; `None` while the thread ends.
fn files<T>(with: impl FnOnce(&mut Table) -> T) -> Option<T> {
    FILES.try_with(|table| with(&mut table.borrow_mut())).ok()
}

/// The table of mapped indexes; `None` while the thread ends.
pub(crate) fn maps<T>(with: impl FnOnce(&mut Table) -> T) -> Option<T> {
    MAPS.try_with(|table| with(&mut table.borrow_mut())).ok()
}

thread_local! {
    static FILES: RefCell<Table> = RefCell::new(Table::new(Limits::default().files_max));
    static MAPS: RefCell<Table> = RefCell::new(Table::new(Limits::default().map_bytes_max));
}
