//! Where this process runs: what it takes to change its limits depends on it.

use std::path::Path;

/// Who started this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A shell, or whatever else.
    Machine,
    /// A unit of systemd, by its name.
    Unit(String),
    Docker,
    Podman,
    Kubernetes,
}

impl Place {
    /// Looks around.
    pub(super) fn read() -> Self {
        let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            Self::Kubernetes
        } else if Path::new("/run/.containerenv").exists() {
            Self::Podman
        } else if Path::new("/.dockerenv").exists() {
            Self::Docker
        } else {
            unit(&cgroups).map_or(Self::Machine, Self::Unit)
        }
    }
}

/// The unit that a process belongs to, of its `/proc/PID/cgroup` (cgroups(7)).
fn unit(cgroups: &str) -> Option<String> {
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = own.rsplit('/').next()?;
    name.ends_with(".service").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_by_its_cgroup() {
        let found = unit("0::/system.slice/corelog.service\n");
        assert_eq!(found.as_deref(), Some("corelog.service"));
        let shell = "0::/user.slice/user-0.slice/session-1.scope\n";
        assert_eq!(unit(shell), None);
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit("3:cpu:/system.slice/x.service\n"), None);
    }
}
