//! Room for one more request in flight: what the server announced is never exceeded, by waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corelog_protocol::kind::Kind;
use tokio::sync::AcquireError;
use tokio::time::Instant;

use super::table::Permits;
use super::{Shared, alarm};
use crate::Error;

/// Room for a request with so many bytes behind its head, once there is.
///
/// # Errors
/// [`Error::TimedOut`], or [`Error::Lost`] if the connection ended.
pub(super) async fn take(
    shared: &Shared,
    body_bytes: usize,
    timeout: Duration,
    kind: Kind,
) -> Result<Permits, Error> {
    if timeout.is_zero() {
        // Sent, its outcome would be unknown at once.
        return Err(shared.timed_out(kind, timeout, false));
    }
    match now(shared, body_bytes) {
        Some(permits) => Ok(permits),
        None => in_time(shared, needed(shared, body_bytes), timeout, kind).await,
    }
}

/// Room for a request, if the server takes another one, and as many bytes, now: nearly always, and no timer is started.
pub(super) fn now(shared: &Shared, body_bytes: usize) -> Option<Permits> {
    let bytes = needed(shared, body_bytes);
    let slot = Arc::clone(&shared.slots).try_acquire_owned().ok()?;
    let bytes = Arc::clone(&shared.bytes).try_acquire_many_owned(bytes);
    Some(Permits {
        _slot: slot,
        bytes: bytes.ok()?,
        _claim: None,
    })
}

/// As [`now`], once there is room.
///
/// # Errors
/// [`Error::TimedOut`], or [`Error::Lost`] if the connection ended.
async fn in_time(
    shared: &Shared,
    bytes: u32,
    timeout: Duration,
    kind: Kind,
) -> Result<Permits, Error> {
    let asked = Instant::now();
    let room = async {
        let slot = Arc::clone(&shared.slots).acquire_owned().await?;
        let bytes = Arc::clone(&shared.bytes).acquire_many_owned(bytes).await?;
        Ok::<_, AcquireError>(Permits {
            _slot: slot,
            bytes,
            _claim: None,
        })
    };
    match alarm::in_time(asked + timeout, room).await {
        Some(room) => room.map_err(|_| shared.not_entered()),
        None => {
            shared.give_up_on_silence(asked);
            Err(shared.timed_out(kind, timeout, false))
        }
    }
}

/// What a request counts as. One larger than the whole room takes all of it, and the server judges it.
fn needed(shared: &Shared, body_bytes: usize) -> u32 {
    let room = shared.bytes_max.load(Ordering::Relaxed);
    let bytes = u32::try_from(body_bytes + HEAD_BYTES);
    bytes.unwrap_or(u32::MAX).min(room)
}

/// What a head is counted as; real ones are smaller but for a Metadata of many topics.
pub(super) const HEAD_BYTES: usize = 256;
