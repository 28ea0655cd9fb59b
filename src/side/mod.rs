//! The side thread: health, metrics and what the node tells of itself over HTTP, on one tokio thread
//! of its own, away from the cores.
//!
//! ```text
//! listener    taking connections, few at once
//! stream      a connection, and until when it keeps its place
//! health      is the process there, does every core answer; how cores are asked
//! metrics/    numbers for Prometheus
//! exposition  the formats that Prometheus reads
//! v1/         the same and more as JSON
//! watchdog    tells the supervisor that every core answers
//! ```
//!
//! It never touches what a core owns: counters are read as the cores publish them, everything
//! else is asked by message and answered or refused at once. Its law: whatever happens here, no
//! request of a client waits for it.

mod exposition;
mod health;
mod listener;
mod metrics;
mod stream;
mod v1;
mod watchdog;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use corelog_node::{Handle, StartError};
use tokio::runtime;
use tokio::sync::oneshot;

pub(crate) use self::v1::{SlowAckRow, SlowAckRows};
use crate::repeats::Repeats;
use crate::supervisor;

/// The running side thread.
pub(crate) struct Side {
    address: SocketAddr,
    stage: Stage,
    tasks: runtime::Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// How far the node is, as the handlers see it.
#[derive(Clone)]
struct Stage {
    now: Arc<Mutex<Now>>,
    started: SystemTime,
    /// If the metrics have a series for each partition.
    tells_partitions: bool,
    /// If the configuration was wrong when it was read last.
    is_refusing: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Now {
    Starting,
    Serving(Handle),
    Stopping,
}

impl Side {
    /// Listens on `address` and answers from now on: alive, not yet ready. The metrics have a series for
    /// each partition if `tells_partitions`.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub(crate) fn start(address: SocketAddr, tells_partitions: bool) -> anyhow::Result<Self> {
        let option = "--admin";
        let listener = TcpListener::bind(address).map_err(|source| StartError::Bind {
            address,
            option,
            source,
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stage = Stage {
            now: Arc::new(Mutex::new(Now::Starting)),
            started: SystemTime::now(),
            tells_partitions,
            is_refusing: Arc::default(),
        };
        let routes = routes(stage.clone());
        let tasks = runtime.handle().clone();
        let (stop, is_stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("side".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, routes, is_stopped)) {
                    tracing::error!(%error, "health and metrics are not served");
                }
                // What was asked for meanwhile may wait for a disk, and nobody waits for its answer.
                runtime.shutdown_background();
            })
            .map_err(|source| StartError::Thread {
                name: "side",
                source,
            })?;
        Ok(Self {
            address,
            stage,
            tasks,
            stop,
            thread,
        })
    }

    /// Where it listens, with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the node behind `handle` serves.
    pub(crate) fn set_ready(&self, handle: Handle) {
        self.stage.set(Now::Serving(handle));
    }

    /// Tells the supervisor again and again that the node lives, if it wants to hear that.
    pub(crate) fn feed_watchdog(&self) {
        if let Some(within) = supervisor::watchdog() {
            self.tasks.spawn(watchdog::feed(self.stage.clone(), within));
        }
    }

    /// Tells again and again which lines of the log repeated.
    pub(crate) fn tell_repeats(&self, repeats: Repeats) {
        self.tasks.spawn(repeats.keep_telling());
    }

    /// The configuration was read again, and is taken over if it `is_right`.
    pub(crate) fn set_reloaded(&self, is_right: bool) {
        self.stage.is_refusing.store(!is_right, Ordering::Relaxed);
    }

    /// From now on the node takes no more requests.
    pub(crate) fn set_stopping(&self) {
        self.stage.set(Now::Stopping);
    }

    /// Ends the thread; open requests are dropped.
    pub(crate) fn stop(self) {
        // A thread that ended by itself has said why.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

impl Stage {
    fn now(&self) -> Now {
        self.now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What answers for the node while it serves, or in a word why nothing does.
    fn handle(&self) -> Result<Handle, String> {
        match self.now() {
            Now::Starting => Err("starting".to_owned()),
            Now::Stopping => Err("stopping".to_owned()),
            Now::Serving(handle) => Ok(handle),
        }
    }

    fn set(&self, now: Now) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

fn routes(stage: Stage) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .merge(v1::routes())
        .fallback(nothing_here)
        .with_state(stage)
}

/// What a path is told that is none: those that there are.
async fn nothing_here() -> (StatusCode, &'static str) {
    let paths = "nothing is here; there are /livez, /readyz, /metrics, and /v1/node, /v1/topics, \
                 /v1/partitions, /v1/connections, /v1/clones, /v1/slowest\n";
    (StatusCode::NOT_FOUND, paths)
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    is_stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        () = listener::serve(listener, routes) => {}
        _ = is_stopped => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A disk that does not answer held up the end of the process.
    #[test]
    fn a_stop_waits_for_nothing_that_blocks() {
        let side = Side::start("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (keep, kept) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        side.tasks.spawn_blocking(move || {
            begin.send(()).unwrap();
            kept.recv()
        });
        begun.recv().unwrap();
        let (stopped, is_stopped) = mpsc::channel();
        thread::spawn(move || {
            side.stop();
            stopped.send(()).unwrap();
        });
        is_stopped.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(keep);
    }
}
