//! Taking no more appends because another node owns the partition, which that one has to prove.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::{fetch, replica_status, segments};
use corelog_record::{CopyId, LeaderEpoch, Offset, TopicName};
use corelog_storage::format::edit;
use corelog_storage::format::replica::{Peer, Replica, Role};
use futures_lite::FutureExt;

use super::address::is_address;
use super::line::Line;
use super::lineage::shared;
use super::ownership::{chain_of, has_none, partition_at, segments_of};
use crate::catalog::{Routes, Topic};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// The pause before silent followers are asked again, and the longest, which each round doubles it to.
const ASK_PAUSE_MIN: Duration = Duration::from_secs(1);
const ASK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A follower asks every two seconds: one that was not heard for so long may follow no more.
const SILENT_AFTER: Duration = Duration::from_secs(20);
/// Partitions of one node's that are asked for at the same time: half of what shares a connection.
const ASKED_AT_ONCE: usize = 16;
/// Nodes that are asked, one after the other, for who owns a partition. More are none, or a circle.
const HOPS_MAX: usize = 8;

/// A copy that may own a partition.
type Claim = (TopicName, PartitionKey, CopyId);

impl Core {
    /// A follower that has an epoch which this log has not may own the partition now: it is asked at
    /// the address that is remembered of it, whatever it says here. True if it has one.
    pub(super) fn check_claim(
        self: &Rc<Self>,
        key: PartitionKey,
        mine: &[edit::Epoch],
        by: &fetch::Follower,
    ) -> bool {
        let newest = mine.last().map(|last| last.epoch);
        if by.epochs.first().map(|first| first.epoch) <= newest {
            return false;
        }
        if let Some((topic, peer)) = self.remembered(key, by.copy)
            && self.followers.may_check_claim(key)
        {
            self.hear_claim(topic, key, peer);
        }
        true
    }

    /// Those that are remembered as followers of a partition of this core, and are silent, may own it by now: it is not
    /// served before they were asked. What it takes until then would be in no other log.
    pub(crate) fn doubt(&self, key: PartitionKey) {
        let replica = self.replica(key);
        if let Some(owned) = replica.ok().filter(|replica| replica.role == Role::Owner) {
            self.doubt_of(key, &owned);
        }
    }

    /// The same of one that it owns, or is about to: true if there are any.
    pub(super) fn doubt_of(&self, key: PartitionKey, replica: &Replica) -> bool {
        let mut is_any = false;
        for peer in &replica.followers {
            if self.is_silent(key, peer.copy) {
                self.followers.unasked.add(key, peer.copy);
                is_any = true;
            }
        }
        is_any
    }

    /// Asks those that are remembered as followers of this core's partitions, and are silent, if they own them by now,
    /// until the node stops: one may have been promoted while this node was away, or out of reach. While both own one,
    /// it is asked on: a person has to see that, and to end it.
    pub(crate) async fn keep_asking_followers(self: Rc<Self>) {
        let under_way = Rc::<RefCell<BTreeSet<String>>>::default();
        let unasked = &self.followers.unasked;
        let mut pause = ASK_PAUSE_MIN;
        unasked.begin();
        while !self.is_stopping.get() {
            self.give_up_asking();
            for (address, claims) in self.silent_followers() {
                // One that hangs keeps no other from being asked.
                if !under_way.borrow_mut().insert(address.clone()) {
                    continue;
                }
                let (core, under_way) = (Rc::clone(&self), Rc::clone(&under_way));
                rt::spawn_background(async move {
                    core.ask_at(&address, claims).or(core.stopping()).await;
                    under_way.borrow_mut().remove(&address);
                })
                .detach();
            }
            if unasked.is_empty() {
                let until = rt::sleep(pause).or(unasked.any());
                until.or(self.stopping()).await;
                pause = (pause * 2).min(ASK_PAUSE_MAX);
            } else {
                rt::sleep(ASK_PAUSE_MIN).or(self.stopping()).await;
            }
        }
    }

