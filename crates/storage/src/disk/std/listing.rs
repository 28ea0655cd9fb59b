//! What is in a directory.

use ::std::fs::{self, DirEntry, Metadata};
use ::std::io;
use ::std::path::Path;

use super::super::Entry;

/// The entries of the directory at `path`, sorted by name.
pub(super) fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed since it was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            is_dir: metadata.is_dir(),
            bytes: bytes(&entry, &metadata),
        });
    }
    entries.sort();
    Ok(entries)
}

/// The length of a file: of a link that of what it leads to, for that is what is opened by its name. A link that leads nowhere
/// has its own, and so is not taken for an empty file, which somebody may remove.
fn bytes(entry: &DirEntry, metadata: &Metadata) -> u64 {
    let behind = match metadata.is_symlink() {
        true => fs::metadata(entry.path()).ok(),
        false => None,
    };
    let found = behind.as_ref().unwrap_or(metadata);
    if found.is_dir() { 0 } else { found.len() }
}

#[cfg(test)]
mod tests {
    use ::std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_as_long_as_what_it_leads_to_and_no_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("dir")).unwrap();
        fs::write(path("file"), [1; 5000]).unwrap();
        for (name, to) in [("a", "file"), ("b", "dir"), ("c", "nowhere"), ("d", "d")] {
            symlink(to, path(name)).unwrap();
        }
        let listed = list(folder.path()).unwrap().into_iter();
        let links: Vec<_> = listed
            .filter(|entry| entry.name.len() == 1)
            .map(|entry| (entry.name, entry.is_dir, entry.bytes))
            .collect();
        let lengths = [("a", 5000), ("b", 0), ("c", 7), ("d", 1)];
        assert_eq!(
            links,
            lengths.map(|(name, bytes)| (name.to_owned(), false, bytes))
        );
    }
}
