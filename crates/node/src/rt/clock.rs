//! Time: the node's only clocks.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_record::Timestamp;
use corelog_storage::Now;
use futures_lite::future::poll_once;
use glommio::timer::Timer;
use nix::time::{ClockId, clock_gettime};

use super::steady::{Leap, Steady};
use super::unless::unless;

/// The monotonic clock: for intervals, never for what is stored.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// How long the machine has been up, suspended or not: `CLOCK_BOOTTIME`, clock_gettime(2). [`now`] stands still while it is
/// suspended.
#[must_use]
pub fn booted() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The wall clock in milliseconds since the Unix epoch: for what is due, never for intervals. On a thread it
/// never runs backwards, and leaps no more than an hour: see `Steady`.
#[must_use]
pub fn wall_clock() -> Timestamp {
    clocks().time
}

/// The wall clock, and what to write down that retention goes by later.
#[must_use]
pub fn clocks() -> Now {
    let (at, wall) = (now(), machine_clock());
    let mut steady = STEADY.get().unwrap_or_else(|| Steady::new(at, wall));
    let leap = steady.look(at, wall);
    STEADY.set(Some(steady));
    if let Some(leap) = leap {
        tell(leap);
    }
    steady.now()
}

/// By how much the machine's clock is ahead of [`wall_clock`] because it leapt, and that is not believed yet.
#[must_use]
pub fn clock_doubt() -> Duration {
    STEADY
        .get()
        .map_or(Duration::ZERO, |steady| steady.doubted())
}

fn tell(leap: Leap) {
    match leap {
        Leap::Back { millis } => tracing::warn!(
            millis,
            "the machine's clock was set back: the node's goes on at half speed until they agree"
        ),
        Leap::Ahead { millis } => tracing::warn!(
            millis,
            "the machine's clock leapt ahead: if it stays there for an hour it is believed, and what is \
             then older than its retention age expires"
        ),
        Leap::Believed { millis } => {
            tracing::warn!(millis, "the leap of the machine's clock is believed");
        }
    }
}

thread_local! {
    static STEADY: Cell<Option<Steady>> = const { Cell::new(None) };
}

/// What the machine's clock shows, whatever was done to it.
fn machine_clock() -> Timestamp {
    // A clock set before 1970 reads as 1970; one beyond i64 milliseconds does not exist.
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// What [`sleep`] gives.
#[must_use = "a future does nothing unless awaited"]
#[derive(Debug)]
pub struct Sleep {
    duration: Duration,
    timer: Option<Timer>,
}

/// Suspends the calling task for at least `duration` from when it is first polled.
///
/// No `async fn`: that has twice the room, and thousands wait under a timeout.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        duration,
        timer: None,
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let duration = self.duration;
        let timer = self.timer.get_or_insert_with(|| Timer::new(duration));
        Pin::new(timer).poll(cx).map(drop)
    }
}

/// The value of `future`, or `None` if it takes longer than `duration`; it is dropped with what this gives.
///
/// For waiting only. A write to a file or a sync must never be given up: its outcome would be
/// unknown.
pub fn timeout<T>(
    duration: Duration,
    future: impl Future<Output = T>,
) -> impl Future<Output = Option<T>> {
    unless(future, sleep(duration))
}

/// The value of `future`, and how long it was waited for: not at all if it is ready at once.
pub async fn waited<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = pin!(future);
    if let Some(value) = poll_once(future.as_mut()).await {
        return (value, Duration::ZERO);
    }
    let start = now();
    let value = future.await;
    (value, start.elapsed())
}

/// A time in milliseconds, as it is told and logged: 128 bits would be a text in the log, and not a number.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The same in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
