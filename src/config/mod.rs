//! What a server is told: the command line wins over the environment, that over the file, and what
//! none of them says has a default.
//!
//! ```text
//! key          the settings: their names, forms and defaults
//! form         how a value is written
//! flags        what the command line says
//! environment  what the environment says
//! file         what the file says
//! origin       which of them it was
//! ```
//!
//! What a value means for a node is not decided here, nor which of them a running node can change.

mod environment;
mod file;
mod flags;
mod form;
mod key;
mod origin;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use corelog_record::ByteSize;

use self::environment::Environment;
pub(crate) use self::flags::Flags;
pub(crate) use self::form::Host;
pub(crate) use self::key::{Key, cores_available};
pub(crate) use self::origin::Origin;
use crate::exit::{Exit, stop};
use crate::quantity::Span;
use crate::telemetry;

/// Whoever says something to a server. The file is read at each decision, the others are what they
/// were.
#[derive(Debug)]
pub(crate) struct Sources {
    file: Option<PathBuf>,
    environment: Environment,
    flags: Flags,
}

/// All settings, decided, each with who said it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    values: BTreeMap<Key, Value>,
}

/// What a setting is, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// In the one way in which it is shown.
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Something that was said and cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The settings that it is about, as far as that can be told.
    pub(crate) keys: Vec<Key>,
    pub(crate) why: String,
}

/// A setting that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// The settings as values.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where topics are kept; absolute.
    pub(crate) data_dir: PathBuf,
    /// The shared address.
    pub(crate) listen: SocketAddr,
    /// What clients are told.
    pub(crate) advertise: Option<Host>,
    /// How many cores serve, at least 1.
    pub(crate) cores: u16,
    /// Where health and metrics are served.
    pub(crate) admin: SocketAddr,
    /// Whether an address that others can reach is allowed without authentication.
    pub(crate) is_insecure: bool,
    /// What the scrub reads in a second.
    pub(crate) scrub_rate: ByteSize,
    /// What is sent of segments to peers in a second.
    pub(crate) transfer_rate: ByteSize,
    /// What each core keeps in memory for readers.
    pub(crate) tail_memory: ByteSize,
    /// What requests and answers under way may take of each core's memory.
    pub(crate) traffic_memory: ByteSize,
    /// Whether both are taken at the start.
    pub(crate) is_memory_preallocated: bool,
    /// How many clients may be connected.
    pub(crate) connections_max: u32,
    /// How many of them from one address.
    pub(crate) connections_per_address_max: u32,
    /// How many partitions all topics may have.
    pub(crate) partitions_max: u32,
    /// How long a request may take to come.
    pub(crate) read_timeout: Duration,
    /// How long a peer may read nothing.
    pub(crate) write_timeout: Duration,
    /// How long a connection may do nothing; zero: for ever.
    pub(crate) idle_timeout: Duration,
    /// How long a stop waits for connections.
    pub(crate) stop_timeout: Duration,
    /// Whether the metrics have series for each partition.
    pub(crate) has_partition_metrics: bool,
    /// What is logged.
    pub(crate) log: String,
    /// How it is logged.
    pub(crate) log_format: telemetry::Format,
}

impl Sources {
    /// The command line, this process's environment, and the file that one of them names.
    pub(crate) fn new(flags: &Flags) -> Self {
        Self::of(flags, std::env::vars_os())
    }

    /// As [`Self::new`] without a command line, of `file`.
    pub(crate) fn of_file(file: &Path) -> Self {
        Self::new(&Flags::of_file(file))
    }

    fn of(flags: &Flags, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let environment = Environment::read(variables);
        Self {
            file: flags.config.clone().or_else(|| environment.file.clone()),
            environment,
            flags: flags.clone(),
        }
    }

