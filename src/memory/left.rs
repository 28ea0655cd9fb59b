//! What a machine and the control groups of a process leave of memory, what they would give back for it counted.

use std::fs;

use crate::control_groups::{self, ControlGroup, Version};

/// How many bytes may be taken yet, and who says so; None where nobody does.
pub(super) fn bytes() -> Option<(u64, &'static str)> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| of_machine(&text));
    let groups = control_groups::of_this_process("memory");
    let groups = groups.iter().filter_map(of_control_group).min();
    let machine = machine.map(|bytes| (bytes, "the machine"));
    let groups = groups.map(|bytes| (bytes, "the control group"));
    machine.into_iter().chain(groups).min()
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// The names that a version of control groups has (cgroups(7)).
struct Names {
    limits: &'static [&'static str],
    used: &'static str,
    /// In `memory.stat`: of what is used, what the kernel gives back when somebody needs it.
    reclaimable: &'static [&'static str],
}

const VERSION_1: Names = Names {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    reclaimable: &["total_active_file", "total_inactive_file"],
};

const VERSION_2: Names = Names {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    reclaimable: &["active_file", "inactive_file", "slab_reclaimable"],
};

/// What the limits of a group leave; None where it has none.
fn of_control_group(group: &ControlGroup) -> Option<u64> {
    let names = match group.version {
        Version::One => &VERSION_1,
        Version::Two => &VERSION_2,
    };
    // Where there is no limit it says `max`, which is no number.
    let number = |name: &&str| group.read(name)?.trim().parse().ok();
    let limit: u64 = names.limits.iter().filter_map(number).min()?;
    let used: u64 = number(&names.used)?;
    let stat = group.read("memory.stat").unwrap_or_default();
    let of_line = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        let is_reclaimable = names.reclaimable.contains(&name);
        is_reclaimable.then(|| bytes.parse::<u64>().ok())?
    };
    let reclaimable: u64 = stat.lines().filter_map(of_line).sum();
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the groups of such a `/proc/PID/cgroup` leave.
    fn left(mount: &Path, cgroup: &str) -> Option<u64> {
        let groups = control_groups::within(mount, cgroup, "memory");
        groups.iter().filter_map(of_control_group).min()
    }

    #[test]
    fn what_a_machine_has_left_is_read_in_bytes() {
        let text = "MemTotal:       24605828 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_machine(text), Some(20_480_000_000));
        assert_eq!(of_machine("MemFree:  1 kB\n"), None);
        assert!(bytes().is_some_and(|(bytes, _)| 0 < bytes));
    }

    /// Writes files of a group.
    fn group(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_group_that_leaves_least_decides_and_the_page_cache_counts_as_left() {
        let folder = tempfile::tempdir().unwrap();
        let (mount, own) = (folder.path(), folder.path().join("a/b"));
        let left = || left(mount, "0::/a/b\n");
        assert_eq!(left(), None);
        group(&own, &[("memory.max", "max\n"), ("memory.current", "9\n")]);
        assert_eq!(left(), None);
        group(&own, &[("memory.high", "1000\n")]);
        assert_eq!(left(), Some(991));
        let stat = "anon 5\ninactive_file 3\nslab_reclaimable 1\nfile 9\n";
        group(&own, &[("memory.stat", stat)]);
        assert_eq!(left(), Some(995));
        group(
            &mount.join("a"),
            &[("memory.max", "50"), ("memory.current", "60")],
        );
        assert_eq!(left(), Some(0));
    }

    #[test]
    fn groups_of_the_first_version_and_those_out_of_sight_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path();
        let limit = ("memory.limit_in_bytes", "100\n");
        let used = ("memory.usage_in_bytes", "70\n");
        let stat = ("memory.stat", "inactive_file 1\ntotal_inactive_file 20\n");
        group(&mount.join("memory/own"), &[limit, used, stat]);
        let text = "9:name=systemd:/\n4:cpu,memory:/own\n0::/\n";
        assert_eq!(left(mount, text), Some(50));
        assert_eq!(left(mount, "4:memory:/../x\n"), None);
        group(&mount.join("memory"), &[limit, used]);
        assert_eq!(left(mount, "4:memory:/../x\n"), Some(30));
    }
}
