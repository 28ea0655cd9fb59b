//! Asking a server's admin address.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::exit::{Exit, stop};

/// How long an answer may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a path of an admin address answers, as JSON.
///
/// # Errors
/// If nobody answers there (exit code 4), or something else than that.
pub(crate) async fn ask<T: DeserializeOwned>(
    address: impl ToSocketAddrs + Display + Copy,
    path: &str,
) -> anyhow::Result<T> {
    let told = tokio::time::timeout(TIMEOUT, get(address, path)).await;
    let late = |_late| stop(Exit::Unreachable, format!("no answer within {TIMEOUT:?}"));
    let told = told.map_err(late);
    let text = told.and_then(|told| told);
    let told = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
    told.with_context(|| format!("cannot ask http://{address}{path}; is it the server's --admin?"))
}

async fn get(address: impl ToSocketAddrs + Display + Copy, path: &str) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
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
