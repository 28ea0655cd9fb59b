//! Takes connections to the side thread: few at once, each for one request and a short while, for each has
//! a descriptor that clients and logs may need. Who does not take its answer keeps no probe waiting for long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::stream::{SILENCE_MIN, Stream, Term};

/// Connections at once; one more waits for a place, those beyond in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// What is there already is read in that time, where this thread was held up until now.
const READ_PAUSE: Duration = Duration::from_millis(1);
/// How long a request may take to come: clients send it at once, and others wait behind who sends nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take in all, with an answer that its client is slow to read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a connection that could not be taken.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests for ever.
pub(super) async fn serve(listener: TcpListener, routes: Router) {
    let mut places = Places::default();
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Who has no more to send, as `nc -N`, waits for an answer all the same.
        .half_close(true)
        .keep_alive(false);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for health and metrics was not taken");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        places.make_room().await;
        let (term, service) = (Arc::new(Term::from(Instant::now())), service.clone());
        let (asked, stream) = (Arc::clone(&term), Stream::new(stream, Arc::clone(&term)));
        let answer = service_fn(move |request: Request<Incoming>| {
            asked.asked();
            service.call(request)
        });
        let served = http.serve_connection(stream, answer);
        places.take(term, async move {
            // Whoever sends nonsense, or goes away, has no answer.
            let _ = timeout(CONNECTION_TIMEOUT, served).await;
        });
    }
}

/// The connections that are served.
#[derive(Default)]
struct Places {
    serving: JoinSet<()>,
    /// Those that have ended go with the next one that comes.
    taken: Vec<Place>,
}

struct Place {
    term: Arc<Term>,
    served: AbortHandle,
}

impl Places {
    /// Waits until there is a place; whose time is over first gives it up.
    async fn make_room(&mut self) {
        while self.serving.try_join_next().is_some() {}
        self.taken.retain(|place| !place.served.is_finished());
        while self.serving.len() >= CONNECTIONS_MAX {
            let Some(first) = self.taken.iter().min_by_key(|place| place.term.until()) else {
                return;
            };
            // The time of any may become shorter meanwhile: once it is given its answer.
            let until = first.term.until().min(Instant::now() + SILENCE_MIN);
            let ended = timeout_at(until, self.serving.join_next()).await;
            if ended.is_err() {
                sleep(READ_PAUSE).await;
            }
            // It may have asked meanwhile, or taken something.
            if ended.is_err() && first.term.until() <= Instant::now() {
                first.served.abort();
                self.serving.join_next().await;
            }
        }
    }

