//! The slowest durable acknowledgements of a core, and where their time went.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::message::produce;
use corelog_record::{Timestamp, TopicName};

use super::board::Board;
use super::slots::PartitionKey;
use super::state::Core;
use crate::metrics::{SlowAck, SlowAcks};
use crate::rt;

/// So many are kept …
const KEPT_COUNT: usize = 64;
/// … for so long.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The slowest of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Slowest {
    /// By how long they took, told apart by a number.
    kept: RefCell<BTreeMap<(Duration, u64), Slow>>,
    last: Cell<u64>,
    /// What takes no longer is not kept until then: there is no room.
    bar: Cell<Option<(Duration, Instant)>>,
    /// What is not kept took no longer.
    others_max: Cell<Duration>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Slow {
    pub(crate) key: PartitionKey,
    pub(crate) answer: produce::Answer,
    pub(crate) answered: Timestamp,
    /// When that was, for its age.
    pub(crate) at: Instant,
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
    pub(crate) fn slowest(&self) -> SlowAcks {
        let slots = self.slots.borrow();
        self.slowest.named(|key| {
            let slot = slots.find(key).and_then(|id| slots.get(id))?;
            Some(slot.topic.name.clone())
        })
    }
}

impl Timed {
    /// Its answer is due: what it says is durable.
    pub(super) fn answered(&self, board: &Board, answer: &produce::Answer) {
        let now = rt::now();
        let took = now - self.taken;
        if self.slowest.is_below_bar(took, now) {
            return self.slowest.pass_over(took);
        }
        let Some(flush) = board.flush_of(answer.end) else {
            return self.slowest.pass_over(took);
        };
        let began = flush.began.max(self.appended);
        let ended = flush.ended.max(began);
        self.slowest.keep(Slow {
            key: self.key,
            answer: answer.clone(),
            answered: rt::wall_clock(),
            at: now,
            queue: self.appended - self.taken,
            group: began - self.appended,
            sync: ended - began,
            reply: now.saturating_duration_since(ended),
        });
    }
}

impl Slow {
    fn took(&self) -> Duration {
        self.queue + self.group + self.sync + self.reply
    }

    fn of(self, topic: TopicName) -> SlowAck {
        SlowAck {
            topic,
            partition: self.key.partition,
            base: self.answer.base,
            records: self.answer.end.since(self.answer.base),
            answered: self.answered,
            queue: self.queue,
            group: self.group,
            sync: self.sync,
            reply: self.reply,
        }
    }
}

impl Slowest {
    /// Those of partitions that have a name yet; others count among the rest.
    fn named(&self, name: impl Fn(PartitionKey) -> Option<TopicName>) -> SlowAcks {
        let mut others_max = self.others_max.get();
        let mut kept = Vec::new();
        for slow in self.told() {
            match name(slow.key) {
                Some(topic) => kept.push(slow.of(topic)),
                None => others_max = others_max.max(slow.took()),
            }
        }
        SlowAcks { kept, others_max }
    }

    /// The slowest first.
    fn told(&self) -> Vec<Slow> {
        self.forget(rt::now());
        self.kept.borrow().values().rev().cloned().collect()
    }

    fn is_below_bar(&self, took: Duration, now: Instant) -> bool {
        let bar = self.bar.get();
        bar.is_some_and(|(bar, until)| took <= bar && now < until)
    }

    fn keep(&self, slow: Slow) {
        self.forget(slow.at);
        self.last.set(self.last.get() + 1);
        let mut kept = self.kept.borrow_mut();
        kept.insert((slow.took(), self.last.get()), slow);
        if kept.len() > KEPT_COUNT
            && let Some(((took, _), _)) = kept.pop_first()
        {
            self.pass_over(took);
        }
        let fastest = kept.first_key_value().map(|((took, _), _)| *took);
        let oldest = kept.values().map(|slow| slow.at).min();
        let bar = fastest.zip(oldest.map(|oldest| oldest + KEPT_FOR));
        self.bar.set(bar.filter(|_| kept.len() == KEPT_COUNT));
    }

