//! Giving a partition to a follower: three durable steps, each of which may be done again.
//!
//! ```text
//! owner   takes no more appends ─▶ TakeOver ─┐              ┌─▶ follows
//! target                                     └─▶ an epoch of its own, takes appends
//! ```

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{handover, metadata, replica_status, take_over};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::hands::Hand;
use super::line::Line;
use super::lineage::diverged;
use super::ownership::{check_same, follower_of, has_none, not_owner, partition_at, segments_of};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::{router, rt};

/// How long a handover waits for the target to have all that the owner has.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it has.
const LEVEL_PAUSE: Duration = Duration::from_millis(20);
/// Between two questions whether it has the topic's settings and partitions, which it looks for itself.
const ALIKE_PAUSE: Duration = Duration::from_millis(200);

impl Core {
    /// Gives a partition to a follower, which loses nothing.
    ///
    /// # Errors
    /// `NotOwner`, `NotFollower` or `Diverged` if the target is none to give it to; `Busy` while its
    /// owner is changed otherwise. `NotEqual` if the follower does not come level in time, or has not
    /// the topic's settings and partitions; `SourceUnavailable` if it does not answer: the partition may
    /// take no appends then until this is asked again, or aborted.
    pub(crate) async fn hand_over(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        to: Option<String>,
    ) -> Result<handover::Partition, Failure> {
        let hand = self.take_hand(key)?;
        let before = self.replica(key)?;
        let to = target_of(&topic, key, &before, to)?;
        if before.role == Role::Owner {
            // Before anything is written down: whoever names the wrong node loses nothing by it.
            self.until_alike(&hand, &topic, key, &to).await?;
            self.check_target(&topic, key, &to).await?;
        }
        let handing = Replica {
            role: Role::HandingOver,
            sources: vec![to.clone()],
            ..before.clone()
        };
        let target = to.clone();
        router::change_replica(self, topic.clone(), key, move |mut replica| {
            check_same(&before, &replica)?;
            replica.role = Role::HandingOver;
            replica.sources = vec![target];
            Ok(replica)
        })
        .await?;
        // Until this was written down the topic could be altered.
        self.until_alike(&hand, &topic, key, &to).await?;
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        let request = self.taking_over(&topic, key, end)?;
        let taken = self.ask_to_take_over(&hand, &to, &request).await?;
        let owner = to.clone();
        router::change_replica(self, topic, key, move |replica| {
            check_same(&handing, &replica)?;
            Ok(follower_of(replica, to))
        })
        .await?;
        tracing::info!(
            topic = %self.told_name(key), partition = key.partition.get(), end = end.get(),
            owner, epoch = taken.epoch.get(), "handed over"
        );
        Ok(handover::Partition {
            id: key.partition,
            end,
            epoch: taken.epoch,
            owner,
        })
    }

