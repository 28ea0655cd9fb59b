//! `corelog topic list`.

use corelog_client::Client;
use corelog_protocol::message::metadata;
use serde_json::json;

use crate::exit::{self, Exit, say};
use crate::output::{Format, Out};
use crate::{cli, session};

/// List the topics.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "List the topics.\n\n\
    Ends with 3 if one is there that cannot be read; JSON says of it why.",
    after_long_help = "EXAMPLES\n  \
    corelog topic list\n  \
    corelog topic list --output json | jq -r 'select(.error == null) | .name'"
)]
pub(super) struct Args {
    #[command(flatten)]
    client: cli::Client,
}

/// Prints a row per topic.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| list(args, client))
}

async fn list(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (admin, _) = client.admin().of_one().await?;
    let server = session::server(&admin);
    let told = admin.metadata().await;
    let told = told.map_err(|error| session::by(server, error))?;
    let printed = print(args, &told);
    for unreadable in &told.errors {
        say(&format!("corelog: {server}: {}", unreadable.error));
    }
    let found = Exit::damage_if(!told.errors.is_empty());
    Ok(exit::of_found(found, printed))
}

fn print(args: &Args, told: &metadata::Answer) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let rows = told.topics.iter().map(|topic| {
                let partitions = topic.partitions.len().to_string();
                vec![topic.name.to_string(), partitions, topic.id.to_string()]
            });
            out.table(&["NAME", "PARTITIONS", "ID"], rows)?;
        }
        Format::Json => {
            let topics = told.topics.iter().map(|topic| {
                json!({
                    "name": topic.name.as_str(),
                    "id": topic.id.to_string(),
                    "partitions": topic.partitions.len(),
                    "policy": super::policy::json(&topic.settings),
                })
            });
            let unreadable = told.errors.iter().map(|unreadable| {
                let error = unreadable.error.to_string();
                json!({ "name": unreadable.name.as_str(), "error": error })
            });
            let mut all = topics.chain(unreadable);
            all.try_for_each(|one| out.json(&one))?;
        }
    }
    out.flush()
}
