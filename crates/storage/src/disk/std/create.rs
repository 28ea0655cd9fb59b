//! Directories that are made, durably.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the directory at `path` and those above it, from the top. The entry of each has `sync` of its parent
/// before anything is made in it: also that of the lowest one that is there already, for whoever made it may not
/// have got so far.
pub(super) fn create(
    path: &Path,
    sync: &mut impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    if path.is_dir() {
        return match sync(parent) {
            // Who may not look at it has made nothing in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        };
    }
    create(parent, sync)?;
    match DirBuilder::new().mode(0o755).create(path) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `path` below a directory of the test's, and tells of which of them, in order, the sync was asked for; that
    /// of `broken` fails.
    fn synced(
        root: &Path,
        path: &str,
        broken: Option<(&str, io::ErrorKind)>,
    ) -> (Vec<String>, io::Result<()>) {
        let mut synced = Vec::new();
        let mut sync = |dir: &Path| {
            let name = match dir.strip_prefix(root) {
                Ok(below) => below.display().to_string(),
                Err(_above) => "..".to_owned(),
            };
            synced.push(name.clone());
            match broken {
                Some((bad, kind)) if bad == name => Err(kind.into()),
                _ => Ok(()),
            }
        };
        let created = create(&root.join(path), &mut sync);
        (synced, created)
    }

    #[test]
    fn each_directory_is_synced_before_another_is_made_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (order, created) = synced(dir.path(), "a/b/c", None);
        created.unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert_eq!(order, ["..", "", "a", "a/b"]);
    }

    #[test]
    fn what_was_made_and_not_synced_is_synced_by_whoever_makes_something_in_it_next() {
        let dir = tempfile::tempdir().unwrap();
        let (_, created) = synced(dir.path(), "a/b/c", Some(("a", io::ErrorKind::Other)));
        assert!(
            created.is_err(),
            "nobody knows whether a/b outlives a power cut"
        );
        assert!(!dir.path().join("a/b/c").exists());
        let (order, created) = synced(dir.path(), "a/b/c", None);
        created.unwrap();
        assert_eq!(order, ["a", "a/b"]);
        let (order, created) = synced(dir.path(), "a/b/c", None);
        created.unwrap();
        assert_eq!(
            order,
            ["a/b"],
            "it is there, and whoever made it may not have got so far"
        );
    }

    #[test]
    fn a_directory_may_lie_in_one_that_nobody_may_look_at() {
        let dir = tempfile::tempdir().unwrap();
        let denied = Some(("..", io::ErrorKind::PermissionDenied));
        synced(dir.path(), "", denied).1.unwrap();
        synced(dir.path(), "a", denied).1.unwrap();
        let (_, created) = synced(
            dir.path(),
            "a/b",
            Some(("a", io::ErrorKind::PermissionDenied)),
        );
        assert!(created.is_err(), "who made an entry in it has to sync it");
    }
}
