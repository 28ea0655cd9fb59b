//! What shows that another node owns a partition that this one owned.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::{replica_status, segments};
use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica, Role};
use corelog_storage::log::lineage::Common;

use super::GONE_TIMEOUT;
use super::address::is_address;
use super::followers::FOLLOWERS_MAX;
use super::line::Line;
use super::lineage::shared;
use super::ownership::{chain_of, has_none, owned_at, partition_at, segments_of};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// Nodes that are asked, one after the other, for who owns a partition. More are none, or a circle.
pub(super) const HOPS_MAX: usize = 8;

/// Nodes that are asked of those that follow a copy, and this one.
const BELOW_MAX: usize = 1 + 2 * FOLLOWERS_MAX;

/// Another node that says that it owns a partition.
pub(super) type Rival = Rc<Line>;

/// By what another node took a partition over from this one.
pub(super) struct Claim {
    /// Its epoch, which this log has not.
    pub(super) began: Epoch,
    /// Up to here it has what is here, by the epochs of both; none if they tell nothing of that any more.
    pub(super) common: Option<Offset>,
}

/// What a node knows of who owns a partition.
pub(super) enum Told {
    Rival(Rival),
    /// It is this node that is reached there.
    Nobody,
    /// It has a copy, and one of those that follow that, or a copy above it, may have been promoted.
    Copy(Vec<replica_status::Follower>),
}

/// What was found out of who owns a partition.
pub(super) struct Found {
    pub(super) rival: Option<Rival>,
    /// If all that are known of told what they are.
    pub(super) is_all: bool,
}

impl Core {
    /// What one that followed a partition of this node knows of another that owns it.
    ///
    /// # Errors
    /// As [`owner_by`](Self::owner_by), and if at its address is another one.
    pub(super) async fn told_by(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        claimant: &Peer,
    ) -> Result<Told, Failure> {
        self.check_is(key, claimant).await?;
        let address = claimant.address.clone();
        self.owner_above(topic, key, address).await
    }

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
            let theirs = there.epochs.first().map(|last| last.epoch);
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

    /// Checks that the node at the address of one that followed is that one: this node may be reached there itself, where it
    /// does not say how others reach it, or one that was put in its place.
    ///
    /// # Errors
    /// `UnknownPartition` if it is one that is remembered itself, as a node is that was made anew there: the one before is
    /// gone. `SourceUnavailable` if it is any other, or does not answer.
    async fn check_is(self: &Rc<Self>, key: PartitionKey, peer: &Peer) -> Result<(), Failure> {
        let line = self.line_to(&peer.address).await?;
        let known = self.replica(key)?.followers;
        line.check_is(peer.node).map_err(|mut why| {
            if known.iter().any(|known| known.node == line.node()) {
                why.code = ErrorCode::UnknownPartition.number();
            }
            why
        })
    }

