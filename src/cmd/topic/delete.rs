//! `corelog topic delete`.

use corelog_client::Client;
use corelog_record::TopicName;
use serde_json::json;

use super::closed::held;
use crate::consent::{self, Decision};
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Delete a topic and all its records.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a topic and all its records.\n\n\
        Asks first on a terminal and needs --yes elsewhere. A topic of the same name created \
        later is another one: whoever still uses the old one is told so.",
    after_long_help = "EXAMPLES\n  \
        corelog topic delete events --dry-run\n  \
        corelog topic delete events --yes"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
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
    let (admin, topic) = client.admin().of(&args.name).await?;
    let loss = format!(
        "topic {} with {} partitions and {}",
        args.name,
        topic.partitions.len(),
        held(&topic.partitions)
    );
    if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
        return Ok(Exit::Done);
    }
    // The id makes sure that it is the topic just described that goes.
    session::changing(admin.delete_topic(&args.name, Some(topic.id)).await)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("deleted {loss}"))?,
        Format::Json => {
            out.json(&json!({ "name": args.name.as_str(), "id": topic.id.to_string() }))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
