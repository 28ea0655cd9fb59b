//! A client command's surroundings: logging, one tokio thread, a connection.

use std::future::Future;

use corelog_client::{Admin, Client, ClientConfig, Error, Fault, Outcome};
use corelog_protocol::error::ErrorCode;

use crate::exit::{Exit, sentence, stop};
use crate::{cli, telemetry};

/// Connects as `options` say and runs `command` over the connection, on this thread.
///
/// # Errors
/// Exit code 4 where no server answers; else what the command says.
pub(crate) fn run<F>(
    options: &cli::Client,
    command: impl FnOnce(Client) -> F,
) -> anyhow::Result<Exit>
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    run_unconnected(|| async {
        let ended = command(connected(options).await?).await;
        ended.map_err(|error| untold_at(options, error))
    })
}

/// That there is no such topic, by the word of all that were asked for it, or that it cannot be read, by that of one of them,
/// where nobody is named.
fn untold_at(options: &cli::Client, error: anyhow::Error) -> anyhow::Error {
    let first = error.chain().next().and_then(|first| first.downcast_ref());
    let Some(Error::Refused { body }) = first else {
        return error;
    };
    let servers = options.servers();
    match body.known_code() {
        Some(ErrorCode::UnknownTopic) => error.context(servers),
        Some(ErrorCode::Damaged) if options.server.len() > 1 => {
            error.context(format!("one of {servers}"))
        }
        Some(ErrorCode::Damaged) => error.context(servers),
        _ => error,
    }
}

/// Connects as `options` say.
///
/// # Errors
/// Exit code 4 where no server answers.
pub(crate) async fn connected(options: &cli::Client) -> anyhow::Result<Client> {
    let connected = connect(options, options.server.clone()).await;
    connected.map_err(|error| nobody_answers(options, error))
}

/// Says what to do where no server answers.
fn nobody_answers(options: &cli::Client, error: Error) -> anyhow::Error {
    if !error.is_unreachable() {
        return anyhow::Error::new(error);
    }
    // Something answers, and says why, or in no frames: what to do follows from that.
    if let Error::Connect { source, .. } = &error
        && matches!(**source, Fault::Refused { .. } | Fault::Frame { .. })
    {
        return anyhow::Error::new(error);
    }
    let next = format!(
        "no server answers at {}; start one with `corelog serve`, or name another with --server",
        options.servers()
    );
    anyhow::Error::new(error).context(next)
}

/// As [`run`], for a command that connects by itself.
///
/// # Errors
/// What the command says.
pub(crate) fn run_unconnected<F>(command: impl FnOnce() -> F) -> anyhow::Result<Exit>
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    telemetry::start_for_client();
    on_this_thread(command)
}

/// Runs `task` on a runtime of this thread alone.
///
/// # Errors
/// What the task says, or that there is no runtime.
pub(crate) fn on_this_thread<F, T>(task: impl FnOnce() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(task());
    // A thread that still waits, for stdin for one, must not hold the process up.
    runtime.shutdown_background();
    ended
}

/// Connects to the first of `servers` that answers.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) async fn connect(options: &cli::Client, servers: Vec<String>) -> Result<Client, Error> {
    let timeout = options.timeout();
    let mut config = ClientConfig::new(servers);
    config.timeout = timeout;
    config.connect_timeout = config.connect_timeout.min(timeout);
    config.client_name = concat!("corelog/", env!("CARGO_PKG_VERSION")).to_owned();
    Client::connect(config).await
}

/// The address of the one server that `admin` asks.
pub(crate) fn server(admin: &Admin) -> &str {
    admin.address().unwrap_or_default()
}

/// Why a server did not do what it was asked for: what it refuses by its word, all else names it by itself.
pub(crate) fn by(server: &str, error: Error) -> anyhow::Error {
    match error.refusal() {
        Some(_) => anyhow::Error::new(error).context(server.to_owned()),
        None => error.into(),
    }
}

/// The same as a command's end with this exit code, and what to do next.
pub(crate) fn ended_by(server: &str, error: Error, exit: Exit, next: &str) -> anyhow::Error {
    stop(exit, format!("{}; {next}", sentence(&by(server, error))))
}

/// The same of a request that changes something; with the exit code 5 if nobody knows whether it was applied.
pub(crate) fn changing<T>(server: &str, result: Result<T, Error>) -> anyhow::Result<T> {
    result.map_err(|error| unless_applied(server, error, LOOK))
}

/// What to do where nobody knows whether something was applied, and nothing is to be said of that alone.
pub(crate) const LOOK: &str =
    "look with `corelog topic describe`, or `corelog snapshot list`, before asking again";

/// Why something was not changed, or with the exit code 5, and what is to do `next`, that nobody knows whether it was.
pub(crate) fn unless_applied(server: &str, error: Error, next: &str) -> anyhow::Error {
    if error.outcome() == Outcome::NotApplied {
        return by(server, error);
    }
    let next = format!("whether it was applied is unknown: {next}");
    ended_by(server, error, Exit::Unknown, &next)
}
