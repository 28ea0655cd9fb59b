//! Which sources may still be asked.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelog_record::Offset;

use super::{Fault, Met, Order};
use crate::transfer::peer::PeerError;

/// The sources of an order, whichever thread asks them, in all of its turns.
#[derive(Debug)]
pub(super) struct Sources {
    addresses: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those that deceived are asked no more.
    is_dropped: Vec<bool>,
    /// Those that gave nothing since they failed: others are asked first.
    has_failed: Vec<bool>,
    faults: Vec<Met>,
}

/// What one worker knows of the sources while it receives one segment.
#[derive(Debug)]
pub(super) struct Tries {
    /// How often each source failed since it last gave anything.
    failed: Vec<u32>,
    /// Whether it has the segment, as far as is known.
    lacks: Vec<bool>,
}

impl Sources {
    /// Those of an order that has had no turn.
    pub(super) fn new(order: &Order) -> Self {
        let addresses = order.sources.clone();
        let has_failed = |address| order.failed.contains(address);
        Self {
            state: Mutex::new(State {
                is_dropped: vec![false; addresses.len()],
                has_failed: addresses.iter().map(has_failed).collect(),
                faults: Vec::new(),
            }),
            addresses,
        }
    }

    /// What a worker that begins with a segment knows.
    pub(super) fn tries(&self) -> Tries {
        let has_failed = &self.lock().has_failed;
        Tries {
            failed: has_failed.iter().copied().map(u32::from).collect(),
            lacks: vec![false; self.addresses.len()],
        }
    }

    pub(super) fn address(&self, source: usize) -> &str {
        self.addresses.get(source).map_or("", String::as_str)
    }

    /// The source to ask next: of those that failed least the first one behind `after`; `None` if none
    /// is left.
    pub(super) fn pick(&self, tries: &Tries, after: usize) -> Option<usize> {
        let state = self.lock();
        let count = self.addresses.len();
        let all = (0..count).map(|step| (after + step) % count);
        let may_be_asked = |source: &usize| {
            !state.is_dropped[*source] && !tries.lacks[*source] && tries.failed[*source] < TRIES_MAX
        };
        all.filter(may_be_asked)
            .min_by_key(|source| tries.failed[*source])
    }

    /// Notes what went wrong with a source.
    pub(super) fn met(&self, tries: &mut Tries, source: usize, segment: Offset, fault: Fault) {
        let mut state = self.lock();
        match fault.is_for_good() {
            true => tries.lacks[source] = true,
            false => {
                tries.failed[source] += 1;
                state.has_failed[source] = true;
            }
        }
        if fault.is_deceit() {
            state.is_dropped[source] = true;
        }
        if state.faults.len() < FAULTS_MAX || fault.is_deceit() {
            let source = self.address(source).to_owned();
            state.faults.push(Met {
                source,
                segment,
                fault,
            });
        }
    }

    /// Notes that a source sent nothing in a whole turn, after which others come first: there was less time than its patience
    /// has. That is told of once, until it gives something.
    pub(super) fn said_nothing(
        &self,
        tries: &mut Tries,
        source: usize,
        segment: Offset,
        turn: Duration,
    ) {
        if !self.lock().has_failed[source] {
            let fault = PeerError::Stalled { patience: turn };
            self.met(tries, source, segment, fault.into());
        }
    }

    /// Notes that a source gave something.
    pub(super) fn gave(&self, tries: &mut Tries, source: usize) {
        tries.failed[source] = 0;
        self.lock().has_failed[source] = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong with all of them, to be told of.
    pub(super) fn take_faults(&self) -> Vec<Met> {
        mem::take(&mut self.lock().faults)
    }
}

impl Tries {
    /// How often a source failed since.
    pub(super) fn failed(&self, source: usize) -> u32 {
        self.failed[source]
    }
}

/// A source that gives nothing so often is not asked again for the segment.
const TRIES_MAX: u32 = 5;

/// So many faults are told of, besides deceit, of which each source has one.
const FAULTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::order_at;
    use super::*;

    /// For as long as its order lasted each segment began with the others, though they had nothing of it.
    #[test]
    fn a_source_that_gives_again_is_asked_in_its_place_for_the_segments_that_follow() {
        let order = Order {
            sources: ["a", "b"].map(str::to_owned).to_vec(),
            failed: vec!["a".to_owned()],
            ..order_at(0)
        };
        let sources = Sources::new(&order);
        let mut tries = sources.tries();
        assert_eq!(sources.pick(&tries, 0), Some(1));
        sources.gave(&mut tries, 0);
        assert_eq!(sources.pick(&sources.tries(), 0), Some(0));
        let fault = Fault::Peer(PeerError::Stalled {
            patience: Duration::ZERO,
        });
        sources.met(&mut tries, 0, Offset::ZERO, fault);
        assert_eq!(sources.pick(&sources.tries(), 0), Some(1));
    }
}
