//! What a core publishes about itself: its turns and what it has outstanding.
//!
//! Written by the core alone with relaxed stores, read by the watchdog and the metrics.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::notify::{Notified, Notify};
use super::place::Place;
use crate::sys::nudge::Nudge;

/// A kind of work that a core can have outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// A client's request that is neither answered nor parked.
    Request,
    /// A message to another core that has not been answered.
    Hop,
    /// Bytes on their way to a file.
    Write,
    /// Bytes on their way from a file.
    Read,
    /// A sync of a file.
    Sync,
    /// Work on the pool of directory threads.
    Directory,
}

impl Work {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Request,
        Self::Hop,
        Self::Write,
        Self::Read,
        Self::Sync,
        Self::Directory,
    ];

    /// The kind's name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Hop => "hop",
            Self::Write => "write",
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Directory => "directory",
        }
    }

    /// If the machine does it; what waits for another core, or another node, tells nothing of the machine.
    const fn is_machine(self) -> bool {
        !matches!(self, Self::Request | Self::Hop)
    }
}

/// A core's published counters.
#[derive(Debug)]
pub struct Vitals {
    name: String,
    born: Instant,
    turns: AtomicU64,
    /// The number of the place where it is; zero outside of tasks.
    place: AtomicU32,
    /// The number of the place where it was found not to turn.
    still_at: AtomicU32,
    counts: [AtomicU64; Work::ALL.len()],
    is_loaded: AtomicBool,
    /// Microseconds after `born`, plus one; zero if nothing that the machine does is outstanding.
    oldest: AtomicU64,
    oldest_work: AtomicU64,
    stalled_total: AtomicU64,
    slow_total: AtomicU64,
    nudge: OnceLock<Nudge>,
}

impl Vitals {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            born: Instant::now(),
            turns: AtomicU64::new(0),
            place: AtomicU32::new(0),
            still_at: AtomicU32::new(0),
            counts: Default::default(),
            is_loaded: AtomicBool::new(false),
            oldest: AtomicU64::new(0),
            oldest_work: AtomicU64::new(0),
            stalled_total: AtomicU64::new(0),
            slow_total: AtomicU64::new(0),
            nudge: OnceLock::new(),
        }
    }

    /// The core's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that changes whenever the core's loop goes round.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The task that the core is in.
    pub(super) fn place(&self) -> Option<Place> {
        Place::from_number(self.place.load(Ordering::Relaxed))
    }

    /// Remembers where the core is, which has not turned for a while; the pacemaker's alone to call.
    pub(super) fn note_still(&self) {
        let number = self.place.load(Ordering::Relaxed);
        if number != 0 {
            self.still_at.store(number, Ordering::Relaxed);
        }
    }

    /// Pieces of `work` outstanding.
    #[must_use]
    pub fn outstanding(&self, work: Work) -> u64 {
        self.counts[work as usize].load(Ordering::Relaxed)
    }

    /// Whether anything is outstanding.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Relaxed)
    }

    /// The oldest piece of outstanding work that the machine does, and its age at `now`; `None` if there is none.
    #[must_use]
    pub fn oldest(&self, now: Instant) -> Option<(Work, Duration)> {
        let since_us = self.oldest.load(Ordering::Relaxed).checked_sub(1)?;
        let work = usize::try_from(self.oldest_work.load(Ordering::Relaxed)).ok()?;
        let age = now.saturating_duration_since(self.born + Duration::from_micros(since_us));
        Some((*Work::ALL.get(work)?, age))
    }

    /// Times that the core had work outstanding and did not turn for a second.
    #[must_use]
    pub fn stalled_total(&self) -> u64 {
        self.stalled_total.load(Ordering::Relaxed)
    }

    /// Times that the machine took long for work of a core that turned.
    #[must_use]
    pub fn slow_total(&self) -> u64 {
        self.slow_total.load(Ordering::Relaxed)
    }

    /// Lets the core be nudged from now on; called on its thread.
    pub(super) fn admit_nudges(&self, nudge: Nudge) {
        self.nudge.get_or_init(|| nudge);
    }

    /// Makes a core that sleeps look around once.
    pub(super) fn nudge(&self) {
        if let Some(nudge) = self.nudge.get() {
            nudge.nudge();
        }
    }

    /// Counts a stall; the watchdog's alone to call.
    pub(super) fn count_stall(&self) {
        self.stalled_total.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts slow work; the watchdog's alone to call.
    pub(super) fn count_slow(&self) {
        self.slow_total.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn pretend_outstanding(&self, work: Work) {
        self.counts[work as usize].store(1, Ordering::Relaxed);
        self.oldest_work.store(work as u64, Ordering::Relaxed);
        self.oldest.store(1, Ordering::Relaxed);
        self.is_loaded.store(true, Ordering::Relaxed);
        self.turns.store(1, Ordering::Relaxed);
    }

    fn publish(&self, book: &Book, work: Work) {
        self.counts[work as usize].store(book.counts[work as usize], Ordering::Relaxed);
        self.is_loaded.store(!book.is_empty(), Ordering::Relaxed);
        let Some((_, (since, work))) = book.starts.first_key_value() else {
            return self.oldest.store(0, Ordering::Relaxed);
        };
        let since_us = since.duration_since(self.born).as_micros();
        let since_us = u64::try_from(since_us).unwrap_or(u64::MAX - 1);
        self.oldest_work.store(*work as u64, Ordering::Relaxed);
        self.oldest.store(since_us + 1, Ordering::Relaxed);
    }
}

/// A piece of work that is outstanding until this is dropped.
///
/// While a core holds one, its heartbeats are fast and its watchdog expects it to turn. A parked
/// long poll holds none.
#[derive(Debug)]
#[must_use = "the work is outstanding only while this lives"]
pub struct Outstanding {
    work: Work,
    id: u64,
}

/// Marks a piece of work of this core as outstanding. Outside of a core it does nothing.
pub fn outstanding(work: Work) -> Outstanding {
    let id = HERE.with(|here| {
        let Some(here) = &*here.borrow() else {
            return 0;
        };
        let mut book = here.book.borrow_mut();
        let is_first = book.is_empty();
        let id = book.begin(work);
        here.vitals.publish(&book, work);
        drop(book);
        if is_first && !here.is_lively.replace(true) {
            here.stirred.notify();
        }
        id
    });
    Outstanding { work, id }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        // The thread may be ending; then nobody reads the book any more.
        let _ = HERE.try_with(|here| {
            let Ok(here) = here.try_borrow() else { return };
            let Some(here) = &*here else { return };
            let mut book = here.book.borrow_mut();
            if book.end(self) {
                here.vitals.publish(&book, self.work);
            }
        });
    }
}

