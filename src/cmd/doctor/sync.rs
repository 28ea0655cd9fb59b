//! How long it takes to make a write durable, and whether that can be true.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use corelog_node::sys::probe::{Device, WriteCache, device};
use nix::fcntl::OFlag;

use super::check::Check;
use super::device::is_memory;

const BLOCK_BYTES: usize = 4096;
/// Syncs measured, after a few that warm up.
const SYNC_COUNT: usize = 200;
const WARM_UP_COUNT: usize = 20;
/// A slow disk is not measured longer than this.
const MEASURE_MAX: Duration = Duration::from_secs(5);
const SYNC_GOOD: Duration = Duration::from_millis(5);
/// A plate of 15,000 turns a minute comes round in 4 ms; half of them take longer than half a turn.
const TURNING_MIN: Duration = Duration::from_micros(1_500);
/// Flash takes longer to program a page; what is faster answered from a cache.
const FLASH_MIN: Duration = Duration::from_micros(40);

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Syncs {
    p50: Duration,
    p99: Duration,
    count: u64,
    /// Flushes that the device counted meanwhile, whoever asked for them; None if it counts none.
    flushes: Option<u64>,
}

/// Writes and syncs in `dir`, and leaves nothing behind.
pub(super) fn measure(dir: &Path) -> io::Result<Syncs> {
    let flushes = || device(dir).ok().flatten().and_then(|device| device.flushes);
    // A stacked device counts none, and says zero.
    let before = flushes().filter(|count| *count > 0);
    let mut times = times(dir)?;
    let after = flushes();
    times.sort();
    Ok(Syncs {
        p50: times[times.len() / 2],
        p99: times[(times.len() * 99 / 100).min(times.len() - 1)],
        count: (times.len() + WARM_UP_COUNT) as u64,
        flushes: before.zip(after).map(|(before, after)| after - before),
    })
}

/// Judges how long it took.
pub(super) fn time(syncs: &io::Result<Syncs>, dir: &Path) -> Check {
    const NAME: &str = "durable write";
    let syncs = match syncs {
        Ok(syncs) => syncs,
        Err(error) => {
            let dir = dir.display();
            let mend = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("df -h {dir} says how little is left: give it space")
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    format!("mount -o remount,rw {dir}, if its disk is well")
                }
                // What the file system refuses is to write around the page cache.
                io::ErrorKind::InvalidInput => {
                    "corelog serve --data-dir DIR, with DIR on ext4, xfs or f2fs: this takes no direct writes"
                        .to_owned()
                }
                _ => format!("chown USER {dir}, the user who serves"),
            };
            return Check::bad(NAME, format!("cannot write: {error}"), mend);
        }
    };
    let found = format!(
        "4 KiB with fdatasync: p50 {} us, p99 {} us ({} writes)",
        syncs.p50.as_micros(),
        syncs.p99.as_micros(),
        syncs.count
    );
    if syncs.p99 <= SYNC_GOOD {
        Check::good(NAME, found)
    } else {
        Check::fair(
            NAME,
            found,
            "corelog serve --data-dir DIR, with DIR on a local SSD with power-loss protection; each \
             acknowledgement waits for it",
        )
    }
}

/// Judges whether the device can have done what it said.
pub(super) fn honesty(syncs: &Syncs, device: &Device) -> Check {
    const NAME: &str = "honest flush";
    let (name, p50) = (&device.name, syncs.p50.as_micros());
    let is_cached = device.write_cache == WriteCache::Back;
    let fair = |found: String| Check::fair(NAME, found, distrust(device));
    match syncs.flushes {
        Some(flushes) if is_cached && flushes < syncs.count / 2 => {
            let count = syncs.count;
            let found =
                format!("{count} syncs sent {flushes} flushes to {name}, which has a cache");
            return Check::bad(NAME, found, "mount -o remount,barrier the file system");
        }
        _ => {}
    }
    if is_memory(device) {
        fair(format!("{name} is memory: a flush keeps nothing"))
    } else if device.is_rotational && syncs.p50 < TURNING_MIN {
        fair(format!(
            "{p50} us is less than {name} takes to turn: a cache answers, which may lose it"
        ))
    } else if is_cached && syncs.p50 < FLASH_MIN {
        fair(format!(
            "{p50} us is less than flash takes: {name} outlives a power cut, or it lies"
        ))
    } else {
        Check::good(NAME, format!("{p50} us is what {name} can take"))
    }
}