    fn take(&mut self, term: Arc<Term>, served: impl Future<Output = ()> + Send + 'static) {
        self.taken.push(Place {
            term,
            served: self.serving.spawn(served),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Bytes;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;

    use super::super::stream::PLACE_MIN;
    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: corelog\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Serves these for as long as the test takes.
    async fn served(routes: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, routes));
        address
    }

    /// How long a probe waits for its answer.
    async fn probe(address: SocketAddr) -> Duration {
        let begun = Instant::now();
        let mut stream = ask(address, "/livez").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
        begun.elapsed()
    }

    /// Each kept its place for a second: ninety that came again and again kept every probe waiting until it gave up.
    #[tokio::test]
    async fn who_asks_for_nothing_makes_room_at_once_for_who_waits() {
        let routes = Router::new().route("/livez", get(async || "ok\n"));
        let address = served(routes).await;
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let waited = probe(address).await;
        // At a second each they would have taken 18.
        assert!(waited < HEAD_TIMEOUT * 5, "{waited:?}");
        drop(silent);
    }

    /// The thread had been busy with another answer until the time of all was over: who had asked meanwhile was cut.
    #[tokio::test]
    async fn who_has_asked_while_the_thread_was_held_up_is_answered() {
        use std::io::{Read as _, Write as _};
        use std::sync::Barrier;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = Arc::new(Barrier::new(2));
        let route = Arc::clone(&held);
        let hold = async move || {
            route.wait();
            route.wait();
            "ok\n"
        };
        let routes = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/hold", get(hold));
        let asking = tokio::task::spawn_blocking(move || {
            let connect = || std::net::TcpStream::connect(address).unwrap();
            let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: corelog\r\n\r\n");
            let mut asks = connect();
            let silent: Vec<_> = (2..CONNECTIONS_MAX).map(|_| connect()).collect();
            let mut holds = connect();
            holds.write_all(request("/hold").as_bytes()).unwrap();
            held.wait();
            // Two more wait for a place: one gets that of who holds the thread up.
            let waits = [connect(), connect()];
            asks.write_all(request("/livez").as_bytes()).unwrap();
            let begun = std::time::Instant::now();
            while begun.elapsed() < SILENCE_MIN * 2 {
                std::thread::yield_now();
            }
            held.wait();
            let mut answer = String::new();
            let read = asks.read_to_string(&mut answer);
            drop((silent, holds, waits));
            read.map(|_| answer)
        });
        // As in its thread: it is looked at before what it has spawned.
        let answer = tokio::select! {
            biased;
            () = serve(listener, routes) => unreachable!("it serves for ever"),
            answer = asking => answer.unwrap().unwrap(),
        };
        assert!(answer.ends_with("ok\n"), "{answer}");
    }

    /// Sixteen of them kept probes waiting for half a minute, and ninety yet for a quarter of one: a server that was well was
    /// taken for a dead one.
    #[tokio::test]
    async fn who_does_not_take_its_answer_makes_room_for_who_waits() {
        // More than the buffers of both ends hold.
        let large = Bytes::from(vec![b'x'; 32 << 20]);
        let routes = Router::new()
            .route("/large", get(async || large))
            .route("/livez", get(async || "ok\n"));
        let address = served(routes).await;
        let mut deaf = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = ask(address, "/large").await;
            stream.read_exact(&mut [0; 1]).await.unwrap();
            deaf.push(stream);
        }
        // And those that would take their places.
        for _ in 0..74 {
            deaf.push(ask(address, "/large").await);
        }
        let waited = probe(address).await;
        // At three seconds each they would have taken 15.
        assert!(waited < HEAD_TIMEOUT * 5, "{waited:?}");
        drop(deaf);
    }

    /// A look at the places slept until the first of their times as it had been, when all waited for their pages.
    #[tokio::test]
    async fn who_does_not_take_what_it_waited_for_makes_room_as_soon() {
        let large = Bytes::from(vec![b'x'; 32 << 20]);
        let routes = Router::new().route("/livez", get(async || "ok\n")).route(
            "/large",
            get(async || {
                sleep(SILENCE_MIN * 3).await;
                large
            }),
        );
        let address = served(routes).await;
        let mut deaf = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            deaf.push(ask(address, "/large").await);
        }
        let waited = probe(address).await;
        assert!(waited < PLACE_MIN * 3 / 4, "{waited:?}");
        drop(deaf);
    }

    /// Who asked while the same was made for another was given that: a node that was told to stop meanwhile was ready.
    #[tokio::test]
    async fn whoever_asks_is_told_what_is_so_by_then() {
        let (stage, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (now, held) = (Arc::clone(&stage), Arc::clone(&gate));
        let ready = async move || {
            let now = now.load(Ordering::Relaxed);
            let _ = held.acquire().await.unwrap();
            now.to_string()
        };
        let routes = Router::new()
            .route("/readyz", get(ready))
            .route("/livez", get(async || "ok\n"));
        let address = served(routes).await;
        let mut asking = Vec::new();
        for number in 0..2 {
            stage.store(number, Ordering::Relaxed);
            asking.push(ask(address, "/readyz").await);
            // It was taken once a probe that came behind it is answered.
            probe(address).await;
        }
        gate.add_permits(2);
        for (number, mut one) in asking.into_iter().enumerate() {
            let mut answer = String::new();
            one.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with(&format!("\r\n{number}")), "{answer}");
        }
    }
}
