//! `corelog serve`: the server, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::exit::{Exit, stop};

/// Serve the topics of a data directory until SIGTERM or SIGINT.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Serve the topics of a data directory until SIGTERM or SIGINT.\n\n\
        Each core owns a part of the partitions and listens on a port of its own (the port of \
        --listen + 1 + core) beside the shared one; clients find the right one by themselves. \
        When everything is open, one line goes to stdout:\n\n  \
        ready listen=ADDR cores=ADDR,… admin=ADDR data=DIR\n\n\
        Every option can also stand in a TOML file (--config) or the environment \
        (CORELOG_NODE_DATA_DIR, …). The command line wins over the environment, the environment \
        over the file. SIGTERM and SIGINT stop in order: no new connections, what was received \
        is answered, all is flushed, the next start scans nothing.",
    after_long_help = "EXAMPLES\n  \
        corelog serve\n  \
        corelog serve --data-dir /var/lib/corelog --cores 4\n  \
        corelog serve --listen 0.0.0.0:7400 --advertise log1.example.com --insecure\n  \
        corelog serve --listen 127.0.0.1:0 --admin 127.0.0.1:0   # free ports, for tests\n\n\
        ADMINISTRATION (HTTP on --admin)\n  \
        /livez    the process runs\n  \
        /readyz   every core answers\n  \
        /metrics  counters in the Prometheus text format\n\n\
        LOGGING\n  \
        CORELOG_NODE_LOG=debug          what is logged to stderr (error, warn, info, debug, trace)\n  \
        CORELOG_NODE_LOG_FORMAT=json    one JSON object per line"
)]
pub(crate) struct Args {
    /// A TOML file with the options below (`data-dir = "…"`); what is given here wins.
    #[arg(long, value_name = "FILE", env = "CORELOG_NODE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where topics are kept [default: ./corelog-data]
    #[arg(long, value_name = "DIR", env = "CORELOG_NODE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The shared address; port 0 picks free ones [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR", env = "CORELOG_NODE_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// What clients are told to connect to, where it differs (containers, NAT).
    #[arg(long, value_name = "HOST[:PORT]", env = "CORELOG_NODE_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// How many cores serve [default: all that this process may use]
    #[arg(long, value_name = "N", env = "CORELOG_NODE_CORES")]
    pub(crate) cores: Option<u16>,
    /// Where health and metrics are served over HTTP [default: 127.0.0.1:7399]
    #[arg(long, value_name = "ADDR", env = "CORELOG_NODE_ADMIN")]
    pub(crate) admin: Option<SocketAddr>,
    /// Allow an address that others can reach, although nobody is asked who they are.
    #[arg(long, env = "CORELOG_NODE_INSECURE")]
    pub(crate) insecure: bool,
}

/// Serves until told to stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
