//! The disk under the data directory: its file system, its room, and how long it takes to make a
//! write durable.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use corelog_node::sys::probe::{self, Suitability, WriteCache};
use corelog_record::ByteSize;
use nix::fcntl::OFlag;

use super::check::Check;
use crate::quantity::Amount;

const BLOCK_BYTES: usize = 4096;
/// Syncs measured, after a few that warm up.
const SYNC_COUNT: usize = 200;
const WARM_UP_COUNT: usize = 20;
/// A slow disk is not measured longer than this.
const MEASURE_MAX: Duration = Duration::from_secs(5);
const SYNC_GOOD: Duration = Duration::from_millis(5);
const FREE_GOOD: ByteSize = ByteSize::from_gib(10);
const FREE_MIN: ByteSize = ByteSize::from_gib(1);

/// All checks of the disk that holds `data_dir`, or would.
pub(super) fn checks(data_dir: &Path) -> anyhow::Result<Vec<Check>> {
    let dir = nearest(data_dir)?;
    Ok(vec![
        file_system(&dir),
        device(&dir),
        room(&dir),
        sync_time(&dir),
    ])
}

/// `path`, or the nearest directory above that exists.
fn nearest(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find(|dir| dir.is_dir());
    Ok(found.context("not even / is a directory")?.to_path_buf())
}

fn file_system(dir: &Path) -> Check {
    const NAME: &str = "file system";
    const MEND: &str = "choose a --data-dir on ext4 or xfs or f2fs (in a container: a volume)";
    match probe::data_directory(dir) {
        Err(error) => Check::bad(NAME, error.to_string(), MEND),
        Ok(found) if found.suitability == Suitability::Volatile => {
            let found = format!(
                "{} is memory: all is lost when the machine stops",
                found.kind
            );
            Check::fair(NAME, found, MEND)
        }
        Ok(found) => Check::good(NAME, format!("{} at {}", found.kind, dir.display())),
    }
}

fn device(dir: &Path) -> Check {
    const NAME: &str = "device";
    let device = match probe::device(dir) {
        Ok(Some(device)) => device,
        Ok(None) => return Check::good(NAME, "none: the file system has no device of its own"),
        Err(error) => return Check::fair(NAME, error.to_string(), "see lsblk"),
    };
    let cache = match device.write_cache {
        WriteCache::Back => "a write-back cache that a sync flushes",
        WriteCache::Through => "no volatile cache",
        _ => "a cache it tells nothing about",
    };
    let found = format!("{} with {cache}", device.name);
    if device.is_rotational {
        Check::fair(
            NAME,
            format!("{found}, turning"),
            "use an SSD: each ack waits for the disk",
        )
    } else {
        Check::good(NAME, found)
    }
}

fn room(dir: &Path) -> Check {
    const NAME: &str = "free space";
    const MEND: &str = "free some space, or choose a larger disk";
    let space = match probe::space(dir) {
        Ok(space) => space,
        Err(error) => return Check::fair(NAME, error.to_string(), "see df"),
    };
    let found = format!(
        "{} of {}",
        Amount(space.free.bytes()),
        Amount(space.total.bytes())
    );
    if space.free < FREE_MIN {
        Check::bad(NAME, found, MEND)
    } else if space.free < FREE_GOOD {
        Check::fair(NAME, found, MEND)
    } else {
        Check::good(NAME, found)
    }
}

fn sync_time(dir: &Path) -> Check {
    const NAME: &str = "durable write";
    let mut times = match measure(dir) {
        Ok(times) => times,
        Err(error) => {
            let mend = format!("make {} writable for the user who serves", dir.display());
            return Check::bad(NAME, format!("cannot write: {error}"), mend);
        }
    };
    times.sort();
    let (p50, p99) = (
        times[times.len() / 2],
        times[(times.len() * 99 / 100).min(times.len() - 1)],
    );
    let found = format!(
        "4 KiB with fdatasync: p50 {} us, p99 {} us ({} writes)",
        p50.as_micros(),
        p99.as_micros(),
        times.len()
    );
    if p99 <= SYNC_GOOD {
        Check::good(NAME, found)
    } else {
        Check::fair(
            NAME,
            found,
            "use a local SSD with power-loss protection; each ack waits for it",
        )
    }
}

/// Times of a 4 KiB direct write and fdatasync into space that is written already, as a log does
/// it. At least one.
fn measure(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".corelog-doctor-{}", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(&path)?;
    let _removed = Removed(&path);
    // O_DIRECT wants the memory aligned as well: take an aligned window of a larger buffer.
    let buffer = vec![0_u8; 2 * BLOCK_BYTES];
    let start = buffer.as_ptr().align_offset(BLOCK_BYTES);
    let block = &buffer[start..start + BLOCK_BYTES];
    for index in 0..WARM_UP_COUNT {
        write(&file, block, index)?;
    }
    let mut times = Vec::with_capacity(SYNC_COUNT);
    let started = Instant::now();
    while times.len() < SYNC_COUNT && (times.is_empty() || started.elapsed() < MEASURE_MAX) {
        let began = Instant::now();
        write(&file, block, times.len() % WARM_UP_COUNT)?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn write(file: &File, block: &[u8], index: usize) -> io::Result<()> {
    file.write_all_at(block, (index * BLOCK_BYTES) as u64)?;
    file.sync_data()
}

/// Removes a file when dropped.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // What cannot be removed is named in its own name, and empty but for a few blocks.
        let _ = std::fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_measured_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("a/b/c")).unwrap(), dir.path());
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert!(!measure(dir.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
