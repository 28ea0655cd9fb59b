//! The control groups that limit this process, and where the kernel shows them (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

/// A control group as a folder of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlGroup {
    pub(crate) version: Version,
    path: PathBuf,
}

/// Which of the two interfaces, with names of files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Those with `controller` that this process is in, each with those around it.
pub(crate) fn of_this_process(controller: &str) -> Vec<ControlGroup> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    within(Path::new("/sys/fs/cgroup"), &cgroup, controller)
}

/// The same of a process with such a `/proc/PID/cgroup`.
pub(crate) fn within(mount: &Path, cgroup: &str, controller: &str) -> Vec<ControlGroup> {
    let own = cgroup.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (version, root) = match controllers {
            "" => (Version::Two, mount.to_owned()),
            _ if controllers.split(',').any(|name| name == controller) => {
                (Version::One, mount.join(controller))
            }
            _ => return None,
        };
        // One outside of this process's view is none that can be looked at.
        let path = match group.contains("..") {
            true => root.clone(),
            false => root.join(group.trim_start_matches('/')),
        };
        Some((version, root, path))
    });
    let around = own.flat_map(|(version, root, path)| {
        let paths = path.ancestors().take_while(|path| path.starts_with(&root));
        let group = |path: &Path| ControlGroup {
            version,
            path: path.to_owned(),
        };
        paths.map(group).collect::<Vec<_>>()
    });
    around.collect()
}

impl ControlGroup {
    /// What the file with this name says; None where there is none.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_a_controller_are_found_in_both_versions_from_within_to_the_mount() {
        let mount = Path::new("/mount");
        let group = |version, path: &str| ControlGroup {
            version,
            path: mount.join(path),
        };
        let text = "9:name=systemd:/x\n4:cpu,memory:/own\n0::/a/b\n";
        let expected = [
            group(Version::One, "memory/own"),
            group(Version::One, "memory"),
            group(Version::Two, "a/b"),
            group(Version::Two, "a"),
            group(Version::Two, ""),
        ];
        assert_eq!(within(mount, text, "memory"), expected);
        assert_eq!(within(mount, "4:memory:/own\n", "cpu"), []);
    }

    #[test]
    fn of_a_group_out_of_sight_only_the_mount_is_looked_at() {
        let mount = Path::new("/mount");
        let root = ControlGroup {
            version: Version::Two,
            path: mount.to_owned(),
        };
        assert_eq!(within(mount, "0::/../x\n", "memory"), [root]);
    }
}
