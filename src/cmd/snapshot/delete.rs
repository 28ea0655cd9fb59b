//! `corelog snapshot delete`.

use corelog_client::Client;
use corelog_protocol::message::snapshot::Snapshot;
use serde_json::json;

use crate::consent::{self, Decision};
use crate::exit::{self, Exit};
use crate::output::{Format, Out};
use crate::quantity::{Amount, rfc3339};
use crate::{cli, session};

/// Delete a snapshot, and what it alone still holds.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a snapshot, and what it alone still holds.\n\n\
        Records that its topics still have stay where they are; those that retention has removed \
        from them are gone for good. One that cannot be read can be deleted, too. Asks first on a \
        terminal and needs --yes elsewhere. Of several servers the first that answers is meant, and is named.",
    after_long_help = "EXAMPLES\n  \
        corelog snapshot delete monday --dry-run\n  \
        corelog snapshot delete monday --yes"
)]
pub(super) struct Args {
    /// The snapshot's name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Deletes it, after asking.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| delete(args, client))
}

async fn delete(args: &Args, client: Client) -> anyhow::Result<Exit> {
    // Another server has others of that name.
    let (admin, _) = client.admin().of_one().await?;
    let server = session::server(&admin);
    let snapshot = match admin.snapshot(&args.name).await {
        Ok(snapshot) => Some(snapshot),
        Err(error) if exit::is_damage(&error) => None,
        Err(error) => return Err(session::by(server, error)),
    };
    let loss = loss(&args.name, server, snapshot.as_ref());
    if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
        return Ok(Exit::Done);
    }
    // The time makes sure that it is the snapshot just looked at that goes; one that cannot be read
    // has none to tell.
    let created = snapshot.map(|snapshot| snapshot.created);
    let deleted = admin.delete_snapshot(&args.name, created).await;
    session::changing(server, deleted)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("deleted {loss}"))?,
        Format::Json => out.json(&json!({ "name": args.name, "server": server }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What goes with it, as far as that can be told.
fn loss(name: &str, server: &str, snapshot: Option<&Snapshot>) -> String {
    let what = match snapshot {
        Some(snapshot) => {
            let bytes: u64 = snapshot.topics.iter().map(|topic| topic.bytes).sum();
            let created = rfc3339(snapshot.created);
            let topics = snapshot.topics.len();
            format!(" of {created} with {topics} topics and {}", Amount(bytes))
        }
        None => ", which cannot be read".to_owned(),
    };
    format!("snapshot {name} at {server}{what} (what topics still have stays)")
}
