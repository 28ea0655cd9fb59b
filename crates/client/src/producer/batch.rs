//! A batch on its way: its records, its room in memory, and who waits for its outcome.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corelog_record::batch::{Builder, Codec, HEADER_BYTES};
use corelog_record::{PartitionId, Record, TopicId, TopicName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Observer;
use super::delivery::{BatchAck, BatchDelivery, BatchOutcome, BatchReport, Delivery, ProduceError};
use super::share::Held;
use crate::{Error, Outcome};

/// What all batches of one partition share.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) topic: Arc<TopicName>,
    pub(super) partition: PartitionId,
    pub(super) observer: Option<Observer>,
    /// What they hold of the producer's memory.
    pub(super) held: Arc<Held>,
}

/// Records that travel together. Whatever happens, its outcome is settled once: dropped without
/// one, it settles as closed.
pub(super) struct Batch {
    origin: Origin,
    topic_id: TopicId,
    sequence: u64,
    /// When it was begun, or stopped waiting for others to join it: its time counts from then on.
    since: Instant,
    record_count: u32,
    record_bytes: u64,
    content: Content,
    outcome: Arc<BatchOutcome>,
    is_settled: bool,
    /// It was handed to a connection and has not been answered.
    is_in_flight: bool,
    /// Room in the producer's memory, given back just before its outcome can be seen.
    room: OwnedSemaphorePermit,
}

enum Content {
    Open(Builder),
    Built(Bytes),
    Refused(Arc<Error>),
    /// Being built elsewhere; ends with the batch, unless it has begun.
    Building {
        /// Lent: what is given to a thread that never comes would stay with the runtime.
        _builder: Arc<Mutex<Option<Builder>>>,
        building: JoinSet<Option<Built>>,
    },
    /// On its way from one of these to another.
    Gone,
}

type Built = Result<Vec<u8>, corelog_record::Error>;

impl Batch {
    /// A batch of one record.
    ///
    /// # Errors
    /// [`Error::Batch`] if the record can be in no batch.
    pub(super) fn begin(
        origin: &Origin,
        place: Place,
        mut builder: Builder,
        record: &Record,
        room: OwnedSemaphorePermit,
    ) -> Result<(Self, Delivery), Error> {
        let index = builder.append_record(record)?;
        let batch = Self::new(origin, place, builder, record.bytes(), room);
        let delivery = Delivery::new(Arc::clone(&batch.outcome), index);
        Ok((batch, delivery))
    }

    /// A batch that the caller gathered.
    pub(super) fn whole(
        origin: &Origin,
        place: Place,
        builder: Builder,
        room: OwnedSemaphorePermit,
    ) -> (Self, BatchDelivery) {
        let bytes = builder.len_bytes() - HEADER_BYTES;
        let batch = Self::new(origin, place, builder, bytes, room);
        let delivery = BatchDelivery::new(Arc::clone(&batch.outcome));
        (batch, delivery)
    }

