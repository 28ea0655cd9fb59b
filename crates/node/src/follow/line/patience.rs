//! How long an answer is waited for: as long as the other side sends what may be in front of it, or of it.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use corelog_protocol::limits::FRAME_BYTES_MAX;

use crate::rt;
use crate::transfer::RATE_MIN;

/// The least pause before it is looked again whether an answer is late.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// For so long this node's want of room is not the time of a source: behind that it is to be told that nothing comes.
const STOOD_MAX: Duration = Duration::from_secs(60);

/// What came over a connection, and when by a clock that stands while this node has no room for more: that is not the other
/// side's time.
pub(super) struct Heard {
    begun: Instant,
    stands_since: Cell<Option<Instant>>,
    stood: Cell<Duration>,
    last: Cell<Duration>,
    bytes: Cell<u64>,
}

/// How long one request waits.
pub(super) struct Patience<'a> {
    heard: &'a Heard,
    asked_at: Instant,
    asked: Duration,
    bytes_before: u64,
    /// How many bytes may come before the answer has.
    in_front_max: u64,
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

    /// If nothing came for so long.
    pub(super) fn is_silent_for(&self, timeout: Duration) -> bool {
        self.last.get() + timeout <= self.now()
    }

    /// For a request that is asked now, and waits with so many, itself among them.
    pub(super) fn patience(&self, asked: usize, timeout: Duration) -> Patience<'_> {
        Patience {
            heard: self,
            asked_at: rt::now(),
            asked: self.now(),
            bytes_before: self.bytes.get(),
            in_front_max: asked as u64 * u64::from(FRAME_BYTES_MAX),
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
        let (slack, heard) = match came <= self.in_front_max {
            true => (came / RATE_MIN, self.heard.last.get()),
            // Others are answered, and this one is not.
            false => (0, self.asked),
        };
        let silent = heard.max(self.asked) + self.timeout;
        let slow = self.asked + self.timeout + Duration::from_secs(slack);
        let now = self.heard.now();
        let stood = self.asked_at.elapsed().saturating_sub(now - self.asked);
        silent
            .min(slow)
            .saturating_sub(now + stood.saturating_sub(STOOD_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where this node had no room for long, as with a disk that hangs, nobody was told that nothing came.
    #[test]
    fn time_in_which_there_was_no_room_counts_from_a_minute_on() {
        let left = |stood: Duration| {
            let since = rt::now() - stood;
            let heard = Heard {
                begun: since,
                stands_since: Cell::new(Some(since)),
                ..Heard::new()
            };
            let timeout = Duration::from_secs(12);
            let patience = heard.patience(1, timeout);
            let asked_at = since;
            Patience {
                asked_at,
                ..patience
            }
            .left()
        };
        let secs = Duration::from_secs;
        assert!(secs(10) < left(STOOD_MAX));
        assert!(left(STOOD_MAX + secs(8)) <= secs(4));
        assert_eq!(left(STOOD_MAX + secs(12)), Duration::ZERO);
    }
}