/// What makes a device keep its word, or finds out if it does.
fn distrust(device: &Device) -> String {
    let name = &device.name;
    if name.starts_with("vd") || name.starts_with("xvd") {
        return "on the host: cache=none for this disk (not cache=unsafe)".to_owned();
    }
    if let Some((controller, _)) = name.strip_prefix("nvme").and_then(|n| n.split_once('n')) {
        return format!(
            "nvme set-feature /dev/nvme{controller} -f 6 -v 0, if it has no capacitors"
        );
    }
    if is_memory(device) {
        return "corelog serve --data-dir DIR, with DIR on a disk".to_owned();
    }
    format!("hdparm -W 0 /dev/{name}, if its cache has no battery")
}

/// Times of a 4 KiB direct write and fdatasync into space that is written already, as a log does
/// it with all but small groups. At least one.
fn times(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".corelog-doctor-{}", std::process::id()));
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(&path);
    // Its blocks are there until it is closed, which a kill does as well. Where O_DIRECT is refused there is a file all the same.
    let removed = std::fs::remove_file(&path);
    let file = opened?;
    removed?;
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

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::check::Verdict;
    use super::super::device::tests::flash;
    use super::*;

    fn syncs(p50_us: u64, p99_us: u64, flushes: Option<u64>) -> Syncs {
        Syncs {
            p50: Duration::from_micros(p50_us),
            p99: Duration::from_micros(p99_us),
            count: 220,
            flushes,
        }
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let syncs = measure(dir.path()).unwrap();
        assert!(syncs.count > WARM_UP_COUNT as u64 && syncs.p50 <= syncs.p99);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_takes_long_is_fair_and_what_cannot_be_written_is_bad() {
        let judge = |syncs| time(&syncs, Path::new("/data"));
        assert_eq!(judge(Ok(syncs(400, 900, None))).verdict, Verdict::Good);
        assert_eq!(judge(Ok(syncs(4_000, 9_000, None))).verdict, Verdict::Fair);
        let check = judge(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.mend.unwrap().contains("chown USER /data"));
        // Whoever had a full disk was told to change its owner.
        let check = judge(Err(io::ErrorKind::StorageFull.into()));
        assert!(check.mend.unwrap().contains("df -h /data"));
        for (number, said) in [
            (Errno::EROFS, "remount,rw /data"),
            (Errno::EINVAL, "corelog serve --data-dir"),
        ] {
            let check = judge(Err(io::Error::from_raw_os_error(number as i32)));
            assert!(check.mend.unwrap().contains(said), "{number}");
        }
    }

    #[test]
    fn a_disk_that_is_faster_than_it_can_be_is_not_believed() {
        let turning = |write_cache| Device {
            name: "sda".to_owned(),
            is_rotational: true,
            write_cache,
            ..flash()
        };
        let through = Device {
            write_cache: WriteCache::Through,
            ..flash()
        };
        let named = |name: &str| Device {
            name: name.to_owned(),
            ..flash()
        };
        use Verdict::{Bad, Fair, Good};
        for (p50_us, flushes, device, verdict, mend) in [
            (300, Some(220), flash(), Good, ""),
            (300, None, flash(), Good, ""),
            (20, Some(220), flash(), Fair, "nvme set-feature /dev/nvme0 "),
            (20, None, named("vda"), Fair, "cache=none"),
            (20, None, named("sdb"), Fair, "hdparm -W 0 /dev/sdb"),
            (20, Some(0), through, Good, ""),
            (8_000, None, turning(WriteCache::Back), Good, ""),
            (500, None, turning(WriteCache::Back), Fair, "hdparm -W 0"),
            (500, None, turning(WriteCache::Through), Fair, "hdparm -W 0"),
            (300, Some(3), flash(), Bad, "mount -o remount,barrier"),
            (300, None, named("ram0"), Fair, "--data-dir"),
        ] {
            let check = honesty(&syncs(p50_us, 9_000, flushes), &device);
            assert_eq!(check.verdict, verdict, "{check:?} of {device:?}");
            let told = check.mend.unwrap_or_default();
            assert!(told.contains(mend), "{told}");
        }
    }
}
