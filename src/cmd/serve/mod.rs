//! `corelog serve`: the server, until it is told to stop.

pub(crate) mod fit;
mod reload;

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use corelog_node::config::Advertise;
use corelog_node::sys::probe;
use corelog_node::{Addresses, Node, NodeConfig};
use nix::sys::signal::Signal;

use self::reload::Reload;
use crate::config::{Config, Flags, Sources};
use crate::exit::Exit;
use crate::memory;
use crate::output::Out;
use crate::quantity::Span;
use crate::side::Side;
use crate::signal::{self, Asked};
use crate::supervisor;
use crate::telemetry;

/// Serve the topics of a data directory until SIGTERM or SIGINT.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Serve the topics of a data directory until SIGTERM or SIGINT.\n\n\
        Each core owns a part of the partitions and listens on a port of its own (the port of \
        --listen + 1 + core) beside the shared one; clients find the right one by themselves. \
        When everything is open, one line goes to stdout:\n\n  \
        ready listen=ADDR cores=ADDR,… admin=ADDR data=DIR\n\n\
        Every option can also stand in a TOML file (--config, CORELOG_NODE_CONFIG) or the \
        environment (CORELOG_NODE_DATA_DIR for --data-dir, and so on). The command line wins over \
        the environment, the environment over the file, the file over the default; a key or \
        variable that is none is an error. SIGTERM and SIGINT stop in order: no further requests, \
        what was taken is answered, all is flushed, the next start scans nothing; a server that \
        does not serve yet ends at once. SIGHUP reads \
        the file again: scrub-rate, transfer-rate and log change at once, of others the log says \
        that they take a restart. Without a file it stops the server, too.\n\n\
        A supervisor that names a NOTIFY_SOCKET, as systemd does for Type=notify, hears when it \
        serves, reads the file again and stops; with WATCHDOG_USEC also that every core turns.",
    after_long_help = "EXAMPLES\n  \
        corelog serve\n  \
        corelog serve --data-dir /var/lib/corelog --cores 4\n  \
        corelog serve --listen 0.0.0.0:7400 --advertise log1.example.com --insecure\n  \
        corelog serve --listen 127.0.0.1:0 --admin 127.0.0.1:0   # free ports, for tests\n\n\
        ADMINISTRATION (HTTP on --admin)\n  \
        /livez    the process runs\n  \
        /readyz   every core answers\n  \
        /metrics  counters in the Prometheus text format, or OpenMetrics\n  \
        /v1/node, /v1/topics, /v1/partitions, /v1/connections, /v1/clones, /v1/slowest   JSON\n\n\
        SCRUB\n  \
        Every week all sealed segments are read from the disk and checked, behind everything \
        clients wait for.\n  \
        `corelog scrub TOPIC` does it now.\n\n\
        CONFIGURATION\n  \
        corelog config check FILE      is a file right, and what would come of it\n  \
        corelog config show            what holds, and who said so\n  \
        systemctl reload corelog       reads the file again, as kill -HUP does"
)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Serves until told to stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    // First of all: whoever asks it to read the file again must not end one that starts, and a file may be waited for.
    let heard = signal::hear()?;
    let sources = Sources::new(&args.flags);
    let settings = sources.decide(fit::faults)?;
    let config = settings.config()?;
    let node_config = node_config(&config)?;
    let log = telemetry::start_for_server(&config.log, config.log_format)?;
    heard.logging();
    abort_on_panic();
    // Before threads and listeners that cannot do without some.
    Node::check_descriptors(&node_config).context("cannot start")?;
    let side = Side::start(config.admin, config.has_partition_metrics)?;
    side.tell_repeats(log.repeats());
    if config.is_memory_preallocated {
        preallocate(&node_config)?;
    } else if let Some(why) = memory::missing(bytes_each(&node_config), node_config.cores) {
        tracing::warn!("{why}; choose less, or fewer --cores");
    }
    tell_crowding(node_config.cores);
    supervisor::opening(&config.data_dir);
    let started = Instant::now();
    let node = Node::start(node_config).context("cannot start")?;
    heard.serving();
    log_start(&node, started);
    side.set_ready(node.handle());
    supervisor::serving(&node);
    side.feed_watchdog();
    say_ready(node.addresses(), side.address(), &config);
    let mut reload = Reload {
        sources,
        settings,
        log,
        node: node.handle(),
    };
    let signal = loop {
        match heard.wait()? {
            Asked::Reload if reload.sources.file().is_some() => {
                supervisor::reloading();
                let is_right = reload.run();
                if let Some(is_right) = is_right {
                    side.set_reloaded(is_right);
                }
                supervisor::reloaded(&node, is_right != Some(false));
            }
            // The terminal it was started from is gone.
            Asked::Reload if heard.ignores_hangup => {}
            Asked::Reload => break Signal::SIGHUP,
            Asked::Stop(signal) => break signal,
        }
    };
    tracing::info!(%signal, "stopping");
    side.set_stopping();
    supervisor::stopping(node.stops_within());
    let stopped = node.stop().context("the stop was not clean");
    side.stop();
    if stopped.is_ok() {
        tracing::info!("stopped");
    }
    // Also of what it did on the way to a stop that was not clean.
    reload.log.finish();
    stopped.map(|()| Exit::Done)
}

