//! Whose data a directory holds.

use std::io;
use std::path::Path;

use corelog_record::NodeId;
use corelog_storage::format::node::{DELETED, Node, TOPICS};
use corelog_storage::format::{self, snapshot};

use crate::error::StartError;
use crate::random::random;
use crate::rt;
use crate::sys::NodeFile;

/// Reads the node's identity, or gives it one.
pub(super) fn identify(data_dir: &Path, lock: &mut NodeFile) -> Result<NodeId, StartError> {
    let path = lock.path().to_owned();
    let failed = |source| StartError::DataDir {
        path: path.clone(),
        source,
    };
    let is_new = is_new(data_dir)?;
    let bytes = match lock.read() {
        // Also where there are no topics: no first write leaves so much, and somebody's it may be.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let found = lock.metadata().map_err(failed)?.len();
            let source = format::Error::TooLong {
                what: "node file",
                max: NodeFile::BYTES_MAX,
                found: usize::try_from(found).unwrap_or(usize::MAX),
            };
            return Err(StartError::NodeFile { path, source });
        }
        read => read.map_err(failed)?,
    };
    // A first write that was interrupted names nobody yet: there are no topics.
    match Node::decode(&bytes) {
        Ok(node) => return Ok(node.id),
        // One of a later program is nobody's to write over.
        Err(source) if source.is_newer() || !is_new && !bytes.is_empty() => {
            return Err(StartError::NodeFile { path, source });
        }
        Err(_) if !is_new => {
            tracing::warn!(path = %path.display(), "nothing names the node: it gets a new id, and others take it for another one");
        }
        Err(_) => {}
    }
    let id = random().map_err(|source| StartError::Random { source })?;
    let node = Node {
        id: NodeId::from_bytes(id),
        created: rt::wall_clock(),
    };
    lock.write(&node.encode()).map_err(failed)?;
    Ok(node.id)
}

/// Checks that a directory is no snapshot, before anything comes to be in it.
pub(super) fn check_no_snapshot(data_dir: &Path) -> Result<(), StartError> {
    let path = data_dir.join(snapshot::NAME);
    match path.is_file() {
        true => Err(StartError::Snapshot { path }),
        false => Ok(()),
    }
}

/// Whether a directory never had topics. Where deleted ones go is made behind the directory of the topics, and stays.
fn is_new(data_dir: &Path) -> Result<bool, StartError> {
    let topics = data_dir.join(TOPICS);
    let is_there = |path: &Path| {
        let path = path.to_owned();
        path.try_exists()
            .map_err(|source| StartError::DataDir { path, source })
    };
    match (is_there(&topics)?, is_there(&data_dir.join(DELETED))?) {
        (true, _) => Ok(false),
        (false, false) => Ok(true),
        (false, true) => Err(StartError::NoTopics { path: topics }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A disk that did not say was taken for one that has none, and the operator was told to make an empty directory.
    #[test]
    fn topics_that_cannot_be_looked_at_are_not_told_to_be_gone() {
        let dir = tempfile::tempdir().unwrap();
        let topics = dir.path().join(TOPICS);
        assert!(is_new(dir.path()).unwrap());
        fs::create_dir(dir.path().join(DELETED)).unwrap();
        let found = is_new(dir.path());
        assert!(matches!(found, Err(StartError::NoTopics { path }) if path == topics));
        symlink(&topics, &topics).unwrap();
        let found = is_new(dir.path());
        assert!(matches!(found, Err(StartError::DataDir { path, .. }) if path == topics));
        fs::remove_file(&topics).unwrap();
        fs::create_dir(&topics).unwrap();
        assert!(!is_new(dir.path()).unwrap());
    }
}
