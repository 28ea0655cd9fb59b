//! Asking those that follow partitions of this core whether they own them by now, as long as they are silent.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{fetch, replica_status};
use corelog_record::{CopyId, TopicName};
use corelog_storage::format::edit;
use corelog_storage::format::replica::{Peer, Replica};
use futures_lite::FutureExt;

use super::lineage;
use super::questions::has_none;
use super::target::{copies_of, copy_at};
use crate::core::{Core, PartitionKey};
use crate::metrics::set;
use crate::rt;

/// The pause before silent followers are asked again, and the longest, which each round doubles it to.
const ASK_PAUSE_MIN: Duration = Duration::from_secs(1);
const ASK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A follower asks every two seconds: one that was not heard for so long may follow no more.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(20);
/// Partitions of one node's that are asked for at the same time: half of what shares a connection.
const ASKED_AT_ONCE: usize = 16;

/// A copy that may own a partition.
pub(super) type Claimant = (TopicName, PartitionKey, CopyId);

/// A node's address, and if it is told who owns partitions, as one that was followed before a promotion, not asked: who is above
/// it may be waited for then.
pub(super) type Job = (String, bool);

impl Core {
    /// A follower that has an epoch which this log has not may own the partition now: it is asked at
    /// the address that is remembered of it, whatever it says here, or whom this copy follows does that. True if it has one.
    pub(super) fn check_claim(
        self: &Rc<Self>,
        key: PartitionKey,
        mine: &[edit::Epoch],
        by: &fetch::Follower,
    ) -> bool {
        let newest = mine.last().map(|last| last.epoch);
        if lineage::newest(&by.epochs) <= newest {
            return false;
        }
        if let Some((topic, peer)) = self.remembered(key, by.copy) {
            let replica = self.replica(key).ok();
            let may_check = self.followers.may_check_claim(key);
            match self.role(key, replica.as_ref()) {
                (replica_status::Role::Follower, source) if may_check => {
                    self.pass_on(topic, key, source, by.clone());
                }
                _ if may_check => {
                    let core = Rc::clone(self);
                    let asking = async move { core.ask_copy(topic, key, peer).await };
                    rt::spawn_background(asking).detach();
                }
                // One was just asked, and need not be this one.
                (role, _) if role.owns() => self.followers.ask_soon(key, by.copy),
                // A copy is told again, as one that is outranked; one that is fenced asks nobody.
                _ => {}
            }
        }
        true
    }

    /// Those that are remembered as followers of a partition of this core, and are silent, may own it by now: it is not
    /// served before they were asked. What it takes until then would be in no other log.
    pub(crate) fn doubt(&self, key: PartitionKey) {
        let replica = self.replica(key);
        if let Some(owned) = replica.ok().filter(|replica| replica.role.owns()) {
            self.doubt_of(key, &owned);
        }
    }

    /// The same of one that it owns, or is about to: true if there are any.
    pub(super) fn doubt_of(&self, key: PartitionKey, replica: &Replica) -> bool {
        let mut is_any = false;
        for peer in &replica.followers {
            self.followers.await_word(key, peer.copy);
            if self.is_silent(key, peer.copy) {
                self.followers.unasked.add(key, peer.copy);
                is_any = true;
            }
        }
        is_any
    }

