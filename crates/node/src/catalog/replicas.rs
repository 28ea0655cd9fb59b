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
            let before = topic.known_replica(partition);
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
        match before.filter(|before| is_other_owner(before, &topic)) {
            // On a full disk, too: who owns a partition, and takes records for it, must not hang on that.
            Some(before) => self.rewrite(before, &topic).await?,
            None => self.write(before, &topic).await?,
        }
        self.put(Arc::new(topic)).await;
        Ok(())
    }
}

/// If some partition is another node's than before, or given to another one, and there are no more of them.
fn is_other_owner(before: &Topic, topic: &Topic) -> bool {
    let mut partitions = topic.partitions();
    before.partition_count() == topic.partition_count()
        && partitions.any(|(partition, _)| {
            let [was, is] = [before, topic].map(|topic| {
                let replica = topic.replica(partition);
                replica.map(|one| (one.role, &one.sources, one.target, one.let_go))
            });
            was != is
        })
}

#[cfg(test)]
mod tests {
    use corelog_record::{CoreId, NodeId};
    use corelog_storage::format::replica::Role;

    use super::*;
    use crate::core::tests::topic;

    /// A handover could not be called off on a full disk, on which it could be begun.
    #[test]
    fn a_partition_that_is_given_to_another_one_or_to_nobody_has_another_owner() {
        let of = |replica: Replica| {
            let mut topic = Arc::unwrap_or_clone(topic(1).0);
            topic.set_replica(replica);
            topic
        };
        let given = Replica {
            role: Role::HandingOver,
            sources: vec!["b:1".to_owned()],
            target: Some(NodeId::from_bytes([2; 16])),
            ..Replica::owner(PartitionId::new(0))
        };
        let before = of(given.clone());
        let is_other = |replica: Replica| is_other_owner(&before, &of(replica));
        let sources = Vec::new();
        assert!(is_other(Replica {
            sources,
            ..given.clone()
        }));
        let target = Some(NodeId::from_bytes([3; 16]));
        assert!(is_other(Replica {
            target,
            ..given.clone()
        }));
        let let_go = Some(LeaderEpoch::ZERO);
        assert!(is_other(Replica {
            let_go,
            ..given.clone()
        }));
        let role = Role::Owner;
        assert!(is_other(Replica {
            role,
            ..given.clone()
        }));
        let outranked = vec!["c:1".to_owned()];
        assert!(!is_other(Replica {
            outranked,
            ..given.clone()
        }));
        let mut more = of(Replica { role, ..given });
        more.owners.push(CoreId::new(0));
        assert!(!is_other_owner(&before, &more), "more of them need room");
    }
}
