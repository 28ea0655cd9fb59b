//! The switchboard of a faulty directory: what fails, what waits, what was counted.

use ::std::cell::RefCell;
use ::std::collections::BTreeMap;
use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;
use ::std::task::Waker;

use super::super::memory::FailedSync;
use super::super::{BLOCK_BYTES, round_up};
use super::flight::{Breach, Flight, Flights};
use super::{Event, Fault, Halt, Match, Operation, Plan, When};

/// Faults, gates and counts, shared by clones.
#[derive(Debug, Clone, Default)]
pub struct Faults(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    planned: Vec<Planned>,
    gates: Vec<(Match, When)>,
    held: Vec<(u64, Waker)>,
    passed: Vec<u64>,
    tickets: u64,
    counts: BTreeMap<Operation, u64>,
    is_full: bool,
    failed_sync: FailedSync,
    halt: Option<Halt>,
    /// Parts of files that cannot be read, by how the name ends.
    bad: Vec<(&'static str, Range<u64>)>,
    happened: Vec<Happened>,
    flights: Flights,
    breaches: Vec<Breach>,
}

#[derive(Debug)]
struct Planned {
    which: Match,
    /// How many more are let through before the one that fails.
    left: u64,
    fault: Fault,
}

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The number of the operation among all, counted from 1.
    pub number: u64,
    /// What it was to do.
    pub operation: Operation,
    /// To which file, `.` for a directory.
    pub name: String,
    /// What happened to it.
    pub fault: Fault,
}

/// An operation that waits at a gate. Dropped, it waits no more.
pub(super) struct Ticket {
    number: u64,
    faults: Faults,
}

