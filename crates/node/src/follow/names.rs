//! Names of other nodes, looked up by threads that others need, so never by many at once.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::rt::{self, Seats};

/// Names of the whole node that are looked up at once: one that nobody answers for takes a thread of
/// the pool half a minute.
const LOOKUPS_MAX: usize = 2;
/// The pause before it is asked again whether fewer are.
const PAUSE: Duration = Duration::from_millis(20);

static LOOKUPS: Seats = Seats::new(LOOKUPS_MAX);

/// Where `address`, `host:port`, is; a numeric one is not looked up. If it is dropped, the lookup goes
/// on to its end, and counts until then.
///
/// # Errors
/// Why nobody knows.
pub(super) async fn look_up(address: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(numeric) = address.parse() {
        return Ok(vec![numeric]);
    }
    let seat = loop {
        match LOOKUPS.take() {
            Some(seat) => break seat,
            None => rt::sleep(PAUSE).await,
        }
    };
    let name = address.to_owned();
    let found = rt::blocking(move || {
        let found = name.to_socket_addrs().map(Vec::from_iter);
        drop(seat);
        found
    });
    found.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_few_threads() {
        static TAKEN: Seats = Seats::new(LOOKUPS_MAX);
        let seats = [TAKEN.take(), TAKEN.take()];
        assert!(seats.iter().all(Option::is_some));
        assert!(TAKEN.take().is_none());
        drop(seats);
        assert!(TAKEN.take().is_some(), "they were given back");
    }
}
