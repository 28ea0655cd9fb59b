//! A folder of a test's own, on the disk that `target/` lies on (not a tmpfs or an overlay, which
//! a server refuses), removed when the test is done with it.

use std::path::{Path, PathBuf};

/// A fresh empty folder.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("corelog-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self { dir: dir.unwrap() }
    }

    /// One in memory, which a server takes and warns of.
    pub(crate) fn in_memory() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("corelog-")
            .tempdir_in("/dev/shm");
        Self { dir: dir.unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}
