//! `corelog partition`: what can be done to a single partition.

use clap::Subcommand;
use corelog_client::Client;
use corelog_protocol::message::describe_topic::State;
use corelog_protocol::message::reopen_partition::Answer;
use corelog_record::{PartitionId, TopicName};
use serde_json::json;

use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Reopen a partition that was fenced.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Reopen(Reopen),
}

/// Reopen a partition that was fenced after a failed write.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Reopen a partition that was fenced after a failed write.\n\n\
        After a failed write or sync nobody can say what the disk holds, so the partition takes \
        no more writes. Reopening recovers it as a start would: it reads what is there, writes \
        its end again, says what was torn or damaged, and serves. Mend the disk first.",
    after_long_help = "EXAMPLES\n  \
        corelog partition reopen events 3"
)]
struct Reopen {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The partition.
    #[arg(value_name = "P", value_parser = quantity::partition, allow_negative_numbers = true)]
    partition: u32,
    #[command(flatten)]
    client: cli::Client,
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Reopen(args) => session::run(&args.client, |client| reopen(args, client)),
    }
}

async fn reopen(args: &Reopen, client: Client) -> anyhow::Result<Exit> {
    let partition = PartitionId::new(args.partition);
    let answer = client
        .admin()
        .reopen_partition(&args.topic, partition)
        .await;
    // Its owner is asked, which is another one's core as a rule: those are named that led to it.
    let report = session::changing(&args.client.servers(), answer)?;
    let found = Exit::damage_if(report.state == State::Damaged);
    Ok(exit::of_found(found, print(args, &report)))
}

fn print(args: &Reopen, report: &Answer) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let mut facts = vec![
                ("partition", format!("{}/{}", args.topic, args.partition)),
                ("state", word(&report.state)),
                ("log start", report.log_start.to_string()),
                ("log end", report.log_end.to_string()),
                ("epoch", report.epoch.to_string()),
                ("torn bytes", report.torn_bytes.to_string()),
            ];
            if !report.message.is_empty() {
                facts.push(("message", report.message.clone()));
            }
            out.facts(facts)?;
        }
        Format::Json => out.json(&json!({
            "topic": args.topic.as_str(),
            "partition": args.partition,
            "state": report.state,
            "log_start": report.log_start.get(),
            "log_end": report.log_end.get(),
            "epoch": report.epoch.get(),
            "torn_bytes": report.torn_bytes,
            "message": report.message,
        }))?,
    }
    out.flush()
}
