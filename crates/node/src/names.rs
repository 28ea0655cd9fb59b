//! Other nodes, reached by their names. These are looked up by threads that others need, so never by many at once.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rt;

/// How long looking up a node's name, connecting and saying Hello may take, all together.
pub(crate) const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Hosts of the whole node that are looked up at once, each once: one that nobody answers for takes a thread
/// of the pool half a minute.
const LOOKUPS_MAX: usize = 4;
/// Of them, so many that were not found yet, or took long: anybody may have a node look for names that nobody has.
const UNKNOWN_MAX: usize = 3;
/// Of them, so many take long, or did the last time: others do not wait for them.
const SLOW_MAX: usize = 2;
/// What takes so much time takes long.
const SLOW: Duration = Duration::from_secs(1);
/// Hosts that were found, or took long, are remembered up to here.
const KNOWN_MAX: usize = 256;
/// The pause before it is asked again whether there is room.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

static NAMES: Names = Names::new();

/// Hosts that are looked up, and those that were.
struct Names(Mutex<Vec<Known>>);

struct Known {
    host: String,
    /// Since when it is looked up, if it is.
    begun: Option<Instant>,
    last: Last,
}

/// What came of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing yet, or nobody knew it.
    Unknown,
    /// It was found, and did not take long since.
    Found,
    /// It took long the last time.
    Slow,
}

/// A host that is looked up until this is dropped.
struct Lookup {
    names: &'static Names,
    host: String,
    is_found: bool,
}

/// Connects to the node at `address`, `host:port`, as `connect` does with each of the addresses that the name stands for, in
/// an even share of the time that is left. A numeric one is not looked up. `pause` passes time; what is no core
/// polls this now and then. If it is dropped, the lookup goes on to its end, and counts until then.
///
/// # Errors
/// Why nobody knows the name, or what `connect` said of the last address.
pub(crate) async fn reach<C>(
    address: &str,
    deadline: Instant,
    pause: impl AsyncFn(Duration),
    connect: impl AsyncFn(SocketAddr, Duration) -> io::Result<C>,
) -> io::Result<C> {
    let resolve = |name: &str| name.to_socket_addrs().map(Vec::from_iter);
    let found = look_up(&NAMES, address, pause, resolve).await?;
    connect_to_one(&found, deadline, connect).await
}

/// The host of `host:port`.
pub(crate) fn host_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(host, _)| host)
}

async fn look_up(
    names: &'static Names,
    address: &str,
    pause: impl AsyncFn(Duration),
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(numeric) = address.parse() {
        return Ok(vec![numeric]);
    }
    let host = host_of(address).unwrap_or(address);
    let mut lookup = loop {
        match names.begin(host, rt::now()) {
            Some(lookup) => break lookup,
            None => pause(PAUSE).await,
        }
    };
    let name = address.to_owned();
    let found = rt::blocking(move || {
        let found = resolve(&name);
        lookup.is_found = found.as_ref().is_ok_and(|found| !found.is_empty());
        drop(lookup);
        found
    });
    found.await
}

async fn connect_to_one<C>(
    found: &[SocketAddr],
    deadline: Instant,
    connect: impl AsyncFn(SocketAddr, Duration) -> io::Result<C>,
) -> io::Result<C> {
    let mut why = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for (address, sharing) in found.iter().zip((1..=found.len()).rev()) {
        let left = deadline.saturating_duration_since(rt::now());
        let share = left / u32::try_from(sharing).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match connect(*address, share).await {
            Ok(conn) => return Ok(conn),
            Err(error) => why = error,
        }
    }
    Err(why)
}

impl Names {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Begins to look a host up, unless that is under way, or there is no room.
    fn begin(&'static self, host: &str, now: Instant) -> Option<Lookup> {
        let mut known = self.known();
        let running = || known.iter().filter(|one| one.begun.is_some());
        let takes_long = |one: &&Known| {
            one.last == Last::Slow || one.begun.is_some_and(|begun| begun + SLOW <= now)
        };
        let is_unknown = |one: &&Known| one.last != Last::Found;
        let at = known.iter().position(|one| one.host == host);
        let last = at.map_or(Last::Unknown, |at| known[at].last);
        let is_full = running().count() >= LOOKUPS_MAX
            || (last != Last::Found && running().filter(is_unknown).count() >= UNKNOWN_MAX)
            || (last == Last::Slow && running().filter(takes_long).count() >= SLOW_MAX);
        if is_full || running().any(|one| one.host == host) {
            return None;
        }
        if let Some(at) = at {
            known.remove(at);
        }
        known.push(Known {
            host: host.to_owned(),
            begun: Some(now),
            last,
        });
        Some(Lookup {
            names: self,
            host: host.to_owned(),
            is_found: false,
        })
    }

