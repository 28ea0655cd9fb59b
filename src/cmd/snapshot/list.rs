//! `corelog snapshot list`.

use corelog_client::{Client, Error};
use corelog_protocol::message::list_snapshots::Unreadable;
use corelog_protocol::message::snapshot::Snapshot;
use serde_json::json;

use super::show;
use crate::exit::{self, Exit, say};
use crate::output::{Format, Out};
use crate::{cli, session};

/// List the snapshots, or what one of them holds.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "List the snapshots, or what one of them holds of each partition.\n\n\
        Ends with 3 if one is there that cannot be read.",
    after_long_help = "EXAMPLES\n  \
        corelog snapshot list\n  \
        corelog snapshot list monday --output json | jq '.topics[].partitions'"
)]
pub(super) struct Args {
    /// Only this one, with every partition.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    client: cli::Client,
}

/// Prints a row per snapshot and topic.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| list(args, client))
}

async fn list(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (admin, _) = client.admin().of_one().await?;
    let server = session::server(&admin);
    let (snapshots, unreadable) = match &args.name {
        Some(name) => {
            let told = admin.snapshot(name).await;
            (
                vec![told.map_err(|error| unlisted(server, name, error))?],
                Vec::new(),
            )
        }
        None => {
            let answer = admin.list_snapshots().await;
            let answer = answer.map_err(|error| session::by(server, error))?;
            (answer.snapshots, answer.unreadable)
        }
    };
    let printed = print(args, &snapshots, &unreadable);
    for bad in &unreadable {
        say(&format!(
            "corelog: {server}: snapshot {} cannot be read: {}",
            bad.name, bad.message
        ));
    }
    let found = Exit::damage_if(!unreadable.is_empty());
    Ok(exit::of_found(found, printed))
}

fn print(args: &Args, snapshots: &[Snapshot], unreadable: &[Unreadable]) -> anyhow::Result<()> {
    let mut out = Out::new();
    match (args.client.output, &args.name) {
        (Format::Table, Some(_)) => {
            let rows = snapshots.iter().flat_map(show::partition_rows);
            out.table(&show::PARTITION_HEADERS, rows)?;
        }
        (Format::Table, None) => {
            out.table(&show::HEADERS, snapshots.iter().flat_map(show::rows))?;
        }
        (Format::Json, _) => {
            let bad = unreadable
                .iter()
                .map(|bad| json!({ "name": bad.name, "error": bad.message }));
            let mut all = snapshots.iter().map(show::json).chain(bad);
            all.try_for_each(|one| out.json(&one))?;
        }
    }
    out.flush()
}

/// A snapshot is no topic: no copy of it is anywhere that it could be repaired from.
fn unlisted(server: &str, name: &str, error: Error) -> anyhow::Error {
    if !exit::is_damage(&error) {
        return session::by(server, error);
    }
    let next = format!(
        "`corelog snapshot list` shows which can be read, `corelog snapshot delete {name}` removes it"
    );
    session::ended_by(server, error, Exit::Damage, &next)
}
