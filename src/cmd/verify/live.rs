//! Whether a server has the directory in use. Only looked at: taking the lock, even for a moment,
//! would keep a server from starting.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether the `node` file of the data directory around `path` is locked, as far as `/proc/locks`
/// (proc(5)) tells.
pub(super) fn is_locked(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let node = path.ancestors().map(|dir| dir.join("node"));
    let Some(metadata) = node.take(DEPTH_MAX).find_map(|node| node.metadata().ok()) else {
        return false;
    };
    let device = nix::libc::dev_t::from(metadata.dev());
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    std::fs::read_to_string("/proc/locks").is_ok_and(|locks| {
        locks
            .lines()
            .any(|line| line.split(' ').any(|word| word == file))
    })
}

/// From a store up to the data directory: partition, topic, topics, data.
const DEPTH_MAX: usize = 5;
