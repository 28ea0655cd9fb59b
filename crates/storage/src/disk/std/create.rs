//! Directories that are made, durably.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the directory at `path` and those above it, from the top. The entry of each has `sync` of its parent
/// before anything is made in it: also that of the lowest one that is there already.
pub(super) fn create_all(
    path: &Path,
    sync: &mut impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(parent) = parent(path)
        && !path.is_dir()
    {
        create_all(parent, sync)?;
    }
    create(path, sync)
}

/// Makes the directory at `path` in one that is there. Its entry has `sync` of its parent, also if it is there already:
/// whoever made it may not have got so far.
pub(super) fn create(
    path: &Path,
    sync: &mut impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let Some(parent) = parent(path) else {
        return Ok(());
    };
    if path.is_dir() {
        return match sync(parent) {
            // Who may not look at it has made nothing in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        };
    }
    match DirBuilder::new().mode(0o755).create(path) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync(parent)
}

fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    })
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
        let created = create_all(&root.join(path), &mut sync);
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

    /// A log's first record remade the directories of a volume that was not mounted any more, and was acknowledged there.
    #[test]
    fn a_directory_is_made_only_in_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let mut sync = |_: &Path| -> io::Result<()> { panic!("nothing was made") };
        let created = create(&path, &mut sync);
        assert_eq!(created.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!dir.path().join("a").exists());
        create_all(&path, &mut |_| Ok(())).unwrap();
        assert!(path.is_dir());
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
