//! Asking a server's admin address.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::exit::{Exit, stop};

/// How long an answer may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than a node with all its partitions tells.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What a path of an admin address answers, as JSON.
///
/// # Errors
/// If nobody answers there (exit code 4), or something else than that.
pub(crate) async fn ask<T: DeserializeOwned>(
    address: impl ToSocketAddrs + Display + Copy,
    path: &str,
) -> anyhow::Result<T> {
    let text = read(address, path, ANSWER_BYTES_MAX, TIMEOUT).await?;
    serde_json::from_slice(&text).with_context(|| cannot(address, path))
}

/// What a path of an admin address answers, as it stands: at most so many bytes, within a time, and
/// never later than others wait for an answer.
///
/// # Errors
/// If nobody answers there, or what is no success.
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
        .with_context(|| cannot(address, path))
}

fn cannot(address: impl Display, path: &str) -> String {
    format!("cannot ask http://{address}{path}; is it the server's --admin?")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit, session};

    /// A name that nobody knows ended the command as any failure.
    #[test]
    fn where_nobody_can_be_reached_the_server_is_unreachable() {
        let asked = || ask::<serde_json::Value>("nowhere", "/v1/node");
        let asked = session::on_this_thread(asked);
        let error = asked.unwrap_err();
        assert_eq!(exit::of(&error), Exit::Unreachable, "{error:#}");
    }
}
