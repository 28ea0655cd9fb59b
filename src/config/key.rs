//! The settings of a server: what they are called, how they are written, and their defaults.

use clap::ValueEnum;
use corelog_node::sys::probe;
use corelog_protocol::limits;

use super::form::Form;

/// What the environment variables of a server begin with.
pub(crate) const PREFIX: &str = "CORELOG_NODE_";

/// A setting. Its name is the key in a file, `--name` on the command line, and in capitals behind
/// [`PREFIX`] a variable of the environment. What logging depends on comes last, so that what changes
/// beside it is still logged as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Key {
    DataDir,
    Listen,
    Advertise,
    Cores,
    Admin,
    Insecure,
    ScrubRate,
    TransferRate,
    TailMemory,
    TrafficMemory,
    PreallocMemory,
    ConnectionsMax,
    ConnectionsPerAddressMax,
    PartitionsMax,
    ReadTimeout,
    WriteTimeout,
    IdleTimeout,
    StopTimeout,
    PartitionMetrics,
    LogFormat,
    Log,
}

impl Key {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Its name, `data-dir`.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The setting of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|key| key.name() == name)
    }

    /// The variable of the environment that says it.
    pub(crate) fn variable(self) -> String {
        let name = self.name().to_ascii_uppercase().replace('-', "_");
        format!("{PREFIX}{name}")
    }

    /// The setting that was probably meant by a name that is none.
    pub(crate) fn nearest(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        let likeness = |key: &Self| strsim::jaro_winkler(&name, &key.name());
        let nearest = Self::all().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        nearest.filter(|key| likeness(key) >= LIKENESS_MIN)
    }

    /// How its value is written.
    pub(crate) const fn form(self) -> Form {
        match self {
            Self::DataDir => Form::Directory,
            Self::Listen | Self::Admin => Form::Address,
            Self::Advertise => Form::Host,
            Self::Cores => Form::Cores,
            Self::Insecure | Self::PreallocMemory | Self::PartitionMetrics => Form::Switch,
            Self::ScrubRate | Self::TransferRate => Form::Rate,
            Self::TailMemory | Self::TrafficMemory => Form::Size,
            // Each is a descriptor; more than this no machine was ever asked for.
            Self::ConnectionsMax | Self::ConnectionsPerAddressMax => Form::Count(1_000_000),
            // What tells of more topics does not fit into an answer.
            Self::PartitionsMax => Form::Count(limits::NODE_PARTITION_COUNT_MAX),
            Self::IdleTimeout => Form::TimeoutOrNever,
            Self::ReadTimeout | Self::WriteTimeout | Self::StopTimeout => Form::Timeout,
            Self::Log => Form::LogFilter,
            Self::LogFormat => Form::LogFormat,
        }
    }

    /// What it is where nobody says it; None: nothing.
    pub(crate) fn default(self) -> Option<String> {
        let text = match self {
            Self::DataDir => "./corelog-data",
            Self::Listen => "127.0.0.1:7400",
            Self::Advertise => return None,
            Self::Cores => return Some(cores_available().to_string()),
            Self::Admin => "127.0.0.1:7399",
            Self::Insecure | Self::PreallocMemory => "false",
            Self::ScrubRate => "8MiB",
            Self::TransferRate => "128MiB",
            Self::TailMemory => "64MiB",
            Self::TrafficMemory => "704MiB",
            Self::ConnectionsMax | Self::PartitionsMax => "10000",
            Self::ConnectionsPerAddressMax => "5000",
            Self::ReadTimeout => "1m",
            Self::WriteTimeout => "30s",
            Self::IdleTimeout => "0s",
            Self::StopTimeout => "5s",
            Self::PartitionMetrics => "true",
            Self::Log => "info",
            Self::LogFormat => "text",
        };
        Some(text.to_owned())
    }
}

/// Less alike, in Jaro and Winkler's measure from 0 to 1, is no slip.
const LIKENESS_MIN: f64 = 0.75;

/// A core for each processor that this process may use, as far as it may lock memory for them.
pub(crate) fn cores_available() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors.min(probe::cores_max())).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_one_name_everywhere() {
        assert_eq!(Key::DataDir.name(), "data-dir");
        assert_eq!(Key::DataDir.variable(), "CORELOG_NODE_DATA_DIR");
        for key in Key::all() {
            assert_eq!(Key::named(&key.name()), Some(key));
        }
    }

    #[test]
    fn a_slip_is_told_from_a_name_that_means_nothing_here() {
        let slips = [
            ("data_dir", Key::DataDir),
            ("datadir", Key::DataDir),
            ("listn", Key::Listen),
            ("scrub-rates", Key::ScrubRate),
            ("max-connections", Key::ConnectionsMax),
            ("logformat", Key::LogFormat),
            ("LOG", Key::Log),
        ];
        for (name, meant) in slips {
            assert_eq!(Key::nearest(name), Some(meant), "{name}");
        }
        assert_eq!(Key::nearest("retention"), None);
    }

    #[test]
    fn every_default_reads_as_what_it_is() {
        for key in Key::all() {
            if let Some(text) = key.default() {
                let read = key.form().read(&text).unwrap();
                let is_same = key == Key::DataDir || read == text;
                assert!(is_same, "{}: {text} reads as {read}", key.name());
            }
        }
    }
}
