//! A whole node: its cores, from the first check to the last sync.
//!
//! ```text
//! start    the order in which a node comes up; nothing listens before everything is recovered
//! ports    the addresses a node listens on and what clients are told
//! descriptors  how the open files that the process may have are shared out
//! control  what a core is told by the thread that started it: recover, listen, drain, close
//! ```
//!
//! What never lives here: requests, partitions, frames.

mod control;
mod descriptors;
mod ports;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corelog_record::{CoreId, NodeId};
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::StdDir;
use corelog_storage::quarantine;
use flume::{Sender, TrySendError};

use self::control::Control;
use self::start::Cores;
use crate::catalog;
use crate::config::NodeConfig;
use crate::error::{AskError, StartError, StopError};
use crate::metrics::{CoreSnapshot, Counters, PartitionSnapshot, QuarantineShare, SlowAck, shares};
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
    /// The lock on the data directory, given back last.
    _lock: NodeFile,
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
    /// Partitions opened.
    pub partitions: usize,
    /// Partitions that could not be opened.
    pub failed: usize,
    /// How long recovery took.
    pub recovery: Duration,
}

#[derive(Debug)]
struct Inner {
    id: NodeId,
    addresses: Addresses,
    report: StartReport,
    counters: Vec<Arc<Counters>>,
    controls: Vec<Sender<Control>>,
    rates: Rates,
    data_dir: PathBuf,
}

impl Node {
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

    /// Stops in order: accepts no more, drains, flushes, marks every partition clean. Blocks the
    /// calling thread until the cores have ended.
    ///
    /// # Errors
    /// `StopError` if a core did not end or a partition was not marked clean.
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

impl Handle {
    /// The node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.id
    }

    /// Where the node listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    /// Changes how many bytes the scrub reads in a second, over all cores; 0: none but what is
    /// asked for. Holds from the next second on.
    pub fn set_scrub_rate(&self, bytes: u64) {
        self.inner.rates.scrub.set(bytes);
    }

    /// Changes how many bytes of segments are sent in a second, over all peers; 0: as many as they
    /// take. Holds from the next second on.
    pub fn set_transfer_rate(&self, bytes: u64) {
        self.inner.rates.transfer.set(bytes);
    }

    /// Each core's counters, core 0 first. Never waits.
    #[must_use]
    pub fn counters(&self) -> Vec<CoreSnapshot> {
        self.inner
            .counters
            .iter()
            .map(|counters| counters.snapshot())
            .collect()
    }

    /// What the quarantine holds, by reason. Lists a directory, so it blocks for a moment.
    ///
    /// # Errors
    /// As the disk says.
    pub fn quarantine(&self) -> Result<Vec<QuarantineShare>, corelog_storage::Error> {
        let dir = catalog::quarantine_dir(&StdDir::new(self.inner.data_dir.clone()));
        // Without a bound nothing is removed.
        let (usage, _) = block_on(quarantine::trim(&dir, u64::MAX))?;
        Ok(shares(&usage))
    }

    /// Every partition's state, asked of each core by message; works under any runtime. The
    /// caller bounds the wait.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn partitions(&self) -> Result<Vec<PartitionSnapshot>, AskError> {
        let mut partitions = self.ask_each(|reply| Control::Partitions { reply }).await?;
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(partitions)
    }

    /// The slowest durable acknowledgements of the last hour, the slowest first; asked of each core by
    /// message, as [`partitions`](Self::partitions) is.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn slowest(&self) -> Result<Vec<SlowAck>, AskError> {
        let mut slowest = self.ask_each(|reply| Control::Slowest { reply }).await?;
        slowest.sort_by_key(|slow| std::cmp::Reverse(slow.total()));
        Ok(slowest)
    }

    /// Asks all cores at once, and waits for what they tell.
    async fn ask_each<T>(
        &self,
        ask: impl Fn(Sender<Vec<T>>) -> Control,
    ) -> Result<Vec<T>, AskError> {
        let mut answers = Vec::with_capacity(self.inner.controls.len());
        for (core, control) in (0..).map(CoreId::new).zip(&self.inner.controls) {
            let (reply, answer) = flume::bounded(1);
            control.try_send(ask(reply)).map_err(|error| match error {
                TrySendError::Full(_) => AskError::Busy { core },
                TrySendError::Disconnected(_) => AskError::Stopping,
            })?;
            answers.push(answer);
        }
        let mut told = Vec::new();
        for answer in answers {
            told.extend(
                answer
                    .recv_async()
                    .await
                    .map_err(|_gone| AskError::Stopping)?,
            );
        }
        Ok(told)
    }
}
