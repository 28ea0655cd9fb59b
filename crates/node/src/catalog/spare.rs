//! Blocks that are kept for the day when the disk is full: what makes room there, such as a shorter
//! retention, has to be written down before it does.
//!
//! `<data>/spare` is given away as the file that is written. If its blocks were freed for that, whoever
//! waits for some could take them.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::disk::{self, ASIDE_SUFFIX, Dir, File as _, Open};
use corelog_storage::format::node::SPARE;

use crate::rt::{self, Notify};

/// Keeps a spare file in `root`, and another one after each time that `is_used` is notified, as soon as
/// there is room.
pub(super) async fn keep<D: Dir>(root: D, is_used: Notify) {
    let mut is_told = false;
    loop {
        let used = is_used.notified();
        match make(&root).await {
            Ok(()) => {
                is_told = false;
                used.await;
            }
            Err(error) => {
                if !disk::is_full(&error) && !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "no spare file for the day when the disk is full; tried again");
                }
                rt::sleep(TRY_EVERY).await;
            }
        }
    }
}

/// Replaces the small file `name` of `dir` by `bytes`, as [`Dir::write_aside`] does, in the blocks of the
/// spare file. That is gone then, and `is_used` notified; after an error it is there as far as the file
/// system lets it.
///
/// # Errors
/// `NotFound` without a spare file, `FileTooLarge` if there is more to write than it has room for; any
/// error of the file system.
pub(super) async fn write<D: Dir>(
    root: &D,
    dir: &D,
    name: &str,
    bytes: &[u8],
    is_used: &Notify,
) -> io::Result<()> {
    if bytes.len() > BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let aside = format!("{name}{ASIDE_SUFFIX}");
    // What can fail without it fails while it is in its place.
    let file = Rc::new(root.open(SPARE, Open::Write).await?);
    if let Err(error) = root.rename(SPARE, dir, &aside).await {
        let _closed = file.close().await;
        return Err(error);
    }
    // Whatever comes of it, somebody has to look whether there is one.
    is_used.notify();
    // Blocks that are there are written over: a file system that was asked to prepare them would look for
    // others first (XFS does).
    let written = disk::write_over(dir, &*file, bytes).await;
    let written = written.and(file.close().await);
    if let Err(error) = replace(root, dir, &aside, name, written).await {
        // Left here it would be removed by the next write, and its blocks be anybody's.
        let _returned = dir.rename(&aside, root, SPARE).await;
        return Err(error);
    }
    dir.sync().await
}

/// Gives the file `aside` its name if it is `written`.
async fn replace<D: Dir>(
    root: &D,
    dir: &D,
    aside: &str,
    name: &str,
    written: io::Result<()>,
) -> io::Result<()> {
    written?;
    // A power cut must not leave it two names: the next one to use the spare file would write over this.
    root.sync().await?;
    dir.rename(aside, dir, name).await
}

/// Makes a spare file unless there is one, and it was not cut.
async fn make<D: Dir>(root: &D) -> io::Result<()> {
    match root.open(SPARE, Open::Read).await {
        Ok(file) => {
            let file = Rc::new(file);
            let bytes = file.len().await;
            file.close().await?;
            if bytes? == BYTES as u64 {
                return Ok(());
            }
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    root.write_aside(SPARE, &[FILL; BYTES]).await
}

/// A topic's file has room in it unless hundreds of its partitions are copied to or from other nodes.
const BYTES: usize = 64 << 10;

/// No zeros, which a file system may keep no block for: on a full disk this is what a core reads to learn
/// how to read from the device.
const FILL: u8 = b'-';

/// How often a full disk is asked for room.
const TRY_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use corelog_storage::disk::block_on;
    use corelog_storage::disk::faulty::{Fault, FaultyDir, Operation};
    use corelog_storage::disk::memory::MemoryDir;

    use super::*;

    const LARGE: u64 = 1 << 20;

    fn directories<D: Dir>(root: D) -> (D, D) {
        let dir = root.child("dir");
        block_on(dir.create()).unwrap();
        block_on(dir.write_aside("small", b"old")).unwrap();
        block_on(make(&root)).unwrap();
        (root, dir)
    }

    fn written<D: Dir>(root: &D, dir: &D, bytes: &[u8]) -> io::Result<()> {
        block_on(write(root, dir, "small", bytes, &Notify::new()))
    }

    #[test]
    fn what_is_written_in_the_spare_file_is_whole_or_not_there_after_a_power_cut() {
        let (root, dir) = directories(MemoryDir::new());
        written(&root, &dir, b"the new one").unwrap();
        for seed in 0..50 {
            let root = root.power_cut(seed);
            let found = block_on(root.child("dir").read("small", LARGE)).unwrap();
            assert_eq!(found, b"the new one");
            let gone = block_on(root.read(SPARE, LARGE)).unwrap_err();
            assert_eq!(gone.kind(), io::ErrorKind::NotFound, "it has one name");
        }
        let again = written(&root, &dir, b"another").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::NotFound, "there was one");
        block_on(make(&root)).unwrap();
        block_on(make(&root)).unwrap();
        let long = written(&root, &dir, &[1; BYTES + 1]).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        written(&root, &dir, &[1; BYTES]).unwrap();
        assert_eq!(block_on(dir.read("small", LARGE)).unwrap(), [1; BYTES]);
    }

    /// XFS refuses to prepare blocks that a file has as long as there are no others.
    #[test]
    fn on_a_full_disk_no_space_is_asked_for() {
        let (root, dir) = directories(FaultyDir::new(MemoryDir::new()));
        root.faults().set_full(true);
        let refused = block_on(dir.write_aside("small", b"new")).unwrap_err();
        assert!(disk::is_full(&refused));
        written(&root, &dir, &[1; BYTES]).unwrap();
        assert_eq!(block_on(dir.read("small", LARGE)).unwrap(), [1; BYTES]);
    }

    /// The first error once ended it: the blocks lay aside, for the next write to free.
    #[test]
    fn after_an_error_the_spare_file_is_in_its_place_again() {
        use Operation::{Close, Open, Rename, SetLen, Sync, SyncDir, Write};
        let operations = [Open, Rename, Write, SetLen, Sync, Close, SyncDir];
        for operation in operations {
            let (root, dir) = directories(FaultyDir::new(MemoryDir::new()));
            root.faults().set_full(true);
            let fault = Fault::Fail(io::ErrorKind::Other);
            root.faults().fail(operation, 1, fault);
            let is_used = Notify::new();
            let notified = is_used.notified();
            block_on(write(&root, &dir, "small", b"new", &is_used)).unwrap_err();
            if ![Open, Rename].contains(&operation) {
                block_on(notified);
            }
            assert_eq!(block_on(dir.read("small", LARGE)).unwrap(), b"old");
            written(&root, &dir, b"new").unwrap_or_else(|e| panic!("{operation:?}: {e}"));
            assert_eq!(block_on(dir.read("small", LARGE)).unwrap(), b"new");
        }
    }

    #[test]
    fn a_spare_file_that_was_cut_is_made_anew() {
        let (root, dir) = directories(FaultyDir::new(MemoryDir::new()));
        let fault = Fault::Fail(io::ErrorKind::Other);
        root.faults().fail(Operation::Sync, 1, fault);
        written(&root, &dir, b"new").unwrap_err();
        assert_ne!(block_on(root.read(SPARE, LARGE)).unwrap().len(), BYTES);
        block_on(make(&root)).unwrap();
        assert_eq!(block_on(root.read(SPARE, LARGE)).unwrap(), [FILL; BYTES]);
    }
}
