//! Partitions that could not be opened: why, and when they are tried again.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_storage::Error;

use super::refusal::{error_of, with_causes};
use super::serve::unopened;
use super::slots::{PartitionKey, Slot, SlotId, SlotState};
use super::state::Core;
use crate::failure::Failure;
use crate::partition::Refusal;
use crate::rt;

/// How often a partition that found no room is tried again: soon enough for whoever made some, seldom
/// enough for a log that is told each time.
const OPEN_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// The longest that one waits which the disk did not give; each try doubles it. So often it is tried for ever: a path may
/// come back, a volume get space.
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often that one is tried before its owner opens it with what the disk gives, and the log tells no more of it: for
/// some five minutes, in which a cable is back in its place and a controller out of its reset.
const OPEN_AGAIN_TRIES: u32 = 8;

/// How many times as long as a try took the next one waits.
const OPEN_AGAIN_RESTS: u32 = 4;

/// Why a partition stays closed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// What no try mends.
    #[default]
    Refused,
    /// The disk did not give something of a store.
    Unread,
    /// The disk gave other bytes of a store than a moment before: which of them are right the next opening may tell.
    Misread,
    /// Its volume is not there, or the disk does not even tell what is in its directory: nothing says that it is the disk
    /// that fails, and not the way to it.
    Away,
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        match error.may_pass() {
            _ if error.is_unread_store() => Self::Unread,
            _ if error.is_misread() => Self::Misread,
            true => Self::Away,
            false => Self::Refused,
        }
    }
}

/// When a partition that the disk did not give is tried again by itself, and how often it was for the same trouble.
#[derive(Debug, Default)]
pub(super) struct Again {
    trouble: Trouble,
    at: Option<Instant>,
    tries: u32,
}

impl Again {
    /// Whether the disk had its time before the next try: as long as its volume is not there it cannot give anything.
    fn has_waited(&self) -> bool {
        self.trouble == Trouble::Unread && self.is_late()
    }

    /// Whether it could not be opened and is to be tried again, or is being tried.
    pub(super) fn is_waiting(&self) -> bool {
        self.at.is_some()
    }

    /// Whether it was tried so often that others go first.
    fn is_late(&self) -> bool {
        OPEN_AGAIN_TRIES <= self.tries
    }

    /// Whether so many tries behind each other have failed for this trouble that no more are told.
    fn is_told(&self, trouble: Trouble) -> bool {
        self.trouble == trouble && OPEN_AGAIN_TRIES < self.tries
    }

    /// Notes that it is open. Whoever reopens one that ends before what the disk does not give has the disk asked once.
    pub(super) fn opened(&mut self, is_read_only: bool) {
        match is_read_only && self.has_waited() {
            true => self.at = None,
            false => *self = Self::default(),
        }
    }

    /// Notes why it could not be opened.
    fn failed(&mut self, trouble: Trouble, now: Instant) {
        if trouble != self.trouble {
            *self = Self {
                trouble,
                ..Self::default()
            };
        }
        if trouble == Trouble::Refused {
            return;
        }
        // Who asks in between, however often, has not waited.
        if self.at.is_some_and(|at| now < at) {
            return;
        }
        let wait = OPEN_AGAIN_EVERY * 2_u32.saturating_pow(self.tries.min(8));
        self.at = Some(now + wait.min(OPEN_AGAIN_MAX));
        self.tries = self.tries.saturating_add(1);
    }

    /// Puts the next try off behind one that took long: a disk that answers late is asked for a part of the time only.
    fn rest(&mut self, began: Instant, now: Instant) {
        if let Some(at) = &mut self.at {
            *at = (*at).max(now + (now - began) * OPEN_AGAIN_RESTS);
        }
    }
}

impl Core {
    /// Tries again to open the partitions that found no room: one at a time, and the others only once
    /// there is some.
    pub(super) async fn keep_opening(self: Rc<Self>) {
        let mut last = SlotId::LAST;
        loop {
            rt::sleep(OPEN_AGAIN_EVERY).await;
            while !self.is_stopping.get()
                && let Some((slot, key)) = self.next_unopened(last)
            {
                last = slot;
                if !self.opens_again(key).await && self.is_unopened(slot) {
                    break;
                }
            }
        }
    }

    /// Tries again to open those that the disk did not give, also one at a time. One that waits for such a disk is nobody
    /// else's delay.
    pub(super) async fn keep_opening_unread(self: Rc<Self>) {
        loop {
            rt::sleep(OPEN_AGAIN_EVERY).await;
            while !self.is_stopping.get()
                && let Some((slot, key)) = self.next_unread(rt::now())
            {
                let began = rt::now();
                // Where the disk gives one, others come as well; where it does not, they wait for their own time.
                if !self.opens_again(key).await {
                    self.rest(slot, began);
                    break;
                }
            }
        }
    }

