//! `corelog serve`: the server, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use corelog_node::config::Advertise;
use corelog_node::{Addresses, Node, NodeConfig};
use corelog_record::ByteSize;

use crate::config::{Config, Said};
use crate::exit::{Exit, stop};
use crate::output::Out;
use crate::side::Side;
use crate::signal::StopSignals;
use crate::telemetry;

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
        /metrics  counters in the Prometheus text format, or OpenMetrics\n  \
        /v1/node, /v1/topics, /v1/partitions, /v1/connections, /v1/clones   JSON\n\n\
        SCRUB\n  \
        Every week all sealed segments are read from the disk and checked, behind everything \
        clients wait for.\n  \
        `corelog scrub TOPIC` does it now.\n\n\
        LOGGING\n  \
        CORELOG_NODE_LOG=debug          what is logged to stderr (error, warn, info, debug, trace)\n  \
        CORELOG_NODE_LOG_FORMAT=json    one JSON object per line (default: text)"
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
    #[arg(
        long,
        env = "CORELOG_NODE_INSECURE",
        action = clap::ArgAction::SetTrue,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub(crate) insecure: bool,
    /// What the background scrub reads in a second; 0 turns it off [default: 8MiB]
    #[arg(long, value_name = "SIZE", env = "CORELOG_NODE_SCRUB_RATE")]
    pub(crate) scrub_rate: Option<ByteSize>,
    /// What peers are sent of sealed segments in a second, all together; 0: as much as they take
    /// [default: 128MiB]
    #[arg(long, value_name = "SIZE", env = "CORELOG_NODE_TRANSFER_RATE")]
    pub(crate) transfer_rate: Option<ByteSize>,
    /// Whether /metrics has series for each partition; a node of thousands may do without [default: true]
    #[arg(long, value_name = "BOOL", env = "CORELOG_NODE_PARTITION_METRICS")]
    pub(crate) partition_metrics: Option<bool>,
}

/// Serves until told to stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = Config::decide(said(args), args.config.as_deref())?;
    let node_config = node_config(&config)?;
    telemetry::start_for_server()?;
    abort_on_panic();
    let signals = StopSignals::block()?;
    let side = Side::start(config.admin, config.partition_metrics)?;
    let started = Instant::now();
    let node = Node::start(node_config).context("cannot start")?;
    log_start(&node, started);
    side.set_ready(node.handle());
    say_ready(node.addresses(), side.address(), &config);
    let signal = signals.wait()?;
    tracing::info!(%signal, "stopping");
    side.set_stopping();
    let stopped = node.stop().context("the stop was not clean");
    side.stop();
    stopped?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

fn said(args: &Args) -> Said {
    Said {
        data_dir: args.data_dir.clone(),
        listen: args.listen,
        advertise: args.advertise.clone(),
        cores: args.cores,
        admin: args.admin,
        insecure: args.insecure.then_some(true),
        scrub_rate: args.scrub_rate,
        transfer_rate: args.transfer_rate,
        partition_metrics: args.partition_metrics,
    }
}

fn node_config(config: &Config) -> anyhow::Result<NodeConfig> {
    if !config.is_insecure && !config.admin.ip().is_loopback() {
        let message = format!(
            "--admin {} can be reached by others and asks nobody who they are; choose a loopback \
             address, or say --insecure",
            config.admin
        );
        return Err(stop(Exit::Usage, message));
    }
    let mut node = NodeConfig::new(&config.data_dir);
    node.listen = config.listen;
    node.advertise = config.advertise.as_deref().map(advertise).transpose()?;
    node.cores = config.cores.get().into();
    node.is_insecure = config.is_insecure;
    node.scrub_rate = config.scrub_rate.map_or(node.scrub_rate, ByteSize::bytes);
    let transfer_rate = config.transfer_rate.map(ByteSize::bytes);
    node.transfer_rate = transfer_rate.unwrap_or(node.transfer_rate);
    Ok(node)
}

/// Takes `HOST` or `HOST:PORT` apart; an IPv6 address with a port stands in brackets.
fn advertise(text: &str) -> anyhow::Result<Advertise> {
    let wrong = || {
        stop(
            Exit::Usage,
            format!("--advertise {text} is not HOST or HOST:PORT"),
        )
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().map_err(|_source| wrong())?))
        }
        _ => (text, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(Advertise {
        host: host.to_owned(),
        port,
    })
}

/// Half a node is worse than none: a panic anywhere ends the process, in every build profile.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn log_start(node: &Node, started: Instant) {
    let report = node.report();
    tracing::info!(
        topics = report.topics,
        partitions = report.partitions,
        failed = report.failed,
        recovery_ms = report.recovery.as_millis(),
        start_ms = started.elapsed().as_millis(),
        "started"
    );
}

/// The one line that scripts wait for. Nobody needs to read it, so a closed stdout is no matter.
fn say_ready(addresses: &Addresses, admin: SocketAddr, config: &Config) {
    let cores: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
    let line = format!(
        "ready listen={} cores={} admin={admin} data={}",
        addresses.listen,
        cores.join(","),
        config.data_dir.display()
    );
    let mut out = Out::new();
    if let Err(error) = out.line(&line).and_then(|()| out.flush()) {
        tracing::warn!(%error, "nobody reads the ready line");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_is_a_host_with_or_without_a_port() {
        let parse = |text| advertise(text).map(|a| (a.host, a.port)).ok();
        assert_eq!(parse("log1"), Some(("log1".to_owned(), None)));
        assert_eq!(parse("log1:7400"), Some(("log1".to_owned(), Some(7400))));
        assert_eq!(parse("[::1]:7400"), Some(("[::1]".to_owned(), Some(7400))));
        assert_eq!(parse("::1"), Some(("::1".to_owned(), None)));
        for text in ["", ":7400", "log1:port", "log1:70000", "a b"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
