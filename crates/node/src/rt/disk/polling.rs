//! Learns, once per core and device, whether the device's completions can be polled for.
//!
//! The runtime finds out with the first file that it opens on a device: it reads the file's first
//! bytes on a polled ring and takes any success for a yes. A new file is empty, so the read never
//! reaches the device, succeeds, and every later read and write fails with `EOPNOTSUPP`. Hence the
//! first file that it opens is one made for the purpose, nameless and with bytes on the disk, or on
//! a full disk one that has some.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use corelog_storage::disk;
use glommio::io::OpenOptions;
use nix::libc;

use crate::rt::blocking::blocking;
use crate::rt::executor::io_error;

/// Sees to it that this core knows the device of a file in the directory `dir`.
pub(super) async fn learn(dir: &Path, file: &OwnedFd) -> io::Result<()> {
    let device = nix::sys::stat::fstat(file)?.st_dev;
    if KNOWN.with(|known| known.borrow().contains(&device)) {
        return Ok(());
    }
    let dir = dir.to_owned();
    let sample = blocking(move || match make_sample(&dir) {
        // A full disk is no reason not to open what is there.
        Err(error) if disk::is_full(&error) => find_sample(&dir)?.ok_or(error),
        made => made,
    })
    .await?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), sample.as_raw_fd());
    let opened = OpenOptions::new().read(true).dma_open(path).await;
    opened.map_err(io_error)?.close().await.map_err(io_error)?;
    KNOWN.with(|known| known.borrow_mut().insert(device));
    Ok(())
}

/// A nameless file with bytes on the disk.
fn make_sample(dir: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_TMPFILE);
    let mut sample = options.open(dir)?;
    sample.write_all(&[1; SAMPLE_BYTES])?;
    sample.sync_all()?;
    Ok(sample)
}

/// A file of the directory that begins with bytes on the disk: zeros may be none.
fn find_sample(dir: &Path) -> io::Result<Option<File>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let mut file = match File::open(entry.path()) {
            Ok(file) => file,
            // Nor would another one open.
            Err(error) if disk::is_out_of_files(&error) => return Err(error),
            Err(_) => continue,
        };
        let mut start = [0; SAMPLE_BYTES];
        if file.read_exact(&mut start).is_ok() && start.iter().any(|byte| *byte != 0) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

thread_local! {
    /// Devices that this core knows; never more than there are disks.
    static KNOWN: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// More than the runtime reads, and a whole block.
const SAMPLE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use nix::unistd::{Uid, setfsuid};

    use super::*;

    /// With one that may not be read no file of its directory was opened on a full disk.
    #[test]
    fn a_file_that_does_not_open_is_no_sample_and_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        let set =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o755);
        for name in ["a", "b"] {
            let path = dir.path().join(name);
            fs::write(&path, [1; SAMPLE_BYTES]).unwrap();
            set(&path, 0o644);
        }
        let first = fs::read_dir(dir.path()).unwrap().next();
        set(&first.unwrap().unwrap().path(), 0o000);
        // Modes hold for everyone but the superuser, as whom tests may run: this thread is somebody else.
        let root = setfsuid(Uid::from_raw(65_534));
        let found = find_sample(dir.path());
        setfsuid(root);
        assert!(found.unwrap().is_some());
    }
}
