//! Who waits for room for what is to be appended: in the order in which they came, for each partition and for the core.
//! What is large needs much room at once, which what is small would take as it comes free.
//!
//! Room of a partition is kept for whoever is in front of those who wait for that; room of the core for whoever of
//! these is in front there. So a partition that is full holds up no other one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::acks::Due;
use super::serve::NotAppended;
use super::slots::PartitionKey;
use super::state::Core;
use super::terms::Terms;
use crate::failure::Failure;
use crate::partition::Incoming;
use crate::rt::{self, Permit, Semaphore};

/// Who cannot wait goes by those who do, until the one in front has been there for so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where somebody stands who wants to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It has just come, and can wait: nobody is to be overtaken.
    Newcomer,
    /// It cannot wait.
    Passer,
    /// In front of those who wait for its partition; of the core's as well, or of none of these.
    Front { of_core: bool },
}

/// Those who wait for room on a core.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting_count: Cell<usize>,
    of_core: Queue,
    /// Those of partitions that somebody waits for.
    of_partitions: RefCell<BTreeMap<PartitionKey, Queue>>,
}

#[derive(Debug, Clone)]
struct Queue(Rc<State>);

#[derive(Debug)]
struct State {
    /// How many there are, the one in front among them.
    count: Cell<usize>,
    /// Held by the one in front.
    place: Semaphore,
    /// Since when it has been there.
    since: Cell<Option<Instant>>,
}

/// One of those who wait for room of a partition.
#[derive(Debug)]
struct Waiting<'a> {
    queues: &'a Queues,
    key: PartitionKey,
    queue: Queue,
}

/// The place in front.
#[derive(Debug)]
struct Front {
    queue: Queue,
    _place: Permit,
}

impl Core {
    /// Whether so many bytes more may be appended to a partition of this core, as far as this is seen without its log.
    pub(super) fn lets_in(&self, key: PartitionKey, bytes: usize, stand: Stand) -> bool {
        self.queues.lets(key, stand, rt::now) && self.has_room_for(bytes)
    }

    /// Appends batches once there is room, behind those who wait for some. Nothing was appended if this is dropped
    /// before.
    ///
    /// # Errors
    /// Why they are not to be appended, as they are.
    pub(crate) async fn produce_in_turn(
        self: &Rc<Self>,
        key: PartitionKey,
        batches: Incoming<'_>,
        terms: Terms,
    ) -> Result<Due, Failure> {
        let waiting = self.queues.wait(key);
        let _of_partition = waiting.queue.front().await;
        let mut of_core: Option<Front> = None;
        loop {
            let flushed = self.flushed.notified();
            let stand = Stand::Front {
                of_core: of_core.is_some(),
            };
            match self.produce(key, batches, terms, stand) {
                Ok(due) => return Ok(due),
                Err(NotAppended::Refused(error)) => return Err(error),
                Err(NotAppended::TailFull(_)) => {}
            }
            let is_core_full = !self.lets_in(key, batches.bytes(), stand);
            match of_core {
                None if is_core_full => of_core = Some(self.queues.of_core.front().await),
                Some(_) if is_core_full => flushed.await,
                _ => {
                    // Its partition is full: others of the core go on.
                    of_core = None;
                    flushed.await;
                }
            }
        }
    }
}

impl Queues {
    /// If who stands there overtakes nobody that it must not.
    fn lets(&self, key: PartitionKey, stand: Stand, now: impl Fn() -> Instant) -> bool {
        if self.waiting_count.get() == 0 {
            return true;
        }
        let of_partitions = self.of_partitions.borrow();
        let of_partition = of_partitions.get(&key);
        match stand {
            Stand::Newcomer => of_partition.is_none() && !self.of_core.is_waited_in(),
            Stand::Passer => {
                let is_late = |queue: &Queue| queue.is_late(&now);
                !of_partition.is_some_and(is_late) && !is_late(&self.of_core)
            }
            Stand::Front { of_core } => of_core || !self.of_core.is_waited_in(),
        }
    }

