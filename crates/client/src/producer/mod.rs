//! The producer: from a record to its place in the log.
//!
//! ```text
//! send ── memory ── partitioner ── queue (open batch, closed batches) ── lane ── connection
//!           │                        one per partition                    │
//!           └── back-pressure                    window: order, runs ─────┘
//! ```
//!
//! Lives here: choosing partitions, gathering batches, keeping their order, settling each once.
//! Never here: connections, addresses, what a topic is.
//!
//! The laws:
//! - **Order.** Within a partition records are in the log in the order of their `send`s, as far as
//!   they are in it at all; one whose outcome was told as *unknown* may yet come, behind what was sent since. A batch that was not
//!   sent in time is not sent behind a later one that was: it fails as not applied, with the error that says so.
//!   Sends that are under way at once have no order among each other: the one may have to ask a server first, the other not.
//! - **Nothing twice.** A batch is sent again only if it was certainly not applied. An *unknown*
//!   outcome goes to the caller; what was queued behind it fails as not applied
//!   ([`Error::BehindUnknown`]), so that the caller, not this crate, decides whether the log goes
//!   on with a possible gap. Queued behind it is all that is sent before its delivery resolves,
//!   also while the observer is told of it; what is sent after that is sent normally.
//! - **Every outcome is told**, once, in time, whatever happens to tasks and connections.
//! - **Bounded memory.** Records not settled never exceed the configured bytes; `send` waits. Of these,
//!   partitions in trouble take half together, and half as much again to try those that hold nothing yet; `send` to others goes on.

mod admission;
mod batch;
mod config;
mod delivery;
mod lane;
mod partitioner;
mod party;
mod place;
mod pressure;
mod queue;
mod share;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corelog_record::batch::{Builder, Rules};
use corelog_record::{self as record, PartitionId, Record, TopicName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use config::{Observer, ProducerConfig};
pub use delivery::{Ack, BatchAck, BatchDelivery, BatchReport, Delivery, ProduceError};
pub use partitioner::partition_of_key;

use self::batch::Origin;
use self::lane::Lane;
use self::partitioner::Partitioner;
use self::party::Parties;
use self::place::{Place, Wanted};
use self::pressure::Pressure;
use self::queue::{Queue, Shape};
use self::share::{Held, Share};
use crate::Error;
use crate::client::{self, Tenant};
use crate::metadata::Topic;

/// Appends records to topics. Clones share one producer: its memory, its batches, its order.
///
/// Dropping the last clone gives up what is not settled: what was in flight is unknown, the rest
/// not applied. [`Producer::flush`] first to avoid that.
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<client::Inner>,
    config: ProducerConfig,
    parties: Arc<Parties>,
    memory: Arc<Semaphore>,
    /// What partitions in trouble may hold of it.
    share: Arc<Share>,
    pressure: Arc<Pressure>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, Target>,
    /// The last run that a lane of a topic may have begun which was let go of: the server may remember it.
    run: u32,
    /// The lanes' tasks; they end with the producer.
    lanes: JoinSet<()>,
}

/// A topic that records were sent to.
struct Target {
    topic: Arc<Topic>,
    rules: Rules,
    /// The state of the metadata cache when the topic was taken from it.
    generation: u64,
    asked: Instant,
    partitioner: Partitioner,
    queues: BTreeMap<PartitionId, Arc<Queue>>,
    /// New ones begin behind this run.
    run: u32,
    /// Whose record has no key, and would have to wait wherever it goes: one of them at a time looks where it need not any more.
    keyless: Arc<tokio::sync::Mutex<()>>,
}

impl Producer {
    pub(crate) fn new(client: Arc<client::Inner>, mut config: ProducerConfig) -> Self {
        config.delivery_timeout = config.delivery_timeout.min(client::TIMEOUT_MAX);
        let parties = Parties::of(Tenant::new(&client));
        config.memory_bytes_max = config.memory_bytes_max.min(Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(config.memory_bytes_max));
        let (share, state) = (Share::of(config.memory_bytes_max), Mutex::default());
        Self {
            inner: Arc::new(Inner {
                client,
                config,
                parties,
                memory,
                share,
                pressure: Arc::default(),
                state,
            }),
        }
    }

