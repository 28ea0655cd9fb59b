//! `corelog topic describe`.

use corelog_client::Client;
use corelog_protocol::message::describe_topic::{Answer, Partition};
use corelog_record::TopicName;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::quantity::{self, Amount};
use crate::{cli, session};

/// Show a topic's policy and each partition's state.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show a topic's policy and each partition's state.\n\n\
        log start <= high watermark <= durable <= log end: what can be read lies between the \
        first two, what a power cut leaves lies below the third.",
    after_long_help = "EXAMPLES\n  \
        corelog topic describe events\n  \
        corelog topic describe events --output json | jq '.partitions[].high_watermark'"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    client: cli::Client,
}

/// Prints the policy and a row per partition.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| describe(args, client))
}

async fn describe(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = client.admin().describe_topic(&args.name).await?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => show(&args.name, &topic, &mut out)?,
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "id": topic.id.to_string(),
            "policy": super::policy::json(&topic.settings),
            "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn show(name: &TopicName, topic: &Answer, out: &mut Out) -> anyhow::Result<()> {
    const HEADERS: [&str; 10] = [
        "PARTITION",
        "STATE",
        "CORE",
        "LOG START",
        "HIGH WATERMARK",
        "DURABLE",
        "LOG END",
        "SEGMENTS",
        "BYTES",
        "EPOCH",
    ];
    let mut rows = vec![
        vec!["topic".to_owned(), name.to_string()],
        vec!["id".to_owned(), topic.id.to_string()],
    ];
    rows.extend(super::policy::rows(&topic.settings));
    out.table(&[], rows)?;
    out.line("")?;
    let row = |p: &Partition| {
        vec![
            p.id.to_string(),
            super::policy::word(&p.state),
            p.core.to_string(),
            p.log_start.to_string(),
            p.high_watermark.to_string(),
            p.durable.to_string(),
            p.log_end.to_string(),
            p.segments.to_string(),
            Amount(p.bytes).to_string(),
            p.epoch.to_string(),
        ]
    };
    out.table(&HEADERS, topic.partitions.iter().map(row))
}

/// A partition as programs read it.
pub(crate) fn partition(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "state": partition.state,
        "core": partition.core.get(),
        "log_start": partition.log_start.get(),
        "high_watermark": partition.high_watermark.get(),
        "durable": partition.durable.get(),
        "log_end": partition.log_end.get(),
        "segments": partition.segments,
        "bytes": partition.bytes,
        "epoch": partition.epoch.get(),
    })
}
