//! `/livez` and `/readyz`: is the process there, and does every core answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use corelog_node::{AskError, Handle};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::Stage;

/// How long the cores have to answer; a core that turns answers within a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The process runs: that it answers says so.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Every core answers; else 503 and why not.
pub(super) async fn ready(State(stage): State<Stage>) -> (StatusCode, String) {
    match ask(&stage, async |handle| handle.pulses().await).await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// What the cores say to a question, or in a few words why they do not.
pub(super) async fn ask<T>(
    stage: &Stage,
    question: impl AsyncFnOnce(&Handle) -> Result<T, AskError>,
) -> Result<(Handle, T), String> {
    let handle = stage.handle()?;
    let told = match timeout(ANSWER_TIMEOUT, question(&handle)).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("a core did not answer within {ANSWER_TIMEOUT:?}")),
    };
    Ok((handle, told))
}

/// What each core says to a question that all were asked; nothing of one that does not answer in time.
pub(super) async fn each<T>(
    answers: Vec<impl Future<Output = Result<T, AskError>>>,
) -> Vec<Option<T>> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut told = Vec::with_capacity(answers.len());
    for answer in answers {
        let answer = timeout_at(deadline, answer).await;
        told.push(answer.ok().and_then(Result::ok));
    }
    told
}

/// What may wait for a disk, away from the thread that answers, one at a time; nothing where it panicked, or that takes as
/// long as a core may. A disk that answers nobody holds one thread up then, and no page.
pub(super) async fn apart<T: Send + 'static>(
    turn: &'static Semaphore,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let looked = async {
        let turn = turn.acquire().await.ok()?;
        let work = move || {
            let told = work();
            drop(turn);
            told
        };
        tokio::task::spawn_blocking(work).await.ok().flatten()
    };
    let looked = timeout(ANSWER_TIMEOUT, looked).await;
    looked.ok().flatten()
}
