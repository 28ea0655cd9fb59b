//! A core's room for what its connections receive.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::kind::Kind;
use corelog_protocol::limits;
use futures_lite::FutureExt;

use super::receive::{BUSY_BYTES, GROWTH};
use crate::failure::{Failure, MEMORY_RETRY_MS, busy};
use crate::rt::{Permit, Semaphore};

/// The largest buffer that a frame can need.
const BUFFER_BYTES_MAX: u64 = limits::FRAME_BYTES_MAX as u64 + BUSY_BYTES as u64;
/// Whoever has a turn has to send so much in a second, after a while: others wait for it.
const TURN_BYTES_PER_SECOND: u64 = 512 << 10;
const TURN_GRACE: Duration = Duration::from_secs(2);
/// A frame that has begun, and what is sent to a client, may take a second longer for each of these bytes.
pub(super) const SLOWEST_BYTES_PER_SECOND: usize = 64 << 10;
/// How often it is looked what came of a frame, or what a client has taken, while others need the room.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Who sends less in that time is cut, unless that is as much as its room last grew for,
const SENT_MIN: usize = 128 << 10;
/// and so is who sends less than this part of the room that it holds for it: a frame of 16 MiB has two minutes.
const SENT_PART: usize = 64;
/// Bytes of the frames of requests that are kept; what was read of one may be some thirty times as large.
const KEPT_BYTES_MAX: u64 = (2 << 20) - KEPT_FOR_OWNERS_BYTES;
/// As many more of those that change who owns a partition: others may wait behind a snapshot, which these do not.
const KEPT_FOR_OWNERS_BYTES: u64 = 256 << 10;
/// What each of them counts at least.
const KEPT_BYTES_MIN: u64 = 8 << 10;

/// Room in bytes, and turns. Whoever waits for room keeps what it has, so that all may hold some and wait
/// for more; a part is kept for turns, in each of which one frame is received to its end all the same.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    budget: Semaphore,
    turns: Semaphore,
    kept: Semaphore,
    kept_for_owners: Semaphore,
    /// With less of it left, others wait or soon will.
    short: u64,
    /// What the turns may come to.
    _reserve: Option<Rc<Permit>>,
}

/// What was given.
pub(super) enum More {
    Room(Permit),
    Turn(Turn),
}

/// How a frame comes whose connection holds room.
#[derive(Debug)]
pub(super) struct Pace {
    looked: Instant,
    /// What came since then.
    bytes: usize,
}

/// The right to receive one frame whatever others hold.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Permit,
    /// When it was first looked at.
    since: Option<Instant>,
    bytes: u64,
}

impl Intake {
    /// Of room that nobody has yet.
    pub(super) fn new(budget: Semaphore) -> Self {
        let short = budget.available() / 4;
        let turns = (budget.available() / 4 / BUFFER_BYTES_MAX).max(1);
        let reserve = budget.try_acquire(turns * BUFFER_BYTES_MAX);
        Self {
            budget,
            turns: Semaphore::new(turns),
            kept: Semaphore::new(KEPT_BYTES_MAX),
            kept_for_owners: Semaphore::new(KEPT_FOR_OWNERS_BYTES),
            short,
            _reserve: reserve.map(Rc::new),
        }
    }

    /// If others wait for room, or soon will.
    pub(super) fn is_short(&self) -> bool {
        self.budget.available() < self.short
    }

    /// Room for so many bytes, if there is some and nobody waits for it.
    pub(super) fn at_once(&self, bytes: u64) -> Option<Permit> {
        self.budget.try_acquire(bytes)
    }

    /// Room for so many bytes more, or a turn, whichever comes first.
    pub(super) async fn more(&self, bytes: u64) -> More {
        let room = async { More::Room(self.budget.acquire(bytes).await) };
        let turn = async {
            More::Turn(Turn {
                _permit: self.turns.acquire(1).await,
                since: None,
                bytes: 0,
            })
        };
        room.or(turn).await
    }

    /// Keeps a request until it is answered, also if its connection dies: nothing else bounds those.
    ///
    /// # Errors
    /// `Busy` if too much is kept.
    pub(super) fn keep(&self, kind: Kind, frame_bytes: usize) -> Result<Permit, Failure> {
        let bytes = KEPT_BYTES_MIN.max(frame_bytes as u64);
        let changes_owner = matches!(
            kind,
            Kind::Promote | Kind::Handover | Kind::TakeOver | Kind::Rejoin
        );
        let for_owners = || self.kept_for_owners.try_acquire(bytes);
        let kept = self.kept.try_acquire(bytes);
        let kept = kept.or_else(|| changes_owner.then(for_owners).flatten());
        kept.ok_or_else(|| {
            let message = "too many requests that change something wait to be done";
            busy(message, MEMORY_RETRY_MS)
        })
    }
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            bytes: 0,
        }
    }

    /// So many bytes have arrived.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// If the client, which holds so many bytes of room for its frame, sent too little since the last look, once it is time
    /// for another.
    pub(super) fn is_too_slow(&mut self, now: Instant, held: usize) -> bool {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return false;
        }
        let wanted = SENT_MIN.max(held / SENT_PART).min(held / GROWTH);
        let is_too_slow = self.bytes < wanted;
        *self = Self::new(now);
        is_too_slow
    }
}

impl Turn {
    /// So many bytes have arrived.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// If the client does not send as fast as those who wait may ask for.
    pub(super) fn is_too_slow(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let late = now.saturating_duration_since(since + TURN_GRACE);
        self.bytes < late.as_secs() * TURN_BYTES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;

    use super::*;

    /// As many as a client cared to send, hanging up and coming again, waited with all that they named.
    #[test]
    fn requests_that_outlive_their_connection_are_few_and_small_together() {
        let intake = Intake::new(Semaphore::new(72 << 20));
        for (frame_bytes, count) in [(100, 224), (256 << 10, 7)] {
            let keep = |bytes| intake.keep(Kind::CreateTopic, bytes);
            let mut kept = Vec::from_iter((0..300).map_while(|_| keep(frame_bytes).ok()));
            assert_eq!(kept.len(), count);
            let error = keep(100).expect_err("too many");
            assert!(error.is(ErrorCode::Busy), "{error}");
            kept.pop();
            keep(frame_bytes).expect("one was answered");
        }
    }

    /// A partition stayed without an owner for as long as a snapshot took, since all that others had asked for waited
    /// behind that.
    #[test]
    fn what_changes_who_owns_a_partition_is_kept_where_what_waits_for_a_snapshot_has_all_other_room()
     {
        let intake = Intake::new(Semaphore::new(72 << 20));
        let keep = |kind| intake.keep(kind, 100);
        let _waiting = Vec::from_iter((0..300).map_while(|_| keep(Kind::CreateTopic).ok()));
        let owners = [Kind::Promote, Kind::Handover, Kind::TakeOver, Kind::Rejoin];
        let owners = owners.into_iter().cycle().take(300);
        let kept = Vec::from_iter(owners.map_while(|kind| keep(kind).ok()));
        assert_eq!(kept.len(), 32);
        drop(kept);
        assert!(keep(Kind::CreateTopic).is_err());
    }
}
