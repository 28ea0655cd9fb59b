//! What the kernel grants this process, and so whatever its shell starts: locked memory, open files, large files. A server
//! that runs may have others.

use std::fmt::Display;

use corelog_node::sys::Error;
use corelog_node::sys::probe::{self, Memlock};
use corelog_node::{Node, NodeConfig};
use corelog_record::ByteSize;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::check::Check;

/// What a core registers with the kernel if it may.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// A connection is one file, a busy partition two to four: room for the default limits.
const OPEN_FILES_GOOD: u64 = 65_536;
const OPEN_FILES_MIN: u64 = 1_024;
/// The largest store that a topic may ask for, and less than any store has.
const FILE_SIZE_GOOD: ByteSize = ByteSize::from_gib(4);
const FILE_SIZE_MIN: ByteSize = ByteSize::from_mib(64);

/// All checks of limits, for a server of so many cores on these processors.
pub(super) fn checks(cores: usize, processors: usize) -> Vec<Check> {
    vec![
        locked_memory(probe::memlock(cores), cores, processors),
        limit("open files", Resource::RLIMIT_NOFILE, |count| {
            open_files(count, cores)
        }),
        limit("file size", Resource::RLIMIT_FSIZE, file_size),
    ]
}

fn locked_memory(memlock: Result<Memlock, Error>, cores: usize, processors: usize) -> Check {
    const NAME: &str = "locked memory";
    const MEND: &str = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit";
    match memlock {
        Err(error) => Check::bad(NAME, error.to_string(), MEND),
        Ok(memlock) => match memlock.limit {
            None => Check::good(NAME, whose("unlimited")),
            Some(limit) if cores < processors => {
                let limit = whose(limit);
                let found = format!("{limit}: room for {cores} of {processors} cores");
                Check::fair(NAME, found, MEND)
            }
            Some(limit) if memlock.io_memory_bytes < IO_MEMORY_BYTES => {
                let registered = ByteSize::from_bytes(memlock.io_memory_bytes as u64);
                let limit = whose(limit);
                let found = format!("{limit}: {registered} of buffers a core, I/O costs more");
                Check::fair(NAME, found, MEND)
            }
            Some(limit) => Check::good(NAME, whose(limit)),
        },
    }
}

fn limit(name: &'static str, of: Resource, judge: impl Fn(u64) -> Check) -> Check {
    match getrlimit(of) {
        // A server raises the soft limit of files to the hard one by itself.
        Ok((_soft, hard)) if of == Resource::RLIMIT_NOFILE => judge(hard),
        Ok((soft, _hard)) => judge(soft),
        Err(error) => Check::fair(name, format!("unknown: {error}"), "ulimit -a"),
    }
}

/// A limit, and whose it is.
fn whose(limit: impl Display) -> String {
    format!("{limit} (this shell's)")
}

fn open_files(count: u64, cores: usize) -> Check {
    const NAME: &str = "open files";
    let mend = format!("ulimit -n {OPEN_FILES_GOOD}, or LimitNOFILE={OPEN_FILES_GOOD} in the unit");
    let mut node = NodeConfig::new("");
    node.cores = cores;
    if count < OPEN_FILES_MIN.max(Node::descriptors_min(&node)) {
        Check::bad(NAME, format!("{}: too few to serve", whose(count)), mend)
    } else if count < OPEN_FILES_GOOD {
        Check::fair(
            NAME,
            format!(
                "{}: it bounds connections and busy partitions",
                whose(count)
            ),
            mend,
        )
    } else {
        Check::good(NAME, whose(count))
    }
}

fn file_size(limit: u64) -> Check {
    const NAME: &str = "file size";
    const MEND: &str = "ulimit -f unlimited, or LimitFSIZE=infinity in the systemd unit";
    let size = ByteSize::from_bytes(limit);
    if limit == RLIM_INFINITY {
        Check::good(NAME, whose("unlimited"))
    } else if size < FILE_SIZE_MIN {
        let found = format!("{}: what is written beyond it fails", whose(size));
        Check::bad(NAME, found, MEND)
    } else if size < FILE_SIZE_GOOD {
        let found = format!("{}: segments must stay below it", whose(size));
        Check::fair(NAME, found, MEND)
    } else {
        Check::good(NAME, whose(size))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_is_not_good_says_what_mends_it() {
        let mib = |count| ByteSize::from_mib(count).bytes();
        for (check, verdict) in [
            (open_files(1 << 20, 2), Verdict::Good),
            (open_files(4_096, 2), Verdict::Fair),
            (open_files(256, 2), Verdict::Bad),
            // A server of so many cores would not start.
            (open_files(4_096, 128), Verdict::Bad),
            (file_size(RLIM_INFINITY), Verdict::Good),
            (file_size(mib(5_000)), Verdict::Good),
            (file_size(mib(1_000)), Verdict::Fair),
            (file_size(mib(1)), Verdict::Bad),
        ] {
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert_eq!(check.mend.is_some(), verdict != Verdict::Good);
        }
    }

    #[test]
    fn locked_memory_is_judged_by_what_a_core_can_register() {
        let judged = |limit: Option<u32>, io_memory_bytes| {
            let limit = limit.map(ByteSize::from_mib);
            let memlock = Memlock {
                limit,
                io_memory_bytes,
            };
            locked_memory(Ok(memlock), 2, 2)
        };
        assert_eq!(judged(None, 8 << 20).verdict, Verdict::Good);
        assert_eq!(judged(Some(8), 1 << 20).verdict, Verdict::Good);
        assert_eq!(judged(Some(8), 1 << 16).verdict, Verdict::Fair);
        let size = ByteSize::from_mib(1);
        let refused = Err(Error::Memlock {
            cores: 4,
            needed: size,
            limit: size,
        });
        let refused = locked_memory(refused, 4, 4);
        assert_eq!(refused.verdict, Verdict::Bad);
        assert!(refused.mend.unwrap().contains("ulimit -l unlimited"));
        let memlock = Memlock {
            limit: Some(ByteSize::from_mib(8)),
            io_memory_bytes: 1 << 20,
        };
        let idle = locked_memory(Ok(memlock), 8, 16);
        assert_eq!(idle.verdict, Verdict::Fair);
        assert!(idle.found.contains("8 of 16 cores"), "{idle:?}");
    }
}
