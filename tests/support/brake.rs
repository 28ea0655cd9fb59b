//! A file that nobody can open for a while, as on a disk that gives nothing.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use corelog_storage::disk::std::alone;

use super::deadline::until;

/// Holds up who opens a file, until it is dropped. The system lets nobody wait for more than 45 s (proc_sys_fs(5),
/// `lease-break-time`).
pub(crate) struct Brake {
    file: File,
}

impl Brake {
    /// On the file at `path`, which is made if there is none.
    pub(crate) fn on(path: &Path) -> Self {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).unwrap();
        until("nobody has it open", || alone::hold(&file).unwrap());
        Self { file }
    }

    /// Waits until somebody is held up (proc_locks(5)).
    pub(crate) fn await_one(&self) {
        let inode = format!(":{} ", self.file.metadata().unwrap().ino());
        until("somebody opens it", || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let mut leases = locks.lines().filter(|line| line.contains(&inode));
            leases.any(|line| line.contains("BREAKING"))
        });
    }
}