    /// Checks that the node at `to` is another one, and follows the partition's log.
    async fn check_target(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<(), Failure> {
        let line = self.line_to(to).await?;
        if line.hello().node == self.shared.node {
            let message = format!("{to} is this node");
            return Err(failure(ErrorCode::InvalidRequest, message));
        }
        let there = partition_at(&line, topic, key).await;
        if !matches!(&there, Ok(there) if there.role == replica_status::Role::Follower) {
            let why = there.err().filter(|error| !has_none(error));
            let message = format!("{to} does not follow {topic}/{}", key.partition);
            return Err(why.unwrap_or_else(|| failure(ErrorCode::NotFollower, message)));
        }
        let there = segments_of(&line, topic, key, Offset::MAX).await?;
        match there.history == self.place(key)?.history {
            true => Ok(()),
            false => Err(diverged(Offset::ZERO)),
        }
    }

    /// Waits until the topic at `to` has the settings and the partitions that it has here. What was
    /// altered here comes there by a look now and then, and is not to be undone by what is in force
    /// there afterwards.
    async fn until_alike(
        self: &Rc<Self>,
        hand: &Hand,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<(), Failure> {
        let deadline = rt::now() + LEVEL_TIMEOUT;
        loop {
            let line = self.line_to(to).await?;
            let is_alike = self.is_alike(&line, topic, key).await?;
            if hand.is_called_off() {
                return Err(called_off());
            }
            if is_alike {
                return Ok(());
            }
            if deadline <= rt::now() {
                let message = format!(
                    "{topic} has other settings or partitions at {to}: a copy of the whole becomes as \
                     this one within seconds, another one is cloned again or altered there"
                );
                return Err(failure(ErrorCode::NotEqual, message));
            }
            rt::sleep(ALIKE_PAUSE).await;
        }
    }

    /// If a follower's topic is as it is here, or need not be: it has none, or owns some of it and so
    /// has settings of its own.
    async fn is_alike(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<bool, Failure> {
        let ask = metadata::Request {
            topics: Some(vec![topic.clone()]),
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.topics;
        let Some(there) = told.into_iter().find(|there| there.id == key.topic) else {
            return Ok(true);
        };
        let here = self.routes.borrow().topic_by_id(key.topic).cloned();
        if here.is_none_or(|here| here.is_as(&there)) {
            return Ok(true);
        }
        let ask = replica_status::Request {
            topic: topic.clone(),
            id: Some(key.topic),
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.partitions;
        let owned = told
            .iter()
            .any(|one| one.role == replica_status::Role::Owner);
        if owned {
            tracing::warn!(%topic, "its next owner owns some of it and has other settings, which stay");
        }
        Ok(owned)
    }

    /// What a follower is asked that is to own all below `end`.
    fn taking_over(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        end: Offset,
    ) -> Result<take_over::Request, Failure> {
        let place = self.place(key)?;
        let epoch = self.epoch(key)?;
        Ok(take_over::Request {
            topic: topic.clone(),
            id: key.topic,
            partition: key.partition,
            history: place.history,
            end,
            chain: place.durable.chain,
            epoch: epoch.unwrap_or_default(),
        })
    }

    async fn ask_to_take_over(
        self: &Rc<Self>,
        hand: &Hand,
        to: &str,
        request: &take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let deadline = rt::now() + LEVEL_TIMEOUT;
        loop {
            let line = self.line_to(to).await?;
            if hand.is_called_off() {
                return Err(called_off());
            }
            match line.call(request, ASK_TIMEOUT).await {
                Ok(reply) => return Ok(reply.head),
                Err(error) if is_early(&error) && rt::now() < deadline => {
                    rt::sleep(LEVEL_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a handover back that the target has not finished: it promises not to, and this node
    /// begins an epoch of its own.
    ///
    /// # Errors
    /// `NotOwner` if the target owns the partition already; `SourceUnavailable` if it does not promise,
    /// unless `accept_loss`: then two nodes may own it, and one of them has to rejoin.
    pub(crate) async fn abort_handover(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
    ) -> Result<handover::Partition, Failure> {
        let _hand = self.call_off(key).await?;
        let before = self.replica(key)?;
        if !matches!(before.role, Role::Owner | Role::HandingOver) {
            return Err(not_owner(&topic, key, &before));
        }
        if before.role == Role::HandingOver {
            self.take_back(&topic, key, before, accept_loss).await?;
            self.own_again(topic, key, accept_loss).await?;
        }
        let epoch = self.epoch(key)?;
        let mine = self.shared.addresses.get();
        Ok(handover::Partition {
            id: key.partition,
            end: self.place(key)?.log_end,
            epoch: epoch.unwrap_or_default(),
            owner: mine.map_or_else(String::new, |mine| mine.advertised.clone()),
        })
    }

    /// Takes back what the target was asked, and writes down that it is given to nobody: whoever asks
    /// from here on may not take this for a handover.
    async fn take_back(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        before: Replica,
        accept_loss: bool,
    ) -> Result<(), Failure> {
        let Some(to) = before.sources.first() else {
            return Ok(());
        };
        match self.ask_to_refuse(topic, key, to).await {
            Ok(()) => {}
            Err(error) if error.is(ErrorCode::NotFollower) => {
                return Err(not_owner(topic, key, &before));
            }
            Err(error) if accept_loss => {
                let (partition, error) = (key.partition.get(), &error.message);
                tracing::warn!(%topic, partition, to, error, "taken back without a promise");
            }
            Err(error) => return Err(error),
        }
        router::change_replica(self, topic.clone(), key, move |mut replica| {
            check_same(&before, &replica)?;
            replica.sources.clear();
            Ok(replica)
        })
        .await
    }

    /// Has the target promise that it takes over no more at the epoch in force here.
    async fn ask_to_refuse(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<(), Failure> {
        // No log ends there: whoever is asked for it takes back what was asked before.
        let request = self.taking_over(topic, key, Offset::MAX)?;
        let line = self.line_to(to).await?;
        if line.hello().node == self.shared.node {
            return Ok(());
        }
        let deadline = rt::now() + ASK_TIMEOUT;
        loop {
            match line.call(&request, ASK_TIMEOUT).await {
                Err(error) if error.is(ErrorCode::NotEqual) => return Ok(()),
                Err(error) if is_early(&error) && rt::now() < deadline => {
                    rt::sleep(LEVEL_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(_) => {
                    let message = format!("{to} took over what has no end");
                    return Err(failure(ErrorCode::BadSource, message));
                }
            }
        }
    }

    /// Begins an epoch and takes appends again, as an owner that handed over.
    async fn own_again(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        is_forced: bool,
    ) -> Result<(), Failure> {
        let before = self.replica(key)?;
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        self.begin_above(key).await?;
        if is_forced {
            // A target that took over all the same began its epoch one step above the last, too.
            self.begin_above(key).await?;
        }
        router::change_replica(self, topic, key, move |mut replica| {
            check_same(&before, &replica)?;
            replica.role = Role::Owner;
            replica.sources.clear();
            Ok(replica)
        })
        .await
    }
}

/// Whom a partition is given to.
fn target_of(
    topic: &TopicName,
    key: PartitionKey,
    replica: &Replica,
    to: Option<String>,
) -> Result<String, Failure> {
    let before = replica.sources.first();
    match (replica.role, to) {
        (Role::Owner, to) => to.map_or_else(|| only_follower(replica), Ok),
        (Role::HandingOver, to) if to.is_none() || to.as_ref() == before => {
            let none = || {
                let message = "it is being taken back: finish that by aborting it again";
                failure(ErrorCode::InvalidRequest, message)
            };
            before.cloned().ok_or_else(none)
        }
        (Role::HandingOver, _) => {
            let message = "it is being handed over to another node: finish or abort that";
            Err(failure(ErrorCode::InvalidRequest, message))
        }
        _ => Err(not_owner(topic, key, replica)),
    }
}

fn called_off() -> Failure {
    failure(ErrorCode::InvalidRequest, "the handover was called off")
}

/// If the target may take over when it is asked again.
fn is_early(error: &Failure) -> bool {
    error.is(ErrorCode::NotEqual) || error.is(ErrorCode::Busy)
}

fn only_follower(replica: &Replica) -> Result<String, Failure> {
    match replica.followers.as_slice() {
        [one] => Ok(one.address.clone()),
        several => {
            let message = format!(
                "{} nodes follow it: name the one to hand it to",
                several.len()
            );
            Err(failure(ErrorCode::InvalidRequest, message))
        }
    }
}
