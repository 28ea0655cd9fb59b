//! Logging, to stderr. A server logs what happens to it; a client only what it cannot say
//! otherwise, unless asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What decides how much a server logs, and how.
const NODE_FILTER: &str = "CORELOG_NODE_LOG";
const NODE_FORMAT: &str = "CORELOG_NODE_LOG_FORMAT";
/// What decides how much a client logs.
const CLIENT_FILTER: &str = "CORELOG_LOG";

/// Starts logging for a server: `info` and above unless `CORELOG_NODE_LOG` says otherwise.
pub(crate) fn start_for_server() {
    let is_json = std::env::var(NODE_FORMAT).is_ok_and(|format| format == "json");
    start(filter(NODE_FILTER, "info"), is_json);
}

/// Starts logging for a client: errors only unless `CORELOG_LOG` says otherwise.
pub(crate) fn start_for_client() {
    start(filter(CLIENT_FILTER, "error"), false);
}

fn filter(variable: &str, default: &str) -> EnvFilter {
    let wanted = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    EnvFilter::builder().parse_lossy(wanted)
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