    fn end(&self, (host, is_found): (&str, bool), now: Instant) {
        let mut known = self.known();
        let Some(at) = known.iter().position(|one| one.host == host) else {
            return;
        };
        let began = known[at].begun.take();
        let is_slow = began.is_some_and(|began| began + SLOW <= now);
        known[at].last = match (is_slow, is_found || known[at].last == Last::Found) {
            (true, _) => Last::Slow,
            (false, true) => Last::Found,
            (false, false) => Last::Unknown,
        };
        let is_over = known.len() > KNOWN_MAX;
        let kept = |one: &Known| one.begun.is_some() || one.last != Last::Unknown;
        known.retain(kept);
        let oldest = known.iter().position(|one| one.begun.is_none());
        if let (true, Some(oldest)) = (is_over, oldest) {
            known.remove(oldest);
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.names.end((&self.host, self.is_found), rt::now());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::sync::{Arc, mpsc};

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::tests::on_core;

    /// Has nobody answer for a host while what this gives is held.
    pub(crate) fn unanswered(host: &str) -> impl Drop {
        NAMES.begin(host, rt::now()).unwrap()
    }

    /// Each had as long as all of them together may take.
    #[test]
    fn the_addresses_of_a_name_share_the_time() {
        let found: Vec<SocketAddr> = (1..=4).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let given = RefCell::new(Vec::new());
        let deadline = rt::now() + REACH_TIMEOUT;
        let connected = block_on(connect_to_one(&found, deadline, async |at, timeout| {
            given.borrow_mut().push(timeout);
            match at.port() {
                3 => Ok(at),
                _ => Err(ErrorKind::ConnectionRefused.into()),
            }
        }));
        assert_eq!(connected.unwrap(), found[2]);
        let given = given.into_inner();
        // Who refuses at once leaves its share to those behind it.
        assert!(
            given.is_sorted() && given[0] <= REACH_TIMEOUT / 4,
            "{given:?}"
        );
        assert!(
            given[2] <= REACH_TIMEOUT / 2 && given.len() == 3,
            "{given:?}"
        );
        let late = connect_to_one(&found, rt::now(), async |_, _| Ok(()));
        assert_eq!(block_on(late).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    /// Two names that no name server answered for took both threads, for as long as they were asked for.
    #[test]
    fn a_name_is_found_while_two_others_hang() {
        static NAMES: Names = Names::new();
        let found: Vec<SocketAddr> = vec![([127, 0, 0, 1], 7).into()];
        on_core(move || async move {
            let (held, hang) = mpsc::channel::<()>();
            let hang = Arc::new(Mutex::new(hang));
            let hanging = |address: &'static str| {
                let hang = Arc::clone(&hang);
                let resolve = move |_: &str| {
                    let _ = hang.lock().unwrap().recv();
                    Ok(Vec::new())
                };
                Box::pin(look_up(&NAMES, address, rt::sleep, resolve))
            };
            let mut hung = ["a:1", "b:1", "a:2", "b:2"].map(hanging);
            for one in &mut hung {
                assert!(poll_once(one).await.is_none());
            }
            let expected = found.clone();
            let third = look_up(&NAMES, "c:1", rt::sleep, move |_| Ok(found)).await;
            assert_eq!(third.unwrap(), expected);
            drop(held);
            for one in hung {
                one.await.unwrap();
            }
        });
    }

    #[test]
    fn names_that_took_long_leave_room_for_others() {
        static NAMES: Names = Names::new();
        let (begun, later) = (rt::now(), rt::now() + SLOW);
        let begin = |host: &str, now| NAMES.begin(host, now);
        let hosts = ["a", "b", "c"];
        let first = hosts.map(|host| begin(host, begun).unwrap());
        assert!(begin("d", later).is_none(), "three at once");
        std::mem::forget(first);
        hosts.iter().for_each(|host| NAMES.end((host, true), later));
        let again = [begin("a", later), begin("b", later)];
        assert!(again.iter().all(Option::is_some));
        assert!(begin("a", later).is_none(), "it is looked up already");
        assert!(begin("c", later).is_none(), "it took long");
        let other = begin("d", later);
        assert!(other.is_some());
        drop((again, other));
        assert!(begin("c", later).is_some());
        let begun = begin("e", later).unwrap();
        drop(begun);
        assert!(begin("e", later).is_some(), "it took no time");
    }

    /// Three names that no name server answered for, each asked for once, took all places, again and again: no source
    /// was found meanwhile.
    #[test]
    fn a_name_that_was_found_before_has_a_place_that_others_do_not_take() {
        static NAMES: Names = Names::new();
        let now = rt::now();
        let begin = |host: &str| NAMES.begin(host, now);
        for (host, is_found) in [("source", true), ("none", false)] {
            std::mem::forget(begin(host).unwrap());
            NAMES.end((host, is_found), now);
        }
        let others = ["a", "b", "c"].map(|host| begin(host).unwrap());
        assert!(begin("d").is_none() && begin("none").is_none());
        let source = begin("source");
        assert!(source.is_some());
        drop((others, source));
    }
}
