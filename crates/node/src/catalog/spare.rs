//! Blocks that are kept for the day when the disk is full: what makes room there, such as a shorter
//! retention, has to be written down before it does.
//!
//! `<data>/spare` is given away as the file that is written. If its blocks were freed for that, whoever
//! waits for some could take them.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::disk::{self, ASIDE_SUFFIX, Dir, File as _, Open};

use crate::rt::{self, Notify};

/// Keeps a spare file in `root`, and another one after each time that `is_used` is notified, as soon as
/// there is room.
pub(super) async fn keep<D: Dir>(root: D, is_used: Notify) {
    loop {
        let used = is_used.notified();
        match make(&root).await {
            Ok(()) => used.await,
            Err(_) => rt::sleep(TRY_EVERY).await,
        }
    }
}

/// Replaces the small file `name` of `dir` by `bytes`, as [`Dir::write_aside`] does, in the blocks of the
/// spare file, which is gone then.
///
/// # Errors
/// `NotFound` without a spare file, `FileTooLarge` if there is more to write than it has room for; any
/// error of the file system.
pub(super) async fn write<D: Dir>(root: &D, dir: &D, name: &str, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() > BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let aside = format!("{name}{ASIDE_SUFFIX}");
    root.rename(NAME, dir, &aside).await?;
    let file = Rc::new(dir.open(&aside, Open::Write).await?);
    let written = disk::write_whole(dir, &*file, bytes).await;
    written.and(file.close().await)?;
    dir.rename(&aside, dir, name).await?;
    dir.sync().await
}

/// Makes a spare file unless there is one.
async fn make<D: Dir>(root: &D) -> io::Result<()> {
    match root.open(NAME, Open::Read).await {
        Ok(file) => return Rc::new(file).close().await,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    root.write_aside(NAME, &[0; BYTES]).await
}

const NAME: &str = "spare";

/// A topic's file of a thousand partitions has room in it.
const BYTES: usize = 64 << 10;

/// How often a full disk is asked for room.
const TRY_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use corelog_storage::disk::block_on;
    use corelog_storage::disk::memory::MemoryDir;

    use super::*;

    const LARGE: u64 = 1 << 20;

    #[test]
    fn what_is_written_in_the_spare_file_is_whole_or_not_there_after_a_power_cut() {
        let root = MemoryDir::new();
        let dir = root.child("dir");
        block_on(dir.create()).unwrap();
        block_on(dir.write_aside("small", b"old")).unwrap();
        block_on(make(&root)).unwrap();
        block_on(write(&root, &dir, "small", b"the new one")).unwrap();
        for seed in 0..50 {
            let dir = root.power_cut(seed).child("dir");
            let found = block_on(dir.read("small", LARGE)).unwrap();
            assert_eq!(found, b"the new one");
        }
        let again = block_on(write(&root, &dir, "small", b"another")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::NotFound, "there was one");
        block_on(make(&root)).unwrap();
        block_on(make(&root)).unwrap();
        let long = block_on(write(&root, &dir, "small", &[1; BYTES + 1])).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        block_on(write(&root, &dir, "small", &[1; BYTES])).unwrap();
        assert_eq!(block_on(dir.read("small", LARGE)).unwrap(), [1; BYTES]);
    }
}
