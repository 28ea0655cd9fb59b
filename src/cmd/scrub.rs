//! `corelog scrub`: has the sealed segments of a topic read and checked now.

use std::collections::BTreeSet;
use std::time::Duration;

use corelog_client::Client;
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::scrub_topic::{Outcome, Partition, State};
use corelog_record::{PartitionId, TopicName};
use serde_json::{Value, json};

use crate::cmd::topic::closed;
use crate::cmd::topic::describe::{age, damage, tell_damage};
use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit, say};
use crate::output::cell;
use crate::quantity::{Amount, rfc3339};
use crate::{cli, partitions, progress, quantity, session};

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Have a topic's sealed segments read from the disk and checked.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Have a topic's sealed segments read from the disk and checked.\n\n\
        The server does so by itself every week, at the rate that `corelog serve --scrub-rate` \
        sets, which also holds here. Damage that is found is remembered: what is damaged is not \
        served, what lies around it is. Ends with 3 if damage is known of, or a partition could not be \
        opened, else with 1 if the last pass did not read all.",
    after_long_help = "EXAMPLES\n  \
        corelog scrub events                  # begins, and tells how far it is\n  \
        corelog scrub events --wait           # begins, and waits for the end\n  \
        corelog scrub events --partition 3 --wait --output json"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Only this partition.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Wait until it is done.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Begins a pass, waits for it if asked to, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| scrub(args, client))
}

async fn scrub(args: &Args, client: Client) -> anyhow::Result<Exit> {
    const HEADERS: [&str; 5] = ["PARTITION", "STATE", "READ", "SEALED", "SCRUBBED"];
    let partition = args.partition.map(PartitionId::new);
    let (admin, topic) = client.admin().of(&args.topic).await?;
    let (server, id) = (session::server(&admin), topic.id);
    let by_server = |error| session::by(server, error);
    let begun = admin.scrub_topic(&args.topic, Some(id), partition).await;
    let mut scrub = begun.map_err(by_server)?;
    if args.wait {
        // Of partitions that the topic gets meanwhile no pass was begun.
        let asked: Vec<_> = scrub.partitions.iter().map(|p| p.id).collect();
        let sum = |of: fn(&Partition) -> u64, all: &[Partition]| all.iter().map(of).sum();
        let bar = progress::bytes(Some(sum(|p| p.bytes_total, &scrub.partitions)));
        while scrub.partitions.iter().any(|p| p.state != State::Idle) {
            tokio::time::sleep(ASK_EVERY).await;
            let told = admin.scrub_status(&args.topic, Some(id), partition).await;
            scrub = told.map_err(by_server)?;
            scrub.partitions.retain(|p| asked.contains(&p.id));
            bar.set_position(sum(|p| p.bytes_done, &scrub.partitions));
        }
        bar.finish_and_clear();
    }
    let topic = match args.wait {
        // What was told of it is as old as the wait was long.
        true => admin.describe_topic(&args.topic).await,
        false => Ok(topic),
    };
    let told = topic.as_ref().map_or(&[][..], |topic| &topic.partitions);
    let not_open = told.iter().filter(|it| it.closed).map(|it| it.id);
    let not_open = BTreeSet::from_iter(not_open);
    let is_open = |p: &Partition| !not_open.contains(&p.id);
    let row = |p: &Partition| {
        let is_open = is_open(p);
        vec![
            p.id.to_string(),
            word(&p.state),
            cell(is_open.then_some(Amount(p.bytes_done))),
            cell(is_open.then_some(Amount(p.bytes_total))),
            cell(is_open.then(|| age(p.scrubbed_at))),
        ]
    };
    let (format, all) = (args.client.output, &scrub.partitions);
    let place = (&args.topic, server);
    let in_json = |p: &Partition| partition_json(p, is_open(p));
    let printed = partitions::print(format, place, &HEADERS, all, row, in_json);
    let mut exit = Exit::Done;
    let is_meant = |one: &&describe_topic::Partition| partition.is_none_or(|only| only == one.id);
    let are_open = topic.map_err(by_server).and_then(|topic| {
        let meant = topic.partitions.iter().filter(is_meant);
        closed::check_none_failed(&args.topic, meant)
    });
    if let Err(error) = are_open {
        exit::tell(&error);
        exit = exit::of(&error);
    }
    for partition in &scrub.partitions {
        if let Some(why) = unfinished(partition) {
            say(&format!("{}/{}: {why}", args.topic, partition.id));
            if exit == Exit::Done {
                exit = Exit::Failed;
            }
        }
        exit = exit.graver(tell_damage(&args.topic, partition.id, &partition.damage));
    }
    Ok(exit::of_found(exit, printed))
}

/// Why a partition's last pass says nothing of all of it.
fn unfinished(partition: &Partition) -> Option<&'static str> {
    let is_over = partition.state == State::Idle;
    match partition.outcome {
        Outcome::Unread if is_over => {
            Some("not all could be read: the server's log says why, and it tries again in an hour")
        }
        Outcome::Stopped if is_over => {
            Some("the pass ended early: the partition is fenced, or was closed or reopened")
        }
        // One was begun: to the process that is there now there was none.
        Outcome::Never if is_over => Some(
            "the server was started again meanwhile: nothing tells that all was read; scrub it again",
        ),
        _ => None,
    }
}

fn partition_json(partition: &Partition, is_open: bool) -> Value {
    json!({
        "partition": partition.id.get(),
        "state": partition.state,
        "bytes_done": is_open.then_some(partition.bytes_done),
        "bytes_total": is_open.then_some(partition.bytes_total),
        "scrubbed_at": partition.scrubbed_at.map(rfc3339),
        "outcome": partition.outcome,
        "damage": damage(&partition.damage),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With --wait it ended with 0 once the server was back, as if all had been read.
    #[test]
    fn a_pass_that_a_start_of_the_server_has_ended_says_that_it_did_not_read_all() {
        let is_unfinished = |state, outcome| {
            let partition = Partition {
                id: PartitionId::new(0),
                state,
                bytes_done: 0,
                bytes_total: 9,
                scrubbed_at: None,
                outcome,
                damage: Vec::new(),
            };
            unfinished(&partition).is_some()
        };
        assert!(is_unfinished(State::Idle, Outcome::Never));
        assert!(!is_unfinished(State::Waiting, Outcome::Never));
        assert!(!is_unfinished(State::Idle, Outcome::Whole));
    }
}