/// What a node is told.
///
/// # Errors
/// None where memory has room for the numbers that there may be.
fn node_config(config: &Config) -> anyhow::Result<NodeConfig> {
    let mut node = NodeConfig::new(&config.data_dir);
    node.listen = config.listen;
    node.advertise = config.advertise.clone().map(|host| Advertise {
        host: host.name,
        port: host.port,
    });
    node.cores = config.cores.into();
    node.is_insecure = config.is_insecure;
    node.scrub_rate = config.scrub_rate.bytes();
    node.transfer_rate = config.transfer_rate.bytes();
    node.tail_memory = usize::try_from(config.tail_memory.bytes()).unwrap_or(usize::MAX);
    node.traffic_memory = usize::try_from(config.traffic_memory.bytes()).unwrap_or(usize::MAX);
    node.limits.connections_max = usize::try_from(config.connections_max)?;
    let per_address = usize::try_from(config.connections_per_address_max)?;
    node.limits.connections_per_address_max = per_address;
    node.limits.partitions_max = usize::try_from(config.partitions_max)?;
    node.limits.read_timeout = config.read_timeout;
    node.limits.write_timeout = config.write_timeout;
    node.limits.idle_timeout = config.idle_timeout;
    node.stop_timeout = config.stop_timeout;
    Ok(node)
}

/// Cores that share a processor keep each other waiting, and whoever waits for them; processors without a core stand idle.
fn tell_crowding(cores: usize) {
    let processors = probe::processors().map_or(cores, |processors| processors.len());
    if processors < cores {
        tracing::warn!(
            cores,
            processors,
            "more cores than processors that this process may use: they wait for each other; choose fewer --cores"
        );
    }
    if cores < processors && cores >= probe::cores_max() {
        tracing::warn!(
            cores,
            processors,
            "the limit of locked memory has room for no more cores: raise it (LimitMEMLOCK=infinity in a systemd \
             unit, ulimit -l in a shell) to serve with all processors"
        );
    }
}

/// What each core takes of what is set.
fn bytes_each(config: &NodeConfig) -> usize {
    config.tail_memory.saturating_add(config.traffic_memory)
}

fn preallocate(config: &NodeConfig) -> anyhow::Result<()> {
    let begun = Instant::now();
    supervisor::taking_memory();
    let bytes_each = bytes_each(config);
    memory::preallocate(bytes_each, config.cores)?;
    let took_ms = Span(begun.elapsed()).millis();
    tracing::info!(bytes_each, cores = config.cores, took_ms, "took memory");
    Ok(())
}

/// Half a node is worse than none: a panic anywhere ends the process, in every build profile.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        telemetry::say_panic(panic);
        std::process::abort();
    }));
}

fn log_start(node: &Node, started: Instant) {
    let report = node.report();
    tracing::info!(
        topics = report.topics,
        partitions = report.partitions,
        failed = report.failed,
        opening = report.opening,
        recovery_ms = Span(report.recovery).millis(),
        start_ms = Span(started.elapsed()).millis(),
        "started"
    );
}

