//! What was found out of other nodes a moment ago, for all cores of this one: what need not be asked again, partition after
//! partition, or by others. The lock is held for a look at a table, by what asks other nodes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A node that did not answer in time is not asked again for so long: long enough for many partitions that are promoted one
/// after the other, short enough for one that comes back to be asked by whoever begins anew.
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(5);
/// A source is followed that was, and was not found to be replaced, so long ago: who follows one looks at it more often, or
/// notes it while that does not come.
pub(crate) const FOLLOWED_FOR: Duration = Duration::from_secs(75);

/// What was last found out of each `K`, and when.
#[derive(Debug)]
pub(crate) struct Lately<K, V = ()> {
    lasts: Duration,
    noted: Mutex<Table<K, V>>,
}

#[derive(Debug)]
struct Table<K, V> {
    at: HashMap<K, (V, Instant)>,
    /// When there are so many, what is not recent any more goes.
    tidied_at: usize,
}

impl<K: Eq + Hash, V: Clone + PartialEq> Lately<K, V> {
    /// What holds for so long.
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            noted: Mutex::new(Table {
                at: HashMap::new(),
                tidied_at: TIDIED_AT_MIN,
            }),
        }
    }

    /// In the place of what was found out of it before.
    pub(super) fn note(&self, which: K, what: V, now: Instant) {
        let Table { at, tidied_at } = &mut *self.noted();
        if *tidied_at <= at.len() {
            at.retain(|_, (_, at)| self.is_recent(*at, now));
            *tidied_at = (2 * at.len()).max(TIDIED_AT_MIN);
        }
        at.insert(which, (what, now));
    }

    /// That is not so any more.
    pub(super) fn forget(&self, which: &K, what: &V) {
        let at = &mut self.noted().at;
        if at.get(which).is_some_and(|(noted, _)| noted == what) {
            at.remove(which);
        }
    }

    /// What was found out of it a moment ago.
    pub(crate) fn found(&self, which: &K, now: Instant) -> Option<V> {
        let noted = self.noted();
        let found = noted.at.get(which);
        let found = found.filter(|(_, at)| self.is_recent(*at, now));
        found.map(|(what, _)| what.clone())
    }

    fn is_recent(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.lasts
    }

    fn noted(&self) -> MutexGuard<'_, Table<K, V>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So few are kept as they are.
const TIDIED_AT_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_of_a_node_holds_for_a_while() {
        let (silent, now) = (Lately::new(SILENT_FOR), Instant::now());
        assert_eq!(silent.found(&"a:1", now), None);
        silent.note("a:1", (), now);
        let soon = now + SILENT_FOR / 2;
        assert_eq!(silent.found(&"a:1", soon), Some(()));
        assert_eq!(silent.found(&"b:1", soon), None, "another one");
        assert_eq!(silent.found(&"a:1", now + SILENT_FOR), None);
        silent.note("b:1", (), now);
        silent.forget(&"b:1", &());
        assert_eq!(silent.found(&"b:1", now), None);
    }

    /// Each source of a partition was taken for followed until a while after the partition had left it.
    #[test]
    fn what_was_found_out_last_takes_the_place_of_what_was_before() {
        let (followed, now) = (Lately::new(FOLLOWED_FOR), Instant::now());
        followed.note("partition", "a:1", now);
        followed.note("partition", "b:1", now);
        followed.forget(&"partition", &"a:1");
        assert_eq!(followed.found(&"partition", now), Some("b:1"));
    }

    #[test]
    fn what_was_found_out_long_ago_is_not_kept() {
        let (lately, mut now) = (Lately::new(SILENT_FOR), Instant::now());
        for number in 0..10_000 {
            lately.note(number, (), now);
            now += SILENT_FOR / 100;
        }
        assert!(lately.noted().at.len() <= 2 * 100);
        assert_eq!(lately.found(&9_999, now), Some(()));
    }
}