    /// Serves what waited for followers that do not answer.
    fn give_up_asking(&self) {
        let mut unheard = BTreeMap::<_, usize>::new();
        let owns = |key| {
            self.replica(key)
                .is_ok_and(|replica| replica.role == Role::Owner)
        };
        let given_up = self.followers.unasked.give_up().into_iter();
        for (key, copies) in given_up.filter(|(key, _)| owns(*key)) {
            let remembered = copies.iter().filter_map(|copy| self.remembered(key, *copy));
            for (_, peer) in remembered {
                *unheard.entry(peer.address).or_default() += 1;
            }
        }
        for (address, partitions) in unheard {
            tracing::warn!(
                address,
                partitions,
                "they are served, though a follower does not tell if it owns them by now; \
                 `corelog topic forget-follower` forgets one that is gone for good"
            );
        }
    }

    /// The followers of partitions that this core owns from which nothing was heard for a while, by their addresses.
    fn silent_followers(&self) -> BTreeMap<String, Vec<Claim>> {
        let routes = self.routes.borrow();
        let mut silent = BTreeMap::<_, Vec<_>>::new();
        for (topic, key, replica) in self.followed(&routes) {
            let followers = replica.followers.iter();
            for peer in followers.filter(|peer| self.is_silent(key, peer.copy)) {
                let claims = silent.entry(peer.address.clone()).or_default();
                claims.push((topic.name.clone(), key, peer.copy));
            }
        }
        silent
    }

