//! A whole node: its cores, from the first check to the last sync.
//!
//! ```text
//! identity whose data a directory holds
//! start    the order in which a node comes up; nothing listens before everything is recovered that does not take long
//! ports    the addresses a node listens on and what clients are told
//! descriptors  how the open files that the process may have are shared out
//! handle   what a node tells of itself to any thread
//! control  what a core is told by the thread that started it: recover, listen, drain, close
//! stop     the order in which a node goes down, and how long each step may take
//! ```
//!
//! What never lives here: requests, partitions, frames.

mod control;
mod descriptors;
mod handle;
mod identity;
mod ports;
mod start;
mod stop;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corelog_record::NodeId;
use flume::Sender;

use self::control::Control;
use self::descriptors::Share;
use self::start::Cores;
use crate::config::NodeConfig;
use crate::error::{StartError, StopError};
use crate::metrics::Counters;
use crate::rate::Rates;
use crate::rt;
use crate::sys::NodeFile;

/// A running node. `stop` ends it in order; one that is dropped instead is recovered at the next
/// start.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    cores: Cores,
    stop_timeout: Duration,
    /// Ends before the cores do, so that a stop is no stall.
    watchdog: rt::Watchdog,
    /// The lock on the data directory, given back last, behind the cores, and what is received for them or restored.
    _lock: Arc<NodeFile>,
}

/// A way to look at a running node from any thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

/// Where a node listens and what clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The shared address, with the port that was picked.
    pub listen: SocketAddr,
    /// Core `i`'s own address.
    pub cores: Vec<SocketAddr>,
    /// The shared address as clients are told it.
    pub advertised: String,
    /// Core `i`'s own address as clients are told it.
    pub advertised_cores: Vec<String>,
}

/// What a start found, for one log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartReport {
    /// Topics in the catalog.
    pub topics: usize,
    /// Topics that cannot be read; the log names them.
    pub unreadable: usize,
    /// Partitions that are here.
    pub partitions: usize,
    /// Partitions that could not be opened.
    pub failed: usize,
    /// Partitions that took longer than a start waits for: they are being opened still.
    pub opening: usize,
    /// How long recovery took.
    pub recovery: Duration,
}

#[derive(Debug)]
struct Inner {
    id: NodeId,
    addresses: Addresses,
    report: StartReport,
    counters: Vec<Arc<Counters>>,
    vitals: Vec<Arc<rt::Vitals>>,
    controls: Vec<Sender<Control>>,
    rates: Rates,
    data_dir: PathBuf,
}

impl Node {
    /// How many files the process has to be allowed for this node: fewer, and it does not start.
    #[must_use]
    pub fn descriptors_min(config: &NodeConfig) -> u64 {
        Share::limit_min(config.cores, config.limits.connections_max)
    }

    /// Raises the limit of open files, and checks that it is enough for this node. A start does so, too; whoever opens
    /// something of its own before that does well to ask first.
    ///
    /// # Errors
    /// [`StartError::Descriptors`].
    pub fn check_descriptors(config: &NodeConfig) -> Result<(), StartError> {
        start::descriptors(config).map(drop)
    }

    /// Starts a node: checks the machine, takes the data directory, recovers every partition,
    /// listens. Returns when it serves. Blocks the calling thread.
    ///
    /// # Errors
    /// `StartError` says what was wrong and what to do; nothing keeps running then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a node keeps what it was told"
    )]
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        start::start(&config)
    }

    /// A way to look at the node from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where the node listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.handle.inner.addresses
    }

    /// What the start found.
    #[must_use]
    pub fn report(&self) -> StartReport {
        self.handle.inner.report
    }

    /// How long [`Node::stop`] takes at most.
    #[must_use]
    pub fn stops_within(&self) -> Duration {
        stop::within(self.stop_timeout)
    }

    /// Stops in order: accepts no more, drains, flushes, marks every partition clean. Blocks the
    /// calling thread until the cores have ended, not longer than [`Node::stops_within`].
    ///
    /// # Errors
    /// `StopError` if a core did not end, which has the data directory until it does, or a partition was not marked clean.
    pub fn stop(self) -> Result<(), StopError> {
        let Self {
            cores,
            stop_timeout,
            watchdog,
            ..
        } = self;
        drop(watchdog);
        cores.stop(stop_timeout)
    }
}
