//! Room for one more request in flight: what the server announced is never exceeded, by waiting.

use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::kind::Kind;
use tokio::sync::AcquireError;
use tokio::time::Instant;

use super::table::Permits;
use super::{Shared, alarm};
use crate::Error;

/// Room for a request, if the server takes another one and `bytes` more of them now: nearly always, and no timer is started.
pub(super) fn now(shared: &Shared, bytes: u32) -> Option<Permits> {
    let slot = Arc::clone(&shared.slots).try_acquire_owned().ok()?;
    let bytes = Arc::clone(&shared.bytes).try_acquire_many_owned(bytes);
    Some(Permits {
        _slot: slot,
        _bytes: bytes.ok()?,
        _claim: None,
    })
}

/// As [`now`], once there is room.
///
/// # Errors
/// [`Error::TimedOut`], or [`Error::Lost`] if the connection ended.
pub(super) async fn in_time(
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
            _bytes: bytes,
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
