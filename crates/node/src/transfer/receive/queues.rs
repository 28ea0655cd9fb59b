//! The orders that wait for a thread, and which of them a thread takes next.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use flume::Sender;

use super::{Met, Order, Progress, Received};

/// An order, and who waits for it.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) order: Order,
    /// It has had a turn in which no segment came.
    pub(super) has_made_way: bool,
    /// What went wrong in the turns that it has had.
    pub(super) before: Vec<Met>,
    pub(super) progress: Arc<Progress>,
    pub(super) done: Sender<Received>,
}

/// Which orders a thread takes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Those that are not slow, and none that keeps a rate: such a one sleeps for as long as that asks.
    Fast,
    /// Those that are slow, and it has each of them until it ends.
    Slow,
}

/// Two queues, oldest first: of a selection over two channels a thread that was woken in vain would hear no more.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    fast: VecDeque<Ordered>,
    slow: VecDeque<Ordered>,
    has_ended: bool,
}

impl Ordered {
    fn keeps_rate(&self) -> bool {
        self.order.rate != 0
    }

    fn is_slow(&self) -> bool {
        self.has_made_way || self.keeps_rate()
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
        waiting.fast.retain(Ordered::is_wanted);
        waiting.slow.retain(Ordered::is_wanted);
        match ordered.is_slow() {
            true => waiting.slow.push_back(ordered),
            false => waiting.fast.push_back(ordered),
        }
        // Not each thread takes each order.
        self.changed.notify_all();
    }

    /// Nobody gives any more: threads end, and whoever waits is told so.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.has_ended = true;
        let left = (mem::take(&mut waiting.fast), mem::take(&mut waiting.slow));
        drop(waiting);
        drop(left);
        self.changed.notify_all();
    }

    /// Waits for an order; `None` once nobody gives any more.
    pub(super) fn next(&self, first: First) -> Option<Ordered> {
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

    /// Tells, once an order that a thread took has had its turn, whether others come before it.
    pub(super) fn who_makes_way<'a>(
        &'a self,
        first: First,
        ordered: &Ordered,
    ) -> impl Fn() -> bool + Sync + use<'a> {
        let (is_slow, is_kept) = (ordered.is_slow(), first == First::Slow);
        move || {
            let waiting = self.lock();
            match (is_slow, is_kept) {
                (true, true) => false,
                (true, false) => !waiting.fast.is_empty(),
                (false, true) => !(waiting.fast.is_empty() && waiting.slow.is_empty()),
                (false, false) => !waiting.fast.is_empty() || waiting.has_made_way().is_some(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, first: First) -> Option<Ordered> {
        match first {
            First::Fast => {
                let fast = self.fast.pop_front();
                fast.or_else(|| self.slow.remove(self.has_made_way()?))
            }
            First::Slow => self.slow.pop_front().or_else(|| self.fast.pop_front()),
        }
    }

    /// Where the oldest is that waits for its next turn.
    fn has_made_way(&self) -> Option<usize> {
        self.slow.iter().position(|ordered| !ordered.keeps_rate())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::tests::order_at;
    use super::*;

    /// An order that has had a turn or not.
    fn ordered(order: &Order, has_made_way: bool) -> Ordered {
        Ordered {
            order: order.clone(),
            has_made_way,
            before: Vec::new(),
            progress: Arc::new(Progress::new(order)),
            done: flume::bounded(1).0,
        }
    }

    fn taken(queues: &Queues, first: First) -> Option<(u64, bool)> {
        let taken = queues.lock().take(first);
        taken.map(|ordered| (ordered.order.rate, ordered.has_made_way))
    }

    /// A thread that was woken for what another took heard of nothing any more, and orders waited beside it.
    #[test]
    fn each_order_is_taken_by_a_thread_that_waits_however_they_come() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        thread::scope(|scope| {
            let threads = [First::Slow, First::Slow, First::Fast, First::Fast].map(|first| {
                let queues = &queues;
                scope.spawn(move || {
                    let mut count = 0;
                    while let Some(ordered) = queues.next(first) {
                        let _ = ordered.done.send(Received::default());
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
    fn half_of_the_threads_take_nothing_that_keeps_a_rate_and_the_others_take_what_is_slow_first() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        let all = [(1, false), (0, true), (0, false), (1, true)];
        let put = || all.map(|(rate, has)| queues.put(ordered(&orders[rate], has)));
        put();
        let by_fast = [(); 3].map(|()| taken(&queues, First::Fast));
        assert_eq!(by_fast, [Some((0, false)), Some((0, true)), None]);
        put();
        let by_slow = [(); 7].map(|()| taken(&queues, First::Slow));
        let in_order = [
            (1, false),
            (1, true),
            (1, false),
            (0, true),
            (1, true),
            (0, false),
        ];
        assert_eq!(by_slow[..6], in_order.map(Some));
        assert_eq!(by_slow[6], None);
    }

    /// Behind those of a clone at a low rate a copy waited for some twenty minutes, for each of its segments.
    #[test]
    fn what_has_had_its_turn_makes_way_to_what_can_take_its_thread() {
        let orders = [0, 1].map(order_at);
        let [fast, again] = [false, true].map(|has| ordered(&orders[0], has));
        for (waits, expected) in [
            (None, [false; 4]),
            (Some((1, false)), [false, true, false, false]),
            (Some((0, true)), [true, true, false, false]),
            (Some((0, false)), [true, true, true, false]),
        ] {
            let queues = Queues::default();
            if let Some((rate, has)) = waits {
                queues.put(ordered(&orders[rate], has));
            }
            let told = [
                queues.who_makes_way(First::Fast, &fast)(),
                queues.who_makes_way(First::Slow, &fast)(),
                queues.who_makes_way(First::Fast, &again)(),
                queues.who_makes_way(First::Slow, &again)(),
            ];
            assert_eq!(told, expected, "{waits:?}");
        }
    }

    #[test]
    fn what_nobody_wants_any_more_waits_no_longer() {
        let orders = [0, 1].map(order_at);
        let queues = Queues::default();
        let given_up = ordered(&orders[0], false);
        given_up.progress.stop.set();
        queues.put(given_up);
        queues.put(ordered(&orders[1], false));
        assert_eq!(taken(&queues, First::Slow), Some((1, false)));
        assert_eq!(taken(&queues, First::Slow), None);
    }
}
