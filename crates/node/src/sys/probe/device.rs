//! The block device below a path: its write cache and its flushes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::file_system::{existing, numbers};
use super::unknown;
use crate::sys::Error;

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, such as `nvme0n1`.
    pub name: String,
    /// What it does with writes that are not flushed.
    pub write_cache: WriteCache,
    /// Flushes that it completed since the machine started; `None` if the kernel does not count.
    pub flushes: Option<u64>,
    /// Whether it turns.
    pub is_rotational: bool,
    /// Whether it takes a write that passes its cache; `None` if the kernel does not tell.
    pub has_fua: Option<bool>,
    /// The least that it reads or writes, in bytes; `None` if the kernel does not tell.
    pub logical_sector_bytes: Option<u64>,
    /// The least that it changes without reading first, in bytes; `None` if the kernel does not tell.
    pub physical_sector_bytes: Option<u64>,
}

/// What a device does with writes that are not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteCache {
    /// It may hold them in a volatile cache: a sync flushes it.
    Back,
    /// They are on the medium, or in a cache that outlives a power cut.
    Through,
    /// The kernel does not tell.
    Unknown,
}

/// The device below `path`, or below the nearest directory above it that exists; `None` for a file
/// system without one, such as tmpfs.
///
/// # Errors
/// [`Error::Unknown`] if the kernel does not tell.
pub fn device(path: &Path) -> Result<Option<Device>, Error> {
    let existing = existing(path);
    let what = format!("the device of {}", existing.display());
    let metadata = fs::metadata(&existing).map_err(unknown(&*what))?;
    let (major, minor) = numbers(metadata.dev());
    let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !link.exists() {
        return Ok(None);
    }
    let mut dir = fs::canonicalize(link).map_err(unknown(&*what))?;
    // A partition's cache and flushes are its disk's.
    if dir.join("partition").exists() {
        dir.pop();
    }
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    Ok(Some(Device {
        name: name.unwrap_or_default(),
        write_cache: match read("queue/write_cache").trim() {
            "write back" => WriteCache::Back,
            "write through" => WriteCache::Through,
            _ => WriteCache::Unknown,
        },
        flushes: flushes(&read("stat")),
        is_rotational: read("queue/rotational").trim() == "1",
        has_fua: number(&read("queue/fua")).map(|fua| fua == 1),
        logical_sector_bytes: number(&read("queue/logical_block_size")),
        physical_sector_bytes: number(&read("queue/physical_block_size")),
    }))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number of completed flushes in a device's `stat` (`Documentation/block/stat.rst`).
fn flushes(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(FLUSHES_FIELD)?.parse().ok()
}

/// Counted from zero: five fields on reads and in flight, five each on writes and discards.
const FLUSHES_FIELD: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_the_sixteenth_number() {
        let stat = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";
        assert_eq!(flushes(stat), Some(16));
        assert_eq!(flushes("1 2 3 4 5 6 7 8 9 10 11"), None);
    }

    #[test]
    fn memory_has_no_device() {
        assert_eq!(device(Path::new("/dev/shm")).unwrap(), None);
        assert_eq!(device(Path::new("/proc")).unwrap(), None);
    }
}
