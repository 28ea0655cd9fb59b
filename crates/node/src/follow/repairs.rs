//! The repairs of a core's partitions: which goes on, which segments damage was met in, when the next may begin.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, Retry};
use corelog_protocol::message::repair_topic::Replaced;
use corelog_record::Offset;

use super::lately::Lately;
use super::task::FAILED_FOR;
use crate::core::PartitionKey;
use crate::rt::{self, Notify};

/// How long after a repair that did not end well the next one begins by itself, and the longest, which
/// each further one doubles it to.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// When whoever reads what is being repaired is to come again, in milliseconds.
const RETRY_MS: u32 = 500;
/// A segment that is damaged again so soon after it was replaced lies on a disk that does not keep it.
const LATELY: Duration = Duration::from_secs(600);
/// A scrub asks for a segment that was replaced only so much later: where reads fail and writes do not, each pass would have all
/// of a log fetched anew.
const SCRUB_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The repairs of a core.
#[derive(Debug)]
pub(crate) struct Repairs {
    by_key: RefCell<HashMap<PartitionKey, Repairing>>,
    /// The sources that failed, whichever partition they were asked for.
    failed: Lately<String>,
    /// Notified when a repair has ended.
    pub(super) ended: Notify,
}

/// The repairs of one partition.
#[derive(Debug, Default)]
struct Repairing {
    is_running: bool,
    /// Whether an operator asked for the one that runs.
    is_asked: bool,
    /// Segments in which damage was met, or what the disk does not give.
    met: BTreeSet<Offset>,
    /// What the one that runs has asked for, and what of that all sources say that they do not give.
    asked: BTreeSet<Offset>,
    lacked: BTreeSet<Offset>,
    /// Before this the next one does not begin by itself: the last one left damage and replaced nothing.
    rests_until: Option<Instant>,
    /// The segments that alone rest, each until then, since all sources answered: they may have any other one.
    resting: HashMap<Offset, Instant>,
    /// How many in a row replaced nothing, of those that began by themselves.
    failed_count: u32,
    /// Segments that were replaced since the node was started.
    replaced: u64,
    /// Those of the last day.
    lately: HashMap<Offset, Again>,
}

/// What was replaced, and the generation of the files that are in its place.
pub(super) type Put = (Replaced, u32);

/// A segment that was replaced.
#[derive(Debug)]
struct Again {
    /// When it was last.
    at: Instant,
    /// How often it had been replaced lately by then.
    count: u32,
    /// Of the files that are in its place.
    generation: u32,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            by_key: RefCell::default(),
            failed: Lately::new(FAILED_FOR),
            ended: Notify::default(),
        }
    }
}

impl Repairs {
    /// The same sources, those behind the others that failed a moment ago: each may be waited for as long again.
    pub(super) fn ranked(&self, sources: &[String]) -> Vec<String> {
        let (mut ranked, now) = (sources.to_vec(), rt::now());
        ranked.sort_by_key(|source| self.failed.found(source, now).is_some());
        ranked
    }

    /// A source failed in a way in which it may not the next time.
    pub(super) fn note_failed(&self, source: &str) {
        self.failed.note(source.to_owned(), (), rt::now());
    }

    /// A source told nothing. It failed, unless it is never to tell: it may be the first to ask for another partition.
    pub(super) fn note_untold(&self, source: &str, why: &ErrorBody) {
        if why.retry() == Retry::Later {
            self.note_failed(source);
        }
    }

    /// Segments of a partition that were replaced since the node was started.
    pub(super) fn count(&self, key: PartitionKey) -> u64 {
        let replaced = self.of(key, |repairing| repairing.replaced);
        replaced.unwrap_or_default()
    }

    /// When it may be worth to read again what is damaged, in milliseconds; `None` unless that is
    /// being repaired.
    pub(crate) fn retry_ms(&self, key: PartitionKey) -> Option<u32> {
        self.is_running(key).then_some(RETRY_MS)
    }

    /// Begins one, unless one goes on, or it rests and no operator asked; `met` is a segment in which damage was met.
    pub(crate) fn begin(&self, key: PartitionKey, met: Option<Offset>, is_asked: bool) -> bool {
        let mut by_key = self.by_key.borrow_mut();
        let repairing = by_key.entry(key).or_default();
        repairing.met.extend(met);
        if repairing.is_running || (!is_asked && repairing.rests(met, rt::now())) {
            return false;
        }
        repairing.is_running = true;
        repairing.is_asked = is_asked;
        true
    }

    /// Whether none of this segment begins by itself, as what came before rests.
    pub(super) fn rests(&self, key: PartitionKey, met: Offset) -> bool {
        let rests = self.of(key, |repairing| repairing.rests(Some(met), rt::now()));
        rests.unwrap_or_default()
    }

    /// When a segment was replaced, unless a scrub may ask for it again; `next` is the generation that follows on that of its
    /// files: what came there behind a cut was not.
    pub(super) fn replaced_at(
        &self,
        key: PartitionKey,
        base: Offset,
        next: u32,
    ) -> Option<Instant> {
        let by_key = self.by_key.borrow();
        let again = by_key.get(&key)?.lately.get(&base)?;
        let age = rt::now().saturating_duration_since(again.at);
        (age < SCRUB_AGAIN && next.checked_sub(1) == Some(again.generation)).then_some(again.at)
    }

    /// The one that runs asks for a segment.
    pub(super) fn note_asked(&self, key: PartitionKey, base: Offset) {
        self.of(key, |repairing| repairing.asked.insert(base));
    }

