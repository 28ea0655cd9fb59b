//! What is verified as a whole: a topic, a partition or a snapshot, which a server may remove, or make
//! anew under its name, while it is looked at.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Finding, What};
use crate::disk::std::StdDir;
use crate::disk::{Dir, block_on};
use crate::format::node::TOPIC;
use crate::format::{snapshot, topic};

/// A directory, and what its file told when it was first looked at.
#[derive(Debug)]
pub(super) struct Subject {
    dir: PathBuf,
    file: File,
    seen: Sight,
}

/// The file that tells one from others of its name.
#[derive(Debug)]
enum File {
    /// The topic's, in this directory.
    Topic(PathBuf),
    /// A snapshot's own, which goes first.
    Snapshot,
}

/// What a file told.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    Absent,
    Bytes(Vec<u8>),
    /// It cannot be read, or nobody can make sense of it.
    Unknown,
}

impl Subject {
    /// The topic in `dir`.
    pub(super) fn topic(dir: &Path) -> Arc<Self> {
        Self::new(dir, File::Topic(dir.to_owned()))
    }

    /// The partition in `dir`, of whichever topic.
    pub(super) fn partition(dir: &Path) -> Arc<Self> {
        Self::new(dir, File::Topic(dir.join("..")))
    }

    /// The snapshot in `dir`.
    pub(super) fn snapshot(dir: &Path) -> Arc<Self> {
        Self::new(dir, File::Snapshot)
    }

    fn new(dir: &Path, file: File) -> Arc<Self> {
        let (dir, seen) = (dir.to_owned(), Sight::Unknown);
        let mut subject = Self { dir, file, seen };
        subject.seen = subject.look();
        Arc::new(subject)
    }

    /// Whether it is there no more, or another one is in its place.
    pub(super) fn has_changed(&self) -> bool {
        let now = self.look();
        let is_known = self.seen != Sight::Unknown && now != Sight::Unknown;
        (is_known && self.seen != now) || self.is_gone()
    }

    /// What there is to say if it has.
    pub(super) fn changed(&self) -> Finding {
        let found = "it was removed, or made anew, meanwhile";
        Finding::of(What::Changed, &self.dir, "what was there before", found)
    }

    fn is_gone(&self) -> bool {
        let found = self.dir.metadata();
        found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    fn look(&self) -> Sight {
        let bytes = match &self.file {
            File::Topic(home) => read(home, TOPIC, topic::FILE_BYTES_MAX),
            File::Snapshot => read(&self.dir, snapshot::NAME, snapshot::FILE_BYTES_MAX),
        };
        match bytes {
            Err(error) if error.kind() == ErrorKind::NotFound => Sight::Absent,
            Err(_) => Sight::Unknown,
            Ok(bytes) => self.sight(bytes),
        }
    }

    fn sight(&self, bytes: Vec<u8>) -> Sight {
        match &self.file {
            File::Snapshot => Sight::Bytes(bytes),
            // Its settings may change while it stays what it is.
            File::Topic(_) => topic::Topic::decode(&bytes).map_or(Sight::Unknown, |topic| {
                Sight::Bytes(topic.id.as_bytes().to_vec())
            }),
        }
    }
}

fn read(dir: &Path, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    block_on(StdDir::new(dir).read(name, bytes_max))
}
