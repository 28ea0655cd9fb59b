//! Snapshots as they are printed.

use corelog_protocol::message::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::quantity::{Amount, rfc3339};

pub(super) const HEADERS: [&str; 6] = [
    "SNAPSHOT",
    "TAKEN",
    "TOPIC",
    "PARTITIONS",
    "SEGMENTS",
    "BYTES",
];

pub(super) const PARTITION_HEADERS: [&str; 6] = [
    "TOPIC",
    "PARTITION",
    "LOG START",
    "END",
    "SEGMENTS",
    "BYTES",
];

/// A row per topic; one for a snapshot without any.
pub(super) fn rows(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let begin = [snapshot.name.clone(), rfc3339(snapshot.created)];
    if snapshot.topics.is_empty() {
        return vec![[&begin[..], &["-".to_owned()]].concat()];
    }
    let row = |topic: &corelog_protocol::message::snapshot::Topic| {
        let rest = [
            topic.name.to_string(),
            topic.partition_count.to_string(),
            topic.segments.to_string(),
            Amount(topic.bytes).to_string(),
        ];
        [&begin[..], &rest[..]].concat()
    };
    snapshot.topics.iter().map(row).collect()
}

/// A row per partition.
pub(super) fn partition_rows(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let topics = snapshot.topics.iter();
    let rows = topics.flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            vec![
                topic.name.to_string(),
                partition.id.to_string(),
                partition.log_start.to_string(),
                partition.end.to_string(),
                partition.segments.to_string(),
                Amount(partition.bytes).to_string(),
            ]
        })
    });
    rows.collect()
}

/// A snapshot as programs read it.
pub(super) fn json(snapshot: &Snapshot) -> Value {
    let topics = snapshot.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            json!({
                "partition": partition.id.get(),
                "log_start": partition.log_start.get(),
                "end": partition.end.get(),
                "segments": partition.segments,
                "bytes": partition.bytes,
            })
        });
        json!({
            "name": topic.name.as_str(),
            "id": topic.id.to_string(),
            "partition_count": topic.partition_count,
            "segments": topic.segments,
            "bytes": topic.bytes,
            "partitions": partitions.collect::<Vec<_>>(),
        })
    });
    json!({
        "name": snapshot.name,
        "created": rfc3339(snapshot.created),
        "topics": topics.collect::<Vec<_>>(),
    })
}
