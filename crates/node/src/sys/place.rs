//! Where a data directory was made, so that a copy of it is told from it.
//!
//! `<data>/place` names the node's file as the file system does: its inode and when that was made. Both stay
//! when the directory is renamed, mounted elsewhere or taken to another machine with its disk; a copy of
//! it, or what was restored from a backup, has others.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{self, Dir};
use corelog_storage::format::node::PLACE;

use super::Error;

/// Makes sure that the data directory is where its node was made, or says so where nothing is said.
///
/// # Errors
/// [`Error::Copied`] if it is somewhere else; [`Error::DataDirectory`] if that cannot be read or written.
pub fn claim_place(data: &Path, node: &Metadata) -> Result<(), Error> {
    let path = data.join(PLACE);
    let here = describe(node);
    let failed = |source| Error::DataDirectory {
        path: data.to_owned(),
        source,
    };
    let copied = || Error::Copied {
        data: data.to_owned(),
        place: path.clone(),
    };
    let dir = StdDir::new(data);
    match disk::block_on(dir.read(PLACE, BYTES_MAX)) {
        Ok(said) if is_same(&String::from_utf8_lossy(&said), &here) => Ok(()),
        Ok(_) => Err(copied()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match disk::block_on(dir.write_aside(PLACE, here.as_bytes())) {
                // What a full disk holds is served all the same; a later start will find room.
                Err(error) if disk::is_full(&error) => {
                    tracing::warn!(%error, path = %path.display(), "no room to note the place of the data");
                    Ok(())
                }
                written => written.map_err(failed),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(copied()),
        Err(error) => Err(failed(error)),
    }
}

/// The node's file in a line. Where the file system does not tell when a file was made, the inode has to do.
fn describe(node: &Metadata) -> String {
    let made = node.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let nanos = made.map_or(0, |made| made.as_nanos());
    format!("inode {} made {nanos}\n", node.ino())
}

/// Whether two lines mean the same file. A file system that did not tell when it was made may do so today,
/// mounted by another kernel: then the inode has to do.
fn is_same(said: &str, here: &str) -> bool {
    let known = |line: &str| !line.ends_with(UNKNOWN);
    let inode = |line: &str| line.split(" made ").next().map(str::to_owned);
    said == here || !(known(said) && known(here)) && inode(said) == inode(here)
}

/// What is longer than a line with two numbers is none.
const BYTES_MAX: u64 = 128;

/// How a line ends where the file system does not tell when the file was made.
const UNKNOWN: &str = " made 0\n";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn claim(data: &Path) -> Result<(), Error> {
        claim_place(data, &fs::metadata(data.join("node")).unwrap())
    }

    #[test]
    fn where_it_is_not_known_when_the_file_was_made_the_inode_has_to_do() {
        let line = |inode, made| format!("inode {inode} made {made}\n");
        for (said, here, is_expected) in [
            (line(7, 5), line(7, 5), true),
            (line(7, 5), line(7, 6), false),
            (line(7, 0), line(7, 6), true),
            (line(7, 5), line(7, 0), true),
            (line(7, 0), line(70, 5), false),
            (line(7, 5), line(8, 0), false),
            (line(7, 10), line(7, 20), false),
        ] {
            assert_eq!(is_same(&said, &here), is_expected, "{said}{here}");
        }
        assert!(!is_same("", &line(7, 0)));
    }

    #[test]
    fn a_directory_may_be_renamed_and_a_copy_of_it_is_refused_until_somebody_says_that_it_is_meant()
    {
        let dir = tempfile::tempdir().unwrap();
        let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("node"), "node").unwrap();
        claim(&data).unwrap();
        claim(&data).unwrap();
        let moved = dir.path().join("moved");
        fs::rename(&data, &moved).unwrap();
        claim(&moved).unwrap();

        fs::create_dir(&copy).unwrap();
        for name in ["node", PLACE] {
            fs::copy(moved.join(name), copy.join(name)).unwrap();
        }
        let refused = claim(&copy).unwrap_err();
        assert!(matches!(refused, Error::Copied { .. }), "{refused}");
        fs::remove_file(copy.join(PLACE)).unwrap();
        claim(&copy).unwrap();
        claim(&copy).unwrap();
        claim(&moved).unwrap();
    }
}
