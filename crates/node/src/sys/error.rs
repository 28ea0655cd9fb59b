//! Why a node cannot start here, and what to do about it.

use std::io;
use std::path::PathBuf;

use corelog_record::ByteSize;

/// Why a node cannot start here. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel is older than the interfaces that are needed.
    #[error("kernel {found} is too old, run Linux 5.11 or newer")]
    Kernel {
        /// The kernel's release, as `uname -r` says it.
        found: String,
    },
    /// The kernel was built without io_uring.
    #[error("this kernel has no io_uring, run one that is built with CONFIG_IO_URING")]
    RingsMissing,
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is switched off by kernel.io_uring_disabled={level}, \
         set it to 0 (sysctl -w kernel.io_uring_disabled=0)"
    )]
    RingsDisabled {
        /// 1: for unprivileged processes outside of `kernel.io_uring_group`; 2: for everyone.
        level: u8,
    },
    /// A sandbox refuses io_uring.
    #[error(
        "io_uring is not permitted here, allow the system calls io_uring_setup, io_uring_enter and \
         io_uring_register (in a container: run with a seccomp profile that has them)"
    )]
    RingsForbidden {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The limit of processes leaves no room for a thread.
    #[error(
        "the system refuses a thread, raise the limit of processes (ulimit -u, TasksMax in the unit)"
    )]
    Thread {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The limit of locked memory is too low for the rings of so many cores.
    #[error(
        "{cores} cores need {needed} of locked memory and the limit is {limit}, \
         raise it (ulimit -l, LimitMEMLOCK=infinity in the unit) or use fewer cores"
    )]
    Memlock {
        /// Cores asked for.
        cores: usize,
        /// What they need at least.
        needed: ByteSize,
        /// What the limit is.
        limit: ByteSize,
    },
    /// The file system cannot keep the promises that a log needs.
    #[error(
        "{path} is on {kind}, which cannot be written around the page cache safely, \
         put the data directory on ext4 or xfs or f2fs with --data-dir (in a container: on a volume)"
    )]
    FileSystem {
        /// The data directory.
        path: PathBuf,
        /// The file system's name.
        kind: String,
    },
    /// The block device cannot be described to the runtime.
    #[error(
        "{path} is on block device {major}:{minor}, which /sys does not describe, \
         mount /sys or put the data directory on another device"
    )]
    Device {
        /// The data directory.
        path: PathBuf,
        /// The device's major number.
        major: u64,
        /// The device's minor number.
        minor: u64,
    },
    /// The data directory cannot be written.
    #[error("cannot write to the data directory {path}, give it to the user that runs the node")]
    DataDirectory {
        /// The data directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is no space for the data directory.
    #[error(
        "no space is left for the data directory {path}, \
         free some or choose another directory (--data-dir)"
    )]
    DataDirectoryFull {
        /// The data directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another process serves this data directory.
    #[error(
        "the data directory {path} is in use by another process, \
         stop that one or choose another directory (--data-dir)"
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory is not where its node was made.
    #[error(
        "the data directory {data} is a copy: two nodes that serve the same history lose what one of them \
         takes; serve the original, or if that will never run again, remove {place} and start once more"
    )]
    Copied {
        /// The data directory.
        data: PathBuf,
        /// The file that says where the original was made.
        place: PathBuf,
    },
    /// The kernel did not answer a question.
    #[error("cannot find out about {what}")]
    Unknown {
        /// What was asked.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}