/// Counts a turn of this core's loop.
pub(super) fn turn() {
    HERE.with(|here| {
        if let Some(here) = &*here.borrow() {
            let turns = here.vitals.turns.load(Ordering::Relaxed);
            here.vitals
                .turns
                .store(turns.wrapping_add(1), Ordering::Relaxed);
        }
    });
}

/// This core is in a task from now on, or in none; gives where it was. Outside of a core it does
/// nothing.
pub(super) fn enter(place: Option<Place>) -> Option<Place> {
    // The thread may be ending.
    let entered = HERE.try_with(|here| {
        let here = here.borrow();
        let vitals = &here.as_ref()?.vitals;
        let before = vitals.place();
        let number = place.map_or(0, Place::number);
        vitals.place.store(number, Ordering::Relaxed);
        before
    });
    entered.ok().flatten()
}

/// Where this core was found not to turn since this was last asked.
pub(super) fn take_still() -> Option<Place> {
    HERE.with(|here| {
        let here = here.borrow();
        let still_at = &here.as_ref()?.vitals.still_at;
        let found = Place::from_number(still_at.load(Ordering::Relaxed));
        if found.is_some() {
            still_at.store(0, Ordering::Relaxed);
        }
        found
    })
}

/// Turns of this core's loop so far.
#[cfg(test)]
pub(super) fn turns() -> u64 {
    HERE.with(|here| here.borrow().as_ref().map_or(0, |here| here.vitals.turns()))
}

/// Makes this thread the core that `vitals` tells of.
pub(super) fn install(vitals: Arc<Vitals>) {
    HERE.set(Some(Here {
        vitals,
        book: RefCell::default(),
        is_lively: Cell::new(false),
        stirred: Notify::new(),
    }));
}

/// The pace of a heartbeat that last looked when `seen` pieces of work had begun: lively while
/// work is outstanding or has begun since. Once it is calm, [`stirred`] tells when that changes.
pub(super) fn settle(seen: &mut u64) -> bool {
    HERE.with(|here| {
        here.borrow().as_ref().is_some_and(|here| {
            let book = here.book.borrow();
            let has_begun = std::mem::replace(seen, book.id_last) != book.id_last;
            let is_lively = has_begun || !book.is_empty();
            if !is_lively {
                here.is_lively.set(false);
            }
            is_lively
        })
    })
}

/// Ready when work becomes outstanding on a core that had settled down.
pub(super) fn stirred() -> Notified {
    HERE.with(|here| match &*here.borrow() {
        Some(here) => here.stirred.notified(),
        None => unreachable!("heartbeats run on cores only"),
    })
}

struct Here {
    vitals: Arc<Vitals>,
    book: RefCell<Book>,
    /// All heartbeats run at the lively pace, or have been told to.
    is_lively: Cell<bool>,
    stirred: Notify,
}

#[derive(Default)]
struct Book {
    id_last: u64,
    counts: [u64; Work::ALL.len()],
    /// What the machine does. Identifiers rise with time: the first is the oldest.
    starts: BTreeMap<u64, (Instant, Work)>,
    /// What another core, or another node, is asked for.
    asked: BTreeSet<u64>,
}

impl Book {
    fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.asked.is_empty()
    }

    fn begin(&mut self, work: Work) -> u64 {
        self.id_last += 1;
        if work.is_machine() {
            self.starts.insert(self.id_last, (Instant::now(), work));
        } else {
            self.asked.insert(self.id_last);
        }
        self.counts[work as usize] += 1;
        self.id_last
    }

    /// False if it did not begin on this core.
    fn end(&mut self, it: &Outstanding) -> bool {
        let was_here = match it.work.is_machine() {
            true => self.starts.remove(&it.id).is_some(),
            false => self.asked.remove(&it.id),
        };
        self.counts[it.work as usize] -= u64::from(was_here);
        was_here
    }
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hop, and a handover to a node that did not answer, had operators look at a disk that was well.
    #[test]
    fn what_waits_for_another_core_or_node_is_no_work_of_the_machine() {
        let vitals = Arc::new(Vitals::new("asks"));
        install(Arc::clone(&vitals));
        let of_machine = || vitals.oldest(Instant::now()).map(|(work, _)| work);
        let asked = [Work::Request, Work::Hop].map(outstanding);
        assert_eq!((vitals.is_loaded(), of_machine()), (true, None));
        for work in [Work::Write, Work::Read, Work::Sync, Work::Directory] {
            let _behind = outstanding(work);
            assert_eq!(of_machine(), Some(work));
        }
        assert_eq!((vitals.is_loaded(), of_machine()), (true, None));
        drop(asked);
        assert!(!vitals.is_loaded());
    }
}
