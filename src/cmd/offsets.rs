//! `corelog offsets`: where each partition begins and ends, on each server asked.

use corelog_client::Error;
use corelog_protocol::message::describe_topic::{Answer, Partition};
use corelog_record::TopicName;

use crate::cli::Client;
use crate::cmd::topic::closed::{self, cell};
use crate::cmd::topic::describe;
use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit};
use crate::output::{Format, Out};
use crate::{quantity, session};

/// Show where each partition of a topic begins and ends.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show where each partition of a topic begins and ends.\n\n\
        With several servers each of them is asked, a row says which one answered, and HOLDS which \
        of them have the oldest and the newest record of the partition. Ends with 4 if one of them does \
        not answer, or a partition is not open yet, with 3 if it could not be opened.",
    after_long_help = "EXAMPLES\n  \
        corelog offsets events\n  \
        corelog offsets events --server log1:7400,log2:7400 --output json"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    #[command(flatten)]
    client: Client,
}

/// Prints a row per server and partition; a server that does not answer does not hide the others.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run_unconnected(|| offsets(args))
}

async fn offsets(args: &Args) -> anyhow::Result<Exit> {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for server in &args.client.server {
        match ask(args, server).await {
            Ok(topic) => {
                let looked = closed::check(&args.topic, &topic.partitions);
                failures.extend(looked.err().map(|error| error.context(server.clone())));
                let row = |partition| (server.clone(), partition);
                rows.extend(topic.partitions.into_iter().map(row));
            }
            Err(error) => failures.push(anyhow::Error::new(error).context(server.clone())),
        }
    }
    print(args.client.output, &rows)?;
    failures.iter().for_each(exit::tell);
    Ok(failures.iter().map(exit::of).fold(Exit::Done, Exit::graver))
}

async fn ask(args: &Args, server: &str) -> Result<Answer, Error> {
    let client = session::connect(&args.client, vec![server.to_owned()]).await?;
    client.admin().describe_topic(&args.topic).await
}

fn print(format: Format, rows: &[(String, Partition)]) -> anyhow::Result<()> {
    const HEADERS: [&str; 8] = [
        "SERVER",
        "PARTITION",
        "ROLE",
        "LOG START",
        "HIGH WATERMARK",
        "DURABLE",
        "LOG END",
        "HOLDS",
    ];
    let mut out = Out::new();
    match format {
        Format::Table if rows.is_empty() => {}
        Format::Table => {
            let row = |(server, p): &(String, Partition)| {
                let offsets = [p.log_start, p.high_watermark, p.durable, p.log_end];
                let offsets = offsets.map(|offset| cell(p, offset));
                [server.clone(), p.id.to_string(), word(&p.role)]
                    .into_iter()
                    .chain(offsets)
                    .chain([holds(p, rows).join(", ")])
                    .collect()
            };
            out.table(&HEADERS, rows.iter().map(row))?;
        }
        Format::Json => rows.iter().try_for_each(|(server, partition)| {
            let mut row = describe::partition(partition);
            row["server"] = server.as_str().into();
            row["holds"] = holds(partition, rows).into();
            out.json(&row)
        })?,
    }
    out.flush()
}

/// Whether no other server's copy of the partition begins earlier, or ends later.
fn holds(partition: &Partition, rows: &[(String, Partition)]) -> Vec<&'static str> {
    let has_records = |copy: &Partition| !copy.closed && copy.log_start < copy.log_end;
    if !has_records(partition) {
        return Vec::new();
    }
    let copies = || {
        let all = rows.iter().map(|(_, copy)| copy);
        all.filter(|copy| copy.id == partition.id && has_records(copy))
    };
    let is_oldest = copies().all(|copy| partition.log_start <= copy.log_start);
    let is_newest = copies().all(|copy| copy.high_watermark <= partition.high_watermark);
    let words = [is_oldest.then_some("oldest"), is_newest.then_some("newest")];
    words.into_iter().flatten().collect()
}
