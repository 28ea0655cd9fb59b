//! Nodes that did not answer in time a moment ago, for all cores of this one: what need not be known is not waited for
//! again, partition after partition. The lock is held for a look at a table, when a partition is promoted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long such a node is not asked again: long enough for many partitions that are promoted one after the other,
/// short enough for one that comes back to be asked by whoever begins anew.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// When nodes were last waited for in vain, by address.
#[derive(Debug, Default)]
pub(crate) struct Silent(Mutex<HashMap<String, Instant>>);

impl Silent {
    /// Nothing came from `address` in all the time that it was given.
    pub(super) fn note(&self, address: &str, now: Instant) {
        let mut silent = self.recent(now);
        silent.insert(address.to_owned(), now);
    }

    /// If `address` was waited for in vain a moment ago.
    pub(super) fn is(&self, address: &str, now: Instant) -> bool {
        self.recent(now).contains_key(address)
    }

    /// What is recent enough; nothing else is kept, and each of these took its time to be noted.
    fn recent(&self, now: Instant) -> MutexGuard<'_, HashMap<String, Instant>> {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, at| now.saturating_duration_since(*at) < SILENT_FOR);
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_did_not_answer_is_asked_again_after_a_while() {
        let (silent, now) = (Silent::default(), Instant::now());
        assert!(!silent.is("a:1", now));
        silent.note("a:1", now);
        assert!(silent.is("a:1", now + SILENT_FOR / 2));
        assert!(!silent.is("b:1", now + SILENT_FOR / 2), "another one");
        assert!(!silent.is("a:1", now + SILENT_FOR));
    }
}
