//! Who receives which segment, and what came of all of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use corelog_storage::intake::Ready;

use super::claims::Claims;
use super::files::Files;
use super::sources::Sources;
use super::{Order, Progress, ReceiveError, worker};
use crate::rt;
use crate::transfer::budget::Budget;

/// An order, on its way.
pub(super) struct Job<'a> {
    pub(super) order: &'a Order,
    pub(super) progress: &'a Progress,
    pub(super) claims: &'a Arc<Claims>,
    pub(super) files: Files,
    pub(super) budget: Arc<Budget>,
    pub(super) sources: &'a Sources,
    /// When a source was asked first: what is done before that, on the disk, is no delay of the sources'.
    begun: OnceLock<Instant>,
    /// Whether a batch came in and was verified, with the piece that it is of, since then: that stays, however the turn ends.
    has_batch: AtomicBool,
    /// Whether it makes way.
    makes_way: &'a MakesWay<'a>,
    /// The segment that is to be received next.
    next: AtomicUsize,
    outcome: Mutex<Outcome>,
}

/// What an order has had of its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Had {
    /// How long ago a source was asked first.
    pub(super) lasted: Duration,
    /// Whether it goes on further than it began.
    pub(super) has_batch: bool,
}

/// Whether others come first who wait for the thread of an order, which has had so much.
pub(super) type MakesWay<'a> = dyn Fn(Had) -> bool + Sync + 'a;

/// What came of an order in a turn.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The segments that are all there, in the order of their offsets.
    pub(super) ready: Vec<Ready>,
    /// Why not all of it is there; none either if its turn was over.
    pub(super) error: Option<ReceiveError>,
}

impl From<ReceiveError> for Outcome {
    fn from(error: ReceiveError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

/// Receives all of `order`, on this thread and some more, or as much as there is time for in its turn; what others are
/// receiving is left to them.
pub(super) fn run(
    order: &Order,
    sources: &Sources,
    progress: &Progress,
    claims: &Arc<Claims>,
    makes_way: &MakesWay<'_>,
) -> Outcome {
    let files = match progress.stop.is_set() {
        // Its directory may be another topic's by now.
        true => Err(ReceiveError::Stopped),
        false => Files::of(order, &progress.stop, claims),
    };
    let files = match files {
        Ok(files) => files,
        Err(error) => return error.into(),
    };
    let job = Job {
        order,
        progress,
        claims,
        files,
        budget: claims.paces.of(order),
        sources,
        begun: OnceLock::new(),
        has_batch: AtomicBool::new(false),
        makes_way,
        next: AtomicUsize::new(0),
        outcome: Mutex::default(),
    };
    let workers = order.segments.len().min(WORKERS_MAX);
    thread::scope(|scope| {
        for number in 1..workers {
            let job = &job;
            let thread = thread::Builder::new().name(format!("receive-{number}"));
            let spawned = thread.spawn_scoped(scope, move || worker::run(job, number));
            if let Err(error) = spawned {
                tracing::debug!(%error, "segments are received by fewer threads");
            }
        }
        worker::run(&job, 0);
    });
    let outcome = job.outcome.into_inner();
    let mut outcome = outcome.unwrap_or_else(PoisonError::into_inner);
    outcome.ready.sort_by_key(Ready::base);
    outcome
}

impl Job<'_> {
    /// The number of the next segment; `None` once all are taken, one cannot be had, as nothing behind it could be
    /// installed, or one is there when the turn is over.
    pub(super) fn take(&self) -> Option<usize> {
        let has_ended = {
            let Outcome { ready, error } = &*self.outcome();
            error.is_some() || !ready.is_empty() && self.has_had_its_turn()
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.order.segments.len() && !has_ended).then_some(number)
    }

    /// A source is asked: the turn begins, if it has not.
    pub(super) fn begin(&self) {
        self.begun.get_or_init(rt::now);
    }

    /// A piece came in whole, and with it a batch that is sound.
    pub(super) fn note_batch(&self) {
        self.has_batch.store(true, Ordering::Relaxed);
    }

    /// Whether more is received now, also of a segment that has begun.
    pub(super) fn goes_on(&self) -> bool {
        let makes_way = |lasted| {
            (self.makes_way)(Had {
                lasted,
                has_batch: self.has_batch.load(Ordering::Relaxed),
            })
        };
        !(self.progress.stop.is_set() || self.lasted().is_some_and(makes_way))
    }

    /// Why it does not go on.
    pub(super) fn why_not_on(&self) -> ReceiveError {
        match self.progress.stop.is_set() {
            true => ReceiveError::Stopped,
            false => ReceiveError::MadeWay,
        }
    }

    /// # Errors
    /// Why nothing more is received now, also of a segment that has begun.
    pub(super) fn check_goes_on(&self) -> Result<(), ReceiveError> {
        match self.goes_on() {
            true => Ok(()),
            false => Err(self.why_not_on()),
        }
    }

    fn has_had_its_turn(&self) -> bool {
        let lasted = self.lasted();
        lasted.is_some_and(|lasted| self.order.turn <= lasted)
    }

    /// How long ago a source was asked first; none has been yet.
    fn lasted(&self) -> Option<Duration> {
        let begun = self.begun.get()?;
        Some(rt::now().saturating_duration_since(*begun))
    }

    /// Notes what came of a segment; the first error is the one to tell.
    pub(super) fn note(&self, number: usize, received: Result<Ready, ReceiveError>) {
        let mut outcome = self.outcome();
        match received {
            Ok(ready) => {
                outcome.ready.push(ready);
                self.progress.note_ready(number);
            }
            Err(error) => {
                outcome.error.get_or_insert(error);
            }
        }
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many segments of an order come in at once: the disk writes one while another is on its way.
pub(super) const WORKERS_MAX: usize = 2;
