//! Connections by address and user, with pauses between failed attempts.
//!
//! A producer and a consumer are users of their own, or several, some partitions each: long polls of one consumer take no slot from
//! anybody else, and what a producer's partitions have given up leaves the others their room.
//!
//! A connection is opened in a task of its own, for which callers only wait: one that is polled no more holds up nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{Backoff, Connection};
use crate::Error;
use crate::error::Fault;

/// Who shares a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct User(u64);

impl User {
    /// Metadata and administration.
    pub(crate) const ADMIN: Self = Self(0);

    /// Some partitions of a producer or of a consumer, by a number that nobody else has.
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// What names a connection of the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) address: Arc<str>,
    pub(crate) user: User,
}

/// How the pool makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) client: String,
    pub(crate) connect_timeout: Duration,
    /// For how long requests are waited for.
    pub(crate) timeout: Duration,
    pub(crate) backoff: Backoff,
}

/// One connection per key, made when first asked for.
#[derive(Debug)]
pub(crate) struct Pool {
    options: Arc<Options>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_key: BTreeMap<Key, Arc<Slot>>,
    /// Those who were not let go of, beside [`User::ADMIN`]: a task of one who was may still be asking.
    users: BTreeSet<User>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by the task that connects, so that all who want the same connection wait for one attempt.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    failure_count: u32,
    /// The pause after an attempt that failed.
    resting_until: Option<Instant>,
    /// Longer: another port of the node does meanwhile.
    detour_until: Option<Instant>,
    /// Detours since it last answered.
    rest_count: u32,
    last_fault: Option<Arc<Fault>>,
    /// When it was asked for last.
    asked: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options: Arc::new(options),
            slots: Mutex::default(),
        }
    }

    /// Keeps the connections of a user, until it is let go of.
    pub(crate) fn admit(&self, user: User) {
        self.lock().users.insert(user);
    }

    /// The connection of this key; during the pause after a failed attempt the failure again.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Version`].
    pub(crate) async fn connect(&self, key: &Key) -> Result<Connection, Error> {
        let slot = self.slot(key);
        let known = slot.lock().known(key);
        if let Some(known) = known {
            return known;
        }
        let (key, options) = (key.clone(), Arc::clone(&self.options));
        let opening = tokio::spawn(async move { slot.open(&key, &options).await });
        // It is cancelled with the runtime alone.
        opening.await.unwrap_or(Err(Error::Closed))
    }

    /// Tries this key again no sooner than `wait` from now: its address does not answer, while
    /// another one of the same node does.
    pub(crate) fn rest(&self, key: &Key, wait: Duration) {
        let slot = self.slot(key);
        slot.lock().rest(Instant::now(), wait);
    }

    /// Tries this key when it is next asked for.
    pub(crate) fn wake(&self, key: &Key) {
        let slot = self.slot(key);
        let mut state = slot.lock();
        (state.resting_until, state.detour_until) = (None, None);
        state.rest_count = 0;
    }

    /// Has everybody try an address again as soon as after any failure: it was named as the right one.
    pub(crate) fn end_detours(&self, address: &str) {
        let first = Key {
            address: address.into(),
            user: User::ADMIN,
        };
        let slots = self.lock();
        let of_address = slots.by_key.range(first..);
        for (_, slot) in of_address.take_while(|(key, _)| *key.address == *address) {
            let mut state = slot.lock();
            state.detour_until = None;
            state.rest_count = 0;
        }
    }

    /// Lets go of a user's connections; each closes once nobody else holds it.
    pub(crate) fn forget(&self, user: User) {
        let mut slots = self.lock();
        slots.users.remove(&user);
        slots.by_key.retain(|key, _| key.user != user);
    }

    /// Lets go of a connection unless somebody else still holds it. That its address did not answer is not forgotten.
    pub(crate) fn leave(&self, key: &Key) {
        let mut slots = self.lock();
        let left = slots.by_key.get(key);
        if left.is_some_and(|slot| Slot::is_unheld(slot) && !slot.lock().has_rested()) {
            slots.by_key.remove(key);
        }
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let now = Instant::now();
        let mut slots = self.lock();
        let slot = match slots.by_key.get(key) {
            Some(slot) => Arc::clone(slot),
            None => {
                slots.by_key.retain(|_, slot| !Slot::is_left(slot, now));
                let slot = Arc::<Slot>::default();
                if key.user == User::ADMIN || slots.users.contains(&key.user) {
                    slots.by_key.insert(key.clone(), Arc::clone(&slot));
                }
                slot
            }
        };
        slot.lock().asked = Some(now);
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing panics while the map is held.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// If nobody but the pool has it, or its connection.
    fn is_unheld(slot: &Arc<Self>) -> bool {
        let state = slot.lock();
        let is_held = |connection: &Connection| !connection.is_last();
        Arc::strong_count(slot) == 1 && !state.connection.as_ref().is_some_and(is_held)
    }

    /// If nothing is lost with it: nobody holds it, and it has ended, or was not asked for in a long time.
    fn is_left(slot: &Arc<Self>, now: Instant) -> bool {
        Self::is_unheld(slot) && slot.lock().is_left(now)
    }

    /// Connects, unless somebody else has meanwhile.
    async fn open(&self, key: &Key, options: &Options) -> Result<Connection, Error> {
        let wait = options.connect_timeout;
        let Ok(_turn) = timeout(wait, self.opening.lock()).await else {
            let source = Arc::new(Fault::ConnectTimedOut { after: wait });
            let address = Arc::clone(&key.address);
            return Err(Error::Connect { address, source });
        };
        let known = self.lock().known(key);
        if let Some(known) = known {
            return known;
        }
        let address = Arc::clone(&key.address);
        let opened = Connection::open(address, &options.client, wait, options.timeout).await;
        self.lock().note(&opened, options);
        opened
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is kept under the lock is valid after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connection, or during a pause the failure before it; `None` if it is to be opened.
    fn known(&self, key: &Key) -> Option<Result<Connection, Error>> {
        if let Some(connection) = self.live() {
            return Some(Ok(connection));
        }
        let now = Instant::now();
        let until = self.resting_until.max(self.detour_until);
        until.filter(|until| now < *until)?;
        let source = self.last_fault.clone()?;
        let fault = Fault::Resting { source };
        Some(Err(Error::Connect {
            address: Arc::clone(&key.address),
            source: Arc::new(fault),
        }))
    }

    /// If it had a rest since it last answered. Nor is there a connection then.
    fn has_rested(&self) -> bool {
        self.live().is_none() && self.detour_until.is_some()
    }

    fn is_left(&self, now: Instant) -> bool {
        let is_unasked = self.asked.is_none_or(|asked| asked + LEFT_AFTER <= now);
        let has_ended = self.connection.is_some() && self.live().is_none();
        let until = self.resting_until.max(self.detour_until);
        match until {
            Some(until) => until <= now && is_unasked,
            None => has_ended || is_unasked,
        }
    }

    fn live(&self) -> Option<Connection> {
        self.connection
            .as_ref()
            .filter(|connection| !connection.is_closed())
            .cloned()
    }

    /// Who asks again while a rest lasts does not make it longer, or it would have no end. Each one behind another is twice
    /// as long: to find that the address still does not answer takes time, in which those wait who do well without.
    fn rest(&mut self, now: Instant, wait: Duration) {
        let is_resting = self.detour_until.is_some_and(|until| now < until);
        if self.live().is_none() && !is_resting {
            self.detour_until = Some(now + wait * (1 << self.rest_count.min(RESTS_DOUBLED)));
            self.rest_count += 1;
        }
    }

    /// Notes how an attempt ended.
    fn note(&mut self, opened: &Result<Connection, Error>, options: &Options) {
        match opened {
            Ok(connection) => {
                debug!(address = %connection.address(), "connected");
                *self = Self {
                    connection: Some(connection.clone()),
                    asked: self.asked,
                    ..Self::default()
                };
            }
            Err(error) => {
                self.connection = None;
                self.failure_count += 1;
                let wait = options.backoff.wait(self.failure_count);
                debug!(%error, attempt = self.failure_count, ?wait, "not connected");
                self.resting_until = Some(Instant::now() + wait);
                if let Error::Connect { source, .. } = error {
                    self.last_fault = Some(Arc::clone(source));
                }
            }
        }
    }
}

/// A connection that nobody holds, nor asks for in this time, was to a server that was left.
const LEFT_AFTER: Duration = Duration::from_secs(300);

/// How often a detour is twice as long as the one before.
const RESTS_DOUBLED: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_however_often_it_is_asked_for_meanwhile() {
        let (begin, wait) = (Instant::now(), Duration::from_secs(30));
        let mut state = State::default();
        for second in 0..30 {
            state.rest(begin + Duration::from_secs(second), wait);
        }
        assert_eq!(state.detour_until, Some(begin + wait));
        let mut until = begin + wait;
        for times in [2, 4, 8, 16, 16] {
            state.rest(until, wait);
            until += times * wait;
            assert_eq!(state.detour_until, Some(until));
        }
    }

    fn pool() -> Pool {
        let backoff = Backoff {
            first: Duration::ZERO,
            max: Duration::ZERO,
        };
        Pool::new(Options {
            client: "test".to_owned(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            backoff,
        })
    }

    /// Nobody listens there.
    fn nobody() -> Key {
        Key {
            address: "127.0.0.1:1".into(),
            user: User::new(7),
        }
    }

    /// A reader's task that was to end connected once more, as somebody whom nobody would let go of again.
    #[tokio::test]
    async fn who_was_let_go_of_leaves_nothing_in_the_pool() {
        let (pool, key) = (pool(), nobody());
        let count = || pool.lock().by_key.len();
        pool.admit(key.user);
        pool.connect(&key).await.unwrap_err();
        assert_eq!(count(), 1);
        pool.forget(key.user);
        pool.connect(&key).await.unwrap_err();
        assert_eq!(count(), 0);
    }

    /// A reader that had gone around a port left it, and with it how long that was to be left alone.
    #[tokio::test]
    async fn an_address_that_was_left_rests_on() {
        let (pool, key) = (pool(), nobody());
        pool.admit(key.user);
        pool.connect(&key).await.unwrap_err();
        pool.rest(&key, Duration::from_secs(3600));
        pool.leave(&key);
        let rests = pool.slot(&key).lock().rest_count;
        assert_eq!(rests, 1);
        pool.wake(&key);
        pool.leave(&key);
        assert_eq!(pool.lock().by_key.len(), 0);
    }

    #[test]
    fn what_was_not_asked_for_in_a_long_time_is_left_once_no_pause_lasts() {
        let asked = Instant::now();
        let until = asked + 2 * LEFT_AFTER;
        let mut state = State {
            asked: Some(asked),
            ..State::default()
        };
        assert!(!state.is_left(asked));
        assert!(state.is_left(asked + LEFT_AFTER));
        state.resting_until = Some(until);
        assert!(!state.is_left(asked + LEFT_AFTER));
        assert!(state.is_left(until));
    }

    #[tokio::test]
    async fn an_address_that_was_named_is_tried_by_whoever_goes_around_it() {
        let (pool, key) = (pool(), nobody());
        pool.admit(key.user);
        let is_resting = async || match pool.connect(&key).await {
            Err(Error::Connect { source, .. }) => matches!(*source, Fault::Resting { .. }),
            other => panic!("{other:?}"),
        };
        assert!(!is_resting().await);
        pool.rest(&key, Duration::from_secs(3600));
        pool.end_detours("127.0.0.1:2");
        assert!(is_resting().await);
        pool.end_detours("127.0.0.1:1");
        assert!(!is_resting().await);
    }
}