    fn new(
        origin: &Origin,
        place: Place,
        builder: Builder,
        record_bytes: usize,
        room: OwnedSemaphorePermit,
    ) -> Self {
        origin.held.take(room.num_permits());
        Self {
            origin: origin.clone(),
            topic_id: place.topic_id,
            sequence: place.sequence,
            since: Instant::now(),
            record_count: builder.count(),
            record_bytes: record_bytes as u64,
            content: Content::Open(builder),
            outcome: BatchOutcome::new(origin.partition),
            is_settled: false,
            is_in_flight: false,
            room,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Batch`] if it cannot be in this batch; the batch is unchanged then.
    ///
    /// # Panics
    /// If the batch was built.
    pub(super) fn append(
        &mut self,
        record: &Record,
        room: OwnedSemaphorePermit,
    ) -> Result<Delivery, Error> {
        let Content::Open(builder) = &mut self.content else {
            panic!("records are added only to an open batch");
        };
        let index = builder.append_record(record)?;
        self.record_count += 1;
        self.record_bytes += record.bytes() as u64;
        self.origin.held.take(room.num_permits());
        self.room.merge(room);
        Ok(Delivery::new(Arc::clone(&self.outcome), index))
    }

    /// True if `bytes` more, uncompressed, keep the batch within `bytes_max`.
    pub(super) const fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.len_bytes().saturating_add(bytes) <= bytes_max
    }

    /// Bytes of the batch, uncompressed while it is open.
    pub(super) const fn len_bytes(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.len_bytes(),
            Content::Built(bytes) => bytes.len(),
            Content::Refused(_) | Content::Building { .. } | Content::Gone => 0,
        }
    }

    pub(super) const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Notes that it waits for others to join it no more, nor has for longer than `linger`.
    pub(super) fn end_linger(&mut self, linger: Duration) {
        if !linger.is_zero() {
            self.since += self.since.elapsed().min(linger);
        }
    }

    pub(super) const fn record_count(&self) -> u32 {
        self.record_count
    }

    pub(super) const fn outcome(&self) -> &Arc<BatchOutcome> {
        &self.outcome
    }

    pub(super) const fn set_in_flight(&mut self, is_in_flight: bool) {
        self.is_in_flight = is_in_flight;
    }

    /// Notes why it is not to be sent again: there are no bytes to send any more.
    pub(super) fn refuse(&mut self, error: Arc<Error>) {
        self.content = Content::Refused(error);
    }

    /// True if its bytes are built on a thread for such work, which may take as long as others have it.
    pub(super) fn is_built_elsewhere(&self) -> bool {
        match &self.content {
            Content::Open(builder) => {
                builder.codec() != Codec::None && builder.len_bytes() > COMPRESSED_HERE_BYTES_MAX
            }
            Content::Building { .. } => true,
            Content::Built(_) | Content::Refused(_) | Content::Gone => false,
        }
    }

    /// The batch's bytes; built on first use, large compressed ones on a thread for such work. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Batch`] if the codec refuses, then and ever after; why it is not to be sent again, if that was noted.
    pub(super) async fn build(&mut self) -> Result<Bytes, Arc<Error>> {
        let is_built_elsewhere = self.is_built_elsewhere();
        self.content = match std::mem::replace(&mut self.content, Content::Gone) {
            Content::Open(builder) if is_built_elsewhere => {
                let builder = Arc::new(Mutex::new(Some(builder)));
                let (lent, mut building) = (Arc::downgrade(&builder), JoinSet::new());
                building.spawn_blocking(move || {
                    let lent = lent.upgrade()?;
                    let builder = lent.lock().unwrap_or_else(PoisonError::into_inner).take();
                    builder.map(Builder::build)
                });
                Content::Building {
                    _builder: builder,
                    building,
                }
            }
            Content::Open(builder) => Content::of(builder.build().map_err(Error::from)),
            content => content,
        };
        if let Content::Building { building, .. } = &mut self.content {
            let built = building.join_next().await.and_then(Result::ok).flatten();
            self.content = Content::of(built.map_or(Err(Error::Closed), |built| Ok(built?)));
        }
        match &self.content {
            Content::Built(bytes) => Ok(bytes.clone()),
            Content::Refused(error) => Err(Arc::clone(error)),
            Content::Open(_) | Content::Building { .. } | Content::Gone => {
                Err(Arc::new(Error::Closed))
            }
        }
    }

    /// Settles the batch as being in the log.
    pub(super) fn acknowledge(mut self, ack: BatchAck) {
        self.settle(Ok(ack));
    }

    /// Settles the batch as not in the log.
    pub(super) fn fail(mut self, error: Arc<Error>) {
        let failed = self.failure(Outcome::NotApplied, error);
        self.settle(failed);
    }

    /// Settles the batch as unknown: tells the observer, and leaves it to `settle` to tell who waits for the delivery.
    pub(super) fn fail_unknown<T>(
        mut self,
        error: Arc<Error>,
        settle: impl FnOnce(&BatchOutcome, Result<BatchAck, ProduceError>) -> T,
    ) -> T {
        let failed = self.failure(Outcome::Unknown, error);
        self.report(&failed);
        self.give_back();
        settle(&self.outcome, failed)
    }

    fn failure(&self, outcome: Outcome, error: Arc<Error>) -> Result<BatchAck, ProduceError> {
        Err(ProduceError {
            topic: Arc::clone(&self.origin.topic),
            partition: self.origin.partition,
            outcome,
            error,
        })
    }

    fn settle(&mut self, result: Result<BatchAck, ProduceError>) {
        self.report(&result);
        self.give_back();
        self.outcome.settle(result).wake();
    }

    /// Frees its records, and gives back their room in memory: whoever sees what became of them finds it there.
    fn give_back(&mut self) {
        self.content = Content::Gone;
        let bytes = self.room.num_permits();
        drop(self.room.split(bytes));
        self.origin.held.give(bytes);
    }

    /// Tells the observer, before all others.
    fn report(&mut self, result: &Result<BatchAck, ProduceError>) {
        assert!(!self.is_settled, "an outcome is settled once");
        self.is_settled = true;
        if let Some(observer) = &self.origin.observer {
            let report = BatchReport {
                topic: Arc::clone(&self.origin.topic),
                partition: self.origin.partition,
                sequence: self.sequence,
                record_count: self.record_count,
                record_bytes: self.record_bytes,
                result: result.clone(),
            };
            // An observer that panics has had its say (the panic hook's); whoever waits for the delivery, and all
            // that comes behind it, is not to wait for ever.
            let told = catch_unwind(AssertUnwindSafe(|| observer(&report)));
            drop(told);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.is_settled {
            let error = match self.is_in_flight {
                true => Error::ClosedInFlight,
                false => Error::Closed,
            };
            let failed = self.failure(error.outcome(), Arc::new(error));
            self.settle(failed);
        }
    }
}

impl Content {
    fn of(built: Result<Vec<u8>, Error>) -> Self {
        match built {
            Ok(built) => Self::Built(built.into()),
            Err(error) => Self::Refused(Arc::new(error)),
        }
    }
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) topic_id: TopicId,
    pub(super) sequence: u64,
}

/// Less than this is compressed where it is: handing it to another thread costs as much.
const COMPRESSED_HERE_BYTES_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use corelog_record::Timestamp;
    use tokio::runtime;
    use tokio::sync::Semaphore;

