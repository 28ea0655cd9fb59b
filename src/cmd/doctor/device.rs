//! The block device below the data directory: what it is, its sectors, its write cache.

use corelog_node::sys::Error;
use corelog_node::sys::probe::{Device, WriteCache};

use super::check::Check;

/// A log writes whole blocks of so many bytes.
const BLOCK_BYTES: u64 = 4096;

/// All checks of what the kernel tells of a device.
pub(super) fn checks(device: &Result<Option<Device>, Error>) -> Vec<Check> {
    const NAME: &str = "device";
    match device {
        Err(error) => vec![Check::fair(NAME, error.to_string(), "lsblk")],
        Ok(None) => vec![Check::good(
            NAME,
            "none: the file system has no device of its own",
        )],
        Ok(Some(device)) => vec![kind(device), sectors(device), write_cache(device)],
    }
}

fn kind(device: &Device) -> Check {
    const NAME: &str = "device";
    const MEND: &str = "corelog serve --data-dir DIR, with DIR on an SSD";
    let name = &device.name;
    if is_memory(device) {
        let found = format!("{name} is memory: all is lost when the machine stops");
        Check::fair(NAME, found, MEND)
    } else if device.is_rotational {
        let found = format!("{name}, turning: each acknowledgement waits for it");
        Check::fair(NAME, found, MEND)
    } else {
        Check::good(NAME, name.clone())
    }
}

fn sectors(device: &Device) -> Check {
    const NAME: &str = "sectors";
    let (Some(logical), Some(physical)) =
        (device.logical_sector_bytes, device.physical_sector_bytes)
    else {
        let mend = format!("blockdev --getss --getpbsz /dev/{}", device.name);
        return Check::fair(NAME, "unknown: the kernel does not tell their size", mend);
    };
    let found = format!("{logical} bytes logical, {physical} physical");
    if logical > BLOCK_BYTES {
        let mend = format!(
            "nvme format /dev/{} with a format of 4096 bytes",
            device.name
        );
        Check::bad(NAME, format!("{found}: a log writes {BLOCK_BYTES}"), mend)
    } else if physical > BLOCK_BYTES {
        let found = format!("{found}: each block costs a read, and neighbours can tear with it");
        let mend = "corelog serve --data-dir DIR, with DIR on a disk of 4096-byte sectors";
        Check::fair(NAME, found, mend)
    } else {
        Check::good(NAME, found)
    }
}

fn write_cache(device: &Device) -> Check {
    const NAME: &str = "write cache";
    let fua = match device.has_fua {
        Some(true) => ", single writes can pass it (FUA)",
        _ => "",
    };
    match device.write_cache {
        WriteCache::Back => Check::good(NAME, format!("volatile, each sync flushes it{fua}")),
        WriteCache::Through => Check::good(NAME, "none that the kernel would have to flush"),
        _ => Check::fair(
            NAME,
            "unknown: the kernel does not tell",
            format!("cat /sys/block/{}/queue/write_cache", device.name),
        ),
    }
}

/// Whether it is a disk made of memory, by its name.
pub(super) fn is_memory(device: &Device) -> bool {
    device.name.starts_with("ram") || device.name.starts_with("zram")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::check::Verdict;
    use super::*;

    /// A flash disk with a cache that is flushed.
    pub(crate) fn flash() -> Device {
        Device {
            name: "nvme0n1".to_owned(),
            write_cache: WriteCache::Back,
            flushes: Some(1_000),
            is_rotational: false,
            has_fua: Some(true),
            logical_sector_bytes: Some(512),
            physical_sector_bytes: Some(4_096),
        }
    }

    fn verdicts(device: Device) -> Vec<Verdict> {
        let checks = checks(&Ok(Some(device)));
        for check in &checks {
            assert_eq!(check.mend.is_none(), check.verdict == Verdict::Good);
        }
        checks.iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn each_property_of_a_device_has_its_verdict() {
        use Verdict::{Bad, Fair, Good};
        assert_eq!(verdicts(flash()), [Good, Good, Good]);
        let turning = Device {
            is_rotational: true,
            ..flash()
        };
        assert_eq!(verdicts(turning), [Fair, Good, Good]);
        let name = "zram0".to_owned();
        assert_eq!(verdicts(Device { name, ..flash() }), [Fair, Good, Good]);
        let sectors = |logical, physical| Device {
            logical_sector_bytes: logical,
            physical_sector_bytes: physical,
            ..flash()
        };
        assert_eq!(
            verdicts(sectors(Some(16_384), Some(16_384))),
            [Good, Bad, Good]
        );
        assert_eq!(
            verdicts(sectors(Some(512), Some(16_384))),
            [Good, Fair, Good]
        );
        assert_eq!(verdicts(sectors(None, None)), [Good, Fair, Good]);
        let cached = |write_cache| Device {
            write_cache,
            has_fua: None,
            ..flash()
        };
        assert_eq!(verdicts(cached(WriteCache::Through)), [Good, Good, Good]);
        assert_eq!(verdicts(cached(WriteCache::Unknown)), [Good, Good, Fair]);
    }

    #[test]
    fn no_device_is_no_fault_and_an_unknown_one_is_looked_up() {
        assert_eq!(checks(&Ok(None))[0].verdict, Verdict::Good);
        let source = std::io::ErrorKind::NotFound.into();
        let what = "the device".to_owned();
        let check = &checks(&Err(Error::Unknown { what, source }))[0];
        assert_eq!(check.verdict, Verdict::Fair);
        assert_eq!(check.mend.as_deref(), Some("lsblk"));
    }
}
