//! What a server is told: the command line wins over the environment, that over the file, and what
//! none of them says has a default.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use corelog_record::ByteSize;
use serde::Deserialize;

use crate::exit::{Exit, stop};

/// The ports a node uses unless told otherwise.
const DEFAULT_PORT: u16 = 7400;
const DEFAULT_ADMIN_PORT: u16 = 7399;

/// Everything a server needs to know, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where topics are kept; absolute.
    pub(crate) data_dir: PathBuf,
    /// The shared address.
    pub(crate) listen: SocketAddr,
    /// What clients are told, `HOST` or `HOST:PORT`.
    pub(crate) advertise: Option<String>,
    /// How many cores serve.
    pub(crate) cores: NonZeroU16,
    /// Where health and metrics are served.
    pub(crate) admin: SocketAddr,
    /// Whether an address that others can reach is allowed without authentication.
    pub(crate) is_insecure: bool,
    /// What the scrub reads in a second; nothing said: the node's default.
    pub(crate) scrub_rate: Option<ByteSize>,
    /// What is sent of segments to peers in a second; nothing said: the node's default.
    pub(crate) transfer_rate: Option<ByteSize>,
    /// Whether the metrics have series for each partition.
    pub(crate) partition_metrics: bool,
}

/// The same, as far as one source says it. In a file the keys are written `data-dir`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Said {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) advertise: Option<String>,
    pub(crate) cores: Option<u16>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) insecure: Option<bool>,
    pub(crate) scrub_rate: Option<ByteSize>,
    pub(crate) transfer_rate: Option<ByteSize>,
    pub(crate) partition_metrics: Option<bool>,
}

impl Config {
    /// Decides from what the command line and environment said, and the file they may name.
    ///
    /// # Errors
    /// Exit code 2 where the file cannot be read or a value makes no sense.
    pub(crate) fn decide(said: Said, file: Option<&Path>) -> anyhow::Result<Self> {
        let file = file.map_or_else(|| Ok(Said::default()), read)?;
        let data_dir = said.data_dir.or(file.data_dir);
        let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("./corelog-data"));
        let cores = match said.cores.or(file.cores) {
            Some(count) => NonZeroU16::new(count)
                .ok_or_else(|| stop(Exit::Usage, "cores must be at least 1"))?,
            None => cores_available(),
        };
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            data_dir: std::path::absolute(&data_dir)?,
            listen: said
                .listen
                .or(file.listen)
                .unwrap_or_else(|| loopback(DEFAULT_PORT)),
            advertise: said.advertise.or(file.advertise),
            cores,
            admin: said
                .admin
                .or(file.admin)
                .unwrap_or_else(|| loopback(DEFAULT_ADMIN_PORT)),
            is_insecure: said.insecure.or(file.insecure).unwrap_or(false),
            scrub_rate: said.scrub_rate.or(file.scrub_rate),
            transfer_rate: said.transfer_rate.or(file.transfer_rate),
            partition_metrics: said
                .partition_metrics
                .or(file.partition_metrics)
                .unwrap_or(true),
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Said> {
    let wrong = |why: &dyn std::fmt::Display| {
        stop(
            Exit::Usage,
            format!("cannot use the configuration {}: {why}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))
}

fn cores_available() -> NonZeroU16 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(count)
        .ok()
        .and_then(NonZeroU16::new)
        .unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn defaults_are_loopback_and_all_cores() {
        let config = Config::decide(Said::default(), None).unwrap();
        assert_eq!(config.listen, "127.0.0.1:7400".parse().unwrap());
        assert_eq!(config.admin, "127.0.0.1:7399".parse().unwrap());
        assert_eq!(config.cores, cores_available());
        assert!(config.data_dir.is_absolute());
        assert!(config.data_dir.ends_with("corelog-data"));
        assert!(!config.is_insecure);
    }

    #[test]
    fn what_is_said_wins_over_the_file() {
        let file = file(
            "data-dir = '/file'\ncores = 3\ninsecure = true\nscrub-rate = '1MiB'\n\
             transfer-rate = '2MiB'\npartition-metrics = false\n",
        );
        let said = Said {
            data_dir: Some("/said".into()),
            ..Said::default()
        };
        let config = Config::decide(said, Some(file.path())).unwrap();
        assert_eq!(config.data_dir, Path::new("/said"));
        assert_eq!(config.cores.get(), 3);
        assert!(config.is_insecure);
        assert_eq!(config.scrub_rate, Some(ByteSize::from_mib(1)));
        assert_eq!(config.transfer_rate, Some(ByteSize::from_mib(2)));
        assert!(!config.partition_metrics);
    }

    #[test]
    fn an_unknown_key_or_no_core_is_wrong_usage() {
        for text in ["datadir = '/x'", "cores = 0", "cores = 'two'"] {
            let file = file(text);
            let error = Config::decide(Said::default(), Some(file.path())).unwrap_err();
            assert_eq!(crate::exit::of(&error), Exit::Usage, "{text}");
        }
        let missing = Config::decide(Said::default(), Some(Path::new("/no/such/file")));
        assert_eq!(crate::exit::of(&missing.unwrap_err()), Exit::Usage);
    }
}