    /// What is written down of the partitions that this core owns: who follows them.
    pub(super) fn followed<'a>(
        &self,
        routes: &'a Routes,
    ) -> impl Iterator<Item = (&'a Topic, PartitionKey, &'a Replica)> {
        let id = self.id;
        routes.topics().flat_map(move |topic| {
            let replicas = topic.replicas.values();
            let owned = replicas.filter(|replica| replica.role == Role::Owner);
            let mine = owned.filter(move |one| topic.owner(one.partition) == Some(id));
            mine.map(|replica| {
                let key = PartitionKey {
                    topic: topic.id,
                    partition: replica.partition,
                };
                (&**topic, key, replica)
            })
        })
    }

    /// If a copy was not heard for a while as a follower.
    fn is_silent(&self, key: PartitionKey, copy: CopyId) -> bool {
        !self.followers.is_heard(key, copy, SILENT_AFTER)
    }

    /// Asks the node at `address` for partitions that it may own, as long as it answers.
    async fn ask_at(self: &Rc<Self>, address: &str, claims: Vec<Claim>) {
        let Ok(line) = self.line_to(address).await else {
            return;
        };
        for some in claims.chunks(ASKED_AT_ONCE) {
            let asked = some.iter().cloned().map(|claim| {
                let core = Rc::clone(self);
                rt::spawn_background(async move { core.ask_claim(claim).await })
            });
            for asked in asked.collect::<Vec<_>>() {
                asked.await;
            }
            // Who does not answer in time is not asked on.
            if line.is_closed() {
                return;
            }
        }
    }

    /// Asks a copy if it owns a partition, unless it came to follow it meanwhile.
    async fn ask_claim(self: &Rc<Self>, (topic, key, copy): Claim) {
        let peer = self.remembered(key, copy);
        if let Some((_, peer)) = peer.filter(|_| self.is_silent(key, copy)) {
            self.tell_claim(topic, key, peer).await;
        }
    }

    fn hear_claim(self: &Rc<Self>, topic: TopicName, key: PartitionKey, claimant: Peer) {
        let core = Rc::clone(self);
        rt::spawn_background(async move { core.tell_claim(topic, key, claimant).await }).detach();
    }

    async fn tell_claim(self: &Rc<Self>, topic: TopicName, key: PartitionKey, claimant: Peer) {
        let copy = claimant.copy;
        match self.verify_claim(topic, key, claimant).await {
            Ok(()) => self.followers.unasked.settle(key, copy),
            // Who has none owns none.
            Err(error) if has_none(&error) => self.followers.unasked.settle(key, copy),
            Err(error) => {
                let error = error.message;
                tracing::debug!(error, "who may own a partition does not tell");
            }
        }
    }

    fn remembered(&self, key: PartitionKey, copy: CopyId) -> Option<(TopicName, Peer)> {
        let routes = self.routes.borrow();
        let topic = routes.topic_by_id(key.topic)?;
        let known = &topic.replica(key.partition)?.followers;
        let peer = known.iter().find(|known| known.copy == copy)?;
        Some((topic.name.clone(), peer.clone()))
    }

    /// Another node may own a partition of this one, or follow who does: if so, by an epoch that this log has
    /// not, and that goes on from this log, this node takes no more appends.
    async fn verify_claim(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        claimant: Peer,
    ) -> Result<(), Failure> {
        if self.replica(key)?.role != Role::Owner {
            return Ok(());
        }
        let Some((line, owner)) = self.owner_by(&topic, key, claimant.address.clone()).await?
        else {
            return Ok(());
        };
        let there = segments_of(&line, &topic, key, Offset::MAX).await?;
        let newest = self.epoch(key)?;
        let partition = key.partition.get();
        let Some(began) = first_behind(newest, &there) else {
            let theirs = there.epochs.first().map(|last| last.epoch.get());
            tracing::error!(
                %topic, partition, epoch = newest.map(LeaderEpoch::get), owner, its_epoch = theirs,
                "another node owns it as well, by no later epoch: one of the two has to rejoin the other"
            );
            return Err(both_own(&owner));
        };
        let epoch = began.epoch.get();
        let claim = (&there, began, claimant.copy);
        let is_shown = self.goes_on(&line, &topic, key, claim).await?
            || owner != claimant.address
                && self.is_vouched_for(&topic, key, &there, &claimant).await?;
        if !is_shown {
            tracing::error!(
                %topic, partition, epoch, owner,
                "another node owns it as well, and does not go on from what is here: one has to go"
            );
            return Err(both_own(&owner));
        }
        let _hand = self.take_hand(key)?;
        let before = self.replica(key)?;
        let newest = self.epoch(key)?;
        if before.role != Role::Owner || Some(began.epoch) <= newest {
            return Ok(());
        }
        // Should this node ever own it again, its epoch is above that one.
        self.hear_epoch(key, began.epoch);
        let sources = vec![owner.clone()];
        self.write_role(topic.clone(), key, before, Role::Fenced, sources)
            .await?;
        tracing::error!(%topic, partition, epoch, owner, "fenced: another node owns it; rejoin it");
        Ok(())
    }

    /// Which other node owns a partition, as far as the one at `address` knows: that one, or one that it was given to
    /// since. None if that is this node, or nobody.
    pub(super) async fn owner_by(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        mut address: String,
    ) -> Result<Option<(Rc<Line>, String)>, Failure> {
        for _ in 0..HOPS_MAX {
            let line = self.line_to(&address).await?;
            if line.hello().node == self.shared.node {
                return Ok(None);
            }
            let there = partition_at(&line, topic, key).await?;
            if there.role == replica_status::Role::Owner {
                return Ok(Some((line, address)));
            }
            // Whoever owned it since this node did, or follows one who does, has a later epoch.
            let told = segments_of(&line, topic, key, Offset::MAX).await?;
            let newest = told.epochs.first().map(|newest| newest.epoch);
            match there.source {
                Some(source) if self.epoch(key)? < newest && is_address(&source) => {
                    address = source;
                }
                _ => return Ok(None),
            }
        }
        let message = format!("nobody tells who owns {topic}/{}", key.partition);
        Err(failure(ErrorCode::Busy, message))
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
    /// Where one of them has nothing there, any more or yet, the other node has to have the `copy` that
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
        if start < place.log_start.max(there.log_start) || place.log_end < start {
            let theirs = (there.epochs.as_slice(), there.high_watermark);
            let common = shared((&self.epochs(key)?, place.log_end), theirs);
            return Ok(there.copy == copy || common.epoch.is_some());
        }
        self.durable(key, start).await?;
        let here = self.chain_at(key, start).await?;
        let there = chain_of(line, topic, key, start).await?;
        Ok((here.offset, here.chain) == (there.offset, there.chain))
    }
}

/// The first epoch of another node's log that is later than the `newest` here.
fn first_behind(newest: Option<LeaderEpoch>, there: &segments::Answer) -> Option<&Epoch> {
    let mut oldest_first = there.epochs.iter().rev();
    oldest_first.find(|began| Some(began.epoch) > newest)
}

fn both_own(other: &str) -> Failure {
    let message = format!("{other} owns the partition as well");
    failure(ErrorCode::Diverged, message)
}
