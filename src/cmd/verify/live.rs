//! Whether a server has the directory in use. Only looked at: taking the lock, even for a moment,
//! would keep a server from starting.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use corelog_storage::format::node::NODE;

/// Whether the `node` file of the data directory around `path` is locked, as far as `/proc/locks`
/// (proc(5)) tells.
pub(super) fn is_locked(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let above = path.ancestors().take(DEPTH_MAX);
    let mut nodes = above.filter_map(|dir| dir.join(NODE).metadata().ok());
    // A topic may have this name: its directory locks nothing.
    let Some(metadata) = nodes.find(Metadata::is_file) else {
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
