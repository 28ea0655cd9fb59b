//! What was found out of other nodes a moment ago, for all cores of this one: what need not be asked again, partition after
//! partition, or by others. The lock is held for a look at a table, by what asks other nodes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A node that did not answer in time is not asked again for so long: long enough for many partitions that are promoted one
/// after the other, short enough for one that comes back to be asked by whoever begins anew.
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(5);
/// A source is followed that was, and was not found to be replaced, so long ago: who follows one looks at it more often.
pub(crate) const FOLLOWED_FOR: Duration = Duration::from_secs(75);

/// When something was last found out of each `K`.
#[derive(Debug)]
pub(crate) struct Lately<K> {
    lasts: Duration,
    noted: Mutex<Noted<K>>,
}

#[derive(Debug)]
struct Noted<K> {
    at: HashMap<K, Instant>,
    /// When there are so many, what is not recent any more goes.
    tidied_at: usize,
}

impl<K: Eq + Hash> Lately<K> {
    /// What holds for so long.
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            noted: Mutex::new(Noted {
                at: HashMap::new(),
                tidied_at: TIDIED_AT_MIN,
            }),
        }
    }

    pub(super) fn note(&self, which: K, now: Instant) {
        let Noted { at, tidied_at } = &mut *self.noted();
        if *tidied_at <= at.len() {
            at.retain(|_, at| self.is_recent(*at, now));
            *tidied_at = (2 * at.len()).max(TIDIED_AT_MIN);
        }
        at.insert(which, now);
    }

    /// It is not so any more.
    pub(super) fn forget(&self, which: &K) {
        self.noted().at.remove(which);
    }

    /// If it was found out a moment ago.
    pub(crate) fn is(&self, which: &K, now: Instant) -> bool {
        let noted = self.noted();
        let at = noted.at.get(which);
        at.is_some_and(|at| self.is_recent(*at, now))
    }

    fn is_recent(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.lasts
    }

    fn noted(&self) -> MutexGuard<'_, Noted<K>> {
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
        assert!(!silent.is(&"a:1", now));
        silent.note("a:1", now);
        assert!(silent.is(&"a:1", now + SILENT_FOR / 2));
        assert!(!silent.is(&"b:1", now + SILENT_FOR / 2), "another one");
        assert!(!silent.is(&"a:1", now + SILENT_FOR));
        silent.note("b:1", now);
        silent.forget(&"b:1");
        assert!(!silent.is(&"b:1", now));
    }

    #[test]
    fn what_was_found_out_long_ago_is_not_kept() {
        let (lately, mut now) = (Lately::new(SILENT_FOR), Instant::now());
        for number in 0..10_000 {
            lately.note(number, now);
            now += SILENT_FOR / 100;
        }
        assert!(lately.noted().at.len() <= 2 * 100);
        assert!(lately.is(&9_999, now));
    }
}
