//! The stores of a partition as files: which there are, and one that rots.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The stores of a partition below `home` (a topic's directory), the oldest first.
pub(crate) fn of(home: &Path, partition: u32) -> Vec<PathBuf> {
    let dir = home.join(partition.to_string());
    let mut stores: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    stores.sort();
    stores
}

/// Turns a byte of the first batch of a store, however short that is: batches before the damage would be served.
pub(crate) fn flip_first(store: &Path) {
    flip(store, 64);
}

/// Turns the bits of one byte of a file.
pub(crate) fn flip(path: &Path, position: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[!byte[0]], position).unwrap();
    file.sync_all().unwrap();
}
