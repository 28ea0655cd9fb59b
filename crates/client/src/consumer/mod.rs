//! The consumer.

mod config;
mod received;

use std::sync::Arc;

use corelog_record::{Offset, PartitionId, TopicName};

pub use config::{ConsumerConfig, End, Start};
pub use received::{Header, Received};

use crate::Error;
use crate::client::Inner;

/// Reads partitions.
#[derive(Debug)]
pub struct Consumer {
    client: Arc<Inner>,
    config: ConsumerConfig,
}

/// How far reading a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The offset to go on from: behind the last record handed out, or behind what was skipped.
    pub next: Offset,
    /// The oldest readable offset, as last heard.
    pub log_start: Offset,
    /// The end of what is readable, as last heard.
    pub high_watermark: Offset,
}

impl Consumer {
    pub(crate) fn new(client: Arc<Inner>, config: ConsumerConfig) -> Self {
        Self { client, config }
    }

    /// Begins to read a partition, replacing what was assigned of it before.
    pub fn assign(&mut self, topic: &TopicName, partition: PartitionId, start: Start, end: End) {
        let _ = (topic, partition, start, end, &self.client, self.config);
    }

    /// Stops reading a partition; what was fetched of it is dropped.
    pub fn unassign(&mut self, topic: &TopicName, partition: PartitionId) {
        let _ = (topic, partition);
    }

    /// How far reading a partition has come; `None` before its start was found, or if it is not
    /// assigned.
    #[must_use]
    pub fn progress(&self, topic: &TopicName, partition: PartitionId) -> Option<Progress> {
        let _ = (topic, partition);
        None
    }

    /// The next record of any assigned partition; `None` once all have reached their ends (or
    /// none is assigned). An error ends its partition, not the others.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Damaged`], [`Error::Refused`], or why a server could not be
    /// reached for longer than configured.
    pub async fn next(&mut self) -> Option<Result<Received, Error>> {
        None
    }
}
