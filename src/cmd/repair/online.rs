//! Damaged segments replaced by those of other servers.

use anyhow::Context as _;
use corelog_client::{Admin, Client, Error};
use corelog_protocol::message::describe_topic::{self, State};
use corelog_protocol::message::repair_topic::{Partition, Replaced};
use corelog_record::{PartitionId, TopicName};
use serde_json::{Value, json};

use super::Args;
use crate::cmd::topic::describe::{damage, damage_lines, is_damaged};
use crate::exit::{self, Exit, say};
use crate::output::{Format, Out};
use crate::partitions::{self, Meant};
use crate::quantity::{Amount, Span};
use crate::session;

/// What to do where the server does not say what came of it.
const UNKNOWN: &str = "the server goes on with it, and partitions behind it were not asked for; `corelog topic describe` shows \
                       what is damaged still, a longer --timeout waits for the end";

/// Has the server repair the topic, and prints a row per segment that was replaced.
pub(super) fn run(topic: &TopicName, args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| repair(topic, args, client))
}

async fn repair(topic: &TopicName, args: &Args, client: Client) -> anyhow::Result<Exit> {
    if args.consent.dry_run {
        return show_damage(topic, args, &client).await;
    }
    let ask = async |admin: &Admin, id, partition| {
        let from = args.from.clone();
        let answer = admin.repair_topic(topic, id, partition, from).await?;
        Ok(answer.partitions)
    };
    let each =
        partitions::each(&client.admin(), topic, args.partition, |_| Meant::Yes, ask).await?;
    let mut exit = Exit::Done;
    let ended = each.end(topic, UNKNOWN, |server, done| {
        let printed = print((topic, server), args, done);
        exit = say_left((topic, server), done);
        printed
    });
    match ended {
        // That there is damage is known, whatever became of the rest.
        Err(error) if exit == Exit::Damage => {
            exit::tell(&error);
            Ok(exit)
        }
        ended => ended.map(|()| exit),
    }
}

fn print(
    (topic, server): (&TopicName, &str),
    args: &Args,
    partitions: &[Partition],
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            const HEADERS: [&str; 5] = ["PARTITION", "SEGMENT", "BYTES", "FROM", "TOOK"];
            let rows = partitions.iter().flat_map(|partition| {
                partition
                    .segments
                    .iter()
                    .map(|segment| row(partition, segment))
            });
            let rows: Vec<Vec<String>> = rows.collect();
            if rows.is_empty() {
                let place = place(topic, args.partition);
                say(&format!("no segment of {place} was replaced at {server}"));
            } else {
                out.table(&HEADERS, rows)?;
            }
        }
        Format::Json => out.json(&json!({
            "topic": topic.as_str(),
            "server": server,
            "partitions": partitions.iter().map(in_json).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()
}

/// The topic, or its one partition that is meant.
fn place(topic: &TopicName, partition: Option<u32>) -> String {
    match partition {
        Some(partition) => format!("{topic}/{partition}"),
        None => topic.to_string(),
    }
}

/// Says what is not as it should be still; that decides how the command ends.
fn say_left((topic, server): (&TopicName, &str), partitions: &[Partition]) -> Exit {
    let mut exit = Exit::Done;
    for partition in partitions {
        let place = format!("{server}: {topic}/{}", partition.id);
        match (partition.damage_left, &partition.error) {
            (0, None) => {}
            (0, Some(error)) => {
                say(&format!("{place} was not repaired: {error}"));
                exit = exit.graver(exit::of_body(error));
            }
            (ranges, error) => {
                let why = error.as_ref().map(|error| format!(": {error}"));
                let why = why.unwrap_or_default();
                say(&format!("{place} has {ranges} damaged ranges still{why}"));
                exit = Exit::Damage;
            }
        }
    }
    exit
}

fn row(partition: &Partition, segment: &Replaced) -> Vec<String> {
    vec![
        partition.id.to_string(),
        segment.base.to_string(),
        Amount(segment.bytes).to_string(),
        segment.from.clone(),
        Span::from_millis(segment.took_ms).to_string(),
    ]
}

fn in_json(partition: &Partition) -> Value {
    let segments = partition.segments.iter().map(|segment| {
        json!({
            "segment": segment.base.get(),
            "bytes": segment.bytes,
            "from": segment.from,
            "took_ms": segment.took_ms,
        })
    });
    json!({
        "partition": partition.id.get(),
        "segments": segments.collect::<Vec<_>>(),
        "damage_left": partition.damage_left,
        "error": partition.error.as_ref().map(ToString::to_string),
    })
}

/// What a repair would ask other servers for; ends with 3 if it is anything.
async fn show_damage(topic: &TopicName, args: &Args, client: &Client) -> anyhow::Result<Exit> {
    let (admin, told) = client.admin().of(topic).await?;
    let (server, mut partitions) = (session::server(&admin), told.partitions);
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    if let Some(partition) = args.partition.map(PartitionId::new) {
        partitions.retain(|one| one.id == partition);
        if partitions.is_empty() {
            let topic = topic.clone();
            return Err(Error::NoSuchPartition {
                topic,
                partition,
                count,
            })
            .with_context(|| server.to_owned());
        }
    }
    let printed = print_damage((topic, server), args, &partitions);
    let found = Exit::damage_if(partitions.iter().any(is_damaged));
    Ok(exit::of_found(found, printed))
}

fn print_damage(
    (topic, server): (&TopicName, &str),
    args: &Args,
    partitions: &[describe_topic::Partition],
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let mut lines = partitions
                .iter()
                .flat_map(|p| damage_lines(topic, p.id, &p.damage));
            lines.try_for_each(|line| out.line(&line))?;
            if !partitions.iter().any(is_damaged) {
                let place = place(topic, args.partition);
                say(&format!("no damage of {place} is known at {server}"));
            }
            let unopened = partitions
                .iter()
                .filter(|p| p.state == State::Damaged && p.damage.is_empty());
            for p in unopened {
                let place = format!("{topic}/{}", p.id);
                out.line(&format!(
                    "damage: {place} cannot be opened; the server's log says why"
                ))?;
            }
        }
        Format::Json => {
            let damaged = partitions
                .iter()
                .map(|p| json!({ "partition": p.id.get(), "damage": damage(&p.damage) }));
            out.json(&json!({
                "dry_run": true,
                "topic": topic.as_str(),
                "server": server,
                "partitions": damaged.collect::<Vec<_>>(),
            }))?;
        }
    }
    out.flush()
}
