//! Who owns a partition, changing: promoted, handed over, taken over, rejoined, fenced.
//!
//! Each step is durable before the next begins, and done again it does nothing: whatever is cut off
//! in the middle is finished by asking for it again. An epoch begins before its owner takes appends. One
//! change of a partition at a time has a hand on it, and what it read is still so when it writes.

use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::{chain_at, replica_status, segments};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::line::Line;
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, deleted, failure, failure_with, said_by};
use crate::router;

impl Core {
    /// What this node is to a partition of this core.
    pub(super) fn replica(&self, key: PartitionKey) -> Result<Replica, Failure> {
        let routes = self.routes.borrow();
        let topic = routes.topic_by_id(key.topic);
        let replica = topic.ok_or_else(deleted)?.replica(key.partition);
        Ok(replica.cloned().unwrap_or(Replica::owner(key.partition)))
    }

    /// Writes down that this node is `role` to a partition, and who owns it instead, or is about to.
    ///
    /// # Errors
    /// `Busy` if it is another role than `before`, or of other sources, by now; else as [`router::change_replica`].
    pub(super) fn write_role(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        before: Replica,
        role: Role,
        to: Option<Target>,
    ) -> impl Future<Output = Result<(), Failure>> {
        router::change_replica(self, topic, key, move |replica| {
            check_same(&before, &replica)?;
            Ok(Replica {
                role,
                target: to.as_ref().map(|to| to.node),
                sources: to.into_iter().map(|to| to.address).collect(),
                ..replica
            })
        })
    }

    pub(crate) fn told_name(&self, key: PartitionKey) -> String {
        let name = self.topic_name(key);
        name.map_or_else(String::new, |name| name.to_string())
    }
}

pub(super) fn follower_of(replica: Replica, source: String) -> Replica {
    Replica {
        role: Role::Follower,
        sources: vec![source],
        target: None,
        until: None,
        rate: None,
        segments: Vec::new(),
        ..replica
    }
}

/// The sealed segments of a partition of the node at the other end of `line`, from an offset on.
///
/// # Errors
/// As [`Line::call`].
pub(crate) async fn segments_of(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    from: Offset,
) -> Result<segments::Answer, Failure> {
    let ask = segments::Request {
        topic: topic.clone(),
        id: key.topic,
        partition: key.partition,
        from,
    };
    Ok(line.call(&ask, ASK_TIMEOUT).await?.head)
}

pub(super) async fn chain_of(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    offset: Offset,
) -> Result<chain_at::Answer, Failure> {
    let ask = chain_at::Request {
        topic: topic.clone(),
        id: key.topic,
        partition: key.partition,
        offset,
    };
    Ok(line.call(&ask, ASK_TIMEOUT).await?.head)
}

/// A partition as the node at the other end holds it.
pub(super) async fn partition_at(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
) -> Result<replica_status::Partition, Failure> {
    let ask = replica_status::Request {
        topic: topic.clone(),
        id: Some(key.topic),
        partition: Some(key.partition),
    };
    let told = line.call(&ask, ASK_TIMEOUT).await?.head;
    // A node of an earlier version tells of all.
    let mut partitions = told.partitions.into_iter();
    let there = partitions.find(|partition| partition.id == key.partition);
    let gone = || failure(ErrorCode::UnknownPartition, "it is not told of there");
    there.ok_or_else(gone)
}

/// If another node has no such partition.
pub(super) fn has_none(error: &Failure) -> bool {
    let codes = [
        ErrorCode::UnknownTopic,
        ErrorCode::TopicChanged,
        ErrorCode::UnknownPartition,
    ];
    codes.iter().any(|code| error.is(*code))
}

/// Checks that the node at the other end owns the partition: two that follow each other own nothing.
pub(super) async fn check_owner_at(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    address: &str,
) -> Result<(), Failure> {
    let there = partition_at(line, topic, key).await;
    match there.map_err(|why| said_by(address, why))?.role {
        replica_status::Role::Owner => Ok(()),
        _ => {
            let message = format!("{address} does not own {topic}/{}", key.partition);
            Err(failure(ErrorCode::NotOwner, message))
        }
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

pub(super) fn not_owner(topic: &TopicName, key: PartitionKey, replica: &Replica) -> Failure {
    owned_at(topic, key, replica.sources.first().cloned())
}

/// Another node owns a partition, at an `address` if that is known.
pub(super) fn owned_at(topic: &TopicName, key: PartitionKey, address: Option<String>) -> Failure {
    let message = format!("another node owns {topic}/{}", key.partition);
    let detail = Detail {
        address,
        ..Detail::default()
    };
    failure_with(ErrorCode::NotOwner, message, detail)
}

pub(super) fn not_follower(topic: &TopicName, key: PartitionKey) -> Failure {
    let message = format!("{topic}/{} follows no other node here", key.partition);
    failure(ErrorCode::NotFollower, message)
}
