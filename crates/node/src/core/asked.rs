//! What a partition is asked for, and tells once it is done: it has so long to begin it, and is not to any more then.

use std::rc::Rc;
use std::time::Duration;

use super::Disk;
use super::serve::not_told;
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use super::tickets::{Ticket, Told};
use crate::failure::Failure;
use crate::partition::{Input, Token};
use crate::rt;

/// How long a snapshot, or a truncation, may wait for its partition: far more than a flush and a seal do, and an end to
/// waiting for a disk that is full, or hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Who asked, and waits.
pub(super) struct Asked {
    pub(super) slot: SlotId,
    pub(super) ticket: Ticket,
}

impl Core {
    /// Asks a partition of this core.
    ///
    /// # Errors
    /// What a client is told of one that is not open.
    pub(super) fn ask(
        self: &Rc<Self>,
        key: PartitionKey,
        what: impl FnOnce(Token) -> Input<'static, Disk>,
    ) -> Result<Asked, Failure> {
        let slot = self.slot_of(key)?;
        if self.slots.borrow_mut().partition_mut(slot).is_none() {
            return Err(not_told(None));
        }
        let ticket = self.tickets.issue();
        self.step(slot, what(ticket.token()));
        Ok(Asked { slot, ticket })
    }

    /// What it tells within `patience`, or to `call_off` what it has not begun by then; `None` if it has: that ends by itself.
    pub(super) async fn told_within(
        self: &Rc<Self>,
        asked: &Asked,
        patience: Duration,
        call_off: impl FnOnce(Token) -> Input<'static, Disk>,
    ) -> Option<Told> {
        let Asked { slot, ticket } = asked;
        if let Some(told) = rt::timeout(patience, ticket.told()).await {
            return Some(told);
        }
        self.step(*slot, call_off(ticket.token()));
        ticket.take_told()
    }
}