    /// All sources say that they do not give a segment that was asked for.
    pub(super) fn note_lacked(&self, key: PartitionKey, base: Offset) {
        self.of(key, |repairing| repairing.lacked.insert(base));
    }

    /// Ends one, which replaced these, and left no damage if it `is_whole`.
    pub(super) fn end(&self, key: PartitionKey, replaced: &[Put], is_whole: bool) {
        if let Some(repairing) = self.by_key.borrow_mut().get_mut(&key) {
            repairing.is_running = false;
            repairing.replaced += replaced.len() as u64;
            // Whoever met damage in them meanwhile read the old ones.
            repairing
                .met
                .retain(|met| replaced.iter().all(|(replaced, _)| replaced.base != *met));
            let now = rt::now();
            for (one, generation) in replaced {
                repairing.note_replaced(one.base, *generation, now);
            }
            let is_well = is_whole || !replaced.is_empty();
            repairing.rest_behind(is_well, now);
        }
        self.ended.notify();
    }

    /// The partition is gone.
    pub(crate) fn forget(&self, key: PartitionKey) {
        self.by_key.borrow_mut().remove(&key);
        self.ended.notify();
    }

    /// Whether one goes on.
    pub(super) fn is_running(&self, key: PartitionKey) -> bool {
        let is_running = self.of(key, |repairing| repairing.is_running);
        is_running.unwrap_or_default()
    }

    /// The segments in which damage was met since this was last asked, but for those that the round leaves out.
    pub(super) fn take_met(&self, key: PartitionKey) -> BTreeSet<Offset> {
        let met = self.of(key, |repairing| {
            let (met, now) = (mem::take(&mut repairing.met), rt::now());
            let is_left = |met: &Offset| repairing.leaves_out(*met, now);
            let (left, taken) = met.into_iter().partition(is_left);
            repairing.met = left;
            taken
        });
        met.unwrap_or_default()
    }

    /// Whether the round that goes on leaves a segment out.
    pub(super) fn leaves_out(&self, key: PartitionKey, base: Offset) -> bool {
        let is_left = self.of(key, |repairing| repairing.leaves_out(base, rt::now()));
        is_left.unwrap_or_default()
    }

    fn of<T>(&self, key: PartitionKey, look: impl FnOnce(&mut Repairing) -> T) -> Option<T> {
        self.by_key.borrow_mut().get_mut(&key).map(look)
    }
}

impl Repairing {
    /// What rests behind one that ends, and ended well or replaced nothing.
    fn rest_behind(&mut self, is_well: bool, now: Instant) {
        let (asked, lacked) = (mem::take(&mut self.asked), mem::take(&mut self.lacked));
        self.resting.retain(|_, until| now < *until);
        // It asked for nothing that rests, unless an operator wanted it.
        let is_beside = !self.resting.is_empty() && !self.is_asked;
        if is_well && !is_beside {
            // What is left was met meanwhile, or rests, or will not be replaced: the next round tells.
            self.rests_until = None;
            self.resting.clear();
            self.failed_count = 0;
        } else if !is_well && !self.is_asked {
            self.failed_count = self.failed_count.saturating_add(1);
            let until = now + rest(self.failed_count);
            match !asked.is_empty() && asked.is_subset(&lacked) {
                true => self
                    .resting
                    .extend(asked.into_iter().map(|base| (base, until))),
                false => self.rests_until = Some(until),
            }
        }
    }

    /// Notes that a segment was replaced.
    fn note_replaced(&mut self, base: Offset, generation: u32, now: Instant) {
        let is_within = |again: &Again, time| now.saturating_duration_since(again.at) < time;
        self.lately.retain(|_, again| is_within(again, SCRUB_AGAIN));
        let before = self.lately.get(&base).filter(|it| is_within(it, LATELY));
        let count = before.map_or(0, |before| before.count.saturating_add(1));
        let again = Again {
            at: now,
            count,
            generation,
        };
        self.lately.insert(base, again);
    }

    /// Whether none begins by itself: what failed rests, or the segment that was met does; if none was, any does.
    fn rests(&self, met: Option<Offset>, now: Instant) -> bool {
        let has_failed = self.rests_until.is_some_and(|until| now < until);
        let mut each = self.resting.keys().chain(self.lately.keys());
        has_failed
            || match met {
                Some(met) => self.keeps_away(met, now),
                None => each.any(|base| self.keeps_away(*base, now)),
            }
    }

    /// Whether the round leaves a segment out, as that rests and no operator asked.
    fn leaves_out(&self, base: Offset, now: Instant) -> bool {
        !self.is_asked && self.keeps_away(base, now)
    }

    /// Whether a segment rests itself: no source has it, or it was replaced so often, and so lately.
    fn keeps_away(&self, base: Offset, now: Instant) -> bool {
        let is_lacked = self.resting.get(&base).is_some_and(|until| now < *until);
        let again = self.lately.get(&base);
        is_lacked || again.is_some_and(|again| now < again.rests_until())
    }
}

impl Again {
    fn rests_until(&self) -> Instant {
        self.at + rest(self.count)
    }
}

/// How long to rest after so many times in a row.
fn rest(count: u32) -> Duration {
    let doubled = |before: u32| AGAIN * 2_u32.pow(before.min(8));
    let rest = count.checked_sub(1).map(doubled);
    rest.unwrap_or_default().min(AGAIN_MAX)
}

#[cfg(test)]
pub(super) mod tests;
