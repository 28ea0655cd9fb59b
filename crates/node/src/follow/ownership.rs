//! Who owns a partition, changing: promoted, handed over, taken over, rejoined, fenced.
//!
//! Each step is durable before the next begins, and done again it does nothing: whatever is cut off
//! in the middle is finished by asking for it again. An epoch begins before its owner takes appends. One
//! change of a partition at a time has a hand on it, and what it read is still so when it writes.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_record::{LeaderEpoch, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::target::Target;
use crate::catalog::{Routes, Topic};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, deleted, failure};
use crate::router;

impl Core {
    /// What this node is to a partition of this core.
    pub(super) fn replica(&self, key: PartitionKey) -> Result<Replica, Failure> {
        let routes = self.routes.borrow();
        let topic = routes.topic_by_id(key.topic);
        Ok(topic.ok_or_else(deleted)?.known_replica(key.partition))
    }

    /// What is written down of the partitions that this core owns: who follows them.
    pub(super) fn followed<'a>(
        &self,
        routes: &'a Routes,
    ) -> impl Iterator<Item = (&'a Topic, PartitionKey, &'a Replica)> {
        let replicated = self.replicated(routes);
        replicated.filter(|(_, _, replica)| replica.role.owns())
    }

    /// The same of all that this core has.
    pub(super) fn replicated<'a>(
        &self,
        routes: &'a Routes,
    ) -> impl Iterator<Item = (&'a Topic, PartitionKey, &'a Replica)> {
        let id = self.id;
        routes.topics().flat_map(move |topic| {
            let replicas = topic.replicas.values();
            let mine = replicas.filter(move |one| topic.owner(one.partition) == Some(id));
            mine.map(|replica| {
                let key = PartitionKey {
                    topic: topic.id,
                    partition: replica.partition,
                };
                (&**topic, key, replica)
            })
        })
    }

    /// Writes down that this node is `role` to a partition, and who owns it instead, by an epoch if that has begun, or is about to;
    /// gives what it was before, changed so.
    ///
    /// # Errors
    /// `Busy` if it is another role than `before`, or of other sources, by now; else as [`router::change_replica`].
    pub(super) async fn write_role(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        before: Replica,
        role: Role,
        (to, let_go): (Option<Target>, Option<LeaderEpoch>),
    ) -> Result<Replica, Failure> {
        let changed = move |replica| Replica {
            role,
            target: to.as_ref().map(|to| to.node),
            sources: to.iter().map(|to| to.address.clone()).collect(),
            let_go,
            ..replica
        };
        let written = changed(before.clone());
        router::change_replica(self, topic, key, move |replica| {
            check_same(&before, &replica)?;
            Ok(changed(replica))
        })
        .await?;
        Ok(written)
    }

    pub(super) fn topic_name(&self, key: PartitionKey) -> Option<TopicName> {
        let routes = self.routes.borrow();
        let topic = routes.topic_by_id(key.topic)?;
        Some(topic.name.clone())
    }

    pub(crate) fn told_name(&self, key: PartitionKey) -> String {
        let name = self.topic_name(key);
        name.map_or_else(String::new, |name| name.to_string())
    }
}

pub(super) fn follower_of(
    replica: Replica,
    source: String,
    let_go: Option<LeaderEpoch>,
) -> Replica {
    Replica {
        role: Role::Follower,
        sources: vec![source],
        target: None,
        until: None,
        rate: None,
        segments: Vec::new(),
        let_go,
        ..replica
    }
}

/// Refuses to write down what was decided for a `before` that is no more.
pub(super) fn check_same(before: &Replica, now: &Replica) -> Result<(), Failure> {
    if (before.role, &before.sources) == (now.role, &now.sources) {
        return Ok(());
    }
    let message = "what this node is to it changed meanwhile";
    Err(failure(ErrorCode::Busy, message))
}

pub(super) fn not_owner(replica: &Replica) -> Failure {
    owned_at(replica.sources.first().cloned())
}

/// Another node owns a partition, at an `address` if that is known.
pub(super) fn owned_at(address: Option<String>) -> Failure {
    let mut refused = failure(ErrorCode::NotOwner, "another node owns it");
    refused.detail.address = address;
    refused
}

pub(super) fn not_follower() -> Failure {
    failure(ErrorCode::NotFollower, "it follows no other node here")
}
