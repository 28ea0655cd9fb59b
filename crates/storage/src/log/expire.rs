//! Retention and truncation at the front: the manifest first, the files later.

use corelog_record::{ByteSize, Offset, Timestamp};

use super::Log;
use super::chore::ChorePlan;
use super::sums::Sums;
use super::work::Work;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Edit, Start};
use crate::format::state;
use crate::segment::{Segment, Stage};

/// What retention must not remove yet: what was not snapshotted, or not replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Segments that end above this offset stay, …
    pub upto: Offset,
    /// … unless the log, with them, has more bytes than this; `None`: however many.
    pub bytes_max: Option<ByteSize>,
}

impl Hold {
    /// Nothing is held back.
    pub const NONE: Self = Self {
        upto: Offset::MAX,
        bytes_max: None,
    };

    /// Whether a segment that ends at `end` stays in a log of `bytes` bytes.
    fn keeps(self, end: Offset, bytes: u64) -> bool {
        let is_within = self.bytes_max.is_none_or(|max| bytes <= max.bytes());
        self.upto < end && is_within
    }
}

impl<D: Dir> Log<D> {
    /// Plans to drop the sealed segments at the front that were sealed before `since`, but for those
    /// that `hold` keeps back.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, [`Error::Fenced`].
    pub fn plan_expire(
        &mut self,
        since: Timestamp,
        hold: Hold,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_change()?;
        self.plan_expire_while(hold, |log, number, _| {
            log.seal_time_at(number).is_some_and(|time| time < since)
        })
    }

    /// Plans to drop sealed segments at the front until at most `bytes` remain, but for those that
    /// `hold` keeps back.
    ///
    /// # Errors
    /// As for [`Log::plan_expire`].
    pub fn plan_expire_to(
        &mut self,
        bytes: ByteSize,
        hold: Hold,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_change()?;
        self.plan_expire_while(hold, |log, number, left| {
            bytes.bytes() < left && log.is_sealed_at(number)
        })
    }

    /// Plans to drop segments at the front as long as `is_due` says so, of their number and the bytes of the
    /// log with them.
    fn plan_expire_while(
        &mut self,
        hold: Hold,
        is_due: impl Fn(&Self, usize, u64) -> bool,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        let mut left = self.store_bytes().bytes();
        let mut start = None;
        for (number, segment) in self.segments.iter().enumerate() {
            let end = segment.end.offset;
            if !is_due(self, number, left) || hold.keeps(end, left) {
                break;
            }
            left -= segment.bytes();
            start = Some(end);
        }
        // Retention never moves a log start back that a user has moved further on.
        let start = start.map(|end| end.max(self.log_start));
        self.plan_start(start.map(|start| Edit::Expire(Start { start })))
    }

    /// Plans to move log start up to `lowest`, also within a segment. It is a user's wish: nothing
    /// holds it back.
    ///
    /// # Errors
    /// As for [`Log::plan_expire`]; [`Error::OutOfRange`] above durable, [`Error::ReadOnly`] if damage at
    /// the log's end keeps it as it is.
    pub fn plan_truncate(&mut self, lowest: Offset) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_change()?;
        self.within(lowest)?;
        let is_higher = self.log_start < lowest;
        // It may end further on than its last segment is known to.
        if let Some(from) = self.read_only_from.filter(|_| is_higher) {
            return Err(Error::ReadOnly { from });
        }
        self.plan_start(is_higher.then_some(Edit::Truncate(Start { start: lowest })))
    }

    /// Dropping the segments at the front that ended where the log starts before their end was known: a
    /// user moved the log start to the end of the active one, which was rolled and sealed later.
    pub(super) fn plan_left_below(&mut self, now: Timestamp) -> Option<Work<D>> {
        if now < self.seal_retry_at || self.is_add_waiting() || !self.is_any_left_below() {
            return None;
        }
        let start = self.log_start;
        self.edit(Edit::Expire(Start { start }))
    }

    /// Whether the oldest segment has nothing that is still in the log, and goes.
    pub(super) fn is_any_left_below(&self) -> bool {
        let first = self.segments.front();
        let is_below = first.is_some_and(|first| first.end.offset <= self.log_start);
        is_below && self.is_sealed_at(0)
    }

    /// Whether the segment `number` was sealed, whatever time that says, or is damaged and one behind it was.
    fn is_sealed_at(&self, number: usize) -> bool {
        self.sealed_at(number, |_| true).is_some()
    }

    /// When the segment `number` was sealed. A damaged one never is, and one that was sealed in the
    /// future was so by a clock that was wrong and has been mended: they are as old as the next one of which
    /// it is known, else they would keep all behind them, for ever or until then.
    pub(super) fn seal_time_at(&self, number: usize) -> Option<Timestamp> {
        self.sealed_at(number, |time| time <= self.time_heard)
    }

    fn sealed_at(
        &self,
        number: usize,
        is_believed: impl Fn(Timestamp) -> bool,
    ) -> Option<Timestamp> {
        let mut later = self.segments.iter().skip(number);
        let is_known = |segment: &&Segment<D>| {
            segment.stage != Stage::Damaged && segment.seal_time().is_none_or(&is_believed)
        };
        later.find(is_known)?.seal_time()
    }

    /// Whether a change of the manifest can be planned now.
    pub(super) fn ready_to_change(&self) -> Result<(), Error> {
        if self.is_fenced() {
            return Err(Error::Fenced);
        }
        let is_mark_taken = self.marked.is_clean && self.mark.is_away();
        match self.chore.is_some() || self.manifest.is_away() || is_mark_taken {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }

    /// Whether `offset` is durable.
    pub(super) fn within(&self, offset: Offset) -> Result<(), Error> {
        match offset <= self.durable.offset {
            true => Ok(()),
            false => Err(self.not_within(offset)),
        }
    }

    /// That the log cannot be cut to `offset`.
    pub(super) fn not_within(&self, offset: Offset) -> Error {
        Error::OutOfRange {
            offset,
            log_start: self.log_start,
            durable: self.durable.offset,
        }
    }

    fn plan_start(&mut self, edit: Option<Edit>) -> Result<Option<ChorePlan<D>>, Error> {
        let (Some(edit), true) = (edit, self.manifest.is_here()) else {
            return Ok(None);
        };
        match self.edit(edit) {
            Some(work) => Ok(Some(self.chore(work))),
            None => Err(Error::Busy),
        }
    }

    /// Drops the segments at the front that the manifest does not name any more.
    pub(super) fn drop_front(&mut self, start: Offset, gone: &[state::Segment]) {
        assert!(self.log_start <= start, "log start never moves back");
        for named in gone {
            let is_it = |segment: &Segment<D>| segment.base.offset == named.base;
            assert!(
                self.segments.front().is_some_and(is_it),
                "segments go from the front"
            );
            let Some(segment) = self.segments.pop_front() else {
                break;
            };
            let is_reusable = self.is_reusable(&segment);
            self.leave(segment, is_reusable);
        }
        assert!(!self.segments.is_empty(), "the active segment stays");
        // Nobody may read them any more, whoever would have come by.
        if let Some(first) = self.segments.front() {
            self.tail.forget_below(first.base.offset);
        }
        self.sums = Sums::over(&self.segments);
        self.log_start = start;
        self.keep_damage(|damage| start < damage.to);
    }
}
