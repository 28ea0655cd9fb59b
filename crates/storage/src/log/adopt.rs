//! Becoming a copy of another log, from a place on.

use corelog_record::HistoryId;

use super::Log;
use super::chore::ChorePlan;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Point;

impl<D: Dir> Log<D> {
    /// Plans to make this log an empty copy of the log `history`, which goes on at `start`. It has files
    /// from then on. All that it holds is given up, and its files removed; the caller has checked that
    /// nobody wants it any more.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight;
    /// [`Error::Fenced`]; [`Error::OutOfRange`] if the log holds records at or above `start`;
    /// [`Error::Foreign`] for a log with files of another history.
    pub fn plan_adopt(&mut self, history: HistoryId, start: Point) -> Result<ChorePlan<D>, Error> {
        let _ = (history, start);
        Err(Error::Busy)
    }
}
