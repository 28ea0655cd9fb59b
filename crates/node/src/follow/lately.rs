//! What was found out of other nodes a moment ago, for all cores of this one: what need not be asked again, partition after
//! partition, or by others. The lock is held for a look at a table, by what asks other nodes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A node that did not answer in time is not asked again for so long: long enough for many partitions that are promoted one
/// after the other, short enough for one that comes back to be asked by whoever begins anew.
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(5);
/// For so long a node is taken to own nothing any more of a partition that another node took over, as its follower here was
/// told, which looks again when it comes back to it.
pub(crate) const REPLACED_FOR: Duration = Duration::from_secs(3600);

/// When something was last found out of each `K`.
#[derive(Debug)]
pub(crate) struct Lately<K> {
    lasts: Duration,
    noted: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Lately<K> {
    /// What holds for so long.
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            noted: Mutex::default(),
        }
    }

    /// What is not recent any more goes: each of the others took its time to be noted.
    pub(super) fn note(&self, which: K, now: Instant) {
        let mut noted = self.noted();
        noted.retain(|_, at| now.saturating_duration_since(*at) < self.lasts);
        noted.insert(which, now);
    }

    /// It is not so any more.
    pub(super) fn forget(&self, which: &K) {
        self.noted().remove(which);
    }

    /// If it was found out a moment ago.
    pub(crate) fn is(&self, which: &K, now: Instant) -> bool {
        let noted = self.noted();
        let at = noted.get(which);
        at.is_some_and(|at| now.saturating_duration_since(*at) < self.lasts)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
}
