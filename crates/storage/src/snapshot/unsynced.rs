//! Files that were written and are not durable yet.

use std::rc::Rc;

use crate::Error;
use crate::disk::{Dir, File};
use crate::error::At;

/// Files that are to be synced, several in a row: the first sync commits what the file system has to
/// note of all of them, so that the others cost next to nothing.
pub(super) struct Unsynced<D: Dir> {
    files: Vec<Written<D>>,
    bytes: u64,
}

struct Written<D: Dir> {
    dir: D,
    name: String,
    file: Rc<D::File>,
}

impl<D: Dir> Default for Unsynced<D> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            bytes: 0,
        }
    }
}

impl<D: Dir> Unsynced<D> {
    /// Adds the file `name` of `dir`, of so many bytes, which gets no more of them.
    pub(super) fn push(&mut self, dir: &D, name: &str, file: Rc<D::File>, bytes: u64) {
        self.files.push(Written {
            dir: dir.clone(),
            name: name.to_owned(),
            file,
        });
        self.bytes += bytes;
    }

    /// Syncs and closes all files, if there are many.
    ///
    /// # Errors
    /// Any error of the disk: then none of them is to be believed.
    pub(super) async fn sync_many(&mut self) -> Result<(), Error> {
        match FILES_MAX <= self.files.len() || BYTES_MAX <= self.bytes {
            true => self.sync().await,
            false => Ok(()),
        }
    }

    /// Syncs and closes all files. They are durable then, but for their names.
    ///
    /// # Errors
    /// As for [`Unsynced::sync_many`].
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        for Written { dir, name, file } in self.files.drain(..) {
            let at = || At::new(&dir, &name);
            file.sync_all().await.map_err(|e| at().io("sync", e))?;
            file.close().await.map_err(|e| at().io("close", e))?;
        }
        Ok(())
    }
}

/// So many files wait at most, and two more while a segment ends: they stay open, and descriptors are
/// what others want as well.
const FILES_MAX: usize = 16;

/// So many bytes wait in a device's cache at most, so that no sync takes long.
const BYTES_MAX: u64 = 256 << 20;
