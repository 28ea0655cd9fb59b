//! Searches that clients have under way in the logs of one core. One looks for something for as long as that takes, and
//! nothing else bounds how many there are: what has room for its answer, or is kept, does not wait behind them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use super::lane::RETRY_MS;
use super::message::Ask;
use crate::failure::{Failure, busy};
use crate::frame_id::FrameId;
use crate::machine::Machine;
use crate::partition::Seek;

/// A machine has at most so many times what it leaves free.
const MACHINE_PARTS: usize = 3;

/// Who searches: a connection, by its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Searcher {
    machine: Machine,
    connection: SocketAddr,
}

/// How many are under way of each connection that has any.
#[derive(Debug, Default)]
pub(super) struct Searches(BTreeMap<Searcher, usize>);

/// Those in the logs of this core, which no lane bounds.
#[derive(Debug)]
pub(super) struct SearchesHere {
    count_max: usize,
    under_way: RefCell<Searches>,
}

/// One of them, for as long as this core is at it.
pub(super) struct SearchHere {
    of: Rc<SearchesHere>,
    by: Searcher,
}

impl Searcher {
    /// Whose search a question is, if it is one of a client's: the ends of a log are told from memory. A follower's log may
    /// have to be held against this one, on the disk, and who met damage waits for its repair.
    pub(super) fn of(ask: &Ask, frame: Option<FrameId>) -> Option<Self> {
        let is_search = matches!(
            ask,
            Ask::ChainAt { .. }
                | Ask::Hear { .. }
                | Ask::Heal { .. }
                | Ask::Find {
                    seek: Seek::Time(_),
                    ..
                }
        );
        let connection = frame.filter(|_| is_search)?.peer;
        Some(Self {
            machine: Machine::of(connection.ip()),
            connection,
        })
    }
}

impl Searches {
    /// If one may not have another, of so many in all ("Dynamic Queue Length Thresholds", Choudhury and Hahne, 1998): a
    /// machine leaves a third as many places free as it has, and of what it may have yet a connection leaves as many to
    /// the others as it has. So who comes behind one that floods finds a place, on the same machine or another.
    pub(super) fn are_full_for(&self, by: Searcher, count_max: usize) -> bool {
        let free = count_max.saturating_sub(self.0.values().sum());
        let of_machine = self
            .0
            .iter()
            .filter(|(other, _)| other.machine == by.machine);
        let held_there = of_machine.map(|(_, held)| held).sum();
        let left_there = (MACHINE_PARTS * free).saturating_sub(held_there);
        left_there <= self.0.get(&by).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, by: Searcher) {
        *self.0.entry(by).or_default() += 1;
    }

    pub(super) fn end(&mut self, by: Searcher) {
        if let Some(held) = self.0.get_mut(&by) {
            *held -= 1;
            if *held == 0 {
                self.0.remove(&by);
            }
        }
    }
}

impl SearchesHere {
    /// None yet, and at most so many.
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            count_max,
            under_way: RefCell::default(),
        }
    }

    /// A place for a question, if it is a search.
    ///
    /// # Errors
    /// `Busy` if who asks has as many under way as it may.
    pub(super) fn begin(
        self: &Rc<Self>,
        ask: &Ask,
        frame: Option<FrameId>,
    ) -> Result<Option<SearchHere>, Failure> {
        let Some(by) = Searcher::of(ask, frame) else {
            return Ok(None);
        };
        let mut under_way = self.under_way.borrow_mut();
        if under_way.are_full_for(by, self.count_max) {
            return Err(busy("too many searches are under way", RETRY_MS));
        }
        under_way.begin(by);
        let of = Rc::clone(self);
        Ok(Some(SearchHere { of, by }))
    }
}

impl Drop for SearchHere {
    fn drop(&mut self) {
        self.of.under_way.borrow_mut().end(self.by);
    }
}
