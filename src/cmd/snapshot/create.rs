//! `corelog snapshot create`.

use corelog_client::Client;
use corelog_record::TopicName;
use corelog_storage::snapshot::Name;

use super::show;
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Take a snapshot of all topics, or of some.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Take a snapshot of all topics, or of some.\n\n\
        It holds every record that was acknowledged as durable before, of partitions that the \
        server owns; of one that it follows what is not sealed is left out: `corelog snapshot \
        list NAME` tells where each ends, and the owner takes all. Producers and consumers go \
        on meanwhile; creating, changing and deleting topics waits. The partitions are taken one \
        by one, not at one instant. With thousands of partitions give it more --timeout.",
    after_long_help = "EXAMPLES\n  \
        corelog snapshot create monday\n  \
        corelog snapshot create before-upgrade --topic events --topic clicks\n  \
        corelog snapshot create nightly --output json | jq '.topics[].partitions[].end'"
)]
pub(super) struct Args {
    /// The snapshot's name.
    #[arg(value_name = "NAME", value_parser = super::name)]
    name: Name,
    /// Only this topic; may be given several times.
    #[arg(long = "topic", value_name = "TOPIC", value_parser = quantity::topic_name)]
    topics: Vec<TopicName>,
    #[command(flatten)]
    client: cli::Client,
}

/// Takes it and prints what it holds.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| create(args, client))
}

async fn create(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let taken = client
        .admin()
        .create_snapshot(args.name.as_str(), args.topics.clone())
        .await;
    let taken = session::changing(taken)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.table(&show::HEADERS, show::rows(&taken))?,
        Format::Json => out.json(&show::json(&taken))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}
