//! The file system of the data directory: its kind, and the room that it has.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_node::sys::Error;
use corelog_node::sys::probe::{self, FileSystem, Space, Suitability};
use corelog_record::ByteSize;

use super::check::Check;
use crate::quantity::Amount;

const FREE_GOOD: ByteSize = ByteSize::from_gib(10);
const FREE_MIN: ByteSize = ByteSize::from_gib(1);

/// `path`, or the nearest directory above that exists.
pub(super) fn nearest(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find(|dir| dir.is_dir());
    Ok(found.context("not even / is a directory")?.to_path_buf())
}

/// What is free where `path` lies, or is to, and whether no more fits than that: what a node cannot serve from may compress, or
/// not know what it has. `None` where the kernel does not tell.
pub(in crate::cmd) fn free(path: &Path) -> Option<(u64, bool)> {
    let free = probe::space(path).ok()?.free.bytes();
    let kind = probe::file_system(path);
    let is_all = kind.is_ok_and(|kind| kind.suitability != Suitability::Unsuitable);
    Some((free, is_all))
}

/// Judges what a data directory would lie on.
pub(super) fn kind(found: &Result<FileSystem, Error>, dir: &Path) -> Check {
    const NAME: &str = "file system";
    const MEND: &str = "corelog serve --data-dir DIR, with DIR on ext4 or xfs or f2fs (in a \
                        container: docker run --volume corelog:/var/lib/corelog)";
    match found {
        Err(error) => Check::bad(NAME, error.to_string(), MEND),
        Ok(found) if found.suitability == Suitability::Volatile => {
            let kind = &found.kind;
            let found = format!("{kind} is memory: all is lost when the machine stops");
            Check::fair(NAME, found, MEND)
        }
        Ok(found) if found.has_small_blocks() => {
            let (kind, bytes) = (&found.kind, found.block_bytes);
            let found =
                format!("{kind} of blocks of {bytes} bytes: on a full disk partitions may stop");
            Check::fair(NAME, found, "mkfs.ext4 -b 4096, or mkfs.xfs -b size=4096")
        }
        Ok(found) => Check::good(NAME, format!("{} at {}", found.kind, dir.display())),
    }
}

/// Judges the room that is left.
pub(super) fn room(space: &Result<Space, Error>, dir: &Path) -> Check {
    const NAME: &str = "free space";
    let space = match space {
        Ok(space) => space,
        Err(error) => return Check::fair(NAME, error.to_string(), "df -h"),
    };
    let (free, total) = (space.free.bytes(), space.total.bytes());
    let found = format!("{} of {}", Amount(free), Amount(total));
    let mend = format!(
        "corelog topic alter TOPIC --retention-bytes SIZE, or du -xh {} | sort -h | tail",
        dir.display()
    );
    if space.free < FREE_MIN {
        Check::bad(NAME, found, mend)
    } else if space.free < FREE_GOOD {
        Check::fair(NAME, found, mend)
    } else {
        Check::good(NAME, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_measured_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("a/b/c")).unwrap(), dir.path());
    }

    #[test]
    fn a_file_system_is_judged_by_what_survives_on_it() {
        let of = |kind: &str, suitability| FileSystem {
            kind: kind.to_owned(),
            suitability,
            block_bytes: 4096,
        };
        let judge = |found| kind(&found, Path::new("/data"));
        let fine = judge(Ok(of("xfs", Suitability::Fine)));
        assert_eq!(fine, Check::good("file system", "xfs at /data"));
        let memory = judge(Ok(of("tmpfs", Suitability::Volatile)));
        assert_eq!(memory.verdict, Verdict::Fair);
        let small = judge(Ok(FileSystem {
            block_bytes: 1024,
            ..of("ext4", Suitability::Fine)
        }));
        assert_eq!(small.verdict, Verdict::Fair);
        assert!(small.mend.unwrap().contains("-b 4096"));
        for kind in ["overlay", "nfs"] {
            let check = judge(Err(Error::FileSystem {
                path: "/data".into(),
                kind: kind.to_owned(),
            }));
            assert_eq!(check.verdict, Verdict::Bad);
            assert!(check.found.contains(kind), "{check:?}");
            assert!(check.mend.unwrap().contains("--data-dir"));
        }
    }

    #[test]
    fn little_room_is_fair_and_hardly_any_is_bad() {
        let judge = |mib| {
            let space = Space {
                total: ByteSize::from_gib(100),
                free: ByteSize::from_mib(mib),
            };
            room(&Ok(space), Path::new("/data"))
        };
        assert_eq!(judge(50_000).verdict, Verdict::Good);
        assert_eq!(judge(5_000).verdict, Verdict::Fair);
        let check = judge(500);
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.mend.unwrap().starts_with("corelog topic alter"));
    }
}
