//! What the kernel grants this process: processors, locked memory, open files.

use corelog_node::sys::probe;
use corelog_record::ByteSize;
use nix::sys::resource::{Resource, getrlimit};

use super::check::Check;

/// What a core registers with the kernel if it may.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// A connection is one file, a busy partition two to four: room for the default limits.
const OPEN_FILES_GOOD: u64 = 65_536;
const OPEN_FILES_MIN: u64 = 1_024;

/// All checks of limits.
pub(super) fn checks() -> Vec<Check> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        Check::good("cores", format!("{cores} this process may use")),
        locked_memory(cores),
        open_files(),
    ]
}

fn locked_memory(cores: usize) -> Check {
    const NAME: &str = "locked memory";
    const MEND: &str = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit";
    match probe::memlock(cores) {
        Err(error) => Check::bad(NAME, error.to_string(), MEND),
        Ok(memlock) => match memlock.limit {
            None => Check::good(NAME, "unlimited"),
            Some(limit) if memlock.io_memory_bytes < IO_MEMORY_BYTES => {
                let registered = ByteSize::from_bytes(memlock.io_memory_bytes as u64);
                let found = format!("{limit}: {registered} of buffers a core, I/O costs more");
                Check::fair(NAME, found, MEND)
            }
            Some(limit) => Check::good(NAME, limit.to_string()),
        },
    }
}

fn open_files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        // A server raises the soft limit to the hard one by itself.
        Ok((_soft, hard)) => judge_open_files(hard),
        Err(error) => Check::fair(
            "open files",
            format!("unknown: {error}"),
            "see getrlimit(2)",
        ),
    }
}

fn judge_open_files(count: u64) -> Check {
    const NAME: &str = "open files";
    let mend = format!("ulimit -n {OPEN_FILES_GOOD}, or LimitNOFILE={OPEN_FILES_GOOD} in the unit");
    if count < OPEN_FILES_MIN {
        Check::bad(NAME, format!("{count} are too few to serve"), mend)
    } else if count < OPEN_FILES_GOOD {
        Check::fair(
            NAME,
            format!("{count} bound connections and busy partitions"),
            mend,
        )
    } else {
        Check::good(NAME, count.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_is_not_good_says_what_mends_it() {
        assert_eq!(judge_open_files(1 << 20).verdict, Verdict::Good);
        for (count, verdict) in [(4_096, Verdict::Fair), (256, Verdict::Bad)] {
            let check = judge_open_files(count);
            assert_eq!(check.verdict, verdict);
            assert!(check.mend.is_some());
        }
    }
}
