//! `corelog top`: what a node does, as it does it.
//!
//! ```text
//! poll      asks the admin address, again and again; told: what it tells
//! rates     what was added between two polls
//! picture   rows with their rates; watched: the last one, and since when the node is away
//! view/     the rows: their columns and details; column: what a column shows, and how it sorts
//! state     what is looked at, and what each key makes of it
//! list      which rows, in which order
//! screen    header, table, strip, footer, help, drawn on a canvas in the tones of a theme
//! terminal  taken and given back, its keys and signals
//! plain     the same as text or JSON, without a terminal
//! ```
//!
//! Its law: what is drawn never waits for the node, and the terminal is given back however it ends.

mod canvas;
mod clock;
mod column;
mod figure;
mod footer;
mod header;
mod help;
mod history;
mod list;
mod picture;
mod plain;
mod poll;
mod rates;
mod screen;
mod state;
mod strip;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;
mod told;
mod view;
mod watched;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use jiff::Timestamp;

use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::quantity::{ParseError, Span};
use crate::{cli, session};

use self::plain::Wanted;
use self::state::State;
use self::theme::Theme;
use self::view::View;
use self::watched::Watch;

/// Watch what a node does: cores, partitions, connections, clones.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Watch what a node does: cores, partitions, connections, clones.\n\n\
        Asks the node's admin address at every interval and shows what came in between: how busy each \
        core is, what waits there and how long its syncs take, rates, size and lag of topics and \
        partitions, who is connected, what is copied from and to other nodes, and where the time of \
        the slowest acknowledgements went. Keys: 1 to 6 or tab for another view, arrows to move, \
        enter to look closer, esc to go back, s to sort by the next column, r to turn it round, / to \
        filter, p to pause, ? for help, q to quit. A node that goes away stays as it was last seen \
        until it is back; one that starts is waited for.\n\n\
        With --once, or where stdout is no terminal or one that cannot draw (TERM=dumb), it asks \
        twice, an interval apart, prints every view as a table and ends. --output json prints one \
        object per interval, or one with --once. Both print the rows that --view, --sort and \
        --filter ask for; what is told of the node as a whole stays as it is.",
    after_long_help = "EXAMPLES\n  \
        corelog top\n  \
        corelog top --admin log1:7399 --view partitions --sort lag\n  \
        corelog top --once --filter events\n  \
        corelog top --once --output json | jq '.partitions[] | select(.lag_records > 0)'\n  \
        corelog top --output json --interval 10s >> corelog.jsonl"
)]
pub(crate) struct Args {
    /// The node's admin address.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_parser = cli::address,
        default_value = cli::DEFAULT_ADMIN
    )]
    admin: String,
    /// How often to ask, 100ms to 1h.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    interval: Span,
    /// What to look at first; where it is printed, the only view.
    #[arg(long, value_enum)]
    view: Option<View>,
    /// Sort by this column, where a view has it: its heading in small letters, `-` for a space.
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Show rows only in whose names this text is, in capitals or not.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,
    /// Draw without colours, as with NO_COLOR in the environment.
    #[arg(long)]
    no_color: bool,
    /// Print one picture and end.
    #[arg(long)]
    once: bool,
    /// How to print without a terminal.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

impl Args {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            view: self.view,
            sort: self.sort.as_deref(),
            filter: &self.filter,
        }
    }
}

/// Watches, or prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    check_sort(args)?;
    match (args.output, args.once || !can_draw()) {
        // Without a log: it would be written across the screen.
        (Format::Table, false) => session::on_this_thread(|| watch(args)),
        (Format::Table, true) => session::run_unconnected(|| print_once(args)),
        (Format::Json, _) if args.once => session::run_unconnected(|| print_once(args)),
        (Format::Json, _) => session::run_unconnected(|| print_on(args)),
    }
}

/// Whether stdout is a terminal that can move its cursor; one that says nothing of itself cannot.
fn can_draw() -> bool {
    let is_named = |term: std::ffi::OsString| !term.is_empty() && term != "dumb";
    io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(is_named)
}

async fn watch(args: &Args) -> anyhow::Result<Exit> {
    let view = args.view.unwrap_or(View::Cores);
    let state = State::new(view, args.sort.as_deref(), &args.filter);
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|told| !told.is_empty());
    let theme = Theme::new(!args.no_color && !is_plain);
    terminal::watch((&args.admin, args.interval.0), state, theme).await?;
    Ok(Exit::Done)
}

/// Prints what an interval shows.
async fn print_once(args: &Args) -> anyhow::Result<Exit> {
    let mut watch = Watch::begin(&args.admin, poll::ask(&args.admin).await?);
    tokio::time::sleep(args.interval.0).await;
    watch.see(Ok(poll::ask(&args.admin).await?), Timestamp::now());
    let mut out = Out::new();
    match args.output {
        Format::Json => plain::json(&mut out, &watch.watched, (args.wanted(), Timestamp::now()))?,
        Format::Table => plain::tables(&mut out, &watch.watched.picture, args.wanted())?,
    }
    Ok(Exit::Done)
}

/// Prints what each interval shows, until nobody reads it any more.
async fn print_on(args: &Args) -> anyhow::Result<Exit> {
    let mut watch = watched::begin(&args.admin).await?;
    let mut polls = poll::begin(args.admin.clone(), args.interval.0);
    let mut out = Out::while_read();
    loop {
        let polled = tokio::select! {
            polled = polls.recv() => polled,
            () = tokio::time::sleep(LOOK_EVERY) => {
                out.while_idle()?;
                continue;
            }
        };
        let Some(polled) = polled else {
            return Ok(Exit::Done);
        };
        let now = Timestamp::now();
        watch.see(polled, now);
        plain::json(&mut out, &watch.watched, (args.wanted(), now))?;
    }
}

/// That no view has such a column is better said at once.
fn check_sort(args: &Args) -> anyhow::Result<()> {
    let Some(sort) = &args.sort else {
        return Ok(());
    };
    let views = View::ALL.into_iter();
    let meant = views.filter(|view| args.view.is_none_or(|asked| asked == *view));
    let names = meant.flat_map(|view| view.sorts().into_iter().map(|(_, name)| name));
    let mut names: Vec<_> = names.collect();
    if names.contains(sort) {
        return Ok(());
    }
    names.sort();
    names.dedup();
    let message = format!(
        "no column is called `{sort}`; there are {}",
        names.join(", ")
    );
    Err(stop(Exit::Usage, message))
}

fn interval(text: &str) -> Result<Span, ParseError> {
    Span::within(INTERVAL_MIN..=INTERVAL_MAX, text)
}

/// More often is load without a figure that could be read.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Between two pictures it is looked this often if anybody reads them still.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Far more seldom than anybody watches.
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
