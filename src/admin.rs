//! Asking a server's admin address.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::exit::{Exit, stop};

/// The node is there and tells nothing now: it starts or stops, or a core of it stands still.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unready {
    why: String,
}

/// If it is only that the node is not ready to tell of itself.
pub(crate) fn is_unready(error: &anyhow::Error) -> bool {
    error.is::<Unready>()
}

/// How long an answer may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than a node with all its partitions tells.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What a path of an admin address answers, as JSON.
///
/// # Errors
/// If nobody answers there in HTTP, or the node is not ready to (exit code 4), or it is something else than that.
pub(crate) async fn ask<T: DeserializeOwned>(
    address: impl ToSocketAddrs + Display + Copy,
    path: &str,
) -> anyhow::Result<T> {
    let text = read(address, path, ANSWER_BYTES_MAX, TIMEOUT).await?;
    serde_json::from_slice(&text).with_context(|| mistaken(address, path))
}

/// What a path of an admin address answers, as it stands: at most so many bytes, within a time, and
/// never later than others wait for an answer.
///
/// # Errors
/// As [`ask`], but for what the answer holds.
pub(crate) async fn read(
    address: impl ToSocketAddrs + Display + Copy,
    path: &str,
    bytes_max: u64,
    within: Duration,
) -> anyhow::Result<Bytes> {
    let within = within.min(TIMEOUT);
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let told = tokio::time::timeout(within, get(address, path, bytes_max)).await;
    let told =
        told.map_err(|_late| stop(Exit::Unreachable, format!("no answer within {within:?}")));
    told.and_then(|told| told)
        .map_err(|error| match is_unready(&error) {
            true => error.context(cannot(address, path)),
            false => error.context(mistaken(address, path)),
        })
}

fn cannot(address: impl Display, path: &str) -> String {
    format!("cannot ask http://{address}{path}")
}

fn mistaken(address: impl Display, path: &str) -> String {
    format!(
        "{}; is it the server's --admin, and not its --listen?",
        cannot(address, path)
    )
}

async fn get(
    address: impl ToSocketAddrs + Display + Copy,
    path: &str,
    bytes_max: usize,
) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| stop(Exit::Unreachable, error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(unready(&body).into());
        }
        anyhow::ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body).trim_end()
        );
        Ok(body)
    };
    // The connection is driven as long as its answer is awaited.
    tokio::select! {
        answered = answer => answered,
        Err(error) = connection => Err(error.into()),
    }
}

/// What a node says that is not ready, in JSON or as text.
fn unready(body: &[u8]) -> Unready {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|told| told["error"].as_str());
    let text = String::from_utf8_lossy(body);
    let why = match said.unwrap_or(text.trim_end()) {
        stage @ ("starting" | "stopping") => format!("the node is {stage}"),
        why => why.to_owned(),
    };
    Unready { why }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::side::Side;
    use crate::{advice, exit, session};

    /// A name that nobody knows ended the command as any failure.
    #[test]
    fn where_nobody_can_be_reached_the_server_is_unreachable() {
        let asked = || ask::<Value>("nowhere", "/v1/node");
        let asked = session::on_this_thread(asked);
        let error = asked.unwrap_err();
        assert_eq!(exit::of(&error), Exit::Unreachable, "{error:#}");
    }

    /// It was taken for another's address, and ended the command as any failure.
    #[test]
    fn a_node_that_starts_is_asked_again() {
        let side = Side::start("127.0.0.1:0".parse().unwrap(), false).unwrap();
        for path in ["/v1/node", "/readyz"] {
            let asked = || ask::<Value>(side.address(), path);
            let error = session::on_this_thread(asked).unwrap_err();
            assert!(is_unready(&error));
            assert_eq!(exit::of(&error), Exit::Unreachable);
            let said = format!(
                "cannot ask http://{}{path}: the node is starting",
                side.address()
            );
            assert_eq!(exit::sentence(&error), said);
            assert_eq!(advice::after(&error, &said).unwrap(), "ask again");
        }
        side.stop();
    }

    #[test]
    fn what_speaks_no_http_is_told_to_be_another_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(&[0x15, 0, 0, 0, 1, 1, 0xff, 0xff])
                .unwrap();
            // Whoever closes with something unread resets the connection.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let asked = session::on_this_thread(|| ask::<Value>(address, "/v1/node"));
        let error = asked.unwrap_err();
        assert_eq!(exit::of(&error), Exit::Unreachable);
        let said = exit::sentence(&error);
        assert!(said.contains("and not its --listen?"), "{said}");
        answering.join().unwrap();
    }
}