    /// Accepts a record, waiting while the producer's memory is full, or the half of it that is for
    /// partitions in trouble, if its own is one. Without a `partition` the
    /// record's key decides, as Kafka's default partitioner would, or without a key the producer.
    ///
    /// Returns once the record is accepted; the [`Delivery`] resolves once its outcome is settled.
    /// Dropped before it returns, it accepted nothing. Who wants records in order awaits each `send`, not its delivery, before the
    /// next one begins: of several at once, as with `join_all`, any may come first, as where the topic has to be asked for.
    ///
    /// The record's timestamp is the caller's, and nobody changes it: look-ups by time go by it, retention by age does not.
    /// [`now`](crate::now) is the time of this machine.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`], [`Error::Batch`] (a timestamp out of range),
    /// [`Error::NoSuchPartition`], [`Error::Refused`] (an unknown topic), [`Error::Uncounted`] or [`Error::Unreadable`] (where
    /// its key goes is not known), or why no server answered. The record was not accepted then.
    pub async fn send(
        &self,
        topic: &TopicName,
        partition: Option<PartitionId>,
        record: Record,
    ) -> Result<Delivery, Error> {
        let bytes = record.bytes();
        let taken = framed(&record) + RECORD_BYTES;
        let bytes_max = self.inner.config.memory_bytes_max;
        let too_large = Error::RecordTooLarge {
            bytes: taken,
            bytes_max,
        };
        let key = record.key.as_deref();
        let wanted = Wanted {
            topic,
            partition,
            key,
            bytes,
            memory_bytes: self.fitting(taken).ok_or(too_large)?,
            begun: Instant::now(),
        };
        let found = self.find(wanted).await?;
        let bytes_max = found.0.rules.record_bytes_max;
        if bytes > bytes_max {
            return Err(Error::RecordTooLarge { bytes, bytes_max });
        }
        let (place, room, _turn) = self.let_in(wanted, found).await?;
        let (topic_id, rules) = (place.topic_id, place.rules);
        place.queue.append(topic_id, rules, &record, room)
    }

    /// Where something goes, and its room in memory. Who has to ask for that holds none meanwhile: a server may be silent
    /// for long, and the topic be another one by the time that there is room.
    async fn find(&self, wanted: Wanted<'_>) -> Result<(Place, Room), Error> {
        let mut time = self.inner.patience();
        loop {
            let room = self.reserve(wanted.memory_bytes).await?;
            if let Some(place) = self.inner.place(wanted) {
                return Ok((place, room));
            }
            drop(room);
            // The wait for memory takes nothing of it.
            let asked = Instant::now();
            self.inner.ask(wanted, time).await?;
            time = time.saturating_sub(asked.elapsed());
        }
    }

    /// Accepts a batch that the caller gathered, waiting as [`Producer::send`] does. It
    /// travels as it is, compressed by the builder's codec, behind what was sent to the partition
    /// before: one outcome for all of its records, and little work for each of them.
    ///
    /// Returns once the batch is accepted; the [`BatchDelivery`] resolves once its outcome is
    /// settled. Dropped before it returns, it accepted nothing.
    ///
    /// # Errors
    /// [`Error::Batch`] without records, or with more of them or more bytes than the server or this
    /// producer's memory takes; [`Error::NoSuchPartition`], [`Error::Refused`] (an unknown topic),
    /// or why no server answered. The batch was not accepted then. That a record is larger than the server
    /// takes, it says itself.
    pub async fn send_batch(
        &self,
        topic: &TopicName,
        partition: PartitionId,
        batch: Builder,
    ) -> Result<BatchDelivery, Error> {
        let (bytes, count) = (batch.len_bytes(), batch.count());
        let too_large = |max| Error::from(record::Error::BatchTooLarge { bytes, max });
        let bytes_max = self.inner.config.memory_bytes_max;
        let wanted = Wanted {
            topic,
            partition: Some(partition),
            key: None,
            bytes,
            memory_bytes: self.fitting(bytes).ok_or_else(|| too_large(bytes_max))?,
            begun: Instant::now(),
        };
        let found = self.find(wanted).await?;
        let rules = &found.0.rules;
        if bytes > rules.batch_bytes_max {
            return Err(too_large(rules.batch_bytes_max));
        }
        if count == 0 || count > rules.count_max {
            let (found, max) = (count.cast_signed(), rules.count_max);
            return Err(Error::from(record::Error::Count { found, min: 1, max }));
        }
        let (place, room, _turn) = self.let_in(wanted, found).await?;
        place.queue.append_batch(place.topic_id, batch, room)
    }