    use super::super::queue::tests::queue;
    use super::*;

    /// Its room was given back, and its records stayed with the runtime, which drops what nobody wants any more once it has
    /// a thread for it.
    #[test]
    fn what_is_given_up_while_it_waits_for_a_thread_is_freed_with_its_room() {
        let narrow = runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        // Behind the runtime, which waits for the thread: gone before it.
        let (_busy, idle) = mpsc::channel::<()>();
        narrow.spawn_blocking(move || idle.recv());
        let _inside = narrow.enter();
        let mut builder = Builder::new(Codec::Zstd);
        let large = Record::new(Timestamp::from_millis(0), vec![0; 64 << 10]);
        builder.append_record(&large).unwrap();
        let memory = Arc::new(Semaphore::new(1));
        let room = Arc::clone(&memory).try_acquire_owned().unwrap();
        let place = Place {
            topic_id: TopicId::from_bytes([0; 16]),
            sequence: 0,
        };
        let (mut batch, _delivery) = Batch::whole(&queue().origin, place, builder, room);
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(batch.build()).poll(&mut context).is_pending());
        let Content::Building { _builder: lent, .. } = &batch.content else {
            panic!("it is built elsewhere");
        };
        let lent = Arc::downgrade(lent);
        batch.fail(Arc::new(Error::Uncompressed));
        assert_eq!(memory.available_permits(), 1);
        assert!(lent.upgrade().is_none());
    }
}
