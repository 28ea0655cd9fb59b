//! The client against a server in this process that keeps the protocol's rules and misbehaves on
//! request: order, memory, the outcome of each future, retries, routes.
//!
//! Nothing here sleeps: tests wait for events. Where a deadline is what is tested, it is short.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::result_large_err,
    reason = "the fake answers with errors as they travel"
)]

mod abandoned;
mod admin;
mod admission;
mod connecting;
mod consuming;
mod damage;
mod delivery;
mod fewer;
mod hanging;
mod log;
mod memory;
mod mistrust;
mod narrow;
mod outcomes;
mod producing;
mod recreated;
mod routing;
mod runtimes;
mod server;
mod serving;
mod sharing;
mod silent;
mod turning;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelog_client::protocol::error::{ErrorBody, ErrorCode};
use corelog_client::protocol::request::Request;
use corelog_client::record::Record;
use corelog_client::{Backoff, Client, ClientConfig};

use crate::server::{Act, Server};

/// A client that is quick to try again.
fn config(server: &Server) -> ClientConfig {
    config_of([server])
}

/// The same of several servers, of which the first is asked first.
fn config_of<const N: usize>(servers: [&Server; N]) -> ClientConfig {
    ClientConfig {
        backoff: Backoff {
            first: Duration::from_millis(1),
            max: Duration::from_millis(5),
        },
        timeout: Duration::from_secs(20),
        ..ClientConfig::new(servers.map(|server| server.shared.to_string()))
    }
}

async fn connect(server: &Server) -> Client {
    connect_to([server]).await
}

/// A client of these servers, of which the first is asked first.
async fn connect_to<const N: usize>(servers: [&Server; N]) -> Client {
    Client::connect(config_of(servers)).await.unwrap()
}

/// Has a server cut off whoever asks it, while what is given says so.
fn away(server: &Server, is_away: bool) -> Arc<AtomicBool> {
    let is_away = Arc::new(AtomicBool::new(is_away));
    let told = Arc::clone(&is_away);
    server.script(move |_| match told.load(Ordering::Relaxed) {
        true => Act::Cut,
        false => Act::Serve,
    });
    is_away
}

/// Has a server say nothing more than Hello.
fn hang(server: &Server) {
    server.script(|seen| match seen.request {
        Request::Hello(_) => Act::Serve,
        _ => Act::Ignore,
    });
}

fn record(value: impl Into<Vec<u8>>) -> Record {
    Record {
        value: Some(value.into()),
        ..Record::default()
    }
}

fn error(code: ErrorCode) -> ErrorBody {
    ErrorBody::new(code, "as scripted")
}

/// What is waited for comes at once, or this fails.
const PATIENCE: Duration = Duration::from_secs(15);
