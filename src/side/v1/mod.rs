//! `/v1/…`: what the node is and has, as JSON for programs and for people with `jq`.
//!
//! ```text
//! node         the process, its disk, its cores
//! topics       each topic, its settings, its partitions taken together
//! partitions   each partition
//! connections  who is connected
//! clones       what is copied from other nodes, and who copies from this one
//! slowest      slow acknowledgements, and where their time went
//! ```
//!
//! The same words as in the output of the commands. Fields are added, never renamed.

mod clones;
mod connections;
mod node;
mod partitions;
mod slowest;
mod topics;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

pub(crate) use self::slowest::{Row as SlowAckRow, Slowest as SlowAckRows};
use super::Stage;

/// The routes below `/v1`.
pub(super) fn routes() -> Router<Stage> {
    Router::new()
        .route("/v1/node", get(node::show))
        .route("/v1/topics", get(topics::show))
        .route("/v1/partitions", get(partitions::show))
        .route("/v1/connections", get(connections::show))
        .route("/v1/clones", get(clones::show))
        .route("/v1/slowest", get(slowest::show))
}

/// The answer, or 503 and why there is none.
fn answer(told: Result<Value, String>) -> Response {
    match told {
        Ok(value) => in_json(StatusCode::OK, &value),
        Err(why) => in_json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": why })),
    }
}

fn in_json(status: StatusCode, value: &Value) -> Response {
    let text = format!("{value}\n");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The topic that `?topic=NAME` names, if it names one; 400 for anything else that is asked.
fn topic_asked(uri: &Uri) -> Result<Option<&str>, Box<Response>> {
    let query = uri.query().unwrap_or_default();
    if query.is_empty() {
        return Ok(None);
    }
    match query.strip_prefix("topic=") {
        // A topic's name needs no escapes.
        Some(name) if !name.contains('&') => Ok(Some(name)),
        _ => {
            let error =
                format!("{query} is not known; ask ?topic=NAME, or without a question mark");
            let refused = in_json(StatusCode::BAD_REQUEST, &json!({ "error": error }));
            Err(Box::new(refused))
        }
    }
}
