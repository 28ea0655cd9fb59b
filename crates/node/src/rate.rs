//! How many bytes in a second something takes, while the node runs and the number may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::NodeConfig;

/// Bytes in a second, shared by who sets them and who keeps to them. What 0 means is for the latter
/// to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate(Arc<AtomicU64>);

/// The rates of a node.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    /// What the scrub reads, over all cores.
    pub(crate) scrub: Rate,
    /// What is sent of segments, over all peers.
    pub(crate) transfer: Rate,
}

impl Rate {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl From<u64> for Rate {
    fn from(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }
}

impl Rates {
    /// As a node is told them at its start.
    pub(crate) fn of(config: &NodeConfig) -> Self {
        Self {
            scrub: config.scrub_rate.into(),
            transfer: config.transfer_rate.into(),
        }
    }
}
