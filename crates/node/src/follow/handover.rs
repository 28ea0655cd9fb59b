//! Giving a partition to a follower: three durable steps, each of which may be done again.
//!
//! ```text
//! owner   takes no more appends ─▶ TakeOver ─┐              ┌─▶ follows
//! target                                     └─▶ an epoch of its own, takes appends
//! ```

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{handover, take_over};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::hands::Hand;
use super::ownership::{check_same, follower_of, has_none, not_owner, owned_at};
use super::target::target_of;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::{router, rt};

/// How long a handover waits for the target to have all that the owner has.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it has.
const LEVEL_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Gives a partition to a follower, which loses nothing.
    ///
    /// # Errors
    /// `NotOwner`, `NotFollower` or `Diverged` if the target is none to give it to; `Busy` while its
    /// owner is changed otherwise. `NotEqual` if the follower does not come near, or level, in time, has not
    /// the topic's settings and partitions, or still has what is gone here; `SourceUnavailable` if it does not answer: the partition may
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
            self.until_near(&hand, &topic, key, &to).await?;
            self.until_alike(&hand, &topic, key, &to).await?;
            self.check_unclaimed(&topic, key, &before).await?;
        }
        let handing = Replica {
            role: Role::HandingOver,
            sources: vec![to.clone()],
            ..before.clone()
        };
        let (role, sources) = (handing.role, handing.sources.clone());
        self.write_role(topic.clone(), key, before, role, sources)
            .await?;
        // Until this was written down the topic could be altered.
        self.until_alike(&hand, &topic, key, &to).await?;
        self.check_unclaimed(&topic, key, &handing).await?;
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
            hand.check()?;
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
    /// `NotOwner` if the target owns the partition already, or did and another node does now; `SourceUnavailable` if it does not promise,
    /// unless `accept_loss`: then two nodes may own it, and one of them has to rejoin.
    pub(crate) async fn abort_handover(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
    ) -> Result<handover::Partition, Failure> {
        let _hand = self.call_off(key).await?;
        let before = self.replica(key)?;
        if !before.role.owns() {
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
        let refused = async {
            self.ask_to_refuse(topic, key, to).await?;
            self.check_not_given_on(topic, key, to).await
        };
        match refused.await {
            Ok(()) => {}
            Err(error) if error.is(ErrorCode::NotOwner) => return Err(error),
            Err(error) if error.is(ErrorCode::NotFollower) => {
                return Err(not_owner(topic, key, &before));
            }
            Err(error) if accept_loss => {
                let (partition, error) = (key.partition.get(), &error.message);
                tracing::warn!(%topic, partition, to, error, "taken back without a promise");
            }
            Err(error) => return Err(error),
        }
        let role = before.role;
        self.write_role(topic.clone(), key, before, role, Vec::new())
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

    /// Checks that a target which promised to take over no more had not done so before, and has passed the partition on
    /// since.
    ///
    /// # Errors
    /// `NotOwner` with the address of who owns it then.
    async fn check_not_given_on(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<(), Failure> {
        match self.owner_by(topic, key, to.to_owned()).await {
            Ok(None) => Ok(()),
            Ok(Some(rival)) => Err(owned_at(topic, key, Some(rival.address))),
            // It has no such topic any more, and so follows nobody.
            Err(error) if has_none(&error) => Ok(()),
            Err(error) => Err(error),
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
        match self.check_unclaimed(&topic, key, &before).await {
            // Two own it already: it gets no worse, and one of the two can rejoin the other then.
            Err(error) if error.is(ErrorCode::Diverged) => {}
            checked => checked?,
        }
        self.begin_above(key).await?;
        if is_forced {
            // A target that took over all the same began its epoch one step above the last, too.
            self.begin_above(key).await?;
        }
        // Another than the target may have been promoted meanwhile.
        self.doubt_of(key, &before);
        self.write_role(topic, key, before, Role::Owner, Vec::new())
            .await
    }
}

/// Tells of partitions whose handover was cut off: nothing goes on with it, and nobody may append meanwhile.
pub(crate) fn tell_unfinished(topics: &[Topic]) {
    for topic in topics {
        let handing = |partition| {
            let replica = topic.replica(partition)?;
            (replica.role == Role::HandingOver).then_some(replica)
        };
        for replica in topic.partitions().filter_map(|(one, _)| handing(one)) {
            let (topic, partition) = (&topic.name, replica.partition.get());
            let to = replica.sources.first();
            tracing::warn!(
                %topic, partition, to,
                "takes no writes: a handover has not ended; the same `corelog handover` goes on with it, --abort calls it off"
            );
        }
    }
}

/// If the target may take over when it is asked again.
fn is_early(error: &Failure) -> bool {
    error.is(ErrorCode::NotEqual) || error.is(ErrorCode::Busy)
}
