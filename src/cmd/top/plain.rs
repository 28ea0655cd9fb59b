//! Pictures as text or JSON, for who has no terminal.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::canvas::Told;
use super::column::Kind;
use super::header::{doings, holdings};
use super::list::list;
use super::picture::{Picture, Totals};
use super::state::Sheet;
use super::view::connection::Connection;
use super::view::copy::Copy;
use super::view::core::Core;
use super::view::partition::Partition;
use super::view::slow::Slow;
use super::view::topic::Topic;
use super::view::{Row, View};
use super::watched::Watched;
use super::{clock, told};
use crate::output::Out;

/// What of a picture is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// One view; else all.
    pub(super) view: Option<View>,
    pub(super) sort: Option<&'a str>,
    pub(super) filter: &'a str,
}

/// What `--output json` prints of a picture; the node and its totals are told as a whole, of the
/// views what is wanted.
#[derive(Serialize)]
struct Narrowed<'a> {
    #[serde(serialize_with = "clock::serialize")]
    time: Timestamp,
    admin: &'a str,
    node: &'a told::Node,
    totals: &'a Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<&'a Core>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<&'a Topic>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<Vec<&'a Partition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<&'a Connection>>,
    #[serde(rename = "clones", skip_serializing_if = "Option::is_none")]
    copies: Option<Vec<&'a Copy>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowest: Option<Vec<&'a Slow>>,
}

impl Wanted<'_> {
    /// The rows of a view in their order; none if the view is not wanted.
    fn rows<'p, R: Row>(&self, view: View, rows: &'p [R]) -> Option<Vec<&'p R>> {
        let sheet = Sheet::new(view, self.sort, self.filter);
        let is_wanted = self.view.is_none_or(|wanted| wanted == view);
        is_wanted.then(|| list(rows, &sheet, None))
    }
}

/// Prints a picture as tables, each under the name of its view.
pub(super) fn tables(out: &mut Out, picture: &Picture, wanted: Wanted<'_>) -> anyhow::Result<()> {
    let (admin, node) = (picture.admin.clone(), picture.node.node.clone());
    let named = [("admin", admin), ("node", node)];
    let rest = doings(picture).into_iter().chain(holdings(picture));
    let rest = rest.map(|Told { name, told, .. }| (name, told));
    out.facts(named.into_iter().chain(rest))?;
    table(out, wanted, (View::Cores, &picture.cores))?;
    table(out, wanted, (View::Topics, &picture.topics))?;
    table(out, wanted, (View::Partitions, &picture.partitions))?;
    table(out, wanted, (View::Connections, &picture.connections))?;
    table(out, wanted, (View::Clones, &picture.copies))?;
    table(out, wanted, (View::Slowest, &picture.slowest))?;
    out.flush()
}

fn table<R: Row>(
    out: &mut Out,
    wanted: Wanted<'_>,
    (view, rows): (View, &[R]),
) -> anyhow::Result<()> {
    let Some(listed) = wanted.rows(view, rows) else {
        return Ok(());
    };
    out.line("")?;
    out.line(view.title())?;
    let columns: Vec<_> = R::COLUMNS
        .iter()
        .filter(|column| column.kind != Kind::Drawing)
        .collect();
    let heads: Vec<_> = columns.iter().map(|column| column.head).collect();
    let cells = |row: &R| {
        columns
            .iter()
            .map(|column| (column.value)(row).text(0))
            .collect()
    };
    out.table(&heads, listed.into_iter().map(cells))
}

/// Prints what is known of a node as one object: its picture, or that it is away.
pub(super) fn json(
    out: &mut Out,
    watched: &Watched,
    (wanted, now): (Wanted<'_>, Timestamp),
) -> anyhow::Result<()> {
    let picture = &watched.picture;
    match &watched.away {
        None => out.json(&Narrowed {
            time: picture.time,
            admin: &picture.admin,
            node: &picture.node,
            totals: &picture.totals,
            cores: wanted.rows(View::Cores, &picture.cores),
            topics: wanted.rows(View::Topics, &picture.topics),
            partitions: wanted.rows(View::Partitions, &picture.partitions),
            connections: wanted.rows(View::Connections, &picture.connections),
            copies: wanted.rows(View::Clones, &picture.copies),
            slowest: wanted.rows(View::Slowest, &picture.slowest),
        })?,
        Some(away) => out.json(&json!({
            "time": clock::rfc3339(now),
            "admin": picture.admin,
            "unreachable_since": clock::rfc3339(away.since),
            "error": away.why,
        }))?,
    }
    out.flush()
}
