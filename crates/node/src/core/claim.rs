//! Who opens, reopens or closes a partition: one at a time.

use std::rc::Rc;

use corelog_storage::log::CallOff;
use futures_lite::FutureExt as _;

use super::refusal::error_of;
use super::slots::{PartitionKey, SlotId, SlotState};
use super::state::Core;
use crate::failure::Failure;
use crate::partition::Refusal;

/// A slot whose partition nobody else opens or closes until this is dropped.
pub(super) struct Claim {
    core: Rc<Core>,
    key: PartitionKey,
    slot: SlotId,
    is_for_good: bool,
}

impl Claim {
    pub(super) fn slot(&self) -> SlotId {
        self.slot
    }

    /// Nobody opens or closes it any more.
    pub(super) fn keep_for_good(mut self) {
        self.is_for_good = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_for_good {
            return;
        }
        let mut slots = self.core.slots.borrow_mut();
        // A slot that was removed may be another partition's by now.
        if let Some(found) = slots.get_mut(self.slot)
            && found.key == self.key
        {
            found.is_claimed = false;
            // Whoever was at it was cut off in the middle: it is opened again by and by.
            if matches!(found.state, SlotState::Opening) {
                found.state = SlotState::Unopened(Refusal::Busy);
            }
        }
        drop(slots);
        self.core.quieter.notify();
    }
}

impl Core {
    /// Claims a slot for opening or closing its partition; None if somebody else has.
    pub(super) fn claim(self: &Rc<Self>, slot: SlotId) -> Option<Claim> {
        let mut slots = self.slots.borrow_mut();
        let found = slots.get_mut(slot).filter(|found| !found.is_claimed)?;
        found.is_claimed = true;
        found.call_off = CallOff::default();
        Some(Claim {
            core: Rc::clone(self),
            key: found.key,
            slot,
            is_for_good: false,
        })
    }

    /// Claims a partition that was added, to open it; None if somebody else came to that before, or it is gone.
    pub(super) fn claim_added(self: &Rc<Self>, key: PartitionKey) -> Option<Claim> {
        let slot = self.slots.borrow().find(key)?;
        let is_new = matches!(self.slots.borrow().get(slot)?.state, SlotState::Opening);
        is_new.then(|| self.claim(slot)).flatten()
    }

    /// Waits until nobody else opens or closes a partition and claims it, to close it; None if it is gone. Whoever opens it
    /// now has that called off: a disk that answers late may take minutes.
    pub(super) async fn claimed(self: &Rc<Self>, key: PartitionKey) -> Option<Claim> {
        loop {
            let quieter = self.quieter.notified();
            let slot = self.slots.borrow().find(key)?;
            if let Some(claim) = self.claim(slot) {
                return Some(claim);
            }
            self.call_off_opening(slot);
            quieter.await;
        }
    }

    /// Who calls off what opens a partition now.
    pub(super) fn call_off_of(&self, slot: SlotId) -> CallOff {
        let slots = self.slots.borrow();
        let found = slots.get(slot).map(|found| found.call_off.clone());
        found.unwrap_or_default()
    }

    /// Calls off whatever opens a partition now.
    fn call_off_opening(&self, slot: SlotId) {
        let slots = self.slots.borrow();
        if let Some(found) = slots.get(slot).filter(|found| !found.call_off.is_called()) {
            found.call_off.call();
            self.quieter.notify();
        }
    }

    /// Calls off whatever opens partitions now.
    pub(super) fn call_off_openings(&self) {
        self.slots
            .borrow()
            .iter()
            .for_each(|(_, slot)| slot.call_off.call());
        self.quieter.notify();
    }

    /// What comes of something that an opening waits for, unless that is called off before.
    ///
    /// # Errors
    /// `Stopping`.
    pub(super) async fn unless_called_off<T>(
        &self,
        call_off: &CallOff,
        what: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let called = async {
            self.quieter.until(|| call_off.is_called()).await;
            Err(error_of(&Refusal::Closing))
        };
        called.or(async { Ok(what.await) }).await
    }
}
