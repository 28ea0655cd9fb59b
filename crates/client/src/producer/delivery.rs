//! What became of a record: one shared outcome per batch, a small future per record.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use corelog_protocol::message::ack::Level;
use corelog_record::{Offset, PartitionId, TopicName};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{Error, Outcome};

/// A record is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The partition it went to.
    pub partition: PartitionId,
    /// The offset it got.
    pub offset: Offset,
    /// The promise that stands behind it.
    pub level: Level,
}

/// A batch is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAck {
    /// The first record's offset; the others follow without gaps.
    pub first: Offset,
    /// The last record's offset.
    pub last: Offset,
    /// The promise that stands behind it.
    pub level: Level,
}

/// A batch is not in the log, or nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}/{}: {}: {}", .topic, .partition, .outcome, .error)]
#[non_exhaustive]
pub struct ProduceError {
    /// The topic it was for.
    pub topic: Arc<TopicName>,
    /// The partition it was for.
    pub partition: PartitionId,
    /// [`Outcome::NotApplied`]: it may be sent again. [`Outcome::Unknown`]: sending it again may
    /// write it twice.
    pub outcome: Outcome,
    /// Why.
    #[source]
    pub error: Arc<Error>,
}

/// What became of one batch, as the producer's observer is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchReport {
    /// The batch's topic.
    pub topic: Arc<TopicName>,
    /// The batch's partition.
    pub partition: PartitionId,
    /// Ordinal of the batch within this producer and partition, from 0.
    pub sequence: u64,
    /// Records in it.
    pub record_count: u32,
    /// Bytes of their keys, values and headers; of a batch that the caller gathered, of the records as they lie in it.
    pub record_bytes: u64,
    /// Its outcome.
    pub result: Result<BatchAck, ProduceError>,
}

/// The future outcome of one record; resolves once its batch is acknowledged or given up.
///
/// Dropping it changes nothing for the record.
#[derive(Debug)]
#[must_use = "a record is safe only once its delivery says so"]
pub struct Delivery {
    batch: Arc<BatchOutcome>,
    index: u32,
    waiter: Option<usize>,
}

impl Delivery {
    pub(super) const fn new(batch: Arc<BatchOutcome>, index: u32) -> Self {
        Self {
            batch,
            index,
            waiter: None,
        }
    }
}

impl Future for Delivery {
    type Output = Result<Ack, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.batch.poll(&mut this.waiter, context).map(|result| {
            result.map(|ack| Ack {
                partition: this.batch.partition,
                offset: ack.first.plus(u64::from(this.index)),
                level: ack.level,
            })
        })
    }
}

/// The future outcome of one batch; resolves once it is acknowledged or given up.
///
/// Dropping it changes nothing for the batch.
#[derive(Debug)]
#[must_use = "a batch is safe only once its delivery says so"]
pub struct BatchDelivery {
    batch: Arc<BatchOutcome>,
    waiter: Option<usize>,
}

impl BatchDelivery {
    pub(super) const fn new(batch: Arc<BatchOutcome>) -> Self {
        Self {
            batch,
            waiter: None,
        }
    }
}

impl Future for BatchDelivery {
    type Output = Result<BatchAck, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.batch.poll(&mut this.waiter, context)
    }
}

/// The outcome that the records of one batch share: set once, waited for by many.
pub(super) struct BatchOutcome {
    partition: PartitionId,
    state: Mutex<State>,
    /// Wakes those who may give up waiting, and come again, as often as they like: they leave nothing behind.
    told: Notify,
}

/// Whoever waits for an outcome that is set, to be woken while no lock is held.
#[must_use = "whoever waits is to be woken"]
pub(super) struct Waiting<'a> {
    wakers: Wakers,
    told: &'a Notify,
}

impl Waiting<'_> {
    pub(super) fn wake(self) {
        self.wakers.into_iter().for_each(Waker::wake);
        self.told.notify_waiters();
    }
}

/// Most often one program waits for a batch, so that nothing is allocated for that.
type Wakers = SmallVec<[Waker; 1]>;

enum State {
    Pending(Wakers),
    Settled(Result<BatchAck, ProduceError>),
}

impl BatchOutcome {
    pub(super) fn new(partition: PartitionId) -> Arc<Self> {
        Arc::new(Self {
            partition,
            state: Mutex::new(State::Pending(Wakers::new())),
            told: Notify::new(),
        })
    }

    /// Sets the outcome; the first one stays. Returns whoever waits.
    pub(super) fn settle(&self, result: Result<BatchAck, ProduceError>) -> Waiting<'_> {
        let mut state = self.lock();
        let wakers = match &mut *state {
            State::Settled(_) => Wakers::new(),
            State::Pending(wakers) => {
                let wakers = std::mem::take(wakers);
                *state = State::Settled(result);
                wakers
            }
        };
        let told = &self.told;
        Waiting { wakers, told }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(*self.lock(), State::Settled(_))
    }

    /// Waits until the batch is settled, whatever became of it.
    pub(super) async fn settled(&self) {
        let mut settled = pin!(self.told.notified());
        settled.as_mut().enable();
        if !self.is_settled() {
            settled.await;
        }
    }

    fn poll(
        &self,
        waiter: &mut Option<usize>,
        context: &Context<'_>,
    ) -> Poll<Result<BatchAck, ProduceError>> {
        match &mut *self.lock() {
            State::Settled(result) => Poll::Ready(result.clone()),
            State::Pending(wakers) => {
                match waiter.and_then(|index| wakers.get_mut(index)) {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => {
                        *waiter = Some(wakers.len());
                        wakers.push(context.waker().clone());
                    }
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and a plain value cannot be left half set.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BatchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOutcome")
            .field("partition", &self.partition)
            .field("is_settled", &self.is_settled())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each flush that was dropped left a waker in the batch, as many as a program made in a loop.
    #[test]
    fn who_waits_for_a_batch_no_more_leaves_nothing_in_it() {
        let batch = BatchOutcome::new(PartitionId::new(0));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            let settled = pin!(batch.settled());
            assert!(settled.poll(&mut context).is_pending());
        }
        assert!(matches!(&*batch.lock(), State::Pending(wakers) if wakers.is_empty()));
        let mut settled = pin!(batch.settled());
        assert!(settled.as_mut().poll(&mut context).is_pending());
        let ack = BatchAck {
            first: Offset::ZERO,
            last: Offset::ZERO,
            level: Level::default(),
        };
        batch.settle(Ok(ack)).wake();
        assert!(settled.poll(&mut context).is_ready());
        assert!(pin!(batch.settled()).poll(&mut context).is_ready());
    }
}
