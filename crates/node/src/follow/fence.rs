//! Taking no more appends because another node owns the partition, which that one has to prove.

use std::rc::Rc;

use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica, Role};

use super::claim::Claim;
use super::ownership::owned_at;
use super::rival::Rival;
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;

impl Core {
    /// Takes no more appends to a partition if another node shows that it owns it, of which a claimant told.
    ///
    /// # Errors
    /// `Diverged` if it does not show that.
    pub(super) async fn heed(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        rival: Rival,
        claimant: &Peer,
    ) -> Result<(), Failure> {
        // Whom it is given to finishes that when the handover is asked for again.
        if self.is_given_to(&self.replica(key)?, &rival).await {
            return Ok(());
        }
        let claim = self.claim_of(&topic, key, &rival, claimant).await?;
        let owner = Target::at(&rival);
        // Until it says itself that it does not own it, or all that comes of that is written down.
        let unasked = &self.followers.unasked;
        unasked.hold(key, claimant.copy, owner.clone());
        self.give_up(topic, key, (owner, claim)).await
    }

    /// Takes no more appends to a partition that another node owns.
    async fn give_up(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        (to, claim): (Target, Claim),
    ) -> Result<(), Failure> {
        let hand = self.take_hand(key);
        if hand.is_err() && self.replica(key)?.role == Role::HandingOver {
            // It is not given to a third one, too.
            let owner = Some(to.address.clone());
            self.hands.call_off(key, owned_at(owner));
        }
        let _hand = hand?;
        let before = self.replica(key)?;
        if !before.role.owns() || Some(claim.began.epoch) <= self.epoch(key)? {
            return Ok(());
        }
        self.fence(topic, key, before, (to, claim)).await
    }

    /// Writes down that another node owns a partition, by what shows that.
    pub(super) async fn fence(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        before: Replica,
        (to, claim): (Target, Claim),
    ) -> Result<(), Failure> {
        let (partition, epoch) = (key.partition.get(), claim.began.epoch.get());
        // Should this node ever own it again, its epoch is above all of that one's.
        let (owner, by) = (to.address.clone(), (Some(to), Some(claim.newest)));
        let writing = self.write_role(topic.clone(), key, before, Role::Fenced, by);
        let written = writing.await.map(drop);
        match &written {
            Ok(()) => {
                // What was on its way to the disk is acknowledged yet.
                let end = self.place(key).ok().map(|place| place.log_end.get());
                let common = claim.common.map(Offset::get);
                tracing::error!(
                    %topic, partition, epoch, owner, common, end,
                    "fenced: another node owns it, which may have nothing of what is here from `common` to `end`; rejoin it"
                );
            }
            Err(error) => {
                tracing::error!(
                    %topic, partition, epoch, owner, error = error.message,
                    "another node owns it, which cannot be written down"
                );
            }
        }
        written
    }
}
