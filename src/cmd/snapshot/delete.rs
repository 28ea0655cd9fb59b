//! `corelog snapshot delete`.

use corelog_client::Client;
use serde_json::json;

use crate::consent::{self, Decision};
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::quantity::{Amount, rfc3339};
use crate::{cli, session};

/// Delete a snapshot, and what it alone still holds.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a snapshot, and what it alone still holds.\n\n\
        Records that its topics still have stay where they are; those that retention has removed \
        from them are gone for good. Asks first on a terminal and needs --yes elsewhere.",
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
    let admin = client.admin();
    let snapshot = admin.snapshot(&args.name).await?;
    let bytes: u64 = snapshot.topics.iter().map(|topic| topic.bytes).sum();
    let loss = format!(
        "snapshot {} of {} with {} topics and {} (what topics still have stays)",
        args.name,
        rfc3339(snapshot.created),
        snapshot.topics.len(),
        Amount(bytes)
    );
    if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
        return Ok(Exit::Done);
    }
    // The time makes sure that it is the snapshot just looked at that goes.
    let deleted = admin
        .delete_snapshot(&args.name, Some(snapshot.created))
        .await;
    session::changing(deleted)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("deleted {loss}"))?,
        Format::Json => out.json(&json!({ "name": args.name }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}
