//! The switchboard of a faulty directory: what fails, what waits, what was counted.

use ::std::cell::RefCell;
use ::std::collections::BTreeMap;
use ::std::io;
use ::std::rc::Rc;
use ::std::task::Waker;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "named after the operations of directories and files"
)]
pub enum Operation {
    Exists,
    CreateDir,
    List,
    Open,
    CreateFile,
    Rename,
    Link,
    Remove,
    RemoveTree,
    SyncDir,
    Map,
    Read,
    Write,
    /// `fdatasync` or `fsync` of a file.
    Sync,
    Allocate,
    SetLen,
    Len,
    Close,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With an error of this kind, and without any effect.
    Fail(io::ErrorKind),
    /// A write puts only so many bytes in place, and fails. Other operations just fail.
    Short {
        /// How many, fewer than the write has.
        bytes: usize,
    },
    /// A write puts a random half of its sectors in place, and fails. Other operations just fail.
    Torn {
        /// Chooses the half.
        seed: u64,
    },
}

/// Which operations are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Of this kind; `None` means of any.
    pub operation: Option<Operation>,
    /// On files whose name ends so; empty means on any, directories (`.`) included.
    pub suffix: &'static str,
}

/// When a gate holds an operation back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it has any effect.
    Before,
    /// When it has its effect, but its caller does not know yet.
    After,
}

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
}

#[derive(Debug)]
struct Planned {
    which: Match,
    /// How many more are let through before the one that fails.
    left: u64,
    fault: Fault,
}

/// An operation that waits at a gate. Dropped, it waits no more.
pub(super) struct Ticket {
    number: u64,
    faults: Faults,
}

impl From<Operation> for Match {
    fn from(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
            suffix: "",
        }
    }
}

impl Match {
    /// Operations of any kind on any file.
    pub const ANY: Self = Self {
        operation: None,
        suffix: "",
    };

    /// Operations of this kind on files whose name ends in `suffix`.
    #[must_use]
    pub fn on(operation: Operation, suffix: &'static str) -> Self {
        Self {
            operation: Some(operation),
            suffix,
        }
    }

    fn holds(&self, operation: Operation, file: &str) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation) && file.ends_with(self.suffix)
    }
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

    /// Says from now on whether the disk is full: then making files and directories and preparing
    /// space fail.
    pub fn set_full(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
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

    /// Forgets faults that were planned and have not happened.
    pub fn clear(&self) {
        let mut inner = self.0.borrow_mut();
        inner.planned.clear();
        inner.is_full = false;
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

    /// Counts an operation, and says how it is to fail, if it is.
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
        fault
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

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.faults.0.borrow_mut();
        inner.held.retain(|(number, _)| *number != self.number);
        inner.passed.retain(|number| *number != self.number);
    }
}
