//! Aborted runs that a connection, or the end of a lane, remembers: none of their requests is done any more.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use corelog_protocol::limits::PRODUCE_PARTITION_COUNT_MAX;

/// What all connections of a core may remember together, at some 80 bytes each: their number is the clients' choice.
const OF_CORE_MAX: usize = 1 << 17;
/// What each may remember in any case, so that nobody is closed for what others had refused.
const OF_ONE_MIN: usize = 224;

/// How many aborted runs are remembered on a core.
pub(crate) type AbortedCount = Rc<Cell<usize>>;

/// Aborted runs by `K`: of each every run up to one, with the code that aborted it.
#[derive(Debug)]
pub(super) struct Aborted<K> {
    runs: HashMap<K, (u32, u16)>,
    of_core: AbortedCount,
}

impl<K: Copy + Eq + Hash> Aborted<K> {
    pub(super) fn new(of_core: AbortedCount) -> Self {
        Self {
            runs: HashMap::new(),
            of_core,
        }
    }

    /// The code that aborted a run, if it was.
    pub(super) fn cause(&self, key: K, run: u32) -> Option<u16> {
        let (aborted, cause) = *self.runs.get(&key)?;
        (run <= aborted).then_some(cause)
    }

    pub(super) fn add(&mut self, key: K, run: u32, cause: u16) {
        let before = self.runs.len();
        let aborted = self.runs.entry(key).or_insert((run, cause));
        if aborted.0 < run {
            *aborted = (run, cause);
        }
        self.of_core
            .update(|count| count + (self.runs.len() - before));
    }

    /// Takes those that are settled.
    pub(super) fn take(
        &mut self,
        is_settled: impl Fn(&K) -> bool,
        mut take: impl FnMut(K, u32, u16),
    ) {
        let before = self.runs.len();
        if before == 0 {
            return;
        }
        self.runs.retain(|key, (run, cause)| {
            let is_settled = is_settled(key);
            if is_settled {
                take(*key, *run, *cause);
            }
            !is_settled
        });
        self.of_core
            .update(|count| count - (before - self.runs.len()));
    }

    /// If these are more than one connection may have.
    pub(super) fn are_too_many(&self) -> bool {
        let count = self.runs.len();
        count > PRODUCE_PARTITION_COUNT_MAX as usize
            || (count > OF_ONE_MIN && self.of_core.get() > OF_CORE_MAX)
    }

    pub(super) fn clear(&mut self) {
        self.of_core.update(|count| count - self.runs.len());
        self.runs = HashMap::new();
    }
}

impl<K> Drop for Aborted<K> {
    fn drop(&mut self) {
        self.of_core.update(|count| count - self.runs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_runs(count: usize, of_core: &AbortedCount) -> Aborted<usize> {
        let mut aborted = Aborted::new(Rc::clone(of_core));
        (0..count).for_each(|key| aborted.add(key, 1, 0));
        aborted
    }

    #[test]
    fn a_connection_remembers_what_is_promised_and_no_more() {
        let of_core = AbortedCount::default();
        let mut aborted = with_runs(PRODUCE_PARTITION_COUNT_MAX as usize, &of_core);
        assert!(!aborted.are_too_many());
        aborted.add(0, 2, 0);
        assert!(!aborted.are_too_many(), "it is known already");
        aborted.add(usize::MAX, 1, 0);
        assert!(aborted.are_too_many());
    }

    /// A client could have each of its connections remember as much as one may.
    #[test]
    fn all_connections_of_a_core_remember_a_bounded_number_and_each_a_few() {
        let of_core = AbortedCount::default();
        let each = PRODUCE_PARTITION_COUNT_MAX as usize;
        let all: Vec<_> = (0..OF_CORE_MAX / each)
            .map(|_| with_runs(each, &of_core))
            .collect();
        assert_eq!(of_core.get(), OF_CORE_MAX);
        assert!(all.iter().all(|aborted| !aborted.are_too_many()));
        let mut other = with_runs(OF_ONE_MIN, &of_core);
        assert!(
            !other.are_too_many(),
            "who was refused little is not closed"
        );
        other.add(usize::MAX, 1, 0);
        assert!(other.are_too_many());
        drop(all);
        assert!(!other.are_too_many());
    }

    #[test]
    fn what_is_forgotten_is_not_counted() {
        let of_core = AbortedCount::default();
        let mut aborted = with_runs(10, &of_core);
        aborted.take(|key| *key < 4, |_, _, _| {});
        assert_eq!(of_core.get(), 6);
        aborted.clear();
        assert_eq!(of_core.get(), 0);
        aborted.add(1, 1, 0);
        drop(aborted);
        assert_eq!(of_core.get(), 0);
    }
}
