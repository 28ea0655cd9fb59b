//! Takes connections to the side thread: few at once, each for one request and a short while, for each has
//! a descriptor that clients and logs may need.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at once; those beyond wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// How long a request may take to come: clients send it at once, and others wait behind who sends nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take in all, with an answer that its client is slow to read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a connection that could not be taken.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests for ever.
pub(super) async fn serve(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false);
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for health and metrics was not taken");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let served = http.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            // Whoever sends nonsense, or goes away, has no answer.
            let _ = timeout(CONNECTION_TIMEOUT, served).await;
            drop(place);
        });
    }
}
