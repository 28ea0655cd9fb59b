//! The batches of one partition that were not sent yet: one open, the others closed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelog_record::batch::{Builder, Codec, Rules};
use corelog_record::{Record, TopicId};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::batch::{Batch, Origin, Place};
use super::delivery::{BatchAck, BatchDelivery, BatchOutcome, Delivery, ProduceError};
use super::framed;
use super::party::Member;
use super::pressure::Pressure;
use crate::Error;

/// Shared by the callers of `send` and the partition's lane. Bounded by the producer's memory.
pub(super) struct Queue {
    pub(super) origin: Origin,
    pub(super) member: Member,
    shape: Shape,
    pressure: Arc<Pressure>,
    state: Mutex<State>,
    /// Told when there is something new to send, or a linger to wait for.
    pub(super) news: Notify,
}

#[derive(Default)]
struct State {
    /// Whether a lane sends what is added.
    has_lane: bool,
    /// The last run that a lane may have begun.
    run: u32,
    open: Option<Batch>,
    closed: VecDeque<Batch>,
    /// Outcomes of batches that may not be settled, oldest first, for `flush`.
    outstanding: VecDeque<Arc<BatchOutcome>>,
    sequence: u64,
}

/// What the queue has to offer.
pub(super) enum Next {
    /// A batch to send now.
    Batch(Batch),
    /// A batch that waits for others to join it until then.
    At(Instant),
    Nothing,
}

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) codec: Codec,
    pub(super) linger: Duration,
    pub(super) batch_bytes_max: usize,
}

impl Queue {
    /// An empty queue, whose lanes begin behind this run.
    pub(super) fn new(
        origin: Origin,
        member: Member,
        shape: Shape,
        pressure: Arc<Pressure>,
        run: u32,
    ) -> Self {
        let state = State {
            run,
            ..State::default()
        };
        Self {
            origin,
            member,
            shape,
            pressure,
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    /// If nothing is lost with it: no lane sends what is added, nobody is on the way with something, and all that was sent is
    /// answered.
    pub(super) fn is_left(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && !self.has_lane() && self.member.is_answered()
    }

    /// The last run that a lane may have begun.
    pub(super) fn run(&self) -> u32 {
        self.lock().run
    }

    /// Whether a lane sends what is added.
    pub(super) fn has_lane(&self) -> bool {
        self.lock().has_lane
    }

    /// Notes that a lane begins, and gives the run with which it does: the server may remember those of one before.
    pub(super) fn open(&self) -> u32 {
        let mut state = self.lock();
        state.has_lane = true;
        state.run.wrapping_add(1)
    }

    /// Notes that the lane ends after this run, unless there is something for it to send, or somebody on the way with it.
    pub(super) fn end(self: &Arc<Self>, run: u32) -> bool {
        let mut state = self.lock();
        let is_empty = state.open.is_none() && state.closed.is_empty();
        // The producer has it, and the lane. Whoever sends takes it first, and asks for its lane then.
        let is_alone = Arc::strong_count(self) <= 2;
        if !is_empty || !is_alone {
            return false;
        }
        (state.has_lane, state.run) = (false, run);
        // All of them are settled.
        state.outstanding = VecDeque::new();
        drop(state);
        self.origin.held.end_trouble();
        true
    }

    /// Notes that the lane has ended, after this run. What waits is given up, and what is added before another one begins.
    pub(super) fn close(&self, run: u32) {
        let mut state = self.lock();
        (state.has_lane, state.run) = (false, run);
        state.close(self.shape.linger);
        let left = std::mem::take(&mut state.closed);
        drop(state);
        self.origin.held.end_trouble();
        // Settled while nothing is locked: who is told may send.
        drop(left);
    }

    /// Adds a record to the open batch, or begins one.
    ///
    /// # Errors
    /// [`Error::Batch`] if the record can be in no batch; [`Error::Closed`] if the lane has ended meanwhile.
    pub(super) fn append(
        &self,
        topic_id: TopicId,
        rules: Rules,
        record: &Record,
        room: OwnedSemaphorePermit,
    ) -> Result<Delivery, Error> {
        let bytes = framed(record);
        let bytes_max = self.shape.batch_bytes_max.min(rules.batch_bytes_max);
        let mut state = self.lock();
        if !state.has_lane {
            return Err(Error::Closed);
        }
        let fits = state.open.as_ref().is_some_and(|open| {
            open.topic_id() == topic_id
                && open.record_count() < rules.count_max
                && open.has_room(bytes, bytes_max)
        });
        if !fits {
            state.close(self.shape.linger);
        }
        if let Some(open) = &mut state.open {
            return open.append(record, room);
        }
        let builder = Builder::with_rules(self.shape.codec, rules);
        let place = state.place(topic_id);
        let begun = Batch::begin(&self.origin, place, builder, record, room);
        let (batch, delivery) = begun.inspect_err(|_| {
            // What was closed for it is to be sent all the same.
            self.news.notify_one();
        })?;
        state.note(&batch);
        let is_full = !batch.has_room(0, bytes_max);
        state.open = Some(batch);
        if is_full {
            state.close(self.shape.linger);
        }
        drop(state);
        self.news.notify_one();
        Ok(delivery)
    }

    /// Adds a batch that the caller gathered, behind all that was added before.
    ///
    /// # Errors
    /// [`Error::Closed`] if the lane has ended meanwhile.
    pub(super) fn append_batch(
        &self,
        topic_id: TopicId,
        builder: Builder,
        room: OwnedSemaphorePermit,
    ) -> Result<BatchDelivery, Error> {
        let mut state = self.lock();
        if !state.has_lane {
            return Err(Error::Closed);
        }
        state.close(self.shape.linger);
        let place = state.place(topic_id);
        let (batch, delivery) = Batch::whole(&self.origin, place, builder, room);
        state.note(&batch);
        state.closed.push_back(batch);
        drop(state);
        self.news.notify_one();
        Ok(delivery)
    }

    /// Takes the next batch to send.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        if let Some(batch) = state.closed.pop_front() {
            return Next::Batch(batch);
        }
        let Some(mut open) = state.open.take() else {
            return Next::Nothing;
        };
        let linger = self.shape.linger;
        let is_waited_for = self.pressure.is_felt() || self.origin.held.is_short();
        if is_waited_for || linger <= open.since().elapsed() {
            open.end_linger(linger);
            return Next::Batch(open);
        }
        let due = open.since().checked_add(linger);
        state.open = Some(open);
        // One that is never due waits to be full, or for a flush.
        due.map_or(Next::Nothing, Next::At)
    }

