//! Runs that were aborted while more of them was on the way from another core.
//!
//! An abort is remembered in the producer's line until its answer has left, and here from then on.
//! The sender aborts the rest of a run itself once it has seen the answer. What it sent before has
//! to be caught here: at most one lane's credit was outstanding when the answer left, and at most
//! as much again was sent before the answer was read. So the last twice that many aborts suffice.

use std::collections::{HashMap, VecDeque};

use crate::core::PartitionKey;

/// A producer on another core: its connection and the partition.
pub(super) type Producer = (u64, PartitionKey);

/// The last aborted runs.
#[derive(Debug)]
pub(super) struct RecentAborts {
    kept_max: usize,
    order: VecDeque<Producer>,
    runs: HashMap<Producer, (u32, u16)>,
}

impl RecentAborts {
    /// Keeps what `outstanding_max` requests on the way need.
    pub(super) fn new(outstanding_max: usize) -> Self {
        let kept_max = outstanding_max.saturating_mul(2).max(1);
        Self {
            kept_max,
            order: VecDeque::new(),
            runs: HashMap::new(),
        }
    }

    /// What aborted the run of a request, if it is.
    pub(super) fn cause(&self, producer: Producer, run: u32) -> Option<u16> {
        let (aborted, cause) = self.runs.get(&producer)?;
        (run <= *aborted).then_some(*cause)
    }

    pub(super) fn abort(&mut self, producer: Producer, run: u32, cause: u16) {
        if let Some(known) = self.runs.get_mut(&producer) {
            if known.0 < run {
                *known = (run, cause);
                self.order.retain(|other| *other != producer);
                self.order.push_back(producer);
            }
            return;
        }
        if self.order.len() == self.kept_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.runs.remove(&oldest);
        }
        self.order.push_back(producer);
        self.runs.insert(producer, (run, cause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::key;

    fn producer(conn: u64) -> Producer {
        (conn, key(0, 0))
    }

    #[test]
    fn an_aborted_run_is_known_until_twice_the_credit_was_aborted() {
        let mut aborts = RecentAborts::new(2);
        aborts.abort(producer(0), 5, 8);
        assert_eq!(aborts.cause(producer(0), 5), Some(8));
        assert_eq!(aborts.cause(producer(0), 6), None);
        for conn in 1..=3 {
            aborts.abort(producer(conn), 0, 8);
        }
        assert_eq!(aborts.cause(producer(0), 4), Some(8));
        aborts.abort(producer(4), 0, 8);
        assert_eq!(aborts.cause(producer(0), 5), None);
    }
}