    /// The file, if one is named.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Decides what each setting is, if they fit together: `faults` says what does not.
    ///
    /// # Errors
    /// Exit code 2 with all that is wrong: the file cannot be read, it or the environment says what cannot be meant, or it does
    /// not fit together. How something fits of which it is not known what was meant is not told.
    pub(crate) fn decide(
        &self,
        faults: impl FnOnce(&Config) -> Vec<Wrong>,
    ) -> anyhow::Result<Settings> {
        let mut values = defaults()?;
        let mut wrong = self.environment.wrong.clone();
        if let Some(file) = &self.file {
            let (said, why) = file::read(file);
            values.extend(said);
            wrong.extend(why);
        }
        values.extend(self.environment.settings.iter().cloned());
        values.extend(self.flags.settings());
        let file = self.file.clone();
        let settings = Settings { file, values };
        let doubtful = wrong.iter().flat_map(|wrong| wrong.keys.iter().copied());
        let doubtful: BTreeSet<Key> = doubtful.collect();
        let is_told = |fault: &Wrong| fault.keys.iter().all(|key| !doubtful.contains(key));
        let faults = faults(&settings.config()?);
        wrong.extend(faults.into_iter().filter(is_told));
        if wrong.is_empty() {
            return Ok(settings);
        }
        let why: Vec<String> = wrong.into_iter().map(|wrong| wrong.why).collect();
        Err(stop(Exit::Usage, why.join("; ")))
    }
}

impl Settings {
    /// The file that was read, if one was.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What a setting is; None: nothing.
    pub(crate) fn get(&self, key: Key) -> Option<&Value> {
        self.values.get(&key)
    }

    /// If somebody said what a setting is.
    pub(crate) fn is_said(&self, key: Key) -> bool {
        let value = self.get(key);
        value.is_some_and(|value| value.origin != Origin::Default)
    }

    /// Takes over what a setting is elsewhere.
    pub(crate) fn take(&mut self, key: Key, from: &Self) {
        match from.get(key) {
            Some(value) => self.values.insert(key, value.clone()),
            None => self.values.remove(&key),
        };
    }

    /// What is another in `later`.
    pub(crate) fn changes(&self, later: &Self) -> Vec<Change> {
        let text = |settings: &Self, key| settings.get(key).map(|value| value.text.clone());
        let change = |key| Change {
            key,
            from: text(self, key),
            to: text(later, key),
        };
        let changes = Key::all().map(change);
        changes.filter(|change| change.from != change.to).collect()
    }

    /// The settings as values.
    ///
    /// # Errors
    /// None: whatever was taken up was read before.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let span = |key| self.read::<Span>(key).map(|span| span.0);
        let advertise = self.get(Key::Advertise);
        let advertise = advertise.map(|_value| self.read(Key::Advertise));
        Ok(Config {
            data_dir: self.read(Key::DataDir)?,
            listen: self.read(Key::Listen)?,
            advertise: advertise.transpose()?,
            cores: self.read(Key::Cores)?,
            admin: self.read(Key::Admin)?,
            is_insecure: self.read(Key::Insecure)?,
            scrub_rate: self.read(Key::ScrubRate)?,
            transfer_rate: self.read(Key::TransferRate)?,
            tail_memory: self.read(Key::TailMemory)?,
            traffic_memory: self.read(Key::TrafficMemory)?,
            is_memory_preallocated: self.read(Key::PreallocMemory)?,
            connections_max: self.read(Key::ConnectionsMax)?,
            connections_per_address_max: self.read(Key::ConnectionsPerAddressMax)?,
            partitions_max: self.read(Key::PartitionsMax)?,
            read_timeout: span(Key::ReadTimeout)?,
            write_timeout: span(Key::WriteTimeout)?,
            idle_timeout: span(Key::IdleTimeout)?,
            stop_timeout: span(Key::StopTimeout)?,
            has_partition_metrics: self.read(Key::PartitionMetrics)?,
            log: self.read(Key::Log)?,
            log_format: self.read(Key::LogFormat)?,
        })
    }

    fn read<T: FromStr>(&self, key: Key) -> anyhow::Result<T> {
        let value = self.get(key).and_then(|value| value.text.parse().ok());
        value.with_context(|| format!("{} has no value", key.name()))
    }
}

fn defaults() -> anyhow::Result<BTreeMap<Key, Value>> {
    let mut values = BTreeMap::new();
    for key in Key::all() {
        let Some(default) = key.default() else {
            continue;
        };
        let wrong = |why| stop(Exit::Usage, format!("{}: {why}", key.name()));
        let text = key.form().read(&default).map_err(wrong)?;
        let origin = Origin::Default;
        values.insert(key, Value { text, origin });
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
