//! Where the data directory is mounted, and with which options.

use std::path::{Path, PathBuf};

use corelog_node::sys::probe::WriteCache;

use super::check::{Check, Verdict};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    pub(super) source: String,
    /// Those of this mount, then those of its file system.
    pub(super) options: Vec<String>,
}

/// What holds `dir`, which exists; None if the kernel does not tell.
pub(super) fn read(dir: &Path) -> Option<Mount> {
    let dir = std::fs::canonicalize(dir).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&mounts, &dir)
}

/// The mount of `dir` in a `mountinfo` (proc_pid_mountinfo(5)): the one nearest above it, and of
/// several there the last, which covers the others.
fn find(mounts: &str, dir: &Path) -> Option<Mount> {
    let mounts = mounts.lines().filter_map(parse);
    let above = mounts.filter(|mount| dir.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw,data=ordered`.
fn parse(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(4);
    let (point, own) = (first.next()?, first.next()?);
    let mut second = second.split(' ').skip(1);
    let (source, shared) = (second.next()?, second.next()?);
    let mut options: Vec<String> = Vec::new();
    for option in own.split(',').chain(shared.split(',')) {
        if !options.iter().any(|known| known == option) {
            options.push(option.to_owned());
        }
    }
    Some(Mount {
        point: PathBuf::from(unescaped(point)),
        source: unescaped(source),
        options,
    })
}

/// Spaces and their like stand there as three octal digits.
fn unescaped(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let mut text = text.to_owned();
    for (escape, plain) in escapes {
        text = text.replace(escape, plain);
    }
    text
}

/// Judges the options, above a device with this write cache.
pub(super) fn options(mount: Option<&Mount>, cache: WriteCache) -> Check {
    const NAME: &str = "mount options";
    let Some(mount) = mount else {
        let found = "unknown: the mount is not told";
        return Check::fair(NAME, found, "findmnt --target DIR");
    };
    let complaints = mount.options.iter().filter_map(|option| {
        let (verdict, why, remount) = complaint(option, cache)?;
        let found = format!("{option}: {why}");
        let point = mount.point.display();
        let mend = match remount {
            Some(with) => format!("mount -o remount,{with} {point}"),
            None => {
                format!("take {option} out of /etc/fstab, then umount {point} && mount {point}")
            }
        };
        Some((verdict, found, mend))
    });
    let complaints: Vec<_> = complaints.collect();
    let Some(verdict) = complaints.iter().map(|(verdict, ..)| *verdict).max() else {
        let (point, options) = (mount.point.display(), mount.options.join(", "));
        return Check::good(NAME, format!("{options} at {point}, from {}", mount.source));
    };
    let found: Vec<_> = complaints.iter().map(|(_, found, _)| &**found).collect();
    let mend: Vec<_> = complaints.iter().map(|(.., mend)| &**mend).collect();
    let (found, mend) = (found.join("; "), mend.join("; "));
    match verdict {
        Verdict::Bad => Check::bad(NAME, found, mend),
        Verdict::Good | Verdict::Fair => Check::fair(NAME, found, mend),
    }
}

/// What is wrong with an option, and what a remount says to undo it; None there: it takes a mount.
fn complaint(
    option: &str,
    cache: WriteCache,
) -> Option<(Verdict, &'static str, Option<&'static str>)> {
    const UNFLUSHED: &str = "a sync does not flush the disk's cache, power loss takes what was \
                             acknowledged";
    // Without a volatile cache there is nothing to flush.
    let unflushed = match cache {
        WriteCache::Through => Verdict::Fair,
        _ => Verdict::Bad,
    };
    Some(match option {
        "ro" => (Verdict::Bad, "nothing can be written", Some("rw")),
        "nobarrier" | "barrier=0" => (unflushed, UNFLUSHED, Some("barrier")),
        "fsync_mode=nobarrier" => (unflushed, UNFLUSHED, Some("fsync_mode=posix")),
        "data=journal" => (
            Verdict::Fair,
            "each byte is written twice, and through the page cache",
            None,
        ),
        "data=writeback" => (
            Verdict::Fair,
            "after power loss a file may show old blocks, which recovery takes for torn or damaged",
            None,
        ),
        "sync" => (
            Verdict::Fair,
            "each write waits as a sync does",
            Some("async"),
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
        30 22 8:2 / /var/lib/core\\040log rw,noatime - ext4 /dev/sdb1 rw,nobarrier,data=writeback\n\
        31 22 0:30 / /var/lib/core rw - tmpfs tmpfs rw\n";

    fn mount(options: &[&str]) -> Mount {
        Mount {
            point: PathBuf::from("/data"),
            source: "/dev/sdb1".to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    #[test]
    fn the_nearest_mount_above_a_directory_is_its_own() {
        let found = find(MOUNTS, Path::new("/var/lib/core log/topics")).unwrap();
        assert_eq!(found.point, Path::new("/var/lib/core log"));
        assert_eq!(found.source, "/dev/sdb1");
        assert_eq!(
            found.options,
            ["rw", "noatime", "nobarrier", "data=writeback"]
        );
        let above = find(MOUNTS, Path::new("/var/lib/corelog")).unwrap();
        assert_eq!(above.point, Path::new("/"));
        assert_eq!(find("nonsense\n", Path::new("/")), None);
    }

    #[test]
    fn each_option_has_its_verdict_and_its_command() {
        use Verdict::{Bad, Fair, Good};
        use WriteCache::{Back, Through, Unknown};
        for (option, cache, verdict, command) in [
            ("noatime", Back, Good, ""),
            ("data=ordered", Back, Good, ""),
            ("ro", Back, Bad, "mount -o remount,rw /data"),
            ("nobarrier", Back, Bad, "mount -o remount,barrier /data"),
            ("barrier=0", Unknown, Bad, "mount -o remount,barrier /data"),
            ("nobarrier", Through, Fair, "mount -o remount,barrier /data"),
            ("fsync_mode=nobarrier", Back, Bad, "fsync_mode=posix"),
            ("data=writeback", Back, Fair, "umount /data && mount /data"),
            ("data=journal", Back, Fair, "umount /data && mount /data"),
            ("sync", Back, Fair, "mount -o remount,async /data"),
        ] {
            let check = options(Some(&mount(&["rw", option])), cache);
            assert_eq!(check.verdict, verdict, "{check:?}");
            let mend = check.mend.unwrap_or_default();
            assert!(mend.contains(command), "{mend}");
        }
        assert_eq!(options(None, Back).verdict, Fair);
    }

    #[test]
    fn the_worst_of_several_options_counts_and_all_are_told() {
        let mount = mount(&["sync", "nobarrier"]);
        let check = options(Some(&mount), WriteCache::Back);
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.found.contains("sync:") && check.found.contains("nobarrier:"));
        assert!(check.mend.unwrap().contains("; "));
    }

    #[test]
    fn the_root_of_this_machine_is_mounted() {
        assert_eq!(read(Path::new("/")).unwrap().point, Path::new("/"));
    }
}