    /// Has one that could not be opened wait several times as long as the try took that `began` then.
    fn rest(&self, slot: SlotId, began: Instant) {
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.again.rest(began, rt::now());
        }
    }

    /// Whether a partition that could not be opened now can be.
    async fn opens_again(self: &Rc<Self>, key: PartitionKey) -> bool {
        let is_open = self.reopen_partition(key).await.is_ok();
        if is_open {
            tracing::info!(partition = %key, "open again");
        }
        is_open
    }

    /// Notes why a partition could not be opened, and tells it.
    pub(super) fn set_unopened(&self, slot: SlotId, error: Error) -> Failure {
        let reason = with_causes(&error);
        match error {
            // Who called it off knows why.
            Error::CalledOff => {}
            _ if error.is_shortage() => self.tell_unopened(slot, &reason),
            _ => return self.set_closed(slot, &reason, Trouble::from(&error)),
        }
        if matches!(error, Error::StorageFull { .. }) {
            self.make_room();
        }
        let refusal = Refusal::from(error);
        let failure = error_of(&refusal);
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.state = SlotState::Unopened(refusal);
        }
        failure
    }

    /// Notes that a partition that was here has no files any more, nor has its topic.
    pub(super) fn set_away(&self, slot: SlotId) -> Failure {
        let reason = "its files are not there, nor is that of its topic: is the volume mounted?";
        self.set_closed(slot, reason, Trouble::Away)
    }

    /// Notes that a partition stays closed, and tells why unless that was told often enough.
    fn set_closed(&self, slot: SlotId, reason: &str, trouble: Trouble) -> Failure {
        if !self.is_told(slot, trouble) {
            self.tell_unopened(slot, reason);
        }
        self.set_failed(slot, trouble);
        unopened(reason)
    }

    fn tell_unopened(&self, slot: SlotId, reason: &str) {
        if let Some(found) = self.slots.borrow().get(slot) {
            tracing::error!(
                topic = %found.topic.name,
                partition = found.key.partition.get(),
                error = %reason,
                "cannot open the partition"
            );
        }
    }

    /// Notes why a partition could not be opened: if the disk did not give something of it, it may the next time.
    fn set_failed(&self, slot: SlotId, trouble: Trouble) {
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.state = SlotState::Failed;
            found.again.failed(trouble, rt::now());
        }
    }

    /// Whether a partition that the disk does not give is to be opened with what it gives: it was waited for, and is no copy.
    /// With its source's next batch that would give up all of its last segment.
    pub(super) fn ends_before_unread(&self, slot: SlotId) -> bool {
        let slots = self.slots.borrow();
        let found = slots.get(slot);
        found.is_some_and(|it| it.again.has_waited() && it.topic.is_owned(it.key.partition))
    }

    /// Whether the log has told often enough of this trouble of a partition.
    fn is_told(&self, slot: SlotId, trouble: Trouble) -> bool {
        let slots = self.slots.borrow();
        slots.get(slot).is_some_and(|it| it.again.is_told(trouble))
    }

    /// The partition that the disk did not give and that has waited longest for another try: first of those whose disk
    /// has its time still, for what that never gives is tried for ever.
    fn next_unread(&self, now: Instant) -> Option<(SlotId, PartitionKey)> {
        let slots = self.slots.borrow();
        let failed = slots
            .iter()
            .filter(|(_, slot)| matches!(slot.state, SlotState::Failed));
        let is_due = |slot: &Slot| slot.again.at.is_some_and(|at| at <= now);
        let due = failed.filter(|(_, slot)| is_due(slot));
        let first = due.min_by_key(|(_, slot)| (slot.again.is_late(), slot.again.at));
        first.map(|(id, slot)| (id, slot.key))
    }

    /// The first behind `last` that found no room to be opened in.
    fn next_unopened(&self, last: SlotId) -> Option<(SlotId, PartitionKey)> {
        let slots = self.slots.borrow();
        let found = slots.iter_after(last).find(|(_, slot)| slot.is_unopened());
        found.map(|(id, slot)| (id, slot.key))
    }

    fn is_unopened(&self, slot: SlotId) -> bool {
        self.slots.borrow().get(slot).is_some_and(Slot::is_unopened)
    }
}

#[cfg(test)]
mod tests;
