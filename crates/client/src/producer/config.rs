//! What a producer may be told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;

use super::BatchReport;

/// How a [`Producer`](super::Producer) batches, waits and retries. The defaults suit most
/// programs: `ProducerConfig { codec: Codec::Zstd, ..ProducerConfig::default() }`.
#[derive(Clone)]
pub struct ProducerConfig {
    /// The longest a record waits for others to share its batch (0: sent at once, alone unless
    /// others already wait). While the partition's window is full, batches fill up regardless.
    pub linger: Duration,
    /// A batch is closed before it grows beyond this many bytes (uncompressed). A larger record
    /// travels alone, up to the server's record limit.
    pub batch_bytes_max: usize,
    /// How batches are compressed.
    pub codec: Codec,
    /// What an acknowledgement shall promise; `None` is the topic's own setting.
    pub level: Option<Level>,
    /// Bytes of records accepted and not yet settled, over all partitions. At the limit,
    /// [`Producer::send`](super::Producer::send) waits. Partitions in trouble, where a failure came
    /// after the last acknowledgement or a server is silent for a second, take no more while they
    /// hold half of it together: `send` to them waits then, and others go on.
    pub memory_bytes_max: usize,
    /// Batches in flight per partition. Order holds whatever the number.
    pub in_flight_max: usize,
    /// How long one batch may take in all, from its first record on, or where that lingers for longer from the end of its
    /// linger: until then it is tried, as long as every failure says *not applied*, and by then, or a second later if it was sent
    /// in the last one, its outcome is told, whatever it waited for. What was sent and not answered is unknown then, or before, once nothing at
    /// all came for as long as a [request may take](crate::ClientConfig::timeout). Who has less
    /// than a second has that for one attempt. As long may a record with a key wait before, for a server that may know of more partitions.
    pub delivery_timeout: Duration,
    /// Told of every batch once its outcome is settled, in order within a partition; runs on the
    /// producer's tasks and must not block; should it panic, the producer goes on. Where a program
    /// wants acknowledgements as a stream, this feeds its channel. What is sent to a partition before
    /// it returns from the report of an unknown outcome is behind that one, and fails
    /// ([`Error::BehindUnknown`](crate::Error::BehindUnknown)).
    pub observer: Option<Observer>,
}

/// A function that is told what became of each batch.
pub type Observer = Arc<dyn Fn(&BatchReport) + Send + Sync>;

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(1),
            batch_bytes_max: 1 << 20,
            codec: Codec::None,
            level: None,
            memory_bytes_max: 64 << 20,
            in_flight_max: 8,
            delivery_timeout: Duration::from_secs(120),
            observer: None,
        }
    }
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("linger", &self.linger)
            .field("batch_bytes_max", &self.batch_bytes_max)
            .field("codec", &self.codec)
            .field("level", &self.level)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .field("in_flight_max", &self.in_flight_max)
            .field("delivery_timeout", &self.delivery_timeout)
            .field("observer", &self.observer.is_some())
            .finish()
    }
}
