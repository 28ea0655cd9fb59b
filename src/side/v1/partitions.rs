//! `/v1/partitions`: each partition, or with `?topic=NAME` those of one topic.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use corelog_node::metrics::PartitionSnapshot;
use serde_json::{Value, json};

use super::super::{Stage, health};
use crate::quantity::rfc3339;

pub(super) async fn show(State(stage): State<Stage>, uri: Uri) -> Response {
    let topic = match super::topic_asked(&uri) {
        Ok(topic) => topic,
        Err(refused) => return *refused,
    };
    let asked = health::ask(&stage, async |handle| handle.partitions().await);
    let told = asked.await.map(|(_, partitions)| {
        let is_meant = |p: &&PartitionSnapshot| topic.is_none_or(|topic| p.topic.as_str() == topic);
        let meant = partitions.iter().filter(is_meant);
        json!({ "partitions": meant.map(partition).collect::<Vec<_>>() })
    });
    super::answer(told)
}

fn partition(partition: &PartitionSnapshot) -> Value {
    let log = partition.log;
    json!({
        "topic": partition.topic,
        "partition": partition.partition.get(),
        "core": partition.core.get(),
        "state": partition.state.as_str(),
        "waits_for": partition.waits_for,
        "read_only": log.map(|log| log.is_read_only),
        "damaged_ranges": log.map(|log| log.damage_count),
        "role": partition.role,
        "source": partition.source,
        "log_start": log.map(|log| log.log_start.get()),
        "high_watermark": log.map(|log| log.high_watermark.get()),
        "durable": log.map(|log| log.durable.get()),
        "log_end": log.map(|log| log.log_end.get()),
        "epoch": log.map(|log| log.epoch.get()),
        "segments": log.map(|log| log.segment_count),
        "bytes": log.map(|log| log.store_bytes),
        "parked_fetches": partition.parked_fetch_count,
        "scrubbed_at": partition.scrubbed_at.map(rfc3339),
        "lag_records": partition.lag.map(|lag| lag.records),
        "lag_bytes": partition.lag.map(|lag| lag.bytes),
        "lag_ms": partition.lag.and_then(|lag| lag.millis),
        "source_silent_ms": partition.source_silent_millis,
    })
}