    /// Forgets those of more than an hour ago.
    fn forget(&self, now: Instant) {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|(took, _), slow| {
            let is_recent = now < slow.at + KEPT_FOR;
            if !is_recent {
                self.pass_over(*took);
            }
            is_recent
        });
    }

    /// One that took so long is not kept.
    fn pass_over(&self, took: Duration) {
        self.others_max.set(self.others_max.get().max(took));
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::ack::Level;
    use corelog_record::{LeaderEpoch, Offset};

    use super::super::tests::key;
    use super::*;

    fn slow(took_ms: u64, at: Instant) -> Slow {
        Slow {
            key: key(1, 0),
            answer: produce::Answer {
                base: Offset::ZERO,
                end: Offset::ZERO.plus(1),
                epoch: LeaderEpoch::ZERO,
                level: Level::Durable,
            },
            answered: rt::wall_clock(),
            at,
            queue: Duration::ZERO,
            group: Duration::ZERO,
            sync: Duration::from_millis(took_ms),
            reply: Duration::ZERO,
        }
    }

    /// An acknowledgement that took so long and leaves now.
    fn answer(slowest: &Rc<Slowest>, took: Duration) {
        let taken = rt::now() - took;
        let timed = Timed {
            slowest: Rc::clone(slowest),
            key: slow(0, taken).key,
            taken,
            appended: taken + took / 10,
        };
        let (board, answer) = (Board::default(), slow(0, taken).answer);
        board.landed(Flushing {
            began: taken + took / 10 * 3,
            ended: taken + took / 10 * 7,
        });
        board.advance(answer.end);
        timed.answered(&board, &answer);
    }

    #[test]
    fn the_slowest_are_kept_and_no_more_than_there_is_room_for() {
        let (slowest, now) = (Rc::<Slowest>::default(), rt::now());
        for took_ms in 1..=200 {
            slowest.keep(slow(took_ms, now));
        }
        answer(&slowest, Duration::from_millis(100));
        let told = slowest.told();
        let took = |slow: &Slow| slow.sync.as_millis();
        assert_eq!(told.len(), KEPT_COUNT);
        assert_eq!((took(&told[0]), took(&told[KEPT_COUNT - 1])), (200, 137));
        let others_ms = || slowest.others_max.get().as_millis();
        assert_eq!(others_ms(), 136);
        slowest.forget(now + KEPT_FOR);
        assert_eq!(others_ms(), 200, "nor is what is older than an hour");
    }

    /// It was said that none took longer than the rest, as if what had gone had never been.
    #[test]
    fn what_was_slow_in_a_topic_that_is_gone_counts_among_the_others() {
        let (slowest, now) = (Slowest::default(), rt::now());
        slowest.keep(slow(900, now));
        let told = slowest.named(|_| None);
        assert!(told.kept.is_empty());
        assert_eq!(told.others_max, Duration::from_millis(900));
        let told = slowest.named(|_| Some(TopicName::new("t").unwrap()));
        assert_eq!((told.kept.len(), told.others_max), (1, Duration::ZERO));
    }

    #[test]
    fn what_was_slow_an_hour_ago_makes_room() {
        let (slowest, now) = (Slowest::default(), rt::now());
        for _ in 0..KEPT_COUNT {
            slowest.keep(slow(100, now));
        }
        let (took, later) = (Duration::from_millis(1), now + KEPT_FOR);
        assert!(slowest.is_below_bar(took, now));
        assert!(!slowest.is_below_bar(took, later));
        slowest.keep(slow(1, later));
        assert_eq!(slowest.kept.borrow().len(), 1);
        assert!(!slowest.is_below_bar(took, later));
    }

    #[test]
    fn the_parts_of_an_answer_are_its_whole_time() {
        let slowest = Rc::<Slowest>::default();
        answer(&slowest, Duration::from_millis(100));
        let told = slowest.told().remove(0);
        let parts = [told.queue, told.group, told.sync].map(|part| part.as_millis());
        assert_eq!(parts, [10, 20, 40]);
        assert!(Duration::from_millis(30) <= told.reply);
    }
}