    /// Asks those that are remembered as followers of this core's partitions, and are silent, if they own them by now,
    /// until the node stops: one may have been promoted while this node was away, or out of reach. While both own one,
    /// it is asked on: a person has to see that, and to end it. Likewise it tells those that it followed before it was promoted.
    pub(crate) async fn keep_asking_followers(self: Rc<Self>) {
        let under_way = Rc::<RefCell<BTreeSet<Job>>>::default();
        let unasked = &self.followers.unasked;
        let mut pause = ASK_PAUSE_MIN;
        unasked.begin();
        while !self.is_stopping.get() {
            let is_called = unasked.take_call();
            let is_follower = |key, copy| self.is_follower(key, copy);
            self.followers.retain(is_follower, |key, copy| {
                self.remembered(key, copy).is_some()
            });
            let contested = self.followers.contested.count(is_follower);
            self.give_up_asking();
            set(&self.counters.contested_partitions, contested as u64);
            self.count_ahead();
            let silent = self.silent_followers();
            set(&self.counters.silent_followers, silent as u64);
            for (job, claims) in self.due() {
                // One that hangs keeps no other from being asked.
                if !under_way.borrow_mut().insert(job.clone()) {
                    continue;
                }
                let (core, under_way) = (Rc::clone(&self), Rc::clone(&under_way));
                rt::spawn_background(async move {
                    core.ask_at(&job, claims).or(core.stopping()).await;
                    under_way.borrow_mut().remove(&job);
                })
                .detach();
            }
            if is_called {
                // Its node may be asked for others just now: it is soon asked again.
                pause = ASK_PAUSE_MIN;
            }
            if unasked.is_empty() && !is_called {
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
        let given_up = self.followers.unasked.give_up().into_iter();
        for (key, copies) in given_up {
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

    /// If a copy is remembered as a follower of a partition that this node owns, or is one that it followed itself before.
    pub(crate) fn is_follower(&self, key: PartitionKey, copy: CopyId) -> bool {
        let owned = self.replica(key).ok().filter(|replica| replica.role.owns());
        owned.is_some_and(|owned| copies_of(&owned).any(|(known, _)| known == copy))
    }

    /// The followers of partitions that this core owns that are to be asked, and those that are to be told.
    fn due(&self) -> BTreeMap<Job, Vec<Claimant>> {
        let routes = self.routes.borrow();
        let mut due = BTreeMap::<_, Vec<_>>::new();
        for (topic, key, replica) in self.followed(&routes) {
            let followers = replica.followers.iter();
            for peer in followers.filter(|peer| self.is_due(key, peer.copy)) {
                let claims = due.entry((peer.address.clone(), false)).or_default();
                claims.push((topic.name.clone(), key, peer.copy));
            }
        }
        for (topic, key, replica) in self.replicated(&routes) {
            for address in &replica.outranked {
                let claims = due.entry((address.clone(), true)).or_default();
                claims.push((topic.name.clone(), key, copy_at(address)));
            }
        }
        due
    }

    /// If a copy is to be asked: it was not heard for a while, or has to tell of copies of its own, one of which may have been
    /// promoted while this node was away.
    fn is_due(&self, key: PartitionKey, copy: CopyId) -> bool {
        self.is_silent(key, copy) || self.followers.awaits_word(key, copy)
    }

    /// If a copy was not heard for a while as a follower.
    pub(super) fn is_silent(&self, key: PartitionKey, copy: CopyId) -> bool {
        !self.followers.is_heard(key, copy, SILENT_AFTER)
    }

    /// Asks a node for partitions that it may own, or tells it, as long as it answers.
    pub(super) async fn ask_at(self: &Rc<Self>, job: &Job, claims: Vec<Claimant>) {
        let Ok(line) = self.line_to(&job.0).await else {
            return;
        };
        for some in claims.chunks(ASKED_AT_ONCE) {
            let asked = some.iter().cloned().map(|claim| {
                let (core, job) = (Rc::clone(self), job.clone());
                rt::spawn_background(async move { core.ask_claim(&job, claim).await })
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

    /// Asks a copy who owns a partition, unless that is known by now, or tells who may have owned it.
    async fn ask_claim(self: &Rc<Self>, (address, is_told): &Job, claimant: Claimant) {
        if *is_told {
            return self.tell_outranked_at(address, claimant).await;
        }
        let (topic, key, copy) = claimant;
        let peer = self.remembered(key, copy);
        if let Some((_, peer)) = peer.filter(|_| self.is_due(key, copy)) {
            self.ask_copy(topic, key, peer).await;
        }
    }

    /// Asks a copy who owns a partition of this node, and lets go of what waits for it, or holds it.
    async fn ask_copy(self: &Rc<Self>, topic: TopicName, key: PartitionKey, claimant: Peer) {
        let (begun, copy) = (rt::now(), claimant.copy);
        let judged = self.judge(&topic, key, (&claimant, begun)).await;
        let shown = self.followers.unasked.shown(key, copy);
        let is_another = self.followers.unasked.is_of_another(key, &claimant);
        let is_late = self.followers.unasked.outranks_since(key, copy, begun);
        match judged {
            Ok(Some(word)) => {
                // What was told before that was seen says nothing of it.
                let is_over =
                    shown.is_none_or(|(owner, at)| at <= begun && word.clears(owner.node));
                if is_over && !is_late {
                    if word.is_all {
                        self.followers.note_word(key, copy);
                    }
                    self.followers.settle(key, copy);
                } else {
                    self.look_at_shown(&topic, key, &claimant, begun).await;
                }
            }
            Err(error) if !has_none(&error) || is_another => {
                // What it asks itself tells nothing of whom it told of.
                self.followers.await_word(key, copy);
                self.look_at_shown(&topic, key, &claimant, begun).await;
                if error.is(ErrorCode::Diverged) {
                    self.followers.contested.note(key, copy);
                }
                tracing::debug!(
                    error = error.message,
                    "who may own a partition does not tell"
                );
            }
            // Who has none owns none.
            Ok(None) | Err(_) => {
                self.followers.ahead.settle(key, copy);
                self.followers.note_word(key, copy);
                self.followers.settle(key, copy);
            }
        }
    }

    /// A copy that is remembered as a follower of a partition, whoever owns that.
    fn remembered(&self, key: PartitionKey, copy: CopyId) -> Option<(TopicName, Peer)> {
        let routes = self.routes.borrow();
        let topic = routes.topic_by_id(key.topic)?;
        let known = &topic.replica(key.partition)?.followers;
        let peer = known.iter().find(|known| known.copy == copy)?;
        Some((topic.name.clone(), peer.clone()))
    }
}
