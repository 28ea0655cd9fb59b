//! How long a core's tasks go on before it looks at what has come meanwhile.
//!
//! glommio looks at completions and timers when no task is runnable, or when its preemption timer fires.
//! That timer is one of the kernel's, set and taken back with every turn of the loop; one that is due
//! before the kernel's next tick means that the processor's clock is set twice, which on a virtual machine
//! leaves it twice. An acknowledgement of one record in flight takes four turns: a timer of 1 ms cost it
//! 20 µs of 245. So the timer is long, for tasks that never give way, and those that do go by the clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::clock::{now, sleep};
use super::vitals;

/// Gives way if this core's time slice is over. Called after each frame, each appended batch, each
/// loop of more than about 100 µs: a socket or channel that is always ready never suspends a task.
pub async fn yield_if_needed() {
    vitals::turn();
    if is_over(now()) {
        sleep(NEXT_TURN).await;
        turned();
    } else {
        glommio::yield_if_needed().await;
    }
}

/// The core has looked at what came: a slice begins with whoever asks next.
pub(super) fn turned() {
    BEGAN.set(None);
}

fn is_over(now: Instant) -> bool {
    let began = BEGAN.get().unwrap_or(now);
    BEGAN.set(Some(began));
    SLICE <= now.saturating_duration_since(began)
}

thread_local! {
    /// When the slice began; none if nobody asked since the core was last known to look.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What others wait for at most, and one piece of work of each task that is runnable by then.
const SLICE: Duration = Duration::from_millis(1);

/// Over when the core's loop comes round, which is when it looks at timers.
const NEXT_TURN: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::tests::on_core;
    use super::super::{spawn, task::Task};
    use super::*;

    #[test]
    fn a_slice_is_over_a_millisecond_after_the_first_question_since_the_turn() {
        let start = Instant::now();
        turned();
        assert!(!is_over(start));
        assert!(!is_over(start + SLICE / 2));
        assert!(is_over(start + SLICE));
        turned();
        assert!(!is_over(start + SLICE * 2));
    }

    /// The runtime's own timer would let it wait twice as long as these go on.
    #[test]
    fn those_who_always_have_something_to_do_hold_up_a_timer_for_a_slice_only() {
        on_core(|| async {
            let start = now();
            let is_awake = Rc::new(Cell::new(false));
            let sleeper = spawn({
                let is_awake = Rc::clone(&is_awake);
                async move {
                    sleep(Duration::from_micros(100)).await;
                    is_awake.set(true);
                }
            });
            let busy: Vec<Task<bool>> = (0..3)
                .map(|_| {
                    let is_awake = Rc::clone(&is_awake);
                    spawn(async move {
                        while start.elapsed() < SLICE * 5 {
                            yield_if_needed().await;
                        }
                        is_awake.get()
                    })
                })
                .collect();
            for task in busy {
                assert!(task.await);
            }
            sleeper.await;
        });
    }
}
