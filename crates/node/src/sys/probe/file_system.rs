//! What a path is on, and how much room is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use corelog_record::ByteSize;
use corelog_storage::disk::BLOCK_BYTES;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::unknown;
use crate::sys::Error;

/// A file system, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name, such as `ext4`; a hexadecimal number if it is not a known one.
    pub kind: String,
    /// What it is good for.
    pub suitability: Suitability,
    /// Bytes of its blocks. A group is written in blocks of 4 KiB: where those of the file system are smaller, one that fits
    /// into what a log has can still find no space.
    pub block_bytes: u64,
}

impl FileSystem {
    /// Whether its blocks are smaller than what is written at once.
    #[must_use]
    pub fn has_small_blocks(&self) -> bool {
        self.block_bytes < BLOCK_BYTES as u64
    }
}

/// What a file system is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suitability {
    /// A node can serve from it.
    Fine,
    /// A node can serve from it, and all is lost when the machine stops.
    Volatile,
    /// A node cannot serve from it.
    Unsuitable,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total: ByteSize,
    /// What is left for this user.
    pub free: ByteSize,
}

/// Says what `path`, or the nearest directory above it that exists, is on.
///
/// # Errors
/// [`Error::Unknown`] if the kernel does not tell.
pub fn file_system(path: &Path) -> Result<FileSystem, Error> {
    let path = existing(path);
    let answer = statfs(&path)
        .map_err(|errno| unknown(format!("the file system of {}", path.display()))(errno.into()))?;
    // The type's width differs between systems; all magics fit in 32 bits.
    #[expect(clippy::cast_sign_loss, reason = "a magic is a bit pattern")]
    #[expect(clippy::cast_possible_truncation, reason = "a magic has 32 bits")]
    let magic = answer.filesystem_type().0 as u32;
    let known = KINDS.iter().find(|(known, ..)| *known == magic);
    let (kind, suitability) = match known {
        Some((_, kind, suitability)) => ((*kind).to_owned(), *suitability),
        None => (format!("{magic:#x}"), Suitability::Unsuitable),
    };
    Ok(FileSystem {
        kind,
        suitability,
        block_bytes: u64::try_from(answer.block_size()).unwrap_or(BLOCK_BYTES as u64),
    })
}

/// Room on the file system of `path`, or of the nearest directory above it that exists.
///
/// # Errors
/// [`Error::Unknown`] if the kernel does not tell.
pub fn space(path: &Path) -> Result<Space, Error> {
    let path = existing(path);
    let answer = statvfs(&path)
        .map_err(|errno| unknown(format!("the room on {}", path.display()))(errno.into()))?;
    let unit = answer.fragment_size();
    Ok(Space {
        total: ByteSize::from_bytes(answer.blocks().saturating_mul(unit)),
        free: ByteSize::from_bytes(answer.blocks_available().saturating_mul(unit)),
    })
}

/// Checks that a node can serve from `path`: a file system that keeps its promises, on a device
/// that the runtime can describe. Nothing is written; locking the node's file checks that.
///
/// # Errors
/// [`Error::FileSystem`] or [`Error::Device`], which say what to do; [`Error::Unknown`].
pub fn data_directory(path: &Path) -> Result<FileSystem, Error> {
    let found = file_system(path)?;
    if found.suitability == Suitability::Unsuitable {
        return Err(Error::FileSystem {
            path: path.to_owned(),
            kind: found.kind,
        });
    }
    let existing = existing(path);
    let metadata = fs::metadata(&existing)
        .map_err(unknown(format!("the device of {}", existing.display())))?;
    let (major, minor) = numbers(metadata.dev());
    let device = PathBuf::from(format!("/sys/dev/block/{major}:0"));
    // The runtime looks at the device with minor number 0, and would panic on one that is there
    // and has no queue.
    if device.exists() && !DEVICE_FILES.iter().all(|file| device.join(file).exists()) {
        return Err(Error::Device {
            path: path.to_owned(),
            major,
            minor,
        });
    }
    Ok(found)
}

/// Major and minor number of a device.
pub(super) fn numbers(device: u64) -> (u64, u64) {
    (nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

/// `path`, or the nearest directory above it that exists.
pub(super) fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|ancestor| ancestor.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

/// Magic numbers from `linux/magic.h` and the file systems' own headers.
const KINDS: [(u32, &str, Suitability); 16] = [
    (0xef53, "ext4", Suitability::Fine),
    (0x5846_5342, "xfs", Suitability::Fine),
    (0xf2f5_2010, "f2fs", Suitability::Fine),
    (0x0102_1994, "tmpfs", Suitability::Volatile),
    (0x8584_58f6, "ramfs", Suitability::Unsuitable),
    (0x794c_7630, "overlay", Suitability::Unsuitable),
    // Copy-on-write with checksums of its own: writes in place are not in place.
    (0x9123_683e, "btrfs", Suitability::Unsuitable),
    (0x2fc1_2fc1, "zfs", Suitability::Unsuitable),
    (0xca45_1a4e, "bcachefs", Suitability::Unsuitable),
    (0x6969, "nfs", Suitability::Unsuitable),
    (0xff53_4d42, "cifs", Suitability::Unsuitable),
    (0xfe53_4d42, "smb2", Suitability::Unsuitable),
    (0x6573_5546, "fuse", Suitability::Unsuitable),
    (0x0102_1997, "9p", Suitability::Unsuitable),
    (0x7371_7368, "squashfs", Suitability::Unsuitable),
    (0x4d44, "vfat", Suitability::Unsuitable),
];

/// What the runtime reads of a device.
const DEVICE_FILES: [&str; 4] = [
    "queue/logical_block_size",
    "queue/max_sectors_kb",
    "queue/write_cache",
    "slaves",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_yet_is_on_what_its_parent_is_on() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("not/there/yet");
        assert_eq!(
            file_system(&deep).unwrap(),
            file_system(dir.path()).unwrap()
        );
        assert!(space(&deep).unwrap().total >= space(&deep).unwrap().free);
    }

    #[test]
    fn memory_is_volatile_and_proc_unsuitable() {
        let shm = file_system(Path::new("/dev/shm")).unwrap();
        assert_eq!(
            (shm.kind.as_str(), shm.suitability),
            ("tmpfs", Suitability::Volatile)
        );
        let message = data_directory(Path::new("/proc/data"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("put the data directory on ext4 or xfs"),
            "{message}"
        );
    }
}
