//! One picture as text or JSON, for who has no terminal.

use jiff::Timestamp;
use serde_json::json;

use super::canvas::Told;
use super::clock;
use super::column::Kind;
use super::header::{doings, holdings};
use super::list::list;
use super::picture::Picture;
use super::state::Sheet;
use super::view::{Row, View};
use super::watched::Watched;
use crate::output::Out;

/// What of a picture is printed.
pub(super) struct Wanted<'a> {
    /// One view; else all.
    pub(super) view: Option<View>,
    pub(super) sort: Option<&'a str>,
    pub(super) filter: &'a str,
}

/// Prints a picture as tables, each under the name of its view.
pub(super) fn tables(out: &mut Out, picture: &Picture, wanted: &Wanted<'_>) -> anyhow::Result<()> {
    let row = |figure: Told| vec![figure.name.to_owned(), figure.told];
    let node = [("admin", &picture.admin), ("node", &picture.node.node)];
    let named = node.map(|(name, told)| vec![name.to_owned(), told.clone()]);
    let rest = doings(picture)
        .into_iter()
        .chain(holdings(picture))
        .map(row);
    out.table(&[], named.into_iter().chain(rest))?;
    let views = View::ALL.into_iter();
    for view in views.filter(|view| wanted.view.is_none_or(|wanted| wanted == *view)) {
        out.line("")?;
        out.line(view.title())?;
        match view {
            View::Cores => table(out, view, &picture.cores, wanted)?,
            View::Topics => table(out, view, &picture.topics, wanted)?,
            View::Partitions => table(out, view, &picture.partitions, wanted)?,
            View::Connections => table(out, view, &picture.connections, wanted)?,
            View::Clones => table(out, view, &picture.copies, wanted)?,
            View::Slowest => table(out, view, &picture.slowest, wanted)?,
        }
    }
    out.flush()
}

fn table<R: Row>(out: &mut Out, view: View, rows: &[R], wanted: &Wanted<'_>) -> anyhow::Result<()> {
    let sheet = Sheet::new(view, wanted.sort, wanted.filter);
    let columns: Vec<_> = R::COLUMNS
        .iter()
        .filter(|column| column.kind != Kind::Drawing)
        .collect();
    let heads: Vec<_> = columns.iter().map(|column| column.head).collect();
    let listed = list(rows, &sheet, None).into_iter();
    let cells = |row: &R| {
        columns
            .iter()
            .map(|column| (column.value)(row).text(0))
            .collect()
    };
    out.table(&heads, listed.map(cells))
}

/// Prints what is known of a node as one object: its picture, or that it is away.
pub(super) fn json(out: &mut Out, watched: &Watched, now: Timestamp) -> anyhow::Result<()> {
    match &watched.away {
        None => out.json(&watched.picture)?,
        Some(away) => out.json(&json!({
            "time": clock::rfc3339(now),
            "admin": watched.picture.admin,
            "unreachable_since": clock::rfc3339(away.since),
            "error": away.why,
        }))?,
    }
    out.flush()
}
