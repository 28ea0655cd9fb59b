//! The node's file and its exclusive lock.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{self, Dir};
use corelog_storage::format::node::NODE;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Error;

/// The file that names a node, `<data>/node`, locked by this process for as long as this lives.
///
/// It is written in place and never replaced: the lock is on the file itself, and a process that
/// replaced it would hold a lock on nothing.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    file: Flock<File>,
}

impl NodeFile {
    /// One block: an interrupted write of it is old or new, sector by sector.
    pub const BYTES_MAX: usize = 4096;

    /// Makes the data directory and an empty node file unless they exist, and locks the file.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it; [`Error::DataDirectory`] or
    /// [`Error::DataDirectoryFull`] if the directory cannot be made or written.
    pub fn lock(data: &Path) -> Result<Self, Error> {
        let unwritable = |source: io::Error| {
            let path = data.to_owned();
            match disk::is_full(&source) {
                true => Error::DataDirectoryFull { path, source },
                false => Error::DataDirectory { path, source },
            }
        };
        disk::block_on(StdDir::new(data).create_all()).map_err(unwritable)?;
        let path = data.join(NODE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unwritable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { path, file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::Locked {
                path: data.to_owned(),
            }),
            Err((_, errno)) => Err(unwritable(errno.into())),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file system says of it.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The whole contents; empty for a node that has no name yet.
    ///
    /// # Errors
    /// `FileTooLarge` beyond a block; any error of the file system.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        let count = (&mut *self.file)
            .take(Self::BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        if count > Self::BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Replaces the contents, durably. An interrupted first write leaves a file that does not
    /// pass its checksum, in a directory without topics: it is safe to write it again.
    ///
    /// # Errors
    /// Any error of the file system.
    ///
    /// # Panics
    /// If `bytes` are more than a block.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(
            bytes.len() <= Self::BYTES_MAX,
            "the node's file fits in a block"
        );
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(bytes)?;
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()?;
        // The entry is new the first time.
        let data = self.path.parent().unwrap_or(Path::new("."));
        File::open(data)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_locked_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        let mut first = NodeFile::lock(&data).unwrap();
        assert!(first.read().unwrap().is_empty());
        assert!(matches!(NodeFile::lock(&data), Err(Error::Locked { .. })));
        first.write(b"a longer name").unwrap();
        first.write(b"a name").unwrap();
        drop(first);
        assert_eq!(NodeFile::lock(&data).unwrap().read().unwrap(), b"a name");
    }

    #[test]
    fn a_data_directory_that_is_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(
            NodeFile::lock(&path),
            Err(Error::DataDirectory { .. })
        ));
    }
}
