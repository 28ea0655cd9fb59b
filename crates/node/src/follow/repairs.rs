//! The repairs of a core's partitions: which goes on, which segments readers met damage in, when the next may begin.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

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
    /// Segments that a reader met damage in.
    met: BTreeSet<Offset>,
    /// Before this the next one does not begin by itself: the last one left damage and replaced nothing, or only what was
    /// replaced lately.
    rests_until: Option<Instant>,
    /// It rests for what was replaced lately, and not for what could not be.
    rests_for_lately: bool,
    /// How many in a row replaced nothing, of those that began by themselves.
    failed_count: u32,
    /// Segments that were replaced since the node was started.
    replaced: u64,
    /// Those of the last minutes.
    lately: HashMap<Offset, Again>,
}

/// A segment that was replaced.
#[derive(Debug)]
struct Again {
    /// When it was last.
    at: Instant,
    /// How often it had been replaced lately by then.
    count: u32,
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

    /// Segments of a partition that were replaced since the node was started.
    pub(super) fn count(&self, key: PartitionKey) -> u64 {
        self.by_key
            .borrow()
            .get(&key)
            .map_or(0, |repairing| repairing.replaced)
    }

    /// When it may be worth to read again what is damaged, in milliseconds; `None` unless that is
    /// being repaired.
    pub(crate) fn retry_ms(&self, key: PartitionKey) -> Option<u32> {
        self.is_running(key).then_some(RETRY_MS)
    }

    /// Begins one, unless one goes on or the partition rests; `met` is a segment in which a reader met damage.
    pub(super) fn begin(&self, key: PartitionKey, met: Option<Offset>, is_asked: bool) -> bool {
        let mut by_key = self.by_key.borrow_mut();
        let repairing = by_key.entry(key).or_default();
        repairing.met.extend(met);
        let now = rt::now();
        let is_early = repairing.rests_until.is_some_and(|until| now < until);
        // Another segment than those that the disk does not keep.
        let is_other = met.is_some_and(|met| !repairing.keeps_away(met, now));
        let rests = is_early && !(repairing.rests_for_lately && is_other);
        if repairing.is_running || (rests && !is_asked) {
            return false;
        }
        repairing.is_running = true;
        repairing.is_asked = is_asked;
        true
    }

    /// Ends one, which replaced these, and left no damage if it `is_whole`.
    pub(super) fn end(&self, key: PartitionKey, replaced: &[Replaced], is_whole: bool) {
        if let Some(repairing) = self.by_key.borrow_mut().get_mut(&key) {
            repairing.is_running = false;
            repairing.replaced += replaced.len() as u64;
            // Whoever met damage in them meanwhile read the old ones.
            repairing
                .met
                .retain(|met| replaced.iter().all(|replaced| replaced.base != *met));
            let now = rt::now();
            let each = replaced.iter().map(|one| one.base);
            let again = each.map(|base| repairing.note_replaced(base, now)).min();
            match again {
                // What is left was met meanwhile, or will not be replaced: the next round tells.
                Some(0) => repairing.wake(),
                None if is_whole => repairing.wake(),
                _ if repairing.is_asked => {}
                Some(count) => {
                    repairing.rests_until = Some(now + rest(count));
                    repairing.rests_for_lately = true;
                }
                None => {
                    repairing.failed_count = repairing.failed_count.saturating_add(1);
                    repairing.rests_until = Some(now + rest(repairing.failed_count));
                    repairing.rests_for_lately = false;
                }
            }
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
        self.by_key
            .borrow()
            .get(&key)
            .is_some_and(|repairing| repairing.is_running)
    }

    /// The segments that readers met damage in since this was last asked.
    pub(super) fn take_met(&self, key: PartitionKey) -> BTreeSet<Offset> {
        let mut by_key = self.by_key.borrow_mut();
        by_key
            .get_mut(&key)
            .map(|r| std::mem::take(&mut r.met))
            .unwrap_or_default()
    }
}

impl Repairing {
    /// Notes that a segment was replaced. Returns how often it had been lately.
    fn note_replaced(&mut self, base: Offset, now: Instant) -> u32 {
        let is_late = |again: &Again| now.saturating_duration_since(again.at) < LATELY;
        self.lately.retain(|_, again| is_late(again));
        let before = self.lately.get(&base);
        let count = before.map_or(0, |before| before.count.saturating_add(1));
        self.lately.insert(base, Again { at: now, count });
        count
    }

    /// Whether a segment was replaced so often, and so lately, that it rests itself.
    fn keeps_away(&self, base: Offset, now: Instant) -> bool {
        let again = self.lately.get(&base);
        again.is_some_and(|again| now < again.at + rest(again.count))
    }

