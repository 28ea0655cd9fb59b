//! A copy gives up what its source does not have, and goes on where the source does.

use corelog_record::{Offset, Timestamp};

use super::Log;
use super::chore::ChorePlan;
use super::cut::Aim;
use super::lineage::Common;
use crate::Error;
use crate::disk::Dir;
use crate::segment::Stage;

impl<D: Dir> Log<D> {
    /// Whether the log can be cut at `from` now, which is at or above `lowest`.
    pub(super) fn ready_to_cut(&self, from: Offset, lowest: Offset) -> Result<(), Error> {
        self.ready_to_change_end()?;
        self.within(from)?;
        if let Some(from) = self.read_only_from {
            return Err(Error::ReadOnly { from });
        }
        match from < lowest {
            true => Err(self.not_within(from)),
            false => Ok(()),
        }
    }

    /// Plans to cut a copy down to what it has in `common` with its source: the batches behind go to
    /// quarantine, the epochs above are forgotten, and none begins. A segment that is cut goes on as
    /// the active one. `None` if there is nothing else in it.
    ///
    /// # Errors
    /// As for [`Log::plan_truncate_suffix`].
    pub fn plan_rejoin(
        &mut self,
        common: Common,
        now: Timestamp,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        let Common { offset, epoch } = common;
        // With all of the first segment all that the log begins with is given up, and comes again.
        let first = self.segments.front().map(|first| first.base.offset);
        let lowest = first.filter(|first| *first == offset);
        self.ready_to_cut(offset, lowest.unwrap_or(self.log_start))?;
        let cut = self.segments.iter().position(|s| s.holds(offset));
        let last = self.epochs().last().map(|last| last.epoch);
        match (cut.is_some() || epoch < last) && self.has_files() {
            true => {
                let suffix = self.suffix(offset, cut, Aim::Rejoin(epoch), now);
                suffix.map(Some)
            }
            false => Ok(None),
        }
    }

    /// Plans to go on in the last segment, after the source did so, in a file of the next generation.
    /// `None` if that is not the last one with records, or damaged.
    ///
    /// # Errors
    /// As for [`Log::plan_truncate_suffix`].
    pub fn plan_unroll(&mut self, now: Timestamp) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_cut(self.log_end(), self.log_start)?;
        let last = self.segments.len().checked_sub(2);
        let is_whole = |last: &usize| self.segments[*last].stage != Stage::Damaged;
        let last = last.filter(is_whole).filter(|_| self.active().is_empty());
        match last {
            Some(last) => {
                let suffix = self.suffix(self.log_end(), Some(last), Aim::Unroll, now);
                suffix.map(Some)
            }
            None => Ok(None),
        }
    }
}
