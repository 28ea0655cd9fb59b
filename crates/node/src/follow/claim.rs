//! What shows that another node owns a partition that this one owned.

use std::rc::Rc;
use std::time::Instant;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::segments;
use corelog_record::{CopyId, LeaderEpoch, Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica, Role};
use corelog_storage::log::lineage::Common;

use super::GONE_TIMEOUT;
use super::line::Line;
use super::lineage::{self, is_taken_over, shared};
use super::ownership::owned_at;
use super::questions::{is_same_at, segments_of};
use super::rival::{Found, Rival, Word, nobody_tells};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// By what another node took a partition over from this one.
pub(super) struct Claim {
    /// Its epoch, which this log has not.
    pub(super) began: Epoch,
    /// The newest that it has.
    pub(super) newest: LeaderEpoch,
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
        // It is asked each second, perhaps: what is known of it is told once.
        let is_new = !self.followers.contested.knows(key, claimant.copy);
        let there = segments_of(line, topic, key, Offset::MAX).await?;
        let newest = self.epoch(key)?;
        let partition = key.partition.get();
        let Some(began) = first_behind(newest, &there) else {
            let theirs = lineage::newest(&there.epochs);
            let [epoch, its_epoch] = [newest, theirs].map(|epoch| epoch.map(LeaderEpoch::get));
            if is_new {
                tracing::error!(
                    %topic, partition, epoch, owner, its_epoch,
                    "another node owns it as well, by no later epoch: one of the two has to rejoin the other"
                );
            }
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
            if is_new {
                tracing::error!(
                    %topic, partition, epoch = epoch.get(), owner,
                    "another node owns it as well, and does not go on from what is here: one has to go"
                );
            }
            return Err(both_own(owner));
        }
        let common = self.common_with(key, &there)?;
        Ok(Claim {
            began: began.clone(),
            newest: lineage::newest(&there.epochs).unwrap_or(epoch),
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
        let is_its = |began: &Epoch| {
            let is_it =
                |theirs: &Epoch| (theirs.epoch, theirs.lineage) == (began.epoch, began.lineage);
            owner.epochs.iter().any(is_it)
        };
        let began = self.later_epoch_of(topic, key, (by, &there), is_its);
        Ok(began.await?.is_some())
    }

    /// The first later epoch than this log's that a remembered copy has `there`, if it `is_meant` and goes on from this log.
    async fn later_epoch_of(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        (by, there): (&Peer, &segments::Answer),
        is_meant: impl Fn(&Epoch) -> bool,
    ) -> Result<Option<Epoch>, Failure> {
        let began = first_behind(self.epoch(key)?, there);
        let Some(began) = began.filter(|began| is_meant(began)) else {
            return Ok(None);
        };
        let line = self.line_to(&by.address).await?;
        let claim = (there, began, by.copy);
        let goes_on = self.goes_on(&line, topic, key, claim).await?;
        Ok(goes_on.then(|| began.clone()))
    }

    /// The same of one by which another node took the partition over: this one's own epochs are later, too, where its files were
    /// put back.
    pub(super) async fn takeover_of(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        by: (&Peer, &segments::Answer),
    ) -> Result<Option<Epoch>, Failure> {
        // Since the two last had one: a start begins one here as well.
        let common = self.common_with(key, by.1)?;
        let is_over = is_taken_over(common.epoch, lineage::newest(&by.1.epochs));
        self.later_epoch_of(topic, key, by, |_| is_over).await
    }

    /// A copy may own a partition of this node, or know who does: if so, by an epoch that this log has not, and that goes on from
    /// this log, this node takes no more appends. Gives who told what they are, if that is of any concern still.
    pub(super) async fn judge(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        (claimant, begun): (&Peer, Instant),
    ) -> Result<Option<Word>, Failure> {
        if !self.replica(key)?.role.owns() {
            return Ok(None);
        }
        let told = self.told_by(topic, key, claimant).await?;
        let log = told.log();
        let by = (claimant, log.as_deref());
        let judging = async {
            match self.owner_of(topic, key, told).await? {
                Found::Rival(rival) => {
                    let heeded = self.heed(topic.clone(), key, rival, claimant).await;
                    heeded.map(|()| None)
                }
                Found::Nobody(word) => {
                    self.look_if_ahead(topic, key, by).await;
                    Ok(Some(word))
                }
            }
        };
        let judged = judging.await;
        let why = match judged {
            Ok(Some(ref word)) if !word.is_all => nobody_tells(),
            Ok(_) => return judged,
            Err(ref why) => why.clone(),
        };
        let by = (claimant, log.as_deref(), begun);
        match self.hold_outranked(topic, key, by, &why).await {
            true => Err(why),
            false => judged,
        }
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
            return match self.is_same_at(line, topic, key, start).await {
                // Without an epoch in common nothing tells either that it goes on from here or that it does not.
                Err(error) if error.is(ErrorCode::Damaged) && common.epoch.is_some() => {
                    Ok(start <= common.offset)
                }
                compared => compared,
            };
        }
        Ok(there.copy == copy || common.epoch.is_some())
    }

