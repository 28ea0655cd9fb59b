//! A directory of a real file system.

use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A directory whose files are driven by io_uring, on the core that opens them.
#[derive(Debug, Clone)]
pub struct UringDir {
    path: Rc<Path>,
}

impl UringDir {
    /// A handle to the directory at `path`, which need not exist. No I/O.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
