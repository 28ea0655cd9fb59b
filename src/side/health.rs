//! `/livez` and `/readyz`: is the process there, and does every core answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use corelog_node::metrics::PartitionSnapshot;
use corelog_node::{AskError, Handle};

use super::Stage;

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
    let handle = stage.handle()?;
    let partitions = in_time(handle.partitions()).await?;
    Ok((handle, partitions))
}

/// What the cores answer, if they do in time.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, AskError>>,
) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("a core did not answer within {ANSWER_TIMEOUT:?}")),
    }
}