    fn wake(&mut self) {
        self.rests_until = None;
        self.failed_count = 0;
    }
}

/// How long to rest after so many times in a row.
fn rest(count: u32) -> Duration {
    let doubled = |before: u32| AGAIN * 2_u32.pow(before.min(8));
    let rest = count.checked_sub(1).map(doubled);
    rest.unwrap_or_default().min(AGAIN_MAX)
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    fn key() -> PartitionKey {
        PartitionKey {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
        }
    }

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn replaced(base: u64) -> Replaced {
        Replaced {
            base: at(base),
            bytes: 1,
            from: String::new(),
            took_ms: 1,
        }
    }

    /// For how many seconds the repairs of the partition rest.
    fn rest_of(repairs: &Repairs) -> Option<u64> {
        let by_key = repairs.by_key.borrow();
        let until = by_key.get(&key())?.rests_until?;
        let left = until.saturating_duration_since(rt::now());
        Some((left + Duration::from_millis(500)).as_secs())
    }

    /// The next round would have fetched what is sound by now, and moved it to quarantine.
    #[test]
    fn what_was_met_again_while_it_was_replaced_is_not_repaired_once_more() {
        let repairs = Repairs::default();
        assert!(repairs.begin(key(), Some(at(5)), false));
        assert_eq!(repairs.take_met(key()), BTreeSet::from([at(5)]));
        assert!(!repairs.begin(key(), Some(at(5)), false));
        assert!(!repairs.begin(key(), Some(at(9)), false));
        repairs.end(key(), &[replaced(5)], true);
        assert_eq!(repairs.count(key()), 1);
        assert_eq!(repairs.take_met(key()), BTreeSet::from([at(9)]));
    }

    #[test]
    fn a_round_that_replaces_something_is_no_failure() {
        let repairs = Repairs::default();
        for rest in [5, 10, 20] {
            repairs
                .by_key
                .borrow_mut()
                .entry(key())
                .or_default()
                .rests_until = None;
            assert!(repairs.begin(key(), None, false));
            repairs.end(key(), &[], false);
            assert_eq!(rest_of(&repairs), Some(rest));
            assert!(!repairs.begin(key(), None, false), "it rests");
        }
        assert!(repairs.begin(key(), None, true));
        repairs.end(key(), &[replaced(5)], false);
        assert_eq!(rest_of(&repairs), None);
        assert!(
            repairs.begin(key(), None, false),
            "there is more to replace"
        );
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), Some(5));
    }

    /// A disk that gave it only from its cache had the segment fetched, and the old store put into quarantine, as often as
    /// it was read.
    #[test]
    fn a_segment_that_has_to_be_replaced_again_and_again_rests_in_between() {
        let repairs = Repairs::default();
        let wake = || {
            let mut by_key = repairs.by_key.borrow_mut();
            by_key.get_mut(&key()).unwrap().rests_until = None;
        };
        let round = |bases: &[u64]| {
            assert!(repairs.begin(key(), None, false));
            let replaced: Vec<_> = bases.iter().copied().map(replaced).collect();
            repairs.end(key(), &replaced, true);
        };
        round(&[5]);
        round(&[9]);
        assert_eq!(rest_of(&repairs), None);
        for (again, rest) in [(5, 5), (9, 5), (5, 10), (5, 20)] {
            round(&[again]);
            assert_eq!(rest_of(&repairs), Some(rest));
            assert!(!repairs.begin(key(), Some(at(again)), false), "it rests");
            wake();
        }
        round(&[5, 7]);
        assert_eq!(rest_of(&repairs), None, "one was not replaced before");
        let mut by_key = repairs.by_key.borrow_mut();
        let repairing = by_key.get_mut(&key()).unwrap();
        let later = rt::now() + LATELY;
        assert_eq!(repairing.note_replaced(at(5), later), 0, "long ago");
    }

    /// Who read one that had come a second time waited for up to a minute, as another one did not stay.
    #[test]
    fn a_segment_that_was_replaced_rests_as_often_as_itself_was() {
        let repairs = Repairs::default();
        for base in [9, 5, 5, 5, 5] {
            repairs
                .by_key
                .borrow_mut()
                .entry(key())
                .or_default()
                .rests_until = None;
            assert!(repairs.begin(key(), None, false));
            repairs.end(key(), &[replaced(base)], true);
        }
        assert_eq!(rest_of(&repairs), Some(20));
        assert!(!repairs.begin(key(), None, false));
        assert!(!repairs.begin(key(), Some(at(5)), false));
        assert!(repairs.begin(key(), Some(at(9)), false));
    }

    /// It was waited for again in each partition, and in each round.
    #[test]
    fn a_source_that_failed_a_moment_ago_is_asked_behind_the_others() {
        let repairs = Repairs::default();
        let sources = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(repairs.ranked(&sources), sources);
        repairs.note_failed("a");
        assert_eq!(repairs.ranked(&sources), ["b", "c", "a"]);
        repairs.note_failed("b");
        repairs.note_failed("c");
        assert_eq!(repairs.ranked(&sources), sources);
    }

    #[test]
    fn a_segment_that_rests_keeps_no_other_one_from_being_repaired() {
        let repairs = Repairs::default();
        for _ in 0..2 {
            assert!(repairs.begin(key(), Some(at(5)), false));
            repairs.end(key(), &[replaced(5)], true);
        }
        assert!(!repairs.begin(key(), Some(at(5)), false), "it rests");
        assert!(repairs.begin(key(), Some(at(9)), false));
        repairs.end(key(), &[], false);
        assert!(
            !repairs.begin(key(), Some(at(9)), false),
            "nobody had a sound one"
        );
    }

    #[test]
    fn a_round_that_an_operator_asked_for_does_not_put_off_the_next() {
        let repairs = Repairs::default();
        assert!(repairs.begin(key(), None, true));
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), None);
        assert!(repairs.begin(key(), None, false));
        repairs.end(key(), &[], false);
        for _ in 0..3 {
            assert!(repairs.begin(key(), None, true));
            repairs.end(key(), &[], false);
            assert_eq!(rest_of(&repairs), Some(5));
        }
    }
}
