//! How much memory there is.

use std::fs;
use std::path::Path;

/// Bytes of memory that this process may use: the machine's, or less where a control group (its own or
/// one above it) says so. See cgroups(7) and proc(5). Where the kernel does not tell, none.
#[must_use]
pub fn memory() -> u64 {
    let bytes = physical().unwrap_or_default();
    limit().map_or(bytes, |limit| bytes.min(limit))
}

/// The line `MemTotal: 1234 kB` of `/proc/meminfo`.
fn physical() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest `memory.max` of this process's control groups.
fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = Path::new("/sys/fs/cgroup").join(own);
    let limits = own.ancestors().filter_map(|group| {
        let text = fs::read_to_string(group.join("memory.max")).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some() {
        assert!(memory() > 64 << 20);
    }
}
