//! What the node is to partitions that are not its alone: written by core 0, durable before any core
//! acts on it.

use std::sync::Arc;

use corelog_record::{LeaderEpoch, PartitionId, TopicId, TopicName};
use corelog_storage::format::replica::Replica;

use super::admin::Admin;
use super::room::{check_room, leave_room};
use super::topic::Topic;
use crate::core::PartitionKey;
use crate::failure::Failure;

impl Admin {
    /// Changes what the node is to a partition: `change` is given what it is now. If it is taken over,
    /// `given_at` is the epoch of the owner who gives it.
    ///
    /// # Errors
    /// `UnknownTopic`, `TopicChanged`, `UnknownPartition`, what `change` refuses, and what the disk
    /// does; `InvalidRequest` if it was promised not to be taken over.
    pub(crate) async fn change_replica(
        &self,
        (name, id, partition): (&TopicName, TopicId, PartitionId),
        given_at: Option<LeaderEpoch>,
        change: impl FnOnce(Replica) -> Result<Replica, Failure>,
    ) -> Result<(), Failure> {
        self.change((name, id), |topic| {
            self.core.routes.borrow().owner(name, id, partition)?;
            if let Some(epoch) = given_at {
                let topic = topic.id;
                self.check_promise(PartitionKey { topic, partition }, epoch)?;
            }
            let before = topic.replica(partition).cloned();
            let before = before.unwrap_or(Replica::owner(partition));
            topic.set_replica(change(before.clone())?);
            leave_room(topic, &before);
            Ok(())
        })
        .await
    }

    /// Changes what is written down of a topic: `change` is given it as it is.
    ///
    /// # Errors
    /// `UnknownTopic`, `TopicChanged`, what `change` refuses, and what the disk does.
    pub(super) async fn change(
        &self,
        (name, id): (&TopicName, TopicId),
        change: impl FnOnce(&mut Topic) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _turn = self.turn.acquire(1).await;
        let before = Arc::clone(self.core.routes.borrow().topic_of(name, id)?);
        let mut topic = (*before).clone();
        change(&mut topic)?;
        match topic == *before && !self.ledger.is_doubted(topic.id) {
            true => Ok(()),
            false => self.write_and_put(Some(&before), topic).await,
        }
    }

    /// Writes down what a topic became, and has each core act on that.
    ///
    /// # Errors
    /// `InvalidRequest` if that leaves no room in its file; what the disk does.
    pub(super) async fn write_and_put(
        &self,
        before: Option<&Topic>,
        topic: Topic,
    ) -> Result<(), Failure> {
        check_room(before, &topic)?;
        match before.filter(|before| are_roles_changed(before, &topic)) {
            // On a full disk, too: who owns a partition, and takes records for it, must not hang on that.
            Some(before) => self.rewrite(before, &topic).await?,
            None => self.write(before, &topic).await?,
        }
        self.put(Arc::new(topic)).await;
        Ok(())
    }
}

/// If the node is something else to some partition than before, and has no more of them.
fn are_roles_changed(before: &Topic, topic: &Topic) -> bool {
    let role = |topic: &Topic, partition| topic.replica(partition).map(|replica| replica.role);
    let mut partitions = topic.partitions().map(|(partition, _)| partition);
    before.partition_count() == topic.partition_count()
        && partitions.any(|partition| role(before, partition) != role(topic, partition))
}
