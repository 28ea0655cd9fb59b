//! The slowest durable acknowledgements of a core, and where their time went.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::message::produce;
use corelog_record::Timestamp;

use super::slots::PartitionKey;
use super::state::Core;
use crate::metrics::SlowAck;
use crate::rt;

/// So many are kept …
const KEPT_COUNT: usize = 64;
/// … for so long, in milliseconds.
const KEPT_MS: i64 = 60 * 60 * 1000;

/// The slowest of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Slowest {
    /// By how long they took, told apart by a number.
    kept: RefCell<BTreeMap<(Duration, u64), Slow>>,
    last: Cell<u64>,
    /// What takes no longer is not kept: there is no room.
    bar: Cell<Duration>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Slow {
    pub(crate) key: PartitionKey,
    pub(crate) answer: produce::Answer,
    pub(crate) answered: Timestamp,
    pub(crate) queue: Duration,
    pub(crate) group: Duration,
    pub(crate) sync: Duration,
    pub(crate) reply: Duration,
}

/// When a Produce that waits for its flush was taken and appended.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) slowest: Rc<Slowest>,
    pub(crate) key: PartitionKey,
    pub(crate) taken: Instant,
    pub(crate) appended: Instant,
}

/// When the last flush of a partition began and ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flushing {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

impl Core {
    /// The slowest durable acknowledgements of the last hour, of partitions that are still here.
    pub(crate) fn slowest(&self) -> Vec<SlowAck> {
        let slots = self.slots.borrow();
        let named = |slow: Slow| {
            let slot = slots.find(slow.key).and_then(|id| slots.get(id))?;
            Some(SlowAck {
                topic: slot.topic.name.clone(),
                partition: slow.key.partition,
                base: slow.answer.base,
                records: slow.answer.end.since(slow.answer.base),
                answered: slow.answered,
                queue: slow.queue,
                group: slow.group,
                sync: slow.sync,
                reply: slow.reply,
            })
        };
        self.slowest.told().into_iter().filter_map(named).collect()
    }
}

impl Timed {
    /// Its answer is due, since the flush that made it durable ended.
    pub(super) fn answered(&self, flush: Flushing, answer: &produce::Answer) {
        let now = rt::now();
        if now - self.taken <= self.slowest.bar.get() {
            return;
        }
        let began = flush.began.max(self.appended);
        let ended = flush.ended.max(began);
        self.slowest.keep(Slow {
            key: self.key,
            answer: answer.clone(),
            answered: rt::wall_clock(),
            queue: self.appended - self.taken,
            group: began - self.appended,
            sync: ended - began,
            reply: now.saturating_duration_since(ended),
        });
    }
}

impl Slowest {
    /// The slowest first.
    pub(crate) fn told(&self) -> Vec<Slow> {
        self.forget(rt::wall_clock());
        self.kept.borrow().values().rev().cloned().collect()
    }

    fn keep(&self, slow: Slow) {
        self.forget(slow.answered);
        self.last.set(self.last.get() + 1);
        let total = slow.queue + slow.group + slow.sync + slow.reply;
        let mut kept = self.kept.borrow_mut();
        kept.insert((total, self.last.get()), slow);
        if kept.len() > KEPT_COUNT {
            kept.pop_first();
        }
        if kept.len() == KEPT_COUNT {
            let fastest = kept.first_key_value().map(|((took, _), _)| *took);
            self.bar.set(fastest.unwrap_or_default());
        }
    }

    /// Forgets those of more than an hour ago.
    fn forget(&self, now: Timestamp) {
        let oldest = now.saturating_sub_millis(KEPT_MS);
        let mut kept = self.kept.borrow_mut();
        let count = kept.len();
        kept.retain(|_, slow| oldest <= slow.answered);
        if kept.len() < count {
            self.bar.set(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::ack::Level;
    use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId};

    use super::*;

    fn slow(took_ms: u64, answered: i64) -> Slow {
        Slow {
            key: PartitionKey {
                topic: TopicId::from_bytes([1; 16]),
                partition: PartitionId::new(0),
            },
            answer: produce::Answer {
                base: Offset::ZERO,
                end: Offset::ZERO.plus(1),
                epoch: LeaderEpoch::ZERO,
                level: Level::Durable,
            },
            answered: Timestamp::from_millis(answered),
            queue: Duration::ZERO,
            group: Duration::ZERO,
            sync: Duration::from_millis(took_ms),
            reply: Duration::ZERO,
        }
    }

    #[test]
    fn the_slowest_are_kept_and_no_more_than_there_is_room_for() {
        let (slowest, now) = (Slowest::default(), rt::wall_clock().millis());
        for took_ms in 1..=200 {
            slowest.keep(slow(took_ms, now));
        }
        let told = slowest.told();
        let took = |slow: &Slow| slow.sync.as_millis();
        assert_eq!(told.len(), KEPT_COUNT);
        assert_eq!((took(&told[0]), took(&told[KEPT_COUNT - 1])), (200, 137));
        assert_eq!(slowest.bar.get(), Duration::from_millis(137));
    }

    #[test]
    fn what_was_slow_an_hour_ago_makes_room() {
        let (slowest, now) = (Slowest::default(), rt::wall_clock().millis());
        for _ in 0..KEPT_COUNT {
            slowest.keep(slow(100, now - KEPT_MS - 1));
        }
        slowest.keep(slow(1, now));
        assert_eq!(slowest.told().len(), 1);
        assert_eq!(slowest.bar.get(), Duration::ZERO);
    }

    #[test]
    fn the_parts_of_an_answer_are_its_whole_time() {
        let slowest = Rc::<Slowest>::default();
        let taken = rt::now() - Duration::from_millis(100);
        let after = |ms| taken + Duration::from_millis(ms);
        let timed = Timed {
            slowest: Rc::clone(&slowest),
            key: slow(0, 0).key,
            taken,
            appended: after(10),
        };
        let flush = Flushing {
            began: after(30),
            ended: after(70),
        };
        timed.answered(flush, &slow(0, 0).answer);
        let told = slowest.told().remove(0);
        let parts = [told.queue, told.group, told.sync].map(|part| part.as_millis());
        assert_eq!(parts, [10, 20, 40]);
        assert!(Duration::from_millis(30) <= told.reply);
    }
}
