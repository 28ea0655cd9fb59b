//! Whether this node is whom to ask: who owns a partition of this core, if it does not.

use std::rc::Rc;

use corelog_protocol::message::replica_status::{self, State};
use corelog_record::Offset;
use corelog_storage::Now;
use corelog_storage::format::replica::{Replica, Role};

use super::refusal::{RETRY_MS, being_handed_over, error_of};
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use crate::failure::{Failure, busy};
use crate::partition::{Appetite, Input, Refusal};
use crate::rt;

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
        self.check_asked_at(key, rt::clocks())
    }

    /// The same for who has looked at the clocks.
    pub(super) fn check_asked_at(&self, key: PartitionKey, now: Now) -> Result<(), Failure> {
        self.notice_pause(now.stamp);
        let unasked = &self.followers.unasked;
        match unasked.is_any(key, |copy| self.is_follower(key, copy)) {
            true => Err(busy(
                "who followed the partition is being asked whether it owns it by now",
                RETRY_MS,
            )),
            false => Ok(()),
        }
    }

    /// Where a partition of this core lives, if what this node has of it is for readers: of an owner, or of one who follows it.
    /// One that was replaced may have records that are in no other log, and gets none of those that come; one that copies
    /// nothing of it never has any.
    ///
    /// # Errors
    /// `NotOwner`, with the address of who is, also while its log is not open; then as [`slot_of`](Self::slot_of), and `Busy`
    /// as [`check_asked`](Self::check_asked).
    pub(super) fn readable(&self, key: PartitionKey) -> Result<SlotId, Failure> {
        self.check_copied(key)?;
        let slot = self.slot_of(key)?;
        // A fence that is written down is sure, whoever is still being asked.
        self.check_asked(key)?;
        Ok(slot)
    }

    fn check_copied(&self, key: PartitionKey) -> Result<(), Failure> {
        let slots = self.slots.borrow();
        let slot = slots.find(key).and_then(|slot| slots.get(slot));
        let replica = slot.and_then(|slot| slot.topic.replica(key.partition));
        let copies_nothing =
            |one: &Replica| one.role == Role::Follower && one.until == Some(Offset::ZERO);
        let is_none = |one: &&Replica| one.role == Role::Fenced || copies_nothing(one);
        match replica.filter(is_none) {
            Some(replica) => Err(self.not_owner(key, Some(replica))),
            None => Ok(()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corelog_protocol::error::ErrorCode;

    use super::super::queue::Stand;
    use super::super::serve::NotAppended;
    use super::super::slots::SlotState;
    use super::super::tests::{batches, terms, topic, with_core};
    use super::*;
    use crate::partition::{Incoming, Seek};

    const OWNER: &str = "log2:7400";

    /// A partition of another node, whose log is not open here.
    fn elsewhere(core: &Core, role: Role) -> (SlotId, PartitionKey) {
        let (topic, key) = topic(1);
        let mut topic = Arc::unwrap_or_clone(topic);
        let replica = Replica {
            role,
            sources: vec![OWNER.to_owned()],
            ..Replica::owner(key.partition)
        };
        topic.replicas.insert(key.partition, replica);
        let slot = core.slots.borrow_mut().add(key, Arc::new(topic));
        (slot.unwrap(), key)
    }

    /// Why nothing comes of each that a producer and a reader ask for.
    async fn refusals(core: &Rc<Core>, key: PartitionKey) -> [Failure; 3] {
        let batches = batches(1);
        let produced = core.produce(key, Incoming::Unchecked(&batches), terms(), Stand::Newcomer);
        let Err(NotAppended::Refused(produced)) = produced else {
            panic!("it is taken, or waits");
        };
        let fetched = core.fetch((key, Offset::ZERO), Appetite::ONE, ()).await;
        let found = core.find(key, Seek::Earliest).await;
        [produced, fetched.err().unwrap(), found.unwrap_err()]
    }

    fn closed() -> [(SlotState, ErrorCode); 3] {
        [
            (SlotState::Opening, ErrorCode::Busy),
            (
                SlotState::Unopened(Refusal::StorageFull),
                ErrorCode::StorageFull,
            ),
            (SlotState::Failed, ErrorCode::Damaged),
        ]
    }

    /// What was sent to a copy that could not be opened was refused for good, or waited there, its owner being well.
    #[test]
    fn who_owns_a_partition_is_told_also_while_its_log_is_not_open() {
        for role in [Role::Follower, Role::Fenced] {
            with_core(move |core| async move {
                let (slot, key) = elsewhere(&core, role);
                for (state, why) in closed() {
                    core.slots.borrow_mut().get_mut(slot).unwrap().state = state;
                    let [produced, read @ ..] = refusals(&core, key).await;
                    assert!(produced.is(ErrorCode::NotOwner), "{produced}");
                    assert_eq!(produced.detail.address.as_deref(), Some(OWNER));
                    // What a copy has is for readers, once it is open.
                    let expected = match role {
                        Role::Fenced => ErrorCode::NotOwner,
                        _ => why,
                    };
                    for refused in read {
                        assert!(refused.is(expected), "{refused}");
                    }
                }
            });
        }
    }

    #[test]
    fn what_keeps_an_owner_from_a_log_that_is_not_open_is_told_as_that() {
        with_core(|core| async move {
            let (slot, key) = elsewhere(&core, Role::Owner);
            for (state, why) in closed() {
                core.slots.borrow_mut().get_mut(slot).unwrap().state = state;
                for refused in refusals(&core, key).await {
                    assert!(refused.is(why), "{refused}");
                }
            }
        });
    }
}