    /// Takes out everything that waits, open or closed, oldest first, and settles an outcome in the same moment: what
    /// is added later is added by someone who can have heard of it.
    pub(super) fn drain_and_settle(
        &self,
        outcome: &BatchOutcome,
        result: Result<BatchAck, ProduceError>,
    ) -> VecDeque<Batch> {
        let mut state = self.lock();
        state.close(self.shape.linger);
        let drained = std::mem::take(&mut state.closed);
        let waiting = outcome.settle(result);
        drop(state);
        waiting.wake();
        drained
    }

    /// Closes the open batch, so that it need not wait for others; returns what is outstanding.
    pub(super) fn flush(&self) -> Vec<Arc<BatchOutcome>> {
        let mut state = self.lock();
        state.close(self.shape.linger);
        let outstanding = state.outstanding.iter().cloned().collect();
        drop(state);
        self.news.notify_one();
        outstanding
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A record is added whole or not at all; nothing after that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of the next batch.
    const fn place(&self, topic_id: TopicId) -> Place {
        Place {
            topic_id,
            sequence: self.sequence,
        }
    }

    /// Takes a batch that begins among those whose outcomes are awaited.
    fn note(&mut self, batch: &Batch) {
        self.sequence += 1;
        let is_settled = |outcome: &mut Arc<BatchOutcome>| outcome.is_settled();
        while self.outstanding.pop_front_if(is_settled).is_some() {}
        self.outstanding.push_back(Arc::clone(batch.outcome()));
    }

    /// Closes the open batch, which lingers no more.
    fn close(&mut self, linger: Duration) {
        if let Some(mut open) = self.open.take() {
            open.end_linger(linger);
            self.closed.push_back(open);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use corelog_record::{PartitionId, TopicName};
    use tokio::sync::Semaphore;

    use super::super::party::tests::parties;
    use super::super::share::{Held, Share};
    use super::*;

    pub(in crate::producer) fn queue() -> Arc<Queue> {
        let topic = TopicName::new("numbers").unwrap();
        let origin = Origin {
            topic: Arc::new(topic),
            partition: PartitionId::new(0),
            observer: None,
            held: Held::new(&Share::of(1_000)),
        };
        let shape = Shape {
            codec: Codec::None,
            linger: Duration::ZERO,
            batch_bytes_max: 100,
        };
        let member = parties().join();
        Arc::new(Queue::new(origin, member, shape, Arc::default(), 0))
    }

    fn add(queue: &Queue) -> Result<Delivery, Error> {
        let memory = Arc::new(Semaphore::new(1_000));
        let room = memory.try_acquire_many_owned(100).unwrap();
        let topic_id = TopicId::from_bytes([0; 16]);
        queue.append(topic_id, Rules::default(), &Record::default(), room)
    }

    #[test]
    fn a_lane_does_not_end_while_anything_waits_or_anybody_is_on_the_way() {
        let queue = queue();
        let run = queue.open();
        let lane = Arc::clone(&queue);
        let on_the_way = Arc::clone(&queue);
        assert!(!lane.end(run));
        drop(add(&on_the_way).unwrap());
        drop(on_the_way);
        assert!(!lane.end(run));
        assert!(matches!(lane.next(), Next::Batch(_)));
        assert!(lane.end(run));
        assert!(!queue.has_lane());
        assert!(matches!(add(&queue), Err(Error::Closed)));
    }

    /// Begun anew, it would go on by the newest connection, where what comes next could overtake that.
    #[test]
    fn a_queue_is_kept_while_something_of_it_is_not_answered() {
        let queue = queue();
        let request = Arc::clone(&queue.member.claim);
        assert!(!queue.is_left());
        drop(request);
        assert!(queue.is_left());
    }

    #[test]
    fn a_lane_begins_with_a_run_that_the_one_before_had_not() {
        let queue = queue();
        let run = queue.open();
        assert!(queue.end(run + 3));
        assert_eq!(queue.open(), run + 4);
        drop(add(&queue).unwrap());
    }
}
