//! How long an answer is waited for: as long as the other side sends what may be in front of it, or of it.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use corelog_protocol::limits::FRAME_BYTES_MAX;

use crate::rt;
use crate::transfer::RATE_MIN;

/// The least pause before it is looked again whether an answer is late.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// What came over a connection, and when by a clock that stands while this node has no room for more: that is not the other
/// side's time.
pub(super) struct Heard {
    begun: Instant,
    stands_since: Cell<Option<Instant>>,
    stood: Cell<Duration>,
    last: Cell<Duration>,
    bytes: Cell<u64>,
    /// The most requests that waited at once.
    asked_max: Cell<usize>,
}

/// How long one request waits.
pub(super) struct Patience<'a> {
    heard: &'a Heard,
    asked: Duration,
    bytes_before: u64,
    timeout: Duration,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            begun: rt::now(),
            stands_since: Cell::new(None),
            stood: Cell::default(),
            last: Cell::default(),
            bytes: Cell::default(),
            asked_max: Cell::default(),
        }
    }

    /// Notes that so many bytes came.
    pub(super) fn note(&self, bytes: usize) {
        self.last.set(self.now());
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// Waits for room, while the clock stands.
    pub(super) async fn stand<T>(&self, room: impl Future<Output = T>) -> T {
        let since = rt::now();
        self.stands_since.set(Some(since));
        let room = room.await;
        self.stands_since.set(None);
        self.stood.set(self.stood.get() + since.elapsed());
        room
    }

    /// For a request that is asked now, and waits with so many, itself among them.
    pub(super) fn patience(&self, asked: usize, timeout: Duration) -> Patience<'_> {
        self.asked_max.set(self.asked_max.get().max(asked));
        Patience {
            heard: self,
            asked: self.now(),
            bytes_before: self.bytes.get(),
            timeout,
        }
    }

    fn now(&self) -> Duration {
        let now = self.stands_since.get().unwrap_or_else(rt::now);
        now.saturating_duration_since(self.begun) - self.stood.get()
    }
}

impl Patience<'_> {
    /// What `answered` comes to, or `None` once it is late.
    pub(super) async fn wait<T>(&self, answered: impl Future<Output = T>) -> Option<T> {
        let mut answered = pin!(answered);
        loop {
            let left = self.left().max(LOOK_MIN);
            let come = rt::timeout(left, answered.as_mut()).await;
            if come.is_some() || self.left().is_zero() {
                return come;
            }
        }
    }

    /// For how long it waits yet, should nothing more come.
    fn left(&self) -> Duration {
        let came = self.heard.bytes.get() - self.bytes_before;
        let in_front_max = self.heard.asked_max.get() as u64 * u64::from(FRAME_BYTES_MAX);
        let (slack, heard) = match came <= in_front_max {
            true => (came / RATE_MIN, self.heard.last.get()),
            // Others are answered, and this one is not.
            false => (0, self.asked),
        };
        let silent = heard.max(self.asked) + self.timeout;
        let slow = self.asked + self.timeout + Duration::from_secs(slack);
        silent.min(slow).saturating_sub(self.heard.now())
    }
}
