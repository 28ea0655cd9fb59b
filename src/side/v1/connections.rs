//! `/v1/connections`: who is connected.

use axum::extract::State;
use axum::response::Response;
use corelog_node::metrics::{ConnectionSnapshot, CoreSnapshot};
use serde_json::{Value, json};

use super::super::{Stage, health};
use crate::quantity::rfc3339;

pub(super) async fn show(State(stage): State<Stage>) -> Response {
    let asked = health::ask(&stage, async |handle| handle.connections().await);
    let told = asked.await.map(|(handle, connections)| {
        let cores = handle.counters();
        let cores: Vec<_> = cores.iter().enumerate().map(core).collect();
        let connections: Vec<_> = connections.iter().map(connection).collect();
        json!({ "cores": cores, "connections": connections })
    });
    super::answer(told)
}

fn core((number, counters): (usize, &CoreSnapshot)) -> Value {
    json!({
        "core": number,
        "open": counters.connections,
        "accepted": counters.connections_accepted_total,
        "refused": counters.connections_refused_total,
        "cut": counters.connections_cut_total,
        "idle": counters.connections_idle_total,
    })
}

fn connection(connection: &ConnectionSnapshot) -> Value {
    json!({
        "core": connection.core.get(),
        "id": connection.id,
        "peer": connection.peer,
        "client": connection.client,
        "since": rfc3339(connection.since),
        "received_bytes": connection.received_bytes,
        "sent_bytes": connection.sent_bytes,
        "in_flight_requests": connection.in_flight,
    })
}
