//! Logging, to stderr. A server logs what happens to it; a client only what it cannot say
//! otherwise, unless asked.
//!
//! No thread of a server waits for whoever reads its log: see [`lines`]. A client writes at once. Nobody else
//! waits for it, and whoever holds up its stderr holds up what they asked for.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use corelog_record::Timestamp;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{self, DefaultFields};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use self::lines::Lines;
use crate::exit::no_thread;
use crate::quantity;
use crate::repeats::Repeats;

/// What tells of lines that are missing; each of these is logged.
pub(crate) const MISSING: &str = "corelog::telemetry::missing";
/// What decides how much a client logs.
const CLIENT_FILTER: &str = "CORELOG_LOG";
/// An end waits so long for its last lines to be written, and not longer where nobody reads them.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// What a server writes to stderr, as there is one of it in a process.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();
/// How it writes that.
static FORMAT: OnceLock<Format> = OnceLock::new();

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

    /// What counts the lines that repeat.
    pub(crate) fn repeats(&self) -> Repeats {
        self.repeats.clone()
    }

    /// Tells of the lines that were left out because they repeated, and has all written that can be; nothing
    /// is logged after this.
    pub(crate) fn finish(&self) {
        self.repeats.tell_all();
        wait_written();
    }
}

/// Writes a line for people to stderr, behind all that was logged. A closed stderr is no reason to fail, and
/// a server's that is not read none to wait for long.
pub(crate) fn say(line: &str) {
    let Some(lines) = LINES.get() else {
        let _ = writeln!(io::stderr().lock(), "{line}");
        return;
    };
    lines.push_last(line);
    lines.wait_written(LAST_LINES_WAIT);
}

/// Says a line as [`say`] does; in a log of JSON, where only objects are read, it is an error like any other.
pub(crate) fn say_fatal(prefix: &str, line: &str) {
    match FORMAT.get() {
        Some(Format::Json) => say(&fatal_object(line, corelog_client::now())),
        Some(Format::Text) | None => say(&format!("{prefix}{line}")),
    }
}

/// An error as the log writes it. It is written past the log, whose locks who panics may hold, and whatever its filter.
fn fatal_object(line: &str, now: Timestamp) -> String {
    let object = serde_json::json!({
        "timestamp": quantity::rfc3339(now),
        "level": "ERROR",
        "fields": { "message": line },
        "target": "corelog",
    });
    object.to_string()
}

/// Says what panicked where, as the standard library does.
pub(crate) fn say_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let mut said = format!("thread '{}' {panic}", thread.name().unwrap_or("<unnamed>"));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        // Writing to a string does not fail.
        let _ = write!(said, "\nstack backtrace:\n{trace}");
    }
    say_fatal("", &said);
}

/// Waits a little for what was logged to be written.
pub(crate) fn wait_written() {
    if let Some(lines) = LINES.get() {
        lines.wait_written(LAST_LINES_WAIT);
    }
}

/// Lines of a server's log that were lost since it started.
pub(crate) fn lost_lines() -> u64 {
    LINES.get().map_or(0, |lines| lines.lost())
}

fn tell_missing(count: u64) {
    tracing::warn!(
        target: MISSING,
        count,
        "lines are missing here: they came faster than they were read"
    );
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
/// As [`filter`]; where the system refuses a thread.
pub(crate) fn start_for_server(wanted: &str, format: Format) -> anyhow::Result<Log> {
    let filter = filter(wanted).map_err(anyhow::Error::msg)?;
    let lines = Lines::start(io::stderr(), tell_missing);
    let lines = lines.map_err(|source| no_thread("log", source))?;
    let lines = LINES.get_or_init(|| lines);
    FORMAT.get_or_init(|| format);
    let builder = builder(filter, Arc::clone(lines));
    let repeats = Repeats::default();
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

/// Starts logging for a client: errors only unless `CORELOG_LOG` says otherwise. A slip in that is told, and no reason to fail.
pub(crate) fn start_for_client() {
    const QUIET: &str = "error";
    let wanted = std::env::var(CLIENT_FILTER).unwrap_or_default();
    let filter = match &*wanted {
        "" => EnvFilter::new(QUIET),
        wanted => filter(wanted).unwrap_or_else(|why| {
            say(&format!("{CLIENT_FILTER}: {why}"));
            EnvFilter::new(QUIET)
        }),
    };
    let _ = builder(filter, io::stderr).try_init();
}

fn builder<W>(
    filter: EnvFilter,
    writer: W,
) -> SubscriberBuilder<DefaultFields, format::Format, EnvFilter, W>
where
    W: for<'line> MakeWriter<'line> + 'static,
{
    let is_terminal = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        // A line that nobody takes would be told of on stderr again, which panics where it is closed.
        .log_internal_errors(false)
        .with_writer(writer)
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