    /// Sends what waits for its batch to fill, and returns once everything accepted before this
    /// call is settled, whatever the outcome: the deliveries and the observer tell it.
    pub async fn flush(&self) {
        let queues = self.inner.queues();
        // All are told before any is waited for.
        let outstanding: Vec<_> = queues.iter().flat_map(|queue| queue.flush()).collect();
        for outcome in outstanding {
            outcome.settled().await;
        }
    }

    /// Bytes of memory in use by records that are not settled; never more than
    /// [`ProducerConfig::memory_bytes_max`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let bytes_max = self.inner.config.memory_bytes_max;
        bytes_max - self.inner.memory.available_permits().min(bytes_max)
    }

    /// So many bytes, if the producer's memory ever has as many.
    fn fitting(&self, bytes: usize) -> Option<u32> {
        let bytes_max = self.inner.config.memory_bytes_max;
        u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max)
    }

    /// Waits for so much of the producer's memory, which it has when nothing else takes it.
    async fn reserve(&self, bytes: u32) -> Result<Room, Error> {
        let memory = &self.inner.memory;
        if let Ok(room) = Arc::clone(memory).try_acquire_many_owned(bytes) {
            return Ok(room);
        }
        let (_pressure, is_first) = self.inner.pressure.press();
        // Not by each who waits: there may be thousands of them, and of lanes.
        if is_first {
            for queue in self.inner.queues() {
                queue.news.notify_one();
            }
        }
        let room = Arc::clone(memory).acquire_many_owned(bytes).await;
        room.map_err(|_| Error::Closed)
    }
}

impl Inner {
    fn new_queue(&self, topic: &Topic, partition: PartitionId, run: u32) -> Queue {
        let config = &self.config;
        let origin = Origin {
            topic: Arc::clone(&topic.name),
            partition,
            observer: config.observer.clone(),
            held: Held::new(&self.share),
        };
        let shape = Shape {
            codec: config.codec,
            linger: config.linger,
            batch_bytes_max: config.batch_bytes_max,
        };
        let (member, pressure) = (self.parties.join(), Arc::clone(&self.pressure));
        Queue::new(origin, member, shape, pressure, run)
    }

    /// Begins a queue's lane, the first one or where the one before has ended.
    fn begin_lane(&self, queue: &Arc<Queue>, lanes: &mut JoinSet<()>) {
        let config = &self.config;
        let options = lane::Options {
            level: config.level,
            in_flight_max: config.in_flight_max.max(1),
            delivery_timeout: config.delivery_timeout,
        };
        while lanes.try_join_next().is_some() {}
        let lane = Lane::new(Arc::clone(&self.client), Arc::clone(queue), options);
        // Boxed: the set keeps what the task was made of until the next one begins.
        lanes.spawn(Box::pin(lane.run()));
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        let state = self.lock();
        let targets = state.topics.values();
        targets
            .flat_map(|target| target.queues.values().cloned())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is kept under the lock is valid after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Room in the producer's memory.
type Room = OwnedSemaphorePermit;

/// What a record is counted as in a batch, at most.
fn framed(record: &Record) -> usize {
    record.bytes() + RECORD_FRAME_BYTES * (1 + record.headers.len())
}

/// What the format adds at most to a record, and to each of its headers.
const RECORD_FRAME_BYTES: usize = 32;

/// What who waits for a record takes of the memory, about.
const RECORD_BYTES: usize = 32;
