//! The orders that wait for a thread, and which of them a thread takes next.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelog_protocol::limits;
use flume::Sender;

use super::job::{Had, Outcome};
use super::sources::Sources;
use super::{Order, Progress};

/// An order, and who waits for it.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) order: Order,
    /// It has had a turn in which no segment came.
    pub(super) has_made_way: bool,
    /// What is known of its sources by the turns that it has had.
    pub(super) sources: Arc<Sources>,
    pub(super) progress: Arc<Progress>,
    pub(super) done: Sender<Outcome>,
}

/// What an order is to the threads, each of which takes those of one kind first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may be fast: it keeps no rate, and has had no turn in which no segment came.
    Fast,
    /// It has had such a turn, and keeps no rate.
    Slow,
    /// It keeps a rate: it sleeps for as long as that asks.
    Rated,
}

/// A queue for each kind, oldest first: of a selection over channels a thread that was woken in vain would hear no more.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    each: [VecDeque<Ordered>; 3],
    has_ended: bool,
}

impl Kind {
    /// The kinds that a thread takes which takes this one first. What keeps a rate would sleep where others may be fast.
    fn takes(self) -> &'static [Self] {
        match self {
            Self::Fast => &[Self::Fast, Self::Slow],
            Self::Slow => &[Self::Slow, Self::Rated, Self::Fast],
            Self::Rated => &[Self::Rated, Self::Slow, Self::Fast],
        }
    }
}

impl Ordered {
    fn kind(&self) -> Kind {
        match (self.order.rate, self.has_made_way) {
            (0, false) => Kind::Fast,
            (0, true) => Kind::Slow,
            _ => Kind::Rated,
        }
    }

    fn is_wanted(&self) -> bool {
        !self.progress.stop.is_set()
    }
}

impl Queues {
    /// Has an order wait. There are no more of them than partitions: those that nobody wants any more go.
    pub(super) fn put(&self, ordered: Ordered) {
        let mut waiting = self.lock();
        if waiting.has_ended {
            return;
        }
        for queue in &mut waiting.each {
            queue.retain(Ordered::is_wanted);
        }
        waiting.each[ordered.kind() as usize].push_back(ordered);
        // Not each thread takes each order.
        self.changed.notify_all();
    }

