//! Where a data directory was made, so that a copy of it is told from it.
//!
//! `<data>/place` names the node's file as the file system does: its inode and when that was made. Both stay
//! when the directory is renamed, mounted elsewhere or taken to another machine with its disk; a copy of
//! it, or what was restored from a backup, has others.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Error;

const NAME: &str = "place";
const NAME_ASIDE: &str = "place.new";

/// Makes sure that the data directory is where its node was made, or says so where nothing is said.
///
/// # Errors
/// [`Error::Copied`] if it is somewhere else; [`Error::DataDirectory`] if that cannot be read or written.
pub fn claim_place(data: &Path, node: &Metadata) -> Result<(), Error> {
    let path = data.join(NAME);
    let here = describe(node);
    let failed = |source| Error::DataDirectory {
        path: data.to_owned(),
        source,
    };
    let copied = || Error::Copied {
        data: data.to_owned(),
        place: path.clone(),
    };
    match fs::read_to_string(&path) {
        Ok(said) if said == here => Ok(()),
        Ok(_) => Err(copied()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(data, &path, &here).or_else(|error| match error.kind() {
                // What a full disk holds is served all the same; a later start will find room.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    tracing::warn!(%error, path = %path.display(), "no room to note the place of the data");
                    Ok(())
                }
                _ => Err(failed(error)),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(copied()),
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

/// Writes it aside and renames it: what is there is whole.
fn write(data: &Path, path: &Path, said: &str) -> io::Result<()> {
    let aside = data.join(NAME_ASIDE);
    let mut file = File::create(&aside)?;
    file.write_all(said.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(data: &Path) -> Result<(), Error> {
        claim_place(data, &fs::metadata(data.join("node")).unwrap())
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
        for name in ["node", NAME] {
            fs::copy(moved.join(name), copy.join(name)).unwrap();
        }
        let refused = claim(&copy).unwrap_err();
        assert!(matches!(refused, Error::Copied { .. }), "{refused}");
        fs::remove_file(copy.join(NAME)).unwrap();
        claim(&copy).unwrap();
        claim(&copy).unwrap();
        claim(&moved).unwrap();
    }
}
