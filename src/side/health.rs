//! `/livez` and `/readyz`: is the process there, and does every core answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use corelog_node::Handle;
use corelog_node::metrics::PartitionSnapshot;

use super::{Now, Stage};

/// How long the cores have to answer; a core that turns answers within a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The process runs: that it answers says so.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Every core answers; else 503 and why not.
pub(super) async fn ready(State(stage): State<Stage>) -> (StatusCode, String) {
    match ask(&stage).await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// What the cores say of themselves and their partitions, or in a few words why they do not.
pub(super) async fn ask(stage: &Stage) -> Result<(Handle, Vec<PartitionSnapshot>), String> {
    let handle = match stage.now() {
        Now::Starting => return Err("starting".to_owned()),
        Now::Stopping => return Err("stopping".to_owned()),
        Now::Serving(handle) => handle,
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, handle.partitions()).await {
        Ok(Ok(partitions)) => Ok((handle, partitions)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("a core did not answer within {ANSWER_TIMEOUT:?}")),
    }
}
