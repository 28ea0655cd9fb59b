//! What a log should hold: a list of batches and three offsets. Whatever a log does, and whatever
//! is left of it after a crash, is held against this.

use std::rc::Rc;

use corelog_record::batch::{self, View};
use corelog_record::{LeaderEpoch, Offset, Timestamp};

use super::assert_counted;
use super::taken::Taken;
use crate::disk::Dir;
use crate::log::{Log, OpenReport};

/// One batch as it should be stored.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) time: Timestamp,
    pub(super) bytes: Vec<u8>,
}

impl Stored {
    /// The batch `bytes` as a log of this epoch stores it at `base`.
    pub(super) fn new(mut bytes: Vec<u8>, base: Offset, epoch: LeaderEpoch) -> Self {
        batch::patch(&mut bytes, base, epoch);
        let view = View::verify(&bytes).unwrap();
        let (end, time) = (view.next_offset(), view.max_timestamp());
        Self {
            base,
            end,
            time,
            bytes,
        }
    }
}

/// What a chore under way will have changed when it is done: after a crash it is done, or not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// Nothing that anyone sees.
    None,
    /// The log start moves here.
    Start(Offset),
    /// The log ends here, where a batch begins.
    Suffix(Offset),
}

/// What a log should hold.
#[derive(Debug, Clone, Hash)]
pub(super) struct Model {
    /// All that was appended and not cut, oldest first; also what is below log start.
    stored: Vec<Rc<Stored>>,
    pub(super) durable: Offset,
    pub(super) log_start: Offset,
    /// The last epoch that a batch may have been stamped with; that of a copy never rises by itself.
    pub(super) epoch: LeaderEpoch,
    pub(super) is_copy: bool,
    pub(super) change: Change,
    /// Batches that were durable and then cut off, which quarantine must hold.
    pub(super) cut: Vec<Rc<Stored>>,
    /// Snapshots that were said to be taken, oldest first.
    pub(super) taken: Vec<Rc<Taken>>,
    /// How many of these were said to be restored.
    pub(super) restored_count: usize,
}

impl Model {
    /// That of a new log.
    pub(super) fn new() -> Self {
        Self {
            stored: Vec::new(),
            durable: Offset::ZERO,
            log_start: Offset::ZERO,
            epoch: LeaderEpoch::ZERO,
            is_copy: false,
            change: Change::None,
            cut: Vec::new(),
            taken: Vec::new(),
            restored_count: 0,
        }
    }

    /// The end of the log.
    pub(super) fn end(&self) -> Offset {
        self.stored.last().map_or(Offset::ZERO, |last| last.end)
    }

    /// All that a reader should see, oldest first.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Stored> {
        let is_readable = |s: &&Stored| self.log_start < s.end && s.end <= self.durable;
        self.all().filter(is_readable)
    }

    /// All batches, oldest first, those below log start included.
    pub(super) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.stored.iter().map(Rc::as_ref)
    }

    /// A snapshot of all below `end` was taken, as `taken` says.
    pub(super) fn snapshotted(&mut self, mut taken: Taken) {
        let is_in = |s: &&Rc<Stored>| taken.log_start < s.end && s.end <= taken.end;
        taken.stored = self.stored.iter().filter(is_in).cloned().collect();
        self.taken.push(Rc::new(taken));
    }

    /// Appends batches that the log has taken.
    pub(super) fn append(&mut self, batches: Vec<Stored>) {
        for batch in batches {
            assert_eq!(batch.base, self.end(), "offsets are dense");
            self.stored.push(Rc::new(batch));
        }
    }

    /// A flush said that all below is durable.
    pub(super) fn flushed(&mut self, durable: Offset) {
        assert!(self.durable < durable, "durable moves forward");
        assert!(durable <= self.end(), "only what was appended is durable");
        self.durable = durable;
    }

    /// The chore under way is done.
    pub(super) fn changed(&mut self) {
        match std::mem::replace(&mut self.change, Change::None) {
            Change::None => {}
            Change::Start(start) => {
                assert!(self.log_start <= start, "log start moves forward");
                self.log_start = start;
            }
            Change::Suffix(cut) => {
                self.cut_off(cut);
                assert_eq!(self.end(), cut, "a log is cut between batches");
                self.durable = cut;
                self.log_start = self.log_start.min(cut);
            }
        }
    }

    /// Moves what was durable and ends above `end` to what was cut off, and forgets the rest.
    fn cut_off(&mut self, end: Offset) {
        let kept = self.stored.partition_point(|stored| stored.end <= end);
        let is_durable = |stored: &Rc<Stored>| stored.end <= self.durable;
        let gone = self.stored.split_off(kept);
        self.cut.extend(gone.into_iter().filter(is_durable));
    }

    /// Where a cut at `from` would end the log.
    pub(super) fn cut_at(&self, from: Offset) -> Offset {
        let holder = self.stored.iter().find(|stored| from < stored.end);
        holder.map_or(self.end(), |stored| stored.base)
    }

    /// Holds an open log against the model.
    pub(super) fn check<D: Dir>(&self, log: &Log<D>) {
        assert_eq!(log.log_start(), self.log_start, "log start");
        assert_eq!(log.durable(), self.durable, "durable");
        assert_eq!(log.log_end(), self.end(), "log end");
        assert_counted(log);
        let mut next = None;
        for segment in log.segments() {
            let is_dense = next.is_none_or(|next| next == segment.base);
            assert!(is_dense, "segments are dense");
            next = Some(segment.next);
        }
    }

    /// Holds what was found at opening against what was promised, and takes it over: all that a log
    /// shows after opening is promised from then on.
    pub(super) fn accept<D: Dir>(&mut self, log: &Log<D>, report: &OpenReport) {
        assert!(report.damage.is_empty(), "nothing rotted: {report:?}");
        assert!(!report.is_read_only, "{report:?}");
        let end = log.log_end();
        assert_eq!(log.durable(), end, "all that is shown is durable");
        let is_cut = matches!(self.change, Change::Suffix(cut) if cut == end);
        assert!(
            is_cut || self.durable <= end,
            "{} was promised: {report:?}",
            self.durable
        );
        let start = log.log_start();
        let is_moved = match self.change {
            Change::Start(to) => start == to,
            Change::Suffix(cut) => is_cut && start == self.log_start.min(cut),
            Change::None => false,
        };
        assert!(
            is_moved || start == self.log_start,
            "the log started at {}: {report:?}",
            self.log_start
        );
        let (used, epoch) = (self.epoch, log.epoch());
        let is_new = match self.is_copy {
            true => epoch <= used,
            false => used < epoch || (report.is_clean && used == epoch),
        };
        assert!(is_new, "epoch {used} was in use: {report:?}");
        self.cut_off(end);
        assert_eq!(self.end(), end, "a log ends behind a batch");
        (self.durable, self.log_start) = (end, start);
        self.epoch = epoch;
        self.change = Change::None;
        self.check(log);
    }

    /// Reads all of it in order, the chain verified.
    pub(super) async fn walk<D: Dir>(&self, log: &Log<D>) {
        let mut reader = log.reader(Offset::ZERO);
        for stored in self.readable() {
            let read = reader.next().await.unwrap();
            let read = read.map(|view| view.bytes());
            assert_eq!(read, Some(&stored.bytes[..]), "batch {}", stored.base);
        }
        assert!(reader.next().await.unwrap().is_none(), "nothing behind");
    }
}
