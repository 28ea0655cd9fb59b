//! The options of a server on the command line.

use std::path::{Path, PathBuf};

use super::Value;
use super::key::Key;
use super::origin::Origin;

/// What the command line says; `corelog serve` obeys it, `corelog config show` tells what comes of it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// A TOML file with the options below (`data-dir = "…"`); the environment and what is given here
    /// win over it
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where topics are kept [default: ./corelog-data]
    #[arg(long, value_name = "DIR", value_parser = of(Key::DataDir))]
    data_dir: Option<String>,
    /// The shared address; port 0 picks free ones [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR", value_parser = of(Key::Listen))]
    listen: Option<String>,
    /// What clients are told to connect to, where it differs (containers, NAT); needed to listen on 0.0.0.0
    #[arg(long, value_name = "HOST[:PORT]", value_parser = of(Key::Advertise))]
    advertise: Option<String>,
    /// How many cores serve [default: all that this process may use, if it may lock 1 MiB of memory for each]
    #[arg(long, value_name = "N", value_parser = of(Key::Cores))]
    cores: Option<String>,
    /// Where health and metrics are served over HTTP [default: 127.0.0.1:7399]
    #[arg(long, value_name = "ADDR", value_parser = of(Key::Admin))]
    admin: Option<String>,
    /// Allow an address that others can reach, although nobody is asked who they are
    /// [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = of(Key::Insecure),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    insecure: Option<String>,
    /// What the background scrub reads in a second, 64KiB or more; 0 turns it off [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = of(Key::ScrubRate))]
    scrub_rate: Option<String>,
    /// What peers are sent of sealed segments in a second, all together, 64KiB or more; 0: as much as they
    /// take
    /// [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = of(Key::TransferRate))]
    transfer_rate: Option<String>,
    /// What each core keeps in memory of records that are on disk, for readers; taken as records come
    /// [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = of(Key::TailMemory))]
    tail_memory: Option<String>,
    /// What requests and answers under way may take of each core's memory; at it clients are slowed
    /// down, then told Busy [default: 704MiB]
    #[arg(long, value_name = "SIZE", value_parser = of(Key::TrafficMemory))]
    traffic_memory: Option<String>,
    /// Take what both may take at the start, before anyone is served, and keep it: no client waits until
    /// the system has found it [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = of(Key::PreallocMemory),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    prealloc_memory: Option<String>,
    /// How many clients may be connected, all cores together; fewer where the limit of open files
    /// leaves less [default: 10000]
    #[arg(long, value_name = "N", value_parser = of(Key::ConnectionsMax))]
    connections_max: Option<String>,
    /// How many of them may come from one address; an IPv6 network of 64 bits counts as one
    /// [default: 5000]
    #[arg(long, value_name = "N", value_parser = of(Key::ConnectionsPerAddressMax))]
    connections_per_address_max: Option<String>,
    /// How many partitions all topics may have together [default: 10000]
    #[arg(long, value_name = "N", value_parser = of(Key::PartitionsMax))]
    partitions_max: Option<String>,
    /// How long a connection may take to send its first request, or the rest of one that it has begun
    /// [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = of(Key::ReadTimeout))]
    read_timeout: Option<String>,
    /// How long a connection is kept whose peer reads nothing of what it is sent [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = of(Key::WriteTimeout))]
    write_timeout: Option<String>,
    /// How long a connection is kept on which nothing comes and nobody waits for an answer; 0s: for ever
    /// [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = of(Key::IdleTimeout))]
    idle_timeout: Option<String>,
    /// How long a stop waits for what is in flight before it cuts connections; it may take 70s more, which
    /// TimeoutStopSec, stop_grace_period or terminationGracePeriodSeconds must leave [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = of(Key::StopTimeout))]
    stop_timeout: Option<String>,
    /// Whether /metrics has series for each partition; a node of thousands may do without
    /// [default: true]
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = of(Key::PartitionMetrics),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    partition_metrics: Option<String>,
    /// What is logged to stderr: error, warn, info, debug or trace, also by part of the program
    /// (`info,corelog_node=debug`) [default: info]
    #[arg(long, value_name = "FILTER", value_parser = of(Key::Log))]
    log: Option<String>,
    /// How it is logged: text, or json for an object per line [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = of(Key::LogFormat))]
    log_format: Option<String>,
}

impl Flags {
    /// A file is named, and nothing else.
    pub(super) fn of_file(file: &Path) -> Self {
        Self {
            config: Some(file.to_owned()),
            ..Self::default()
        }
    }

    /// What they say of the settings.
    pub(super) fn settings(&self) -> impl Iterator<Item = (Key, Value)> {
        Key::all().filter_map(|key| {
            let text = self.of(key).clone()?;
            let origin = Origin::Flag;
            Some((key, Value { text, origin }))
        })
    }

    fn of(&self, key: Key) -> &Option<String> {
        match key {
            Key::DataDir => &self.data_dir,
            Key::Listen => &self.listen,
            Key::Advertise => &self.advertise,
            Key::Cores => &self.cores,
            Key::Admin => &self.admin,
            Key::Insecure => &self.insecure,
            Key::ScrubRate => &self.scrub_rate,
            Key::TransferRate => &self.transfer_rate,
            Key::TailMemory => &self.tail_memory,
            Key::TrafficMemory => &self.traffic_memory,
            Key::PreallocMemory => &self.prealloc_memory,
            Key::ConnectionsMax => &self.connections_max,
            Key::ConnectionsPerAddressMax => &self.connections_per_address_max,
            Key::PartitionsMax => &self.partitions_max,
            Key::ReadTimeout => &self.read_timeout,
            Key::WriteTimeout => &self.write_timeout,
            Key::IdleTimeout => &self.idle_timeout,
            Key::StopTimeout => &self.stop_timeout,
            Key::PartitionMetrics => &self.partition_metrics,
            Key::Log => &self.log,
            Key::LogFormat => &self.log_format,
        }
    }
}

/// Reads a value as `key` has it.
fn of(key: Key) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync {
    move |text| key.form().read(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;

    fn command() -> clap::Command {
        Flags::augment_args(clap::Command::new("serve"))
    }

    #[test]
    fn every_setting_is_an_option_that_tells_its_default() {
        let command = command();
        for key in Key::all() {
            let name = key.name();
            let option = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name.as_str()));
            let help = option.unwrap().get_help().unwrap().to_string();
            let default = match key {
                Key::Cores => Some("all that".to_owned()),
                key => key.default(),
            };
            if let Some(default) = default {
                assert!(help.contains(&format!("[default: {default}")), "{help}");
            }
        }
    }

    #[test]
    fn every_option_says_its_own_setting() {
        for key in Key::all() {
            let value = match key {
                Key::Advertise => "log1".to_owned(),
                key => key.form().read(&key.default().unwrap()).unwrap(),
            };
            let option = format!("--{}={value}", key.name());
            let matches = command().try_get_matches_from(["serve", &option]).unwrap();
            let flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            let said: Vec<_> = flags.settings().collect();
            assert_eq!(said.len(), 1, "{option}");
            assert_eq!((said[0].0, &said[0].1.text), (key, &value), "{option}");
        }
    }
}
