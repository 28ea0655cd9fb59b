//! Time: the node's only clocks.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_record::Timestamp;
use futures_lite::FutureExt;

/// The monotonic clock: for intervals, never for what is stored.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since the Unix epoch: for what is stored, never for intervals.
#[must_use]
pub fn wall_clock() -> Timestamp {
    // A clock set before 1970 reads as 1970; one beyond i64 milliseconds does not exist.
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Suspends the calling task for at least `duration`.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// The value of `future`, or `None` if it takes longer than `duration`; it is then dropped.
///
/// For waiting only. A write to a file or a sync must never be given up: its outcome would be
/// unknown.
pub async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let future = pin!(future);
    async { Some(future.await) }
        .or(async {
            sleep(duration).await;
            None
        })
        .await
}