    /// Which other node owns a partition, as far as the one at `address` knows: that one, one that it was given to
    /// since, or one that was promoted of those that follow it. None if that is this node, or nobody.
    pub(super) async fn owner_by(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: String,
    ) -> Result<Option<Rival>, Failure> {
        match self.owner_above(topic, key, address).await {
            Ok(told) => Ok(self.owner_of(topic, key, told).await.rival),
            // It has no such topic any more, and so follows nobody.
            Err(error) if has_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same of what one told.
    pub(super) async fn owner_of(&self, topic: &TopicName, key: PartitionKey, told: Told) -> Found {
        let rival = match told {
            Told::Copy(below) => return self.owner_below(topic, key, below).await,
            Told::Rival(rival) => Some(rival),
            Told::Nobody => None,
        };
        Found {
            rival,
            is_all: true,
        }
    }

    async fn owner_above(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        mut address: String,
    ) -> Result<Told, Failure> {
        let mut below = Vec::new();
        for hop in 0..HOPS_MAX {
            let line = self.line_to(&address).await?;
            if line.node() == self.shared.node {
                return Ok(Told::Nobody);
            }
            let there = match partition_at(&line, topic, key).await {
                // It was followed by a copy, and owns nothing any more: one of that copy's own may.
                Err(error) if 0 < hop && has_none(&error) => return Ok(Told::Copy(below)),
                there => there?,
            };
            if there.role == replica_status::Role::Owner {
                return Ok(Told::Rival(line));
            }
            // Whoever owned it since this node did, or follows one who does, has a later epoch.
            let told = segments_of(&line, topic, key, Offset::MAX).await?;
            let newest = told.epochs.first().map(|newest| newest.epoch);
            let is_later = self.epoch(key)? < newest;
            // Nobody else owns what it gives away, and may not for hours.
            if is_later && there.role == replica_status::Role::HandingOver {
                return Ok(Told::Rival(line));
            }
            below.extend(there.followers);
            match there.source {
                Some(source) if is_later && is_address(&source) => address = source,
                _ => return Ok(Told::Copy(below)),
            }
        }
        let message = format!("nobody tells who owns {topic}/{}", key.partition);
        Err(failure(ErrorCode::Busy, message))
    }

    /// Which node owns a partition of those that follow a copy of it, or a copy of that: this one knows nothing of them, and
    /// one of them may have been promoted. Who does not answer may be gone.
    async fn owner_below(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        below: Vec<replica_status::Follower>,
    ) -> Found {
        let mut is_all = true;
        let mut below = VecDeque::from(below);
        let mut asked = BTreeSet::from([Some(self.shared.node)]);
        while let Some(follower) = below.pop_front() {
            let address = follower.address.filter(|address| is_address(address));
            let Some(address) = address.filter(|_| asked.insert(follower.node)) else {
                continue;
            };
            let (Some(node), true) = (follower.node, asked.len() <= BELOW_MAX) else {
                is_all = false;
                continue;
            };
            let asking = self.told_at(topic, key, &address, node);
            let Some(told) = self.answered(&address, asking).await else {
                is_all = false;
                continue;
            };
            match told {
                Ok(Told::Rival(rival)) => {
                    let rival = Some(rival);
                    return Found { rival, is_all };
                }
                Ok(Told::Copy(more)) => below.extend(more),
                Ok(Told::Nobody) => {}
                Err(error) => is_all &= has_none(&error),
            }
        }
        let rival = None;
        Found { rival, is_all }
    }

    /// What a node at an address, if it is that one, knows of another that owns a partition.
    async fn told_at(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: &str,
        node: NodeId,
    ) -> Result<Told, Failure> {
        self.line_to(address).await?.check_is(node)?;
        self.owner_above(topic, key, address.to_owned()).await
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
    /// Where one of them has nothing there, any more or yet, or nothing but damage, the other node has to have the `copy` that
    /// followed this log, or an epoch of it.
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
        if place.log_start.max(there.log_start) <= start && start <= place.log_end {
            self.durable(key, start).await?;
            let chains = async {
                let here = self.chain_at(key, start).await?;
                let there = chain_of(line, topic, key, start).await?;
                Ok::<_, Failure>((here.offset, here.chain) == (there.offset, there.chain))
            };
            match chains.await {
                // It is there, and shows nothing.
                Err(error) if error.is(ErrorCode::Damaged) => {}
                compared => return compared,
            }
        }
        let common = self.common_with(key, there)?;
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

    /// What comes of asking the node at an address; nothing if it does not answer in time, or did not a moment ago.
    pub(super) async fn answered<T>(
        &self,
        address: &str,
        asking: impl Future<Output = T>,
    ) -> Option<T> {
        let (silent, address) = (&self.shared.silent, address.to_owned());
        if silent.found(&address, rt::now()).is_some() {
            return None;
        }
        let answer = rt::timeout(GONE_TIMEOUT, asking).await;
        if answer.is_none() {
            silent.note(address, (), rt::now());
        }
        answer
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
            let Some(Ok(told)) = self.answered(&other.address, asking).await else {
                continue;
            };
            // Those below have their own time: one that does not answer says nothing of this one.
            let Some(rival) = self.owner_of(topic, key, told).await.rival else {
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
