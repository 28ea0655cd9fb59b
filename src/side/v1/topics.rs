//! `/v1/topics`: each topic, its settings, its partitions taken together.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use corelog_node::metrics::{PartitionSnapshot, PartitionState, TopicSnapshot};
use corelog_protocol::message::replica_status::Role;
use corelog_record::TopicName;
use serde_json::{Value, json};

use super::super::{Stage, health};
use crate::quantity::rfc3339;

pub(super) async fn show(State(stage): State<Stage>) -> Response {
    let asked = health::ask(&stage, async |handle| {
        Ok((handle.topics().await?, handle.partitions().await?))
    });
    let told = asked
        .await
        .map(|(_, (topics, partitions))| told(&topics, &partitions));
    super::answer(told)
}

fn told(topics: &[TopicSnapshot], partitions: &[PartitionSnapshot]) -> Value {
    let mut by_topic: BTreeMap<&TopicName, Vec<&PartitionSnapshot>> = BTreeMap::new();
    for partition in partitions {
        by_topic
            .entry(&partition.topic)
            .or_default()
            .push(partition);
    }
    let of = |topic: &TopicSnapshot| {
        let its = by_topic.get(&topic.name).map_or(&[][..], Vec::as_slice);
        told_topic(topic, its)
    };
    json!({ "topics": topics.iter().map(of).collect::<Vec<_>>() })
}

fn told_topic(topic: &TopicSnapshot, partitions: &[&PartitionSnapshot]) -> Value {
    let count = |is_meant: &dyn Fn(&PartitionSnapshot) -> bool| {
        partitions.iter().filter(|p| is_meant(p)).count()
    };
    let mut states = serde_json::Map::new();
    for state in PartitionState::ALL {
        states.insert(
            state.as_str().to_owned(),
            json!(count(&|p| p.state == state)),
        );
    }
    let mut roles = serde_json::Map::new();
    for role in Role::ALL {
        roles.insert(role.as_str().to_owned(), json!(count(&|p| p.role == role)));
    }
    // Of those that are not open it is not known.
    let logs = || partitions.iter().filter_map(|p| p.log);
    json!({
        "name": topic.name,
        "id": topic.id.to_string(),
        "created": rfc3339(topic.created),
        "policy": topic.settings,
        "partitions": topic.partition_count,
        "states": states,
        "roles": roles,
        "segments": logs().map(|log| log.segment_count).sum::<usize>(),
        "bytes": logs().map(|log| log.store_bytes).sum::<u64>(),
    })
}
