//! Logging, to stderr. A server logs what happens to it; a client only what it cannot say
//! otherwise, unless asked.

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use anyhow::Context as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::repeats::Repeats;

/// What decides how much a client logs.
const CLIENT_FILTER: &str = "CORELOG_LOG";

/// How a server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// The log of a server, which can be told to log more or less.
pub(crate) struct Log {
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>,
    repeats: Repeats,
}

impl Log {
    /// From now on what `wanted` says is logged, and nothing else.
    ///
    /// # Errors
    /// Where it says nothing that could be logged; then all stays as it is.
    pub(crate) fn set_filter(&self, wanted: &str) -> anyhow::Result<()> {
        let filter = filter(wanted).map_err(anyhow::Error::msg)?;
        (self.set)(filter).context("the log does not change any more")?;
        // What logs by the `log` crate looks here first, and it is set once, at the start.
        log::set_max_level(log_level());
        Ok(())
    }

    /// Tells of the lines that were left out because they repeated; nothing is logged after this.
    pub(crate) fn finish(&self) {
        self.repeats.tell_all();
    }
}

/// The most that anything logs now.
fn log_level() -> log::LevelFilter {
    match LevelFilter::current().into_level() {
        None => log::LevelFilter::Off,
        Some(tracing::Level::ERROR) => log::LevelFilter::Error,
        Some(tracing::Level::WARN) => log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => log::LevelFilter::Trace,
    }
}

/// Reads what is to be logged: a level, or several by part of the program.
///
/// # Errors
/// What is wrong with it: a server that logs something else than it was told to would be noticed too
/// late.
pub(crate) fn filter(wanted: &str) -> Result<EnvFilter, String> {
    // A level with a slip in it would be taken for a part of the program, and nothing else logged.
    let is_word = |part: &&str| !part.contains(['=', '[', ']']);
    for word in wanted.split(',').filter(is_word) {
        if word.is_empty() || word.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{word}` says no level to log at: say off, error, warn, info, debug or trace, or \
                 PART=LEVEL for a part of the program"
            ));
        }
    }
    let read = EnvFilter::builder().parse(wanted);
    read.map_err(|error| format!("`{wanted}` says no level to log at: {error}"))
}

/// Starts logging for a server.
///
/// # Errors
/// As [`filter`].
pub(crate) fn start_for_server(wanted: &str, format: Format) -> anyhow::Result<Log> {
    let filter = filter(wanted).map_err(anyhow::Error::msg)?;
    let (builder, repeats) = (builder(filter), Repeats::default());
    let layer = repeats.clone();
    let set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>;
    // A second start in one process keeps the first; that is no reason to fail.
    match format {
        Format::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            set = Box::new(move |filter| handle.reload(filter));
            let _ = builder.finish().with(layer).try_init();
        }
        Format::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            set = Box::new(move |filter| handle.reload(filter));
            let _ = builder.finish().with(layer).try_init();
        }
    }
    Ok(Log { set, repeats })
}

/// Starts logging for a client: errors only unless `CORELOG_LOG` says otherwise.
pub(crate) fn start_for_client() {
    let wanted = std::env::var(CLIENT_FILTER).unwrap_or_else(|_| "error".to_owned());
    let filter = EnvFilter::builder().parse_lossy(wanted);
    let _ = builder(filter).try_init();
}

type Builder = tracing_subscriber::fmt::SubscriberBuilder<
    tracing_subscriber::fmt::format::DefaultFields,
    tracing_subscriber::fmt::format::Format,
    EnvFilter,
    fn() -> std::io::Stderr,
>;

fn builder(filter: EnvFilter) -> Builder {
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        // A line that nobody takes would be told of on stderr again, which panics where it is closed.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is neither text nor json")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_several_by_part_of_the_program() {
        for wanted in [
            "info",
            "OFF",
            "info,corelog_node=debug",
            "warn,glommio=error",
        ] {
            assert!(filter(wanted).is_ok(), "{wanted}");
        }
        for wrong in ["deubg", "corelog_node", "corelog_node=loud", "info,", ""] {
            let error = filter(wrong).unwrap_err();
            assert!(error.contains("no level to log at"), "{wrong}: {error}");
        }
    }
}
