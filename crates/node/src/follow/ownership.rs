//! Who owns a partition, changing: promoted, handed over, taken over, rejoined, fenced.
//!
//! Each step is durable before the next begins, and done again it does nothing: whatever is cut off
//! in the middle is finished by asking for it again. An epoch begins before its owner takes appends.

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{chain_at, segments};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::line::Line;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};

impl Core {
    /// What this node is to a partition of this core.
    pub(super) fn replica(&self, key: PartitionKey) -> Result<Replica, Failure> {
        let routes = self.routes.borrow();
        let topic = routes.topics().find(|topic| topic.id == key.topic);
        let gone = || failure(ErrorCode::UnknownTopic, "the topic was deleted");
        let replica = topic.ok_or_else(gone)?.replica(key.partition);
        Ok(replica.cloned().unwrap_or(Replica::owner(key.partition)))
    }

    pub(super) fn told_name(&self, key: PartitionKey) -> String {
        let name = self.topic_name(key);
        name.map_or_else(String::new, |name| name.to_string())
    }
}

pub(super) fn follower_of(replica: Replica, source: String) -> Replica {
    Replica {
        role: Role::Follower,
        sources: vec![source],
        until: None,
        rate: None,
        segments: Vec::new(),
        ..replica
    }
}

pub(super) async fn segments_of(
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

pub(super) fn not_follower(topic: &TopicName, key: PartitionKey) -> Failure {
    let message = format!("{topic}/{} follows no other node here", key.partition);
    failure(ErrorCode::NotFollower, message)
}