    /// If another node's log is the same as this one up to an offset, which is durable first.
    pub(super) async fn is_same_at(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        at: Offset,
    ) -> Result<bool, Failure> {
        self.durable(key, at).await?;
        let here = self.chain_at(key, at).await?;
        is_same_at(line, topic, key, (at, (here.offset, here.chain))).await
    }

    /// What this log and another node's have in common, by their epochs.
    pub(super) fn common_with(
        &self,
        key: PartitionKey,
        there: &segments::Answer,
    ) -> Result<Common, Failure> {
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
    /// says so does not show it, or one above or below a copy that has a later epoch than this log does not tell; `Busy` while one is
    /// waited for that was seen to own it.
    pub(super) async fn check_unclaimed(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        replica: &Replica,
    ) -> Result<(), Failure> {
        // It is large, and each connection has room for what it waits for.
        let checked = Box::pin(self.check_each_unclaimed(topic, key, replica)).await;
        match &checked {
            // Who does own it was found.
            Err(why) if !why.is(ErrorCode::Diverged) => checked,
            _ => self.check_not_held(key).and(checked),
        }
    }

    /// The same of those that answer now.
    async fn check_each_unclaimed(
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
            let log = first.log();
            let mut why = match self.owner_of(topic, key, first).await {
                Ok(Found::Rival(rival)) => {
                    if !self.is_given_to(replica, &rival).await {
                        self.claim_of(topic, key, &rival, other).await?;
                        return Err(owned_at(Some(rival.address().to_owned())));
                    }
                    continue;
                }
                // Whom it is given to goes on, if it was cut off behind its epoch: it follows this node until then.
                Ok(Found::Nobody(word)) if word.is_all || is_target(replica, other) => continue,
                Ok(Found::Nobody(_)) => nobody_tells(),
                Err(why) => why,
            };
            let Some(there) = log else { continue };
            let asking = self.takeover_of(topic, key, (other, &there));
            // Of a later epoch it has to tell now if that goes on from here.
            if !matches!(rt::timeout(GONE_TIMEOUT, asking).await, Some(Ok(None))) {
                why.message = untold(&other.address, &why.message);
                return Err(why);
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

/// If a partition is to be given to the copy.
fn is_target(replica: &Replica, copy: &Peer) -> bool {
    !replica.sources.is_empty() && replica.target == Some(copy.node)
}

/// A copy has a later epoch than this node, and of who owns the partition by that nothing is known.
fn untold(by: &str, why: &str) -> String {
    format!(
        "{by} has a later epoch, and who owns the partition by that does not tell: {why}; if it is gone for good, promote that \
         copy, or forget it here as a follower"
    )
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

#[cfg(test)]
mod tests;
