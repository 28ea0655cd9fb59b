//! `/v1/clones`: what is copied from other nodes, and who copies from this one.

use axum::extract::State;
use axum::response::Response;
use corelog_node::metrics::ReplicaSnapshot;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::replica_status::{Dropped, Follower, Receiving, Role};
use serde_json::{Value, json};

use super::super::{Stage, health};

pub(super) async fn show(State(stage): State<Stage>) -> Response {
    let asked = health::ask(&stage, async |handle| handle.replicas().await);
    let told = asked.await.map(|(_, replicas)| {
        let clones = replicas.iter().filter(|one| one.status.role != Role::Owner);
        let followers = replicas.iter().flat_map(|replica| {
            let each = replica.status.followers.iter();
            each.map(|one| follower(replica, one))
        });
        json!({
            "clones": clones.map(clone).collect::<Vec<_>>(),
            "followers": followers.collect::<Vec<_>>(),
        })
    });
    super::answer(told)
}

fn clone(replica: &ReplicaSnapshot) -> Value {
    let status = &replica.status;
    json!({
        "topic": replica.topic,
        "partition": status.id.get(),
        "core": replica.core.get(),
        "role": status.role,
        "state": status.state,
        "source": status.source,
        "sources": replica.sources,
        "until": replica.until.map(|until| until.get()),
        "rate": replica.rate,
        "error": status.error.as_ref().map(error),
        "end": (!status.closed).then_some(status.end.get()),
        "source_end": status.source_end.map(|end| end.get()),
        "source_heard_ms": status.source_heard_ms,
        "lag_records": status.lag_records,
        "lag_bytes": status.lag_bytes,
        "lag_ms": status.lag_ms,
        "bytes_done": status.bytes_done,
        "bytes_total": status.bytes_total,
        "segments_done": status.segments_done,
        "segments_total": status.segments_total,
        "receiving": status.receiving.iter().map(receiving).collect::<Vec<_>>(),
        "dropped": status.dropped.iter().map(dropped).collect::<Vec<_>>(),
        "repairs": status.repairs,
    })
}

fn follower(replica: &ReplicaSnapshot, follower: &Follower) -> Value {
    let is_heard = !follower.is_silent;
    json!({
        "topic": replica.topic,
        "partition": replica.status.id.get(),
        "node": follower.node.map(|node| node.to_string()),
        "address": follower.address,
        "copy": follower.copy.to_string(),
        "end": is_heard.then_some(follower.end.get()),
        "heard_ms": is_heard.then_some(follower.heard_ms),
        "is_silent": follower.is_silent,
    })
}

fn receiving(receiving: &Receiving) -> Value {
    json!({
        "segment": receiving.segment.get(),
        "bytes_done": receiving.bytes_done,
        "bytes_total": receiving.bytes_total,
    })
}

fn dropped(dropped: &Dropped) -> Value {
    json!({ "from": dropped.from, "error": error(&dropped.error) })
}

fn error(error: &ErrorBody) -> Value {
    let code = ErrorCode::from_number(error.code).map_or("other", ErrorCode::name);
    json!({ "code": code, "message": error.message })
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::replica_status::Partition;
    use corelog_record::{CopyId, CoreId, Offset, PartitionId, TopicName};

    use super::*;

    /// It was told with an end of 0, so as lacking all of the log, and as heard at the start.
    #[test]
    fn where_a_follower_ends_that_was_not_heard_since_the_start_is_not_known() {
        let heard = Follower {
            node: None,
            address: None,
            copy: CopyId::from_bytes([2; 16]),
            end: Offset::new(40).unwrap(),
            heard_ms: 90_000,
            is_silent: false,
        };
        let replica = ReplicaSnapshot {
            topic: TopicName::new("t").unwrap(),
            core: CoreId::new(0),
            sources: Vec::new(),
            until: None,
            rate: None,
            status: Partition::owned(PartitionId::new(0), Offset::new(50).unwrap()),
        };
        let told = follower(&replica, &heard);
        assert_eq!(
            (&told["end"], &told["heard_ms"]),
            (&40.into(), &90_000.into())
        );
        let unheard = Follower {
            end: Offset::ZERO,
            is_silent: true,
            ..heard
        };
        let told = follower(&replica, &unheard);
        assert_eq!(
            (&told["end"], &told["heard_ms"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(told["is_silent"], true);
    }
}
