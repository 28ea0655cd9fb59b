//! The check of one store: what is known of it beforehand, and what it came to.

use std::path::PathBuf;
use std::sync::Arc;

use corelog_record::batch::View;
use corelog_record::{HistoryId, Offset};

use super::finding::{Finding, What};
use super::partition;
use super::subject::Subject;
use super::walker::Walker;
use crate::format::edit::Epoch;
use crate::format::state;
use crate::segment::Point;

/// One store to be read, with its index. It can be run on any thread.
#[derive(Debug, Clone)]
pub struct StoreCheck {
    pub(super) dir: PathBuf,
    pub(super) name: String,
    pub(super) index: Option<Index>,
    /// The log's point at its start; of a store alone, only the offset is known.
    pub(super) base: Point,
    pub(super) end: End,
    /// The segment as the manifest names it, if one does.
    pub(super) named: Option<state::Segment>,
    /// What it is part of, unless it is a store alone.
    pub(super) subject: Option<Arc<Subject>>,
    /// The epochs that its batches must be of, oldest first; of a sealed store its chain tells.
    pub(super) epochs: Vec<Epoch>,
    /// How many bytes it is expected to read.
    pub(super) bytes: u64,
}

/// The index to be held against a store.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) name: String,
    /// Of which log it must be, if that is known.
    pub(super) history: Option<HistoryId>,
    /// Whether it must be there.
    pub(super) is_due: bool,
}

/// What is known of the end of a store.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// It is sealed: it ends exactly here.
    Sealed(Point),
    /// It is, or was until now, written to.
    Open {
        /// All before this point is durable.
        marked: Option<Point>,
        /// Where the next segment that holds bytes begins: there it must end.
        next: Option<Point>,
        /// All offsets below are durable.
        promised: Offset,
    },
    /// Nothing is: it is a file without a log.
    Unknown,
}

/// Looks into a sound batch, and says what is wrong with its records.
pub type LookInto = dyn Fn(&View<'_>) -> Result<(), corelog_record::Error> + Sync;

/// What the caller of a check hears of, and adds to it.
pub struct Hooks<'a> {
    /// Told of bytes as they were read.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Looks into each sound batch, if wanted; what it says is a finding.
    pub records: Option<&'a LookInto>,
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of sound batches.
    pub bytes: u64,
    /// Sound batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl StoreCheck {
    /// How many bytes it is expected to read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Reads the store and its index. What cannot be read is a finding.
    #[must_use]
    pub fn run(&self, hooks: &Hooks<'_>) -> Checked {
        let mut checked = Walker::check(self, hooks);
        if !checked.findings.is_empty() && self.has_changed() {
            let text = "the log is gone, or does not name it so any more";
            let changed = Finding::of(What::Changed, self.path(), "a segment of the log", text);
            checked.findings = vec![changed];
        }
        checked
    }

    /// Whether it is no more what it was when the check was made.
    fn has_changed(&self) -> bool {
        let subject = self.subject.as_ref();
        subject.is_some_and(|subject| subject.has_changed()) || !self.is_still_named()
    }

    /// Whether the manifest says of this segment what it said before.
    fn is_still_named(&self) -> bool {
        let Some(named) = &self.named else {
            return true;
        };
        // A manifest that cannot be read now is a matter of its own.
        partition::now(&self.dir).is_none_or(|state| state.segments().contains(named))
    }
}
