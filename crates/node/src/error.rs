//! Why a node did not start or did not stop cleanly; every message says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use corelog_record::{ByteSize, CoreId};
use corelog_storage::format;

use crate::catalog::CatalogError;
use crate::{rt, sys};

/// Why a node did not start; nothing on disk was damaged by the attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The number of cores is none or more than a core id can name.
    #[error("a node needs between 1 and {cores_max} cores, not {cores}: set --cores")]
    Cores {
        /// How many were asked for.
        cores: usize,
        /// How many can be named.
        cores_max: usize,
    },
    /// The address is open to others and nothing is authenticated.
    #[error(
        "{listen} is not loopback and nothing is authenticated: listen on 127.0.0.1 or pass --insecure"
    )]
    NotLoopback {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address is every one of the machine, and nothing else was said for clients to be told.
    #[error(
        "{listen} is every address of a machine, and none that others can connect to: say with --advertise \
         (CORELOG_NODE_ADVERTISE) by which name or address clients and other nodes reach this one"
    )]
    NothingToAdvertise {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The per-core ports do not fit above the shared one.
    #[error("{listen} leaves no room for {cores} ports above it: choose a lower port")]
    NoRoomForPorts {
        /// The shared address asked for.
        listen: SocketAddr,
        /// How many ports are needed above it.
        cores: usize,
    },
    /// The per-core ports that clients are told do not fit above the shared one.
    #[error(
        "port {port} to advertise leaves no room for {cores} ports above it: choose a lower one"
    )]
    NoRoomToAdvertise {
        /// The shared port as clients are told it.
        port: u16,
        /// How many ports are needed above it.
        cores: usize,
    },
    /// A core has too little memory for the largest requests and answers.
    #[error(
        "{bytes} of memory for what is under way is too little for a core: set --traffic-memory to {bytes_min} or more"
    )]
    Memory {
        /// How much it was to have.
        bytes: ByteSize,
        /// The least that it may have.
        bytes_min: ByteSize,
    },
    /// The process may have too few files open.
    #[error(
        "{cores} cores and a few connections need {limit_min} open files and the limit is {limit}, raise it \
         (ulimit -n, LimitNOFILE={limit_min} or more in the unit) or use fewer cores"
    )]
    Descriptors {
        /// Cores asked for.
        cores: usize,
        /// How many it may have.
        limit: u64,
        /// How many it needs.
        limit_min: u64,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}; {}", instead_of(.source, .option))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What names it.
        option: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something in the data directory could not be read or written.
    #[error("cannot use {path}: {source}; check its owner, permissions and space")]
    DataDir {
        /// What was being used.
        path: PathBuf,
        /// Why it could not be.
        #[source]
        source: io::Error,
    },
    /// The machine, or the file system of the data directory, is not fit.
    #[error(transparent)]
    System {
        /// What is wrong and what to do.
        source: sys::Error,
    },
    /// The node's own file is not one.
    #[error("{path} does not name a node; if the directory is Corelog's, restore it from a backup")]
    NodeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: format::Error,
    },
    /// What is to be served is a snapshot: records go from it, and come to it, and no restore takes it any more.
    #[error(
        "{path} says that the directory is a snapshot, which a server would change: serve another one (--data-dir), and \
         have that take it with `corelog restore`"
    )]
    Snapshot {
        /// The file that makes it one.
        path: PathBuf,
    },
    /// The directory of the topics was there, and is not any more.
    #[error(
        "{path} is gone, and what is made behind it is there: put it back; if no topic is wanted any more, make an empty \
         directory in its place"
    )]
    NoTopics {
        /// Where it was.
        path: PathBuf,
    },
    /// The topics could not be read.
    #[error("cannot read the catalog")]
    Catalog {
        /// Why not.
        #[source]
        source: CatalogError,
    },
    /// A core's thread could not be set up.
    #[error("a core did not start")]
    Core {
        /// Why not.
        #[source]
        source: rt::Error,
    },
    /// A core ended while the node started.
    #[error("core {core} ended while the node started; its last log lines say why")]
    CoreEnded {
        /// Which core.
        core: CoreId,
    },
    /// A thread could not be started.
    #[error(
        "cannot start the {name} thread; raise the limit of processes (ulimit -u, TasksMax in the unit)"
    )]
    Thread {
        /// Which thread.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for ids; make /dev/urandom available")]
    Random {
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// What to do where an address that `option` names could not be listened on.
fn instead_of(source: &io::Error, option: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "it is no address of this machine (`ip address` shows them): name one with {option}"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "ports below 1024 are kept for the system unless net.ipv4.ip_unprivileged_port_start or CAP_NET_BIND_SERVICE \
                 permits them: choose a higher one with {option}"
            )
        }
        _ => format!("stop what uses the port or choose another with {option}"),
    }
}

impl StartError {
    /// That `address`, which --listen names or leads to, could not be listened on.
    pub(crate) fn at_listen(address: SocketAddr, source: io::Error) -> Self {
        let option = "--listen";
        Self::Bind {
            address,
            option,
            source,
        }
    }
}

impl From<rt::Error> for StartError {
    fn from(source: rt::Error) -> Self {
        match source {
            rt::Error::Thread { source, .. } => {
                let name = "core";
                Self::Thread { name, source }
            }
            source => Self::Core { source },
        }
    }
}

/// Why a node did not stop cleanly; what was acknowledged is on disk, recovery will scan more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// A core did not end.
    #[error("core {core} did not end within {timeout:?}")]
    TimedOut {
        /// Which core.
        core: CoreId,
        /// How long was waited.
        timeout: Duration,
    },
    /// A core ended before it was told to.
    #[error("core {core} had ended before the stop; the next start recovers its partitions")]
    CoreEnded {
        /// Which core.
        core: CoreId,
    },
    /// A core's thread did not end well.
    #[error("core {core} did not end well")]
    Core {
        /// Which core.
        core: CoreId,
        /// What its runtime said.
        #[source]
        source: rt::Error,
    },
    /// Some partitions were not marked clean.
    #[error("{count} partitions were not closed cleanly; the next start recovers them")]
    Unclean {
        /// How many.
        count: usize,
    },
}

/// Why a question to the cores was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// A core's mailbox is full.
    #[error("core {core} is busy; ask again later")]
    Busy {
        /// Which core.
        core: CoreId,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was told as one that another program uses.
    #[test]
    fn a_port_that_takes_a_privilege_is_told_as_that() {
        let address = "127.0.0.1:80".parse().unwrap();
        let said = |kind: io::ErrorKind| StartError::at_listen(address, kind.into()).to_string();
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.contains("1024"), "{denied}");
        assert!(denied.ends_with("a higher one with --listen"), "{denied}");
        let taken = said(io::ErrorKind::AddrInUse);
        assert!(taken.contains("stop what uses the port"), "{taken}");
    }
}
