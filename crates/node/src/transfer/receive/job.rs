//! Who receives which segment, and what came of all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use corelog_storage::intake::Ready;

use super::claims::Claims;
use super::files::Files;
use super::sources::Sources;
use super::{Met, Order, Progress, ReceiveError, Received, worker};
use crate::rt;
use crate::transfer::budget::Budget;

/// An order, on its way.
pub(super) struct Job<'a> {
    pub(super) order: &'a Order,
    pub(super) progress: &'a Progress,
    pub(super) claims: &'a Arc<Claims>,
    pub(super) files: Files,
    pub(super) budget: Arc<Budget>,
    pub(super) sources: Sources,
    /// When a source was asked first: what is done before that, on the disk, is no delay of the sources'.
    begun: OnceLock<Instant>,
    /// Whether it makes way once it has had its turn.
    makes_way: &'a MakesWay<'a>,
    /// The segment that is to be received next.
    next: AtomicUsize,
    outcome: Mutex<Outcome>,
}

/// Whether others wait for the thread of an order that is to let them.
pub(super) type MakesWay<'a> = dyn Fn() -> bool + Sync + 'a;

#[derive(Debug, Default)]
struct Outcome {
    ready: Vec<Ready>,
    error: Option<ReceiveError>,
}

/// Receives all of `order`, on this thread and some more, or as much as there is time for in its turn; what others are
/// receiving is left to them. What went wrong `before`, in turns that it has had, is not tried again, and told of as well.
pub(super) fn run(
    order: &Order,
    before: Vec<Met>,
    progress: &Progress,
    claims: &Arc<Claims>,
    makes_way: &MakesWay<'_>,
) -> Received {
    let files = match progress.stop.is_set() {
        // Its directory may be another topic's by now.
        true => Err(ReceiveError::Stopped),
        false => Files::of(order, &progress.stop, claims),
    };
    let files = match files {
        Ok(files) => files,
        Err(error) => {
            return Received {
                faults: before,
                ..error.into()
            };
        }
    };
    let job = Job {
        order,
        progress,
        claims,
        files,
        budget: claims.paces.of(order),
        sources: Sources::new(order, before),
        begun: OnceLock::new(),
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
    let Outcome { mut ready, error } = outcome.unwrap_or_else(PoisonError::into_inner);
    ready.sort_by_key(Ready::base);
    Received {
        ready,
        error,
        faults: job.sources.into_faults(),
    }
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

    /// Whether more is received now, also of a segment that has begun.
    pub(super) fn goes_on(&self) -> bool {
        let makes_way = || self.has_had_its_turn() && (self.makes_way)();
        !(self.progress.stop.is_set() || makes_way())
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
        let lasts = |begun: &Instant| rt::now().saturating_duration_since(*begun);
        let begun = self.begun.get();
        begun.is_some_and(|begun| self.order.turn <= lasts(begun))
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

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many segments of an order come in at once: the disk writes one while another is on its way.
pub(super) const WORKERS_MAX: usize = 2;