    /// Nobody gives any more: threads end, and whoever waits is told so.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.has_ended = true;
        let left = mem::take(&mut waiting.each);
        drop(waiting);
        drop(left);
        self.changed.notify_all();
    }

    /// Waits for an order; `None` once nobody gives any more.
    pub(super) fn next(&self, first: Kind) -> Option<Ordered> {
        let mut waiting = self.lock();
        loop {
            if waiting.has_ended {
                return None;
            }
            if let Some(ordered) = waiting.take(first) {
                return Some(ordered);
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells, of an order that a thread took, whether others come before it once it has had so much of that: of one that may
    /// be fast all that the thread takes, for it is slow by then; of another one those that the thread takes first, and
    /// where it is of these itself only after many turns, in which a batch came: what came of one is given up, so that two
    /// which take longer would begin with theirs again and again. Who gives less than any honest source is waited for no
    /// longer than the largest batch of such a one takes.
    pub(super) fn who_makes_way<'a>(
        &'a self,
        first: Kind,
        ordered: &Ordered,
    ) -> impl Fn(Had) -> bool + Sync + use<'a> {
        let (kind, turn) = (ordered.kind(), ordered.order.turn);
        let (to, with_batch, without) = match kind {
            Kind::Fast => (first.takes(), turn, turn),
            _ if kind == first => {
                let without = turn * FIRST_BATCH_TURNS + at_rate(ordered.order.rate);
                (&first.takes()[..1], turn * LONG_TURN, without)
            }
            _ => (&first.takes()[..1], turn, turn),
        };
        move |had| {
            let lasts = match had.has_batch {
                true => with_batch,
                false => without,
            };
            lasts <= had.lasted && self.lock().has_any(to)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, first: Kind) -> Option<Ordered> {
        let mut kinds = first.takes().iter();
        kinds.find_map(|kind| self.each[*kind as usize].pop_front())
    }

    fn has_any(&self, of: &[Kind]) -> bool {
        let mut queues = of.iter().map(|kind| &self.each[*kind as usize]);
        queues.any(|queue| queue.iter().any(Ordered::is_wanted))
    }
}

/// How long the first batch of an order takes for the rate that it keeps, if it keeps one.
fn at_rate(rate: u64) -> Duration {
    Duration::from_secs(FIRST_BATCH_BYTES.checked_div(rate).unwrap_or(0))
}

/// So many turns one that is slow, or keeps a rate, has a thread of its kind in one, though others of that wait: in each what
/// is there already is read anew.
const LONG_TURN: u32 = 24;
/// And so many for its first batch. A source that need not wait for its turn to send gives 64 KiB in 11 s at least, which is
/// 8 MiB, and the rest of the mebibyte in which they end, within 27 minutes.
const FIRST_BATCH_TURNS: u32 = 160;
/// The largest batch and a mebibyte of each segment that comes in at the rate of one order.
const FIRST_BATCH_BYTES: u64 = 4 * ((limits::BATCH_BYTES_MAX as u64) + (1 << 20));

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::tests::{order_at, ordered};
    use super::*;

    /// So many seconds without a batch.
    fn had(seconds: u64) -> Had {
        Had {
            lasted: Duration::from_secs(seconds),
            has_batch: false,
        }
    }

    fn taken(queues: &Queues, first: Kind) -> Option<(u64, bool)> {
        let taken = queues.lock().take(first);
        taken.map(|ordered| (ordered.order.rate, ordered.has_made_way))
    }

    /// A thread that was woken for what another took heard of nothing any more, and orders waited beside it.
    #[test]
    fn each_order_is_taken_by_a_thread_that_waits_however_they_come() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        thread::scope(|scope| {
            let firsts = [Kind::Rated, Kind::Slow, Kind::Fast, Kind::Fast];
            let threads = firsts.map(|first| {
                let queues = &queues;
                scope.spawn(move || {
                    let mut count = 0;
                    while let Some(ordered) = queues.next(first) {
                        let _ = ordered.done.send(Outcome::default());
                        count += 1;
                    }
                    count
                })
            });
            for number in 0..300 {
                let (done, received) = flume::bounded(1);
                for order in &orders {
                    let done = done.clone();
                    queues.put(Ordered {
                        done,
                        ..ordered(order, number % 3 == 0)
                    });
                }
                drop(done);
                assert_eq!(received.iter().count(), 2);
            }
            queues.end();
            let counts = threads.map(|thread| thread.join().unwrap());
            assert_eq!(counts.iter().sum::<i32>(), 600, "{counts:?}");
        });
    }

    #[test]
    fn half_of_the_threads_take_nothing_that_keeps_a_rate_and_each_of_the_others_its_kind_first() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        let all = [(1, false), (0, true), (0, false), (1, true)];
        let put = || all.map(|(rate, has)| queues.put(ordered(&orders[rate], has)));
        put();
        let by_fast = [(); 3].map(|()| taken(&queues, Kind::Fast));
        assert_eq!(by_fast, [Some((0, false)), Some((0, true)), None]);
        put();
        let rated = [(1, false), (1, true), (1, false), (1, true)].map(Some);
        let by_rated = [(); 7].map(|()| taken(&queues, Kind::Rated));
        assert_eq!(by_rated[..4], rated);
        assert_eq!(by_rated[4..], [Some((0, true)), Some((0, false)), None]);
        put();
        let by_slow = [(); 5].map(|()| taken(&queues, Kind::Slow));
        assert_eq!(by_slow[0], Some((0, true)));
        assert_eq!(by_slow[1..3], rated[..2]);
        assert_eq!(by_slow[3..], [Some((0, false)), None]);
    }

    /// Behind those of a clone at a low rate a copy waited for some twenty minutes, for each of its segments; and such a clone
    /// waited for hours behind copies whose sources were slow, beside threads that had nothing to do.
    #[test]
    fn what_has_had_its_turn_makes_way_to_what_can_take_its_thread() {
        let orders = [0, 1].map(order_at);
        let [fast, again] = [false, true].map(|has| ordered(&orders[0], has));
        let rated = ordered(&orders[1], false);
        for (waits, expected, by_rated) in [
            (None, [false; 4], [false; 4]),
            (
                Some((1, false)),
                [false, true, false, false],
                [false, true, true, false],
            ),
            (
                Some((0, true)),
                [true, true, false, false],
                [true, true, false, false],
            ),
            (
                Some((0, false)),
                [true, true, true, false],
                [false, true, false, false],
            ),
        ] {
            let queues = Queues::default();
            if let Some((rate, has)) = waits {
                queues.put(ordered(&orders[rate], has));
            }
            let told = |first, ordered: &Ordered| {
                let makes_way = queues.who_makes_way(first, ordered);
                assert!(!makes_way(had(9)), "it has its turn");
                makes_way(had(10))
            };
            let of_others = [
                told(Kind::Fast, &fast),
                told(Kind::Slow, &fast),
                told(Kind::Fast, &again),
                told(Kind::Slow, &again),
            ];
            assert_eq!(of_others, expected, "{waits:?}");
            let beside_a_rate = [
                told(Kind::Slow, &rated),
                told(Kind::Rated, &fast),
                told(Kind::Rated, &again),
                told(Kind::Rated, &rated),
            ];
            assert_eq!(beside_a_rate, by_rated, "{waits:?}");
        }
    }

    /// It had its thread for hours, from a source that gave just enough, and all others that had made way waited for that.
    /// And two whose batches took longer than a turn began with them again and again, for ever. Then one whose source gave
    /// 64 KiB every 50 s had its thread for two hours, until a batch of 8 MiB was there.
    #[test]
    fn what_is_slow_makes_way_to_its_kind_after_four_minutes_and_a_batch_or_as_long_as_that_may_take() {
        let queues = Queues::default();
        let lasts = |rate, has_made_way, first: Kind, has_batch| {
            let order = order_at(rate);
            queues.put(ordered(&order, has_made_way));
            let makes_way = queues.who_makes_way(first, &ordered(&order, has_made_way));
            let mut seconds = (0..10_000).map(|seconds| Had {
                has_batch,
                ..had(seconds)
            });
            seconds.position(makes_way)
        };
        for (rate, has_made_way, first, first_batch) in [
            (0, true, Kind::Slow, 1_600),
            (1 << 30, false, Kind::Rated, 1_600),
            // Of which each of four segments that share it has a quarter.
            (32 << 10, true, Kind::Rated, 1_600 + 4 * 9 * 32),
        ] {
            assert_eq!(lasts(rate, has_made_way, first, true), Some(240));
            let without = lasts(rate, has_made_way, first, false);
            assert_eq!(without, Some(first_batch));
        }
        assert_eq!(lasts(0, true, Kind::Rated, false), Some(10), "to another");
    }

    #[test]
    fn what_nobody_wants_any_more_waits_no_longer() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        let given_up = ordered(&orders[0], false);
        given_up.progress.stop.set();
        queues.put(given_up);
        queues.put(ordered(&orders[1], false));
        assert_eq!(taken(&queues, Kind::Slow), Some((1, false)));
        assert_eq!(taken(&queues, Kind::Slow), None);
    }

    #[test]
    fn nothing_makes_way_to_what_nobody_wants_any_more() {
        let order = order_at(0);
        let queues = Queues::default();
        let given_up = ordered(&order, false);
        let progress = Arc::clone(&given_up.progress);
        queues.put(given_up);
        let makes_way = queues.who_makes_way(Kind::Fast, &ordered(&order, false));
        assert!(makes_way(had(10)));
        progress.stop.set();
        assert!(!makes_way(had(10)));
    }
}
