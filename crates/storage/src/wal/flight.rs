//! What goes on beside the calls: a group on its way to the disk, and a piece of background work.
//!
//! Each is begun by a call and looked after by those that follow, which meanwhile go on in memory.
//! [`Wal::sync`] waits for the group, and for background work only if that makes what the next group
//! needs; what changes the log otherwise waits for both. Where the directory's operations are done when
//! they return, so are they.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use super::tend::CHORES_MAX;
use super::{Error, Wal};
use crate::disk::std::beside;
use crate::disk::{Dir, block_on};
use crate::log::{ChoreDone, ChorePlan, FlushDone};

/// A plan of the log under way. Dropping it waits for the operation that it is at, and fences the log.
pub(super) struct Flight<T>(Pin<Box<dyn Future<Output = T>>>);

/// What a log has under way.
pub(super) struct Flights<D: Dir> {
    flush: Option<Flight<FlushDone<D>>>,
    chore: Option<Flight<ChoreDone<D>>>,
    /// Pieces of background work that the last group may still bring with it.
    chores_left: usize,
}

impl<T> Flight<T> {
    fn new(run: impl Future<Output = T> + 'static) -> Self {
        Self(Box::pin(run))
    }

    /// Waits for its end.
    fn wait(self) -> T {
        block_on(self.0)
    }
}

impl<D: Dir> Default for Flights<D> {
    fn default() -> Self {
        Self {
            flush: None,
            chore: None,
            chores_left: 0,
        }
    }
}

impl<D: Dir> Wal<D> {
    /// Lets go on what is under way, and begins what is due. Waits only while more waits for the disk
    /// than may.
    ///
    /// # Errors
    /// Those of what has ended meanwhile.
    pub(super) fn go_on(&mut self) -> Result<(), Error> {
        while self.begin_flush() | self.begin_chore() | self.look()? {}
        while self.options.unsynced_bytes_max < self.unsynced_bytes() {
            self.begin_flush();
            if !self.land_flush()? && !self.land_chore()? {
                // The disk is full, or the log is fenced.
                return self.flush();
            }
            self.begin_flush();
        }
        Ok(())
    }

    /// Lets background work go on, and begins what is due of it.
    ///
    /// # Errors
    /// Those of what has ended meanwhile.
    pub(super) fn tend_beside(&mut self) -> Result<(), Error> {
        while self.begin_chore() | self.look()? {}
        Ok(())
    }

    /// Has the mark follow, however long other background work takes: what recovery reads hangs on it,
    /// and what of that can look torn.
    ///
    /// # Errors
    /// Those of what has ended meanwhile.
    pub(super) fn keep_mark(&mut self) -> Result<(), Error> {
        while self.log.is_mark_late() && (self.begin_chore() || self.land_chore()?) {}
        Ok(())
    }

    /// Waits for all that is under way.
    ///
    /// # Errors
    /// Those of what has ended.
    pub(super) fn land(&mut self) -> Result<(), Error> {
        let flushed = self.land_flush();
        let done = self.land_chore();
        flushed.and(done).map(|_is_landed| ())
    }

    /// Waits for the group that is under way. Returns whether there was one.
    ///
    /// # Errors
    /// Its own.
    pub(super) fn land_flush(&mut self) -> Result<bool, Error> {
        match self.flights.flush.take() {
            Some(flush) => self.end_flush(flush.wait()).map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits for the background work that is under way. Returns whether there was any.
    ///
    /// # Errors
    /// Its own.
    pub(super) fn land_chore(&mut self) -> Result<bool, Error> {
        match self.flights.chore.take() {
            Some(chore) => self.end_chore(chore.wait()).map(|()| true),
            None => Ok(false),
        }
    }

    /// Runs a piece of background work. What could not be done for want of space, or only cost space
    /// or time, is tried again later.
    pub(super) fn run(&mut self, plan: ChorePlan<D>) -> Result<(), Error> {
        self.end_chore(block_on(plan.run()))
    }

    /// Appended bytes that are batches of the log and not durable yet.
    fn unsynced_bytes(&self) -> usize {
        self.log.pending_bytes() + self.log.in_flight_bytes()
    }

    /// Begins to write a group, if enough waits for one. Returns whether it did.
    fn begin_flush(&mut self) -> bool {
        let is_due = self.options.group_bytes_min() <= self.log.pending_bytes();
        if self.flights.flush.is_some() || !is_due {
            return false;
        }
        let plan = self.log.plan_flush();
        self.flights.flush = plan.map(|plan| Flight::new(plan.run()));
        self.flights.flush.is_some()
    }

    /// Begins background work, as far as the last group brought some with it.
    fn begin_chore(&mut self) -> bool {
        if self.flights.chore.is_some() || self.flights.chores_left == 0 {
            return false;
        }
        let plan = self.log.plan_chore(self.clock.now(), false);
        self.flights.chores_left = match plan {
            Some(_) => self.flights.chores_left - 1,
            None => 0,
        };
        self.flights.chore = plan.map(|plan| Flight::new(plan.run()));
        self.flights.chore.is_some()
    }

    /// Looks after what is under way. Returns whether something has ended.
    fn look(&mut self) -> Result<bool, Error> {
        let flushed = poll(&mut self.flights.flush);
        let done = poll(&mut self.flights.chore);
        let has_ended = flushed.is_some() || done.is_some();
        let flushed = flushed.map_or(Ok(()), |flushed| self.end_flush(flushed));
        let done = done.map_or(Ok(()), |done| self.end_chore(done));
        flushed.and(done).map(|()| has_ended)
    }

    pub(super) fn end_flush(&mut self, done: FlushDone<D>) -> Result<(), Error> {
        self.log.complete_flush(done, self.clock.time())?;
        self.flights.chores_left = CHORES_MAX;
        Ok(())
    }

    fn end_chore(&mut self, done: ChoreDone<D>) -> Result<(), Error> {
        match self.log.complete_chore(done, self.clock.time()) {
            Ok(_) | Err(crate::Error::StorageFull { .. }) => Ok(()),
            Err(error) if self.log.is_fenced() => Err(error.into()),
            Err(error) => {
                tracing::warn!(dir = %self.dir.describe(), %error, "background work was put off");
                Ok(())
            }
        }
    }
}

/// What has ended of a flight, if there is one and it has.
fn poll<T>(flight: &mut Option<Flight<T>>) -> Option<T> {
    let polled = beside::poll(Pin::new(&mut flight.as_mut()?.0));
    match polled {
        Poll::Ready(done) => {
            *flight = None;
            Some(done)
        }
        Poll::Pending => None,
    }
}
