//! How long a core's tasks go on before it looks at what has come meanwhile.
//!
//! glommio looks at completions and timers when no task is runnable, or when a timer of the kernel's fires
//! that it sets and takes back with every turn of its loop. One that is due before the kernel's next tick has
//! the processor's clock set, twice in a turn, and each time leaves the virtual machine, if it is in one. So
//! that timer is longer than a tick, until tasks go on for longer than a slice: from then on it is as short as
//! a slice, until a turn is short again.
//!
//! How long it is, glommio takes from the queues that have runnable tasks when it sets it. One queue wants it
//! short, and has one task, which is runnable then or is not.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::{Latency, Shares};

use super::clock::{now, sleep};
use super::notify::Notify;
use super::task::{self, Task};
use super::vitals;

/// Gives way if this core's time slice is over. Called after each frame, each appended batch, each
/// loop of more than about 100 µs: a socket or channel that is always ready never suspends a task.
pub async fn yield_if_needed() {
    vitals::turn();
    look_at_clock();
    glommio::yield_if_needed().await;
}

/// Notices, once a slice, that the core has not looked for that long. Called behind each poll of a task.
pub(super) fn look_at_clock() {
    if is_over(now()) {
        Slice::current().end();
        OVER.with(Notify::notify);
    }
}

/// Has the runtime's timer short while turns are long, for as long as the task is kept.
pub(super) fn keep_short() -> Task<()> {
    let queue =
        glommio::executor().create_task_queue(Shares::default(), Latency::Matters(SLICE), "slices");
    task::spawn_into(queue, follow_turns())
}

async fn follow_turns() {
    loop {
        OVER.with(Notify::notified).await;
        while turn().await >= SLICE / 2 {}
    }
}

/// Is ready when the core has looked at what came the next time.
pub async fn next_turn() {
    let mut after = NEXT_TURN;
    let mut timer = pin!(sleep(after));
    let mut is_set = false;
    poll_fn(|cx| {
        while timer.as_mut().poll(cx).is_ready() {
            if is_set {
                return Poll::Ready(());
            }
            // It was due before it was set, and the core has not looked: where caches are cold that takes some microseconds.
            after *= 2;
            timer.set(sleep(after));
        }
        is_set = true;
        Poll::Pending
    })
    .await;
}

/// Lets other threads of this processor run first, if there are any that want to (`sched_yield(2)`).
pub fn yield_processor() {
    std::thread::yield_now();
}

/// Tells how long a turn takes.
async fn turn() -> Duration {
    let start = now();
    next_turn().await;
    start.elapsed()
}

/// A slice of this core's time, by its number: the core looks at what came between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice(u64);

impl Slice {
    /// The one that goes on.
    pub(super) fn current() -> Self {
        CURRENT.get().0
    }

    /// The core has looked since this slice. Of all who find that out the first one ends it; the next slice
    /// begins with whoever looks at the clock next.
    pub(super) fn end(self) {
        if Self::current() == self {
            CURRENT.set((Self(self.0 + 1), None));
        }
    }
}

/// Whether the current slice has lasted long enough.
fn is_over(now: Instant) -> bool {
    let (slice, began) = CURRENT.get();
    let began = began.unwrap_or(now);
    CURRENT.set((slice, Some(began)));
    SLICE <= now.saturating_duration_since(began)
}

thread_local! {
    /// The current slice, and when somebody first looked at the clock in it.
    static CURRENT: Cell<(Slice, Option<Instant>)> = const { Cell::new((Slice(0), None)) };
    static OVER: Notify = Notify::new();
}

/// What others wait for at most, but for the first long turn.
const SLICE: Duration = Duration::from_millis(1);

/// Over whenever the core looks at timers again.
const NEXT_TURN: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::yield_now;

    use super::super::tests::on_core;
    use super::super::{spawn, spawn_background};
    use super::*;

    #[test]
    fn a_slice_is_over_a_millisecond_after_the_first_look() {
        Slice::current().end();
        let start = Instant::now();
        assert!(!is_over(start));
        assert!(!is_over(start + SLICE / 2));
        assert!(is_over(start + SLICE));
        Slice::current().end();
        assert!(!is_over(start + SLICE * 2));
    }

    #[test]
    fn of_all_who_find_that_the_core_has_looked_only_the_first_ends_the_slice() {
        let start = Instant::now();
        let waited = [Slice::current(); 3];
        for (slice, look) in waited.into_iter().zip(0..) {
            slice.end();
            is_over(start + SLICE * look / 4);
        }
        assert!(is_over(start + SLICE));
    }

    #[test]
    fn a_turn_is_waited_for_also_where_caches_are_cold() {
        on_core(|| async {
            let mut others = vec![0; 16 << 20];
            for round in 0..20 {
                let has_looked = Rc::new(Cell::new(None));
                let look = Rc::clone(&has_looked);
                let looker = spawn(async move {
                    look.set(Some(false));
                    sleep(NEXT_TURN).await;
                    look.set(Some(true));
                });
                while has_looked.get().is_none() {
                    yield_now().await;
                }
                // The looker is due by the end of this.
                others.fill(round);
                next_turn().await;
                assert_eq!(has_looked.get(), Some(true), "{round}");
                looker.await;
            }
        });
    }

    /// A fiftieth of a slice.
    fn work() {
        let start = now();
        while start.elapsed() < SLICE / 50 {}
    }

    /// How often a task that sleeps for less than a slice wakes while three others, each of which always has
    /// something to do, do so for at least 30 slices.
    async fn wakes(does_ask: bool) -> u32 {
        let wakes = Rc::new(Cell::new(0));
        let sleeper = spawn({
            let wakes = Rc::clone(&wakes);
            async move {
                loop {
                    sleep(SLICE / 10).await;
                    wakes.set(wakes.get() + 1);
                }
            }
        });
        let busy = |_| {
            spawn(async move {
                for _ in 0..30 * 50 / 3 {
                    work();
                    if does_ask {
                        yield_if_needed().await;
                    } else {
                        yield_now().await;
                    }
                }
            })
        };
        for task in (0..3).map(busy).collect::<Vec<_>>() {
            task.await;
        }
        drop(sleeper);
        wakes.get()
    }

    /// Who asks goes on for a whole slice, and three of them come before the sleeper. The runtime's long timer
    /// would wake it six times, and twice.
    #[test]
    fn those_who_always_have_something_to_do_hold_up_a_timer_for_a_slice_each_at_most() {
        on_core(|| async {
            for (does_ask, least) in [(false, 15), (true, 5)] {
                let wakes = wakes(does_ask).await;
                assert!(wakes >= least, "{wakes} in 30 slices, {does_ask}");
            }
        });
    }

    #[test]
    fn background_work_has_a_small_share_beside_what_always_has_something_to_do() {
        async fn pieces(end: Instant) -> u32 {
            let mut pieces = 0;
            while now() < end {
                work();
                pieces += 1;
                yield_now().await;
            }
            pieces
        }
        on_core(|| async {
            let mut shares = Vec::new();
            // Where the core itself gets but a share of its processor, a piece counts for as long as it is kept waiting:
            // then it takes several attempts.
            while shares.len() < 50 {
                let end = now() + SLICE * 200;
                let behind = spawn_background(pieces(end));
                let before = spawn(pieces(end)).await;
                let behind = behind.await;
                // A tenth by their shares.
                if (1..before / 3).contains(&behind) {
                    return;
                }
                shares.push((behind, before));
            }
            panic!("so much beside so much: {shares:?}");
        });
    }
}
