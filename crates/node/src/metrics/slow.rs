//! Where the time of slow acknowledgements went.

use std::time::Duration;

use corelog_record::{Offset, PartitionId, Timestamp, TopicName};

/// One durable acknowledgement, as the core that owns the partition saw it. What its four parts do not
/// account for was outside of that core: the network, the client, or the core that has the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowAck {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: PartitionId,
    /// The offset of its first record.
    pub base: Offset,
    /// How many records were acknowledged.
    pub records: u64,
    /// When it was answered.
    pub answered: Timestamp,
    /// From when the request was taken, behind those of its connection that were in flight, until its
    /// batches were appended.
    pub queue: Duration,
    /// From then until the flush of its group began.
    pub group: Duration,
    /// How long writing and syncing its group took.
    pub sync: Duration,
    /// From then until its answer was put in line for the socket.
    pub reply: Duration,
}

/// The slowest durable acknowledgements of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowAcks {
    /// Those that are kept, of partitions that are still here; the slowest first.
    pub kept: Vec<SlowAck>,
    /// No other since the node began took longer.
    pub others_max: Duration,
}

impl SlowAck {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.queue + self.group + self.sync + self.reply
    }
}
