//! Making a follower the owner.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::{promote, replica_status};
use corelog_record::{LeaderEpoch, Lineage, Offset, TopicName};
use corelog_storage::format::edit::{Epoch, Point};
use corelog_storage::format::replica::{Replica, Role};
use corelog_storage::log::Begin;

use super::ownership::{chain_of, not_follower};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with};
use crate::partition::Change;
use crate::{router, rt};

/// How long a source is waited for that is probably gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(1);

impl Core {
    /// Makes this node the owner of a partition that follows.
    ///
    /// # Errors
    /// `NotFollower`; `LossPossible` unless nothing can be missing, or that is accepted.
    pub(crate) async fn promote(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
    ) -> Result<promote::Partition, Failure> {
        let replica = self.replica(key)?;
        if replica.role != Role::Follower {
            return Err(not_follower(&topic, key));
        }
        let place = self.place(key)?;
        let heard = self.followings.of(key).and_then(|f| f.progress.heard());
        let is_lossless = self
            .is_level_with_fenced(&topic, key, &replica, place.durable)
            .await;
        let (source_end, source_heard_ms) = heard.unzip();
        if !is_lossless && !accept_loss {
            let end = place.durable.offset;
            return Err(loss_possible(end, source_end, source_heard_ms));
        }
        let (epoch, _, end) = self.own(topic, key).await?;
        tracing::warn!(
            topic = %self.told_name(key), partition = key.partition.get(), end = end.get(),
            epoch = epoch.get(), ?source_end, is_lossless, "promoted: this node owns the partition"
        );
        Ok(promote::Partition {
            id: key.partition,
            end,
            source_end,
            source_heard_ms,
            epoch,
            is_lossless,
        })
    }

    /// Begins an epoch of its own and takes appends from then on.
    pub(super) async fn own(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
    ) -> Result<(LeaderEpoch, Lineage, Offset), Failure> {
        self.halt(key).await;
        let owned = self.begin_own(topic.clone(), key).await;
        if owned.is_err() {
            // It is a follower still.
            let known = self.routes.borrow().topic_of(&topic, key.topic).cloned();
            known.iter().for_each(|topic| self.follow(topic));
        }
        owned
    }

    async fn begin_own(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
    ) -> Result<(LeaderEpoch, Lineage, Offset), Failure> {
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        self.change(key, Change::Epoch(Begin::TakenOver)).await?;
        let epochs = self.epochs(key)?;
        let lost = || failure(ErrorCode::Internal, "the epoch that was begun is not there");
        let Epoch { epoch, lineage, .. } = *epochs.last().ok_or_else(lost)?;
        router::change_replica(self, topic, key, |mut replica| {
            replica.role = Role::Owner;
            replica.sources.clear();
            (replica.until, replica.rate) = (None, None);
            replica.segments.clear();
            Ok(replica)
        })
        .await?;
        Ok((epoch, lineage, end))
    }

    /// True if the source says that it takes no more appends, and has nothing that is not here.
    async fn is_level_with_fenced(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        replica: &Replica,
        durable: Point,
    ) -> bool {
        let asked = async {
            let line = self.line_to(replica.sources.first()?).await.ok()?;
            let ask = replica_status::Request {
                topic: topic.clone(),
                id: Some(key.topic),
            };
            let told = line.call(&ask, GONE_TIMEOUT).await.ok()?.head;
            let there = told
                .partitions
                .into_iter()
                .find(|p| p.id == key.partition)?;
            let is_fenced = matches!(
                there.role,
                replica_status::Role::HandingOver | replica_status::Role::Fenced
            );
            let at = chain_of(&line, topic, key, there.end).await.ok()?;
            let is_equal = (at.offset, at.chain) == (durable.offset, durable.chain);
            Some(is_fenced && there.end == durable.offset && is_equal)
        };
        rt::timeout(GONE_TIMEOUT, asked)
            .await
            .flatten()
            .unwrap_or(false)
    }
}

fn loss_possible(end: Offset, source_end: Option<Offset>, heard_ms: Option<u64>) -> Failure {
    let known = match (source_end, heard_ms) {
        (Some(source), Some(ms)) => {
            format!("the source's end was {source} when it was last heard, {ms} ms ago")
        }
        _ => "the source was not heard since this node was started".to_owned(),
    };
    let message = format!("this copy ends at {end}; {known}: what is missing here will be lost");
    let detail = Detail {
        end: Some(end),
        source_end,
        source_heard_ms: heard_ms,
        ..Detail::default()
    };
    failure_with(ErrorCode::LossPossible, message, detail)
}
