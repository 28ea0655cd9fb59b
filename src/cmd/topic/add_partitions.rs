//! `corelog topic add-partitions`.

use corelog_client::Client;
use corelog_protocol::message::settings::SettingsChange;
use corelog_record::TopicName;
use serde_json::json;

use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Give a topic more partitions.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Give a topic more partitions.\n\n\
        Partitions only grow. Records with a key may go to another partition than before, so the \
        order of a key holds among the records before and among those after. Replicas of the topic \
        on other servers take them up by themselves.",
    after_long_help = "EXAMPLES\n  \
        corelog topic add-partitions events --partitions 8   # 8 in all, however many there were"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    /// How many partitions it has afterwards.
    #[arg(long, value_name = "N")]
    partitions: u32,
    #[command(flatten)]
    client: cli::Client,
}

/// Adds partitions and prints how many there are.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| add(args, client))
}

async fn add(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (admin, topic) = client.admin().of(&args.name).await?;
    let (id, count) = (Some(topic.id), Some(args.partitions));
    let answer = admin
        .alter_topic(&args.name, id, count, SettingsChange::default())
        .await;
    let partitions = session::changing(session::server(&admin), answer)?.partitions;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.facts([
            ("topic", args.name.to_string()),
            ("partitions", partitions.to_string()),
        ])?,
        Format::Json => {
            out.json(&json!({ "name": args.name.as_str(), "partitions": partitions }))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
