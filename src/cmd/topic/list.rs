//! `corelog topic list`.

use corelog_client::Client;
use serde_json::json;

use crate::exit::{Exit, say};
use crate::output::{Format, Out};
use crate::{cli, session};

/// List the topics.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "List the topics.\n\n\
    Ends with 3 if one is there that cannot be read.",
    after_long_help = "EXAMPLES\n  \
    corelog topic list\n  \
    corelog topic list --output json | jq -r .name"
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
    let topics = &told.topics;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let rows = topics.iter().map(|topic| {
                let partitions = topic.partitions.len().to_string();
                vec![topic.name.to_string(), partitions, topic.id.to_string()]
            });
            out.table(&["NAME", "PARTITIONS", "ID"], rows)?;
        }
        Format::Json => topics.iter().try_for_each(|topic| {
            out.json(&json!({
                "name": topic.name.as_str(),
                "id": topic.id.to_string(),
                "partitions": topic.partitions.len(),
                "policy": super::policy::json(&topic.settings),
            }))
        })?,
    }
    out.flush()?;
    for unreadable in &told.errors {
        say(&format!("corelog: {server}: {}", unreadable.error));
    }
    Ok(Exit::damage_if(!told.errors.is_empty()))
}
