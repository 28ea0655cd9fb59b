//! Names of other nodes, looked up by threads that others need, so never by many at once.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::rt;

/// Names of the whole node that are looked up at once: one that nobody answers for takes a thread of
/// the pool half a minute.
const LOOKUPS_MAX: usize = 2;
/// The pause before it is asked again whether fewer are.
const PAUSE: Duration = Duration::from_millis(20);

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// One of the lookups that may be; given back when it is dropped.
struct Turn(&'static AtomicUsize);

impl Turn {
    fn take(taken: &'static AtomicUsize) -> Option<Self> {
        let took = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < LOOKUPS_MAX).then_some(count + 1)
        });
        took.ok().map(|_| Self(taken))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where `address`, `host:port`, is; a numeric one is not looked up. If it is dropped, the lookup goes
/// on to its end, and counts until then.
///
/// # Errors
/// Why nobody knows.
pub(super) async fn look_up(address: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(numeric) = address.parse() {
        return Ok(vec![numeric]);
    }
    let turn = loop {
        match Turn::take(&LOOKUPS) {
            Some(turn) => break turn,
            None => rt::sleep(PAUSE).await,
        }
    };
    let name = address.to_owned();
    let found = rt::blocking(move || {
        let found = name.to_socket_addrs().map(Vec::from_iter);
        drop(turn);
        found
    });
    found.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_few_threads() {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let turns = [Turn::take(&TAKEN), Turn::take(&TAKEN)];
        assert!(turns.iter().all(Option::is_some));
        assert!(Turn::take(&TAKEN).is_none());
        drop(turns);
        assert!(Turn::take(&TAKEN).is_some(), "they were given back");
    }
}