impl Faults {
    /// Makes the `nth` operation meant by `which`, counted from 1 and from now on, fail with
    /// `fault`, once.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn fail(&self, which: impl Into<Match>, nth: u64, fault: Fault) {
        assert!(nth > 0, "operations are counted from 1");
        let planned = Planned {
            which: which.into(),
            left: nth - 1,
            fault,
        };
        self.0.borrow_mut().planned.push(planned);
    }

    /// Makes all events of `plan` happen, counted from now on.
    pub fn install(&self, plan: &Plan) {
        for Event { which, nth, fault } in plan.events.iter().cloned() {
            self.fail(which, nth, fault);
        }
    }

    /// The faults that happened so far, oldest first: as a plan of events for any operation, they
    /// make the same run.
    #[must_use]
    pub fn happened(&self) -> Vec<Happened> {
        self.0.borrow().happened.clone()
    }

    /// Says what a sync that fails leaves, from now on. The default is [`FailedSync::Device`].
    pub fn set_failed_sync(&self, how: FailedSync) {
        self.0.borrow_mut().failed_sync = how;
    }

    /// The laws that were broken so far. Two changes of a block at once also panic.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        self.0.borrow().breaches.clone()
    }

    /// Says from now on whether the disk is full: then making files and directories and preparing
    /// space fail, and so do writes where no space is prepared.
    pub fn set_full(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
    }

    /// Has the blocks of `range` of files whose name ends in `suffix` be unreadable from now on (`EIO`), until they are
    /// written, as a disk puts another sector in the place of a bad one.
    pub fn set_unreadable(&self, suffix: &'static str, range: Range<u64>) {
        self.0.borrow_mut().bad.push((suffix, blocks(&range)));
    }

    /// Whether a read of `range` of a file meets what cannot be read.
    pub(super) fn is_unreadable(&self, file: &str, range: &Range<u64>) -> bool {
        let (inner, range) = (self.0.borrow(), blocks(range));
        let mut bad = inner.bad.iter().filter(|(end, _)| file.ends_with(end));
        bad.any(|(_, bad)| range.start < bad.end && bad.start < range.end)
    }

    /// Notes that `range` of a file was written.
    pub(super) fn mend(&self, file: &str, range: &Range<u64>) {
        let mut inner = self.0.borrow_mut();
        for (end, bad) in ::std::mem::take(&mut inner.bad) {
            if !file.ends_with(end) {
                inner.bad.push((end, bad));
                continue;
            }
            let left = [
                bad.start..bad.end.min(range.start),
                bad.start.max(range.end)..bad.end,
            ];
            let left = left.into_iter().filter(|left| left.start < left.end);
            inner.bad.extend(left.map(|left| (end, left)));
        }
    }

    /// Holds back operations meant by `which` from now on.
    pub fn hold(&self, which: impl Into<Match>, when: When) {
        self.0.borrow_mut().gates.push((which.into(), when));
    }

    /// How many operations wait now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.borrow().held.len()
    }

    /// Lets the operation go that has waited longest; `false` if none waits.
    pub fn release_one(&self) -> bool {
        let mut inner = self.0.borrow_mut();
        if inner.held.is_empty() {
            return false;
        }
        let (number, waker) = inner.held.remove(0);
        inner.passed.push(number);
        drop(inner);
        waker.wake();
        true
    }

    /// Opens all gates for good, and lets all operations go that wait.
    pub fn release_all(&self) {
        self.0.borrow_mut().gates.clear();
        while self.release_one() {}
    }

    /// Forgets faults that were planned and have not happened, and what lasts: a disk that is full,
    /// a file system that halted, what cannot be read.
    pub fn clear(&self) {
        let mut inner = self.0.borrow_mut();
        inner.planned.clear();
        inner.is_full = false;
        inner.halt = None;
        inner.bad.clear();
    }

    /// Whether faults are planned that have not happened.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.0.borrow().planned.is_empty()
    }

    /// How many operations of this kind began.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.0.borrow().counts.get(&operation).copied().unwrap_or(0)
    }

    /// How many operations began, by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Operation, u64> {
        self.0.borrow().counts.clone()
    }

    /// How many operations of any kind began.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.borrow().counts.values().sum()
    }

    /// Counts an operation, and says what is to happen to it, if anything.
    pub(super) fn begin(&self, operation: Operation, file: &str) -> Option<Fault> {
        let mut inner = self.0.borrow_mut();
        *inner.counts.entry(operation).or_default() += 1;
        let takes_space = matches!(
            operation,
            Operation::CreateDir | Operation::CreateFile | Operation::Allocate
        );
        let mut fault =
            (inner.is_full && takes_space).then_some(Fault::Fail(io::ErrorKind::StorageFull));
        inner.planned.retain_mut(|planned| {
            if !planned.which.holds(operation, file) {
                return true;
            }
            if planned.left == 0 {
                fault = Some(planned.fault);
                return false;
            }
            planned.left -= 1;
            true
        });
        if let Some(fault) = fault {
            let happened = Happened {
                number: inner.counts.values().sum(),
                operation,
                name: file.to_owned(),
                fault,
            };
            inner.happened.push(happened);
        }
        if let Some(Fault::Halt(halt)) = fault {
            inner.halt = Some(halt);
        }
        let halted = inner.halt.filter(|halt| halt.error(operation).is_some());
        halted.map(Fault::Halt).or(fault)
    }

    /// What a sync that fails leaves, and a seed for it.
    pub(super) fn failed_sync(&self) -> (FailedSync, u64) {
        (self.0.borrow().failed_sync, self.total())
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().is_full
    }

    /// Notes a law broken.
    pub(super) fn note(&self, breach: Breach) {
        self.0.borrow_mut().breaches.push(breach);
    }

    /// Notes that `operation` changes `range` of a file from now on.
    pub(super) fn fly(
        &self,
        (file, name): (u64, &str),
        operation: Operation,
        range: Range<u64>,
    ) -> Flight {
        let (number, other) = self
            .0
            .borrow_mut()
            .flights
            .add(file, operation, range.clone());
        if let Some((other, other_range)) = other {
            let breach = Breach::Overlap {
                name: name.to_owned(),
                operation,
                range,
                other,
                other_range,
            };
            self.note(breach.clone());
            panic!("{breach}");
        }
        Flight::new(number, self.clone())
    }

    /// Notes that an operation is over.
    pub(super) fn land(&self, number: u64) {
        self.0.borrow_mut().flights.remove(number);
    }

    /// A place in the queue of a gate, if one holds the operation back.
    pub(super) fn queue(&self, operation: Operation, file: &str, when: When) -> Option<Ticket> {
        let mut inner = self.0.borrow_mut();
        let is_held = inner
            .gates
            .iter()
            .any(|(which, at)| *at == when && which.holds(operation, file));
        if !is_held {
            return None;
        }
        inner.tickets += 1;
        let number = inner.tickets;
        inner.held.push((number, Waker::noop().clone()));
        Some(Ticket {
            number,
            faults: self.clone(),
        })
    }

    /// Whether the holder of `ticket` was let go; if not, `waker` is woken when it is.
    pub(super) fn passes(&self, ticket: &Ticket, waker: &Waker) -> bool {
        let mut inner = self.0.borrow_mut();
        if inner.passed.contains(&ticket.number) {
            return true;
        }
        if let Some((_, held)) = inner.held.iter_mut().find(|(n, _)| *n == ticket.number) {
            held.clone_from(waker);
        }
        false
    }
}

/// The blocks that `range` touches: no disk gives a part of one.
fn blocks(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES as u64 * BLOCK_BYTES as u64..round_up(range.end)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.faults.0.borrow_mut();
        inner.held.retain(|(number, _)| *number != self.number);
        inner.passed.retain(|number| *number != self.number);
    }
}
