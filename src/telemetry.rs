//! Logging, to stderr. A server logs what happens to it; a client only what it cannot say
//! otherwise, unless asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, stop};

/// What decides how much a server logs, and how.
const NODE_FILTER: &str = "CORELOG_NODE_LOG";
const NODE_FORMAT: &str = "CORELOG_NODE_LOG_FORMAT";
/// What decides how much a client logs.
const CLIENT_FILTER: &str = "CORELOG_LOG";

/// Starts logging for a server: `info` and above unless `CORELOG_NODE_LOG` says otherwise.
///
/// # Errors
/// Exit code 2 where the environment says what cannot be meant: a server that logs something else
/// than it was told to would be noticed too late.
pub(crate) fn start_for_server() -> anyhow::Result<()> {
    let is_json = match std::env::var(NODE_FORMAT) {
        Ok(format) if format == "json" => true,
        Ok(format) if !(format.is_empty() || format == "text") => {
            let message = format!("{NODE_FORMAT}={format} is neither text nor json");
            return Err(stop(Exit::Usage, message));
        }
        Ok(_) | Err(_) => false,
    };
    let wanted = std::env::var(NODE_FILTER).unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    let filter = EnvFilter::builder().parse(wanted).map_err(|error| {
        let message = format!("{NODE_FILTER}={wanted} says no level to log at: {error}");
        stop(Exit::Usage, message)
    })?;
    start(filter, is_json);
    Ok(())
}

/// Starts logging for a client: errors only unless `CORELOG_LOG` says otherwise.
pub(crate) fn start_for_client() {
    let wanted = std::env::var(CLIENT_FILTER).unwrap_or_else(|_| "error".to_owned());
    start(EnvFilter::builder().parse_lossy(wanted), false);
}

fn start(filter: EnvFilter, is_json: bool) {
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr);
    // A second start in one process keeps the first; that is no reason to fail.
    let _ = if is_json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
