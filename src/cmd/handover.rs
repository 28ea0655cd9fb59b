//! `corelog handover`: gives partitions to a follower without losing a record.

use corelog_client::{Client, Error};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::handover::Partition;
use corelog_record::{PartitionId, TopicName};
use serde_json::{Value, json};

use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Give partitions to a follower without losing a record.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Give partitions to a follower without losing a record.\n\n\
        The server that --server names, the owner, takes no more writes, waits until the follower \
        holds all it has, and lets it begin a new leader epoch; then it follows itself. Producers \
        are told the new owner and carry on; for them it is a pause of a moment.\n\n\
        Where the follower does not answer in time the command ends with 4 and the handover goes \
        on by itself, taking no writes until it has ended; --abort calls it off.",
    after_long_help = "EXAMPLES\n  \
        corelog handover events --server log1:7400 --to log2:7400\n  \
        corelog handover events --server log1:7400 --to log2:7400 --partition 3\n  \
        corelog handover events --server log1:7400 --abort"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The follower; may be left out where there is only one.
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    to: Option<String>,
    /// Only this partition; else all that the server owns.
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// Call off a handover that has not ended: the owner takes writes again.
    #[arg(long, conflicts_with = "to")]
    abort: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Hands over, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| handover(args, client))
}

async fn handover(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let admin = client.admin();
    let partition = args.partition.map(PartitionId::new);
    let answer = match args.abort {
        true => admin.abort_handover(&args.topic, partition).await,
        false => {
            admin
                .handover(&args.topic, partition, args.to.clone())
                .await
        }
    };
    if let Err(Error::Refused { body }) = &answer
        && body.is(ErrorCode::TimedOut)
    {
        let message = format!("{body}; it goes on by itself, and --abort calls it off");
        return Err(stop(Exit::Unreachable, message));
    }
    let handed = session::changing(answer)?.partitions;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            const HEADERS: [&str; 4] = ["PARTITION", "OWNER", "EPOCH", "FROM OFFSET"];
            let row = |p: &Partition| {
                vec![
                    p.id.to_string(),
                    p.owner.clone(),
                    p.epoch.to_string(),
                    p.end.to_string(),
                ]
            };
            out.table(&HEADERS, handed.iter().map(row))?;
        }
        Format::Json => out.json(&json!({
            "topic": args.topic.as_str(),
            "partitions": handed.iter().map(in_json).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn in_json(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "owner": partition.owner,
        "epoch": partition.epoch.get(),
        "end": partition.end.get(),
    })
}