/// The one line that scripts wait for. Nobody needs to read it, so a closed stdout is no matter; one that takes
/// nothing, as that of a stopped terminal, keeps only a thread.
fn say_ready(addresses: &Addresses, admin: SocketAddr, config: &Config) {
    let cores: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
    let line = format!(
        "ready listen={} cores={} admin={admin} data={}",
        addresses.listen,
        cores.join(","),
        config.data_dir.display()
    );
    let say = move || {
        let mut out = Out::new();
        if let Err(error) = out.line(&line).and_then(|()| out.flush()) {
            tracing::warn!(%error, "nobody reads the ready line");
        }
    };
    let thread = thread::Builder::new().name("ready".to_owned());
    if let Err(error) = thread.spawn(say) {
        tracing::warn!(%error, "no thread for the ready line");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(text: &str) -> anyhow::Result<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Sources::of_file(file.path()).decide(fit::faults)?.config()
    }

    fn config(text: &str) -> Config {
        decide(text).unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_a_node() {
        let config = config("");
        let told = node_config(&config).unwrap();
        let node = NodeConfig::new(&config.data_dir);
        assert_eq!(format!("{told:?}"), format!("{node:?}"));
    }

    #[test]
    fn a_node_is_told_what_a_file_says() {
        let node = node_config(&config(
            "data-dir = '/data'\nlisten = '0.0.0.0:9000'\nadvertise = 'log1:1'\ncores = 3\n\
             insecure = true\nscrub-rate = '1MiB'\ntransfer-rate = '2MiB'\n\
             tail-memory = '3MiB'\ntraffic-memory = '1GiB'\nconnections-per-address-max = 3\n\
             connections-max = 4\npartitions-max = 5\nread-timeout = '6s'\n\
             write-timeout = '7s'\nidle-timeout = '9s'\nstop-timeout = '8s'\n",
        ));
        let node = node.unwrap();
        assert_eq!(node.data_dir, std::path::Path::new("/data"));
        assert_eq!(node.listen, "0.0.0.0:9000".parse().unwrap());
        let advertise = node.advertise.unwrap();
        assert_eq!((advertise.host.as_str(), advertise.port), ("log1", Some(1)));
        assert_eq!((node.cores, node.is_insecure), (3, true));
        assert_eq!((node.scrub_rate, node.transfer_rate), (1 << 20, 2 << 20));
        assert_eq!((node.tail_memory, node.traffic_memory), (3 << 20, 1 << 30));
        let limits = node.limits;
        assert_eq!((limits.connections_max, limits.partitions_max), (4, 5));
        assert_eq!(limits.connections_per_address_max, 3);
        assert_eq!(limits.idle_timeout.as_secs(), 9);
        assert_eq!(limits.read_timeout.as_secs(), 6);
        assert_eq!(limits.write_timeout.as_secs(), 7);
        assert_eq!(node.stop_timeout.as_secs(), 8);
    }

    #[test]
    fn settings_that_do_not_fit_together_are_wrong_usage() {
        let pairs = [
            ("admin = '0.0.0.0:1'", "--insecure"),
            ("listen = '0.0.0.0:1'", "--insecure"),
            ("listen = '127.0.0.1:65535'", "ports above it"),
            ("listen = '0.0.0.0:1'\ninsecure = true", "--advertise"),
            ("advertise = 'log1:65535'", "ports above it"),
            (
                "traffic-memory = '1MiB'",
                "1MiB of memory for what is under way is too little for a core: set --traffic-memory to 198MiB or",
            ),
            ("listen = '127.0.0.1:7398'\ncores = 1", "choose another"),
        ];
        for (text, why) in pairs {
            let error = decide(text).unwrap_err();
            assert_eq!(crate::exit::of(&error), Exit::Usage, "{text}");
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    /// Whoever had mended the lines was told the next thing that was wrong, and then the next.
    #[test]
    fn all_that_does_not_fit_together_is_told_beside_the_lines_that_are_wrong() {
        let error = decide("listen = '0.0.0.0:7400'\nadmin = '0.0.0.0:7399'\nscrub-rate = 'x'\n");
        let said = error.unwrap_err().to_string();
        for why in [
            "line 3: scrub-rate",
            "0.0.0.0:7400 is not loopback",
            "say with --advertise",
            "--admin 0.0.0.0:7399 can be reached",
        ] {
            assert!(said.contains(why), "{why}: {said}");
        }
    }

    #[test]
    fn nothing_is_told_of_how_it_fits_of_which_it_is_not_known_what_was_meant() {
        for text in ["insecure = 'of course'", "insecur = true", "listen = ["] {
            let text = format!("listen = '10.0.0.1:7400'\n{text}\n");
            let said = decide(&text).unwrap_err().to_string();
            assert!(said.contains("line 2: "), "{said}");
            assert!(!said.contains("is not loopback"), "{said}");
        }
    }
}
