//! Answers that are made once for all who ask for the same meanwhile: a crowd holds neither cores nor probes up with as many
//! as it has heads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper::{Request, Response, header};
use hyper_util::service::TowerToHyperService;

/// What answers, and who waits for what. Clones are one.
#[derive(Clone)]
pub(super) struct Answers {
    service: TowerToHyperService<Router>,
    lines: Arc<Mutex<Lines>>,
}

/// By what is asked for.
type Lines = BTreeMap<String, Line>;

/// Those who wait for one answer: the first makes it, or the next where the first has gone away.
type Line = Arc<tokio::sync::Mutex<Option<Answer>>>;

pub(super) type Answer = Response<Full<Bytes>>;

impl Answers {
    pub(super) fn new(routes: Router) -> Self {
        let (service, lines) = (TowerToHyperService::new(routes), Arc::default());
        Self { service, lines }
    }

    /// The answer that is being made for somebody else, or a new one.
    ///
    /// # Errors
    /// None for what is in memory.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, axum::Error> {
        let accept = request.headers().get(header::ACCEPT);
        let asked = format!("{} {} {accept:?}", request.method(), request.uri());
        let line = self.line(&asked);
        let mut made = line.lock().await;
        if let Some(answer) = &*made {
            return Ok(answer.clone());
        }
        let Ok(answer) = self.service.call(request).await;
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        let answer = Response::from_parts(head, Full::new(body));
        *made = Some(answer.clone());
        // Who asks from now on is told what is so by then.
        self.lock().remove(&asked);
        Ok(answer)
    }

    fn line(&self, asked: &str) -> Line {
        let mut lines = self.lock();
        lines.retain(|_, line| 1 < Arc::strong_count(line));
        Arc::clone(lines.entry(asked.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
