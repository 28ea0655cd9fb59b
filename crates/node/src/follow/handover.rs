//! Giving a partition to a follower: three durable steps, each of which may be done again.
//!
//! ```text
//! owner   takes no more appends ─▶ TakeOver ─┐              ┌─▶ follows
//! target                                     └─▶ an epoch of its own, takes appends
//! ```

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::{handover, take_over};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::lineage::diverged;
use super::ownership::{follower_of, not_follower, segments_of};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with};
use crate::{router, rt};

/// How long a handover waits for the target to have all that the owner has.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it has.
const LEVEL_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Takes a partition over from its owner, which takes no more appends.
    ///
    /// # Errors
    /// `NotEqual` while this log is not the owner's up to its end, `NotFollower`, `Diverged`.
    pub(crate) async fn take_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let replica = self.replica(key)?;
        let place = self.place(key)?;
        if place.history != request.history {
            return Err(diverged(Offset::ZERO));
        }
        if replica.role == Role::Owner {
            return self.taken_over(key, &request).await;
        }
        if replica.role != Role::Follower {
            return Err(not_follower(&request.topic, key));
        }
        let here = (place.durable.offset, place.durable.chain);
        if here != (request.end, request.chain) || place.log_end != request.end {
            let message = format!("this copy ends at {}, not at {}", here.0, request.end);
            let detail = Detail {
                end: Some(here.0),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::NotEqual, message, detail));
        }
        let (epoch, lineage, _) = self.own(request.topic, key).await?;
        Ok(take_over::Answer { epoch, lineage })
    }

    /// The answer to a TakeOver that was done before.
    async fn taken_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: &take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let epochs = self.epochs(key)?;
        let mut later = epochs.iter().filter(|began| began.epoch > request.epoch);
        let began = later.find(|began| began.offset == request.end);
        let at = self.chain_at(key, request.end).await?;
        match began.filter(|_| at.chain == request.chain) {
            Some(began) => Ok(take_over::Answer {
                epoch: began.epoch,
                lineage: began.lineage,
            }),
            None => Err(not_follower(&request.topic, key)),
        }
    }

    /// Gives a partition to a follower, which loses nothing.
    ///
    /// # Errors
    /// `NotOwner`, `NotEqual` if the follower does not come level in time, `SourceUnavailable` if it
    /// does not answer: the partition takes no appends then until this is asked again, or aborted.
    pub(crate) async fn hand_over(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        to: Option<String>,
    ) -> Result<handover::Partition, Failure> {
        let replica = self.replica(key)?;
        let to = match (replica.role, to) {
            (Role::Owner, to) => to.map_or_else(|| only_follower(&replica), Ok)?,
            (Role::HandingOver, None) => replica.sources.first().cloned().unwrap_or_default(),
            (Role::HandingOver, Some(to)) if replica.sources.contains(&to) => to,
            (Role::HandingOver, Some(_)) => {
                let message = "it is being handed over to another node: finish or abort that";
                return Err(failure(ErrorCode::InvalidRequest, message));
            }
            _ => {
                return self
                    .check_owner(key)
                    .map(|()| unreachable!("it is not the owner"));
            }
        };
        let target = to.clone();
        router::change_replica(self, topic.clone(), key, move |mut replica| {
            replica.role = Role::HandingOver;
            replica.sources = vec![target];
            Ok(replica)
        })
        .await?;
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        let place = self.place(key)?;
        let epoch = self.epochs(key)?.last().map(|last| last.epoch);
        let request = take_over::Request {
            topic: topic.clone(),
            id: key.topic,
            partition: key.partition,
            history: place.history,
            end,
            chain: place.durable.chain,
            epoch: epoch.unwrap_or_default(),
        };
        let taken = self.ask_to_take_over(&to, &request).await?;
        let owner = to.clone();
        router::change_replica(self, topic, key, move |replica| {
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

    async fn ask_to_take_over(
        self: &Rc<Self>,
        to: &str,
        request: &take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let deadline = rt::now() + LEVEL_TIMEOUT;
        loop {
            let line = self.line_to(to).await?;
            match line.call(request, ASK_TIMEOUT).await {
                Ok(reply) => return Ok(reply.head),
                Err(error) if error.is(ErrorCode::NotEqual) && rt::now() < deadline => {
                    rt::sleep(LEVEL_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a handover back that the target has not finished.
    ///
    /// # Errors
    /// `NotOwner` if the target owns the partition already, `SourceUnavailable` if that cannot be
    /// told.
    pub(crate) async fn abort_handover(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
    ) -> Result<handover::Partition, Failure> {
        let replica = self.replica(key)?;
        let epoch = self.epochs(key)?.last().map(|last| last.epoch);
        let place = self.place(key)?;
        if !matches!(replica.role, Role::Owner | Role::HandingOver) {
            return self
                .check_owner(key)
                .map(|()| unreachable!("it is not the owner"));
        }
        if replica.role == Role::HandingOver {
            let to = replica.sources.first().cloned().unwrap_or_default();
            let line = self.line_to(&to).await?;
            let there = segments_of(&line, &topic, key, Offset::MAX).await?;
            if there.epochs.first().map(|newest| newest.epoch) > epoch {
                return self
                    .check_owner(key)
                    .map(|()| unreachable!("it is not the owner"));
            }
            router::change_replica(self, topic, key, |mut replica| {
                replica.role = Role::Owner;
                replica.sources.clear();
                Ok(replica)
            })
            .await?;
        }
        let mine = self.shared.addresses.get();
        Ok(handover::Partition {
            id: key.partition,
            end: place.log_end,
            epoch: epoch.unwrap_or_default(),
            owner: mine.map_or_else(String::new, |mine| mine.advertised.clone()),
        })
    }
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