    /// Joins those who wait for room of a partition.
    fn wait(&self, key: PartitionKey) -> Waiting<'_> {
        let mut of_partitions = self.of_partitions.borrow_mut();
        let queue = of_partitions.entry(key).or_default().clone();
        queue.0.count.set(queue.0.count.get() + 1);
        self.waiting_count.set(self.waiting_count.get() + 1);
        Waiting {
            queues: self,
            key,
            queue,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (all, count) = (&self.queues.waiting_count, &self.queue.0.count);
        all.set(all.get() - 1);
        count.set(count.get() - 1);
        if count.get() == 0 {
            self.queues.of_partitions.borrow_mut().remove(&self.key);
        }
    }
}

impl Queue {
    /// Waits for the place in front.
    async fn front(&self) -> Front {
        let place = self.0.place.acquire(1).await;
        self.0.since.set(Some(rt::now()));
        Front {
            queue: self.clone(),
            _place: place,
        }
    }

    /// If somebody has the place in front, or is about to.
    fn is_waited_in(&self) -> bool {
        self.0.place.available() == 0
    }

    /// If the one in front has been there for long.
    fn is_late(&self, now: impl Fn() -> Instant) -> bool {
        let since = self.0.since.get();
        since.is_some_and(|since| PATIENCE <= now().saturating_duration_since(since))
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self(Rc::new(State {
            count: Cell::new(0),
            place: Semaphore::new(1),
            since: Cell::new(None),
        }))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.queue.0.since.set(None);
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;
    use corelog_storage::log::UNSYNCED_BYTES_MAX;
    use futures_lite::future::{block_on, poll_once};

    use super::super::slots::SlotState;
    use super::super::tests::{batches, produce, terms, topic, with_core};
    use super::*;
    use crate::partition::Input;

    const KIB: usize = 1 << 10;

    /// It needed much room at once, and those that needed little took what came free, for as long as they went on.
    #[test]
    fn what_is_large_is_appended_in_its_turn_beside_streams_of_what_is_small() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let (small, large) = (batches(64 * KIB), batches(1000 * KIB).repeat(8));
            // A disk that takes a little at a time.
            let slight = |core: &Core| core.shared.slight.note(rt::now());
            slight(&core);
            let unchecked = Incoming::Unchecked(&small);
            while core
                .produce(key, unchecked, terms(), Stand::Newcomer)
                .is_ok()
            {
                slight(&core);
            }
            let rounds = Rc::new(Cell::new(0));
            let streams = [(); 4].map(|()| {
                let (core, small) = (Rc::clone(&core), small.clone());
                let rounds = Rc::clone(&rounds);
                rt::spawn(async move {
                    for _ in 0..150 {
                        slight(&core);
                        produce(&core, key, &small).await;
                        rounds.set(rounds.get() + 1);
                    }
                })
            });
            let begun = rt::spawn({
                let (core, rounds) = (Rc::clone(&core), Rc::clone(&rounds));
                async move {
                    produce(&core, key, &large).await;
                    rounds.get()
                }
            });
            let slot = core.slot_of(key).unwrap();
            core.step(slot, Input::Commit);
            let before = begun.await;
            for stream in streams {
                stream.await;
            }
            assert_eq!(rounds.get(), 600);
            assert!(before < 300, "{before} went before");
        });
    }

    /// It looked again when something was flushed, which need not be soon.
    #[test]
    fn who_waits_for_room_looks_again_when_a_partition_is_gone() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let flushed = core.flushed.notified();
            core.drop_partition(key).await;
            assert!(poll_once(flushed).await.is_some());
        });
    }

    /// It was told so when it had waited.
    #[test]
    fn who_would_be_refused_anyway_does_not_wait_in_line() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let waiting = core.queues.wait(key);
            let _front = waiting.queue.front().await;
            let one = batches(KIB);
            let told = |batches: &[u8]| {
                let batches = Incoming::Unchecked(batches);
                core.produce(key, batches, terms(), Stand::Newcomer)
            };
            assert!(matches!(told(&one), Err(NotAppended::TailFull(_))));
            let vast = one.repeat(UNSYNCED_BYTES_MAX / one.len() + 1);
            match told(&vast) {
                Err(NotAppended::Refused(error)) => assert!(error.is(ErrorCode::BatchTooLarge)),
                _ => panic!("it waits"),
            }
        });
    }

    /// It waited for the disk of others, and was then told to come again.
    #[test]
    fn who_appends_to_a_partition_that_cannot_be_opened_waits_for_no_room() {
        with_core(|core| async move {
            let ((topic, key), (_, other)) = (topic(1), topic(2));
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            core.slots.borrow_mut().get_mut(slot).unwrap().state = SlotState::Failed;
            let _front = core.queues.of_core.front().await;
            let waiting = core.queues.wait(other);
            let one = batches(KIB);
            match core.produce(key, Incoming::Unchecked(&one), terms(), Stand::Newcomer) {
                Err(NotAppended::Refused(error)) => assert!(error.is(ErrorCode::Damaged)),
                _ => panic!("it waits"),
            }
            drop(waiting);
        });
    }

    #[test]
    fn nobody_waits_behind_a_partition_that_is_full_but_who_wants_to_append_to_it() {
        let ((_, full), (_, other)) = (topic(1), topic(2));
        let queues = Queues::default();
        let lets = |key, stand| queues.lets(key, stand, rt::now);
        block_on(async {
            let waiting = queues.wait(full);
            let front = waiting.queue.front().await;
            assert!(!lets(full, Stand::Newcomer));
            assert!(lets(other, Stand::Newcomer));
            assert!(lets(full, Stand::Front { of_core: false }));
            let second = queues.wait(full);
            assert!(poll_once(second.queue.front()).await.is_none());
            drop((front, waiting));
            assert!(!lets(full, Stand::Newcomer), "the second is in front");
            assert!(poll_once(second.queue.front()).await.is_some());
            drop(second);
            assert!(lets(full, Stand::Newcomer));
            assert!(queues.of_partitions.borrow().is_empty());
        });
    }

    #[test]
    fn while_somebody_waits_for_room_of_the_core_nobody_else_takes_any() {
        let ((_, key), (_, other)) = (topic(1), topic(2));
        let queues = Queues::default();
        let lets = |stand| queues.lets(other, stand, rt::now);
        block_on(async {
            let waiting = queues.wait(key);
            let _of_partition = waiting.queue.front().await;
            let of_core = queues.of_core.front().await;
            assert!(!lets(Stand::Newcomer));
            assert!(!lets(Stand::Front { of_core: false }));
            assert!(lets(Stand::Front { of_core: true }));
            drop(of_core);
            assert!(lets(Stand::Newcomer));
            assert!(lets(Stand::Front { of_core: false }));
        });
    }

    /// It is answered at once: with those who can wait always in front of it, it would never get in.
    #[test]
    fn who_cannot_wait_goes_by_until_the_one_in_front_has_been_there_for_long() {
        let ((_, key), (_, other)) = (topic(1), topic(2));
        let queues = Queues::default();
        block_on(async {
            let start = rt::now();
            let passes = |key, after| queues.lets(key, Stand::Passer, || start + after);
            let waiting = queues.wait(key);
            let _of_partition = waiting.queue.front().await;
            assert!(passes(key, Duration::ZERO));
            let late = 2 * PATIENCE + start.elapsed();
            assert!(!passes(key, late));
            assert!(passes(other, late));
            let of_core = queues.of_core.front().await;
            assert!(!passes(other, late + start.elapsed()));
            drop(of_core);
            assert!(passes(other, late + start.elapsed()));
        });
    }
}
