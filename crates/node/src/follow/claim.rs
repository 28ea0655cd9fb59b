//! What shows that another node owns a partition that this one owned.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::segments;
use corelog_record::{CopyId, LeaderEpoch, Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica, Role};
use corelog_storage::log::lineage::Common;

use super::GONE_TIMEOUT;
use super::line::Line;
use super::lineage::{self, shared};
use super::ownership::owned_at;
use super::questions::{chain_of, segments_of};
use super::rival::Rival;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// By what another node took a partition over from this one.
pub(super) struct Claim {
    /// Its epoch, which this log has not.
    pub(super) began: Epoch,
    /// Up to here it has what is here, by the epochs of both; none if they tell nothing of that any more.
    pub(super) common: Option<Offset>,
}

impl Core {
    /// By what another node took a partition over from this one.
    ///
    /// # Errors
    /// `Diverged` if nothing shows that it did.
    pub(super) async fn claim_of(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        rival: &Rival,
        claimant: &Peer,
    ) -> Result<Claim, Failure> {
        let (line, owner) = (rival, rival.address());
        let there = segments_of(line, topic, key, Offset::MAX).await?;
        let newest = self.epoch(key)?;
        let partition = key.partition.get();
        let Some(began) = first_behind(newest, &there) else {
            let theirs = lineage::newest(&there.epochs);
            let [epoch, its_epoch] = [newest, theirs].map(|epoch| epoch.map(LeaderEpoch::get));
            tracing::error!(
                %topic, partition, epoch, owner, its_epoch,
                "another node owns it as well, by no later epoch: one of the two has to rejoin the other"
            );
            // By an earlier one it is outranked, and looks into that itself once it has heard of it.
            if theirs < newest {
                let claiming = self.claim_at(line, topic, key, theirs);
                let _ = rt::timeout(GONE_TIMEOUT, claiming).await;
            }
            return Err(both_own(owner));
        };
        let epoch = began.epoch;
        let claim = (&there, began, claimant.copy);
        let is_shown = self.goes_on(line, topic, key, claim).await?
            || owner != claimant.address
                && self.is_vouched_for(topic, key, &there, claimant).await?;
        if !is_shown {
            tracing::error!(
                %topic, partition, epoch = epoch.get(), owner,
                "another node owns it as well, and does not go on from what is here: one has to go"
            );
            return Err(both_own(owner));
        }
        let common = self.common_with(key, &there)?;
        Ok(Claim {
            began: began.clone(),
            common: common.epoch.map(|_| common.offset),
        })
    }

    /// If a remembered copy has a later epoch that goes on from this log, and is one of the owner's, too. Whom it was handed
    /// on to owns it then, also one that has nothing any more of what shows that: the copy's word is believed for it.
    async fn is_vouched_for(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        owner: &segments::Answer,
        by: &Peer,
    ) -> Result<bool, Failure> {
        let line = self.line_to(&by.address).await?;
        let there = segments_of(&line, topic, key, Offset::MAX).await?;
        let Some(began) = first_behind(self.epoch(key)?, &there) else {
            return Ok(false);
        };
        let is_it = |theirs: &Epoch| (theirs.epoch, theirs.lineage) == (began.epoch, began.lineage);
        if !owner.epochs.iter().any(is_it) {
            return Ok(false);
        }
        let claim = (&there, began, by.copy);
        self.goes_on(&line, topic, key, claim).await
    }

    /// If an epoch of another node's log goes on from this one: the two are the same up to where it `began`.
    /// Where the chain there is lost to damage, the epochs of both have to tell that. Where one of them has nothing there, any
    /// more or yet, the other node has to have the `copy` that followed this log, or an epoch of it.
    async fn goes_on(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        (there, began, copy): (&segments::Answer, &Epoch, CopyId),
    ) -> Result<bool, Failure> {
        let (place, start) = (self.place(key)?, began.start);
        if there.history != place.history {
            return Ok(false);
        }
        let common = self.common_with(key, there)?;
        if place.log_start.max(there.log_start) <= start && start <= place.log_end {
            self.durable(key, start).await?;
            let chains = async {
                let here = self.chain_at(key, start).await?;
                let there = chain_of(line, topic, key, start).await?;
                Ok::<_, Failure>((here.offset, here.chain) == (there.offset, there.chain))
            };
            return match chains.await {
                // Without an epoch in common nothing tells either that it goes on from here or that it does not.
                Err(error) if error.is(ErrorCode::Damaged) && common.epoch.is_some() => {
                    Ok(start <= common.offset)
                }
                compared => compared,
            };
        }
        Ok(there.copy == copy || common.epoch.is_some())
    }

    /// What this log and another node's have in common, by their epochs.
    fn common_with(&self, key: PartitionKey, there: &segments::Answer) -> Result<Common, Failure> {
        let theirs = (there.epochs.as_slice(), there.high_watermark);
        Ok(shared(
            (&self.epochs(key)?, self.place(key)?.log_end),
            theirs,
        ))
    }

    /// Checks that none of those that are remembered as followers of a partition owns it by now, but for whom it is given
    /// to: it would have two owners, of epochs of which none is later. Who does not answer may be gone.
    ///
    /// # Errors
    /// `NotOwner` with the address of who owns it; `Diverged` if one does that has not taken it over from here; why one that
    /// says so does not show it.
    pub(super) async fn check_unclaimed(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        replica: &Replica,
    ) -> Result<(), Failure> {
        for other in &replica.followers {
            let asking = self.told_by(topic, key, other);
            let Some(Ok(first)) = self.answered(&other.address, asking).await else {
                continue;
            };
            // Those below have their own time: one that does not answer says nothing of this one.
            let Ok(Some(rival)) = self.owner_of(topic, key, first).await.map(|it| it.rival) else {
                continue;
            };
            if !self.is_given_to(replica, &rival).await {
                self.claim_of(topic, key, &rival, other).await?;
                return Err(owned_at(topic, key, Some(rival.address().to_owned())));
            }
        }
        Ok(())
    }

    /// If a partition is being given to a node, at whichever of its addresses.
    pub(super) async fn is_given_to(self: &Rc<Self>, replica: &Replica, rival: &Rival) -> bool {
        replica.role == Role::HandingOver && self.is_source(replica, rival).await
    }

    /// If a node is the first that is written down of a partition that it is given to, that owns it, or that it is copied from.
    pub(super) async fn is_source(self: &Rc<Self>, replica: &Replica, rival: &Rival) -> bool {
        let Some(to) = replica.sources.first() else {
            return false;
        };
        let is_its_own = async {
            let line = self.line_to(to).await;
            line.is_ok_and(|line| line.node() == rival.node())
        };
        match replica.target {
            Some(node) => node == rival.node(),
            None => to == rival.address() || is_its_own.await,
        }
    }
}

/// The first epoch of another node's log that is later than the `newest` here.
fn first_behind(newest: Option<LeaderEpoch>, there: &segments::Answer) -> Option<&Epoch> {
    let mut oldest_first = there.epochs.iter().rev();
    oldest_first.find(|began| Some(began.epoch) > newest)
}

/// Another node owns a partition that this one owns.
pub(super) fn both_own(other: &str) -> Failure {
    let message = format!("{other} owns the partition as well");
    failure(ErrorCode::Diverged, message)
}
