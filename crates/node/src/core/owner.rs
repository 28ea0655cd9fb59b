//! Whether this node is whom to ask: who owns a partition of this core, if it does not.

use std::rc::Rc;

use corelog_protocol::message::replica_status::{self, State};
use corelog_record::Offset;
use corelog_storage::format::replica::{Replica, Role};

use super::refusal::{RETRY_MS, being_handed_over, error_of};
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use crate::failure::{Failure, busy};
use crate::partition::{Appetite, Input, Refusal};

impl Core {
    /// Checks that this node owns a partition of this core.
    ///
    /// # Errors
    /// `NotOwner`, with the address of who does as far as it is known: of the source that it follows, not of one that it
    /// would rather.
    pub(crate) fn check_owner(&self, key: PartitionKey) -> Result<(), Failure> {
        let slots = self.slots.borrow();
        let slot = slots.find(key).and_then(|slot| slots.get(slot));
        let Some(topic) = slot.map(|slot| &slot.topic) else {
            return Ok(());
        };
        match topic.is_owned(key.partition) {
            true => Ok(()),
            false => Err(self.not_owner(key, topic.replica(key.partition))),
        }
    }

    /// Checks that those who are remembered as followers of a partition of this core were asked, since it was opened, if
    /// they own it by now.
    ///
    /// # Errors
    /// `Busy`, shortly behind a start or a standstill.
    pub(crate) fn check_asked(&self, key: PartitionKey) -> Result<(), Failure> {
        self.notice_pause();
        let unasked = &self.followers.unasked;
        match unasked.is_any(key, |copy| self.is_follower(key, copy)) {
            true => Err(busy(
                "who followed the partition is being asked whether it owns it by now",
                RETRY_MS,
            )),
            false => Ok(()),
        }
    }

    /// Checks that what this node has of a partition of this core is for readers: of an owner, or of one who follows it.
    /// One that was replaced may have records that are in no other log, and gets none of those that come; one that copies
    /// nothing of it never has any.
    ///
    /// # Errors
    /// `NotOwner`, with the address of who is; `Busy` as [`check_asked`](Self::check_asked).
    pub(super) fn check_readable(&self, key: PartitionKey, slot: SlotId) -> Result<(), Failure> {
        let slots = self.slots.borrow();
        let topic = slots.get(slot).map(|slot| &slot.topic);
        let replica = topic.and_then(|topic| topic.replica(key.partition));
        let copies_nothing =
            |one: &Replica| one.role == Role::Follower && one.until == Some(Offset::ZERO);
        let is_none = |one: &&Replica| one.role == Role::Fenced || copies_nothing(one);
        match replica.filter(is_none) {
            Some(replica) => Err(self.not_owner(key, Some(replica))),
            // A fence that is written down is sure, whoever is still being asked.
            None => self.check_asked(key),
        }
    }

    /// If a reader who has all that is here is at the wrong place: a copy that has stopped gets no more, and one that has all
    /// that it was to have has none for who would wait.
    pub(super) fn has_ended(&self, key: PartitionKey, asked: Appetite) -> bool {
        !asked.is_replica
            && match self.copying(key) {
                State::Stopped => true,
                State::Done => asked.may_park,
                _ => false,
            }
    }

    /// Has those look again who wait for more of a partition of this core, as its copy gets no more.
    pub(crate) fn wake_readers(self: &Rc<Self>, key: PartitionKey) {
        if let Ok(slot) = self.slot_of(key) {
            self.step(slot, Input::LookAgain);
        }
    }

    /// What is told of a partition that is another node's: `NotOwner`, with the address of the source.
    pub(super) fn elsewhere(&self, key: PartitionKey, slot: SlotId) -> Failure {
        let slots = self.slots.borrow();
        let topic = slots.get(slot).map(|slot| &slot.topic);
        let replica = topic.and_then(|topic| topic.replica(key.partition));
        self.not_owner(key, replica)
    }

    fn not_owner(&self, key: PartitionKey, replica: Option<&Replica>) -> Failure {
        let mut refused = error_of(&Refusal::NotOwner);
        let (role, address) = self.role(key, replica);
        if role == replica_status::Role::HandingOver {
            refused.message = being_handed_over(address.as_deref());
        }
        refused.detail.address = address;
        refused
    }
}
