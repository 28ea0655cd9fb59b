//! `corelog topic describe`.

use std::collections::BTreeSet;

use corelog_client::Client;
use corelog_protocol::message::describe_topic::{Answer, Damage, Partition, State};
use corelog_protocol::message::replica_status::{self, Role, State as Copying};
use corelog_record::{PartitionId, Timestamp, TopicName};
use serde_json::{Value, json};

use super::closed::{cell, known};
use super::followers;
use super::state::{Told, awaited, own_word};
use crate::exit::{self, Exit, say};
use crate::output::{Format, Out};
use crate::quantity::{self, Amount, Span};
use crate::{cli, session};

/// Show a topic's policy and each partition's state.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show a topic's policy and each partition's state.\n\n\
        log start <= high watermark <= durable <= log end: what can be read lies between the \
        first two, what a power cut leaves lies below the third. SCRUBBED says when all sealed \
        segments were last read and checked, SNAPSHOT which one is the last, and where it ends; \
        below stands how far behind its source a replica is, what a partition waits for that serves nobody, who follows, who \
        has yet to hear of a promotion, and what is damaged and not served. What a partition holds that is not open is not known. \
        Ends with 3 if anything is damaged.",
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
    let (admin, topic) = client.admin().of(&args.name).await?;
    let replicas = admin.replica_status(&args.name, Some(topic.id)).await;
    let replicas = replicas.map_err(|error| session::by(session::server(&admin), error))?;
    let printed = print(args, &topic, &replicas.partitions);
    let found = Exit::damage_if(topic.partitions.iter().any(is_damaged));
    Ok(exit::of_found(found, printed))
}

fn print(
    args: &Args,
    topic: &Answer,
    replicas: &[replica_status::Partition],
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            show(&args.name, topic, &mut out)?;
            for (address, known) in followers::by_address(replicas) {
                let (count, said) = (known.partition_count, known.said());
                let name = &args.name;
                out.line(&format!(
                    "follower: {address} follows {count} partitions of {name}, {said}"
                ))?;
            }
            let outranked = replicas.iter().flat_map(|one| &one.outranked);
            for address in outranked.collect::<BTreeSet<_>>() {
                let count = followers::untold_at(replicas, address).len();
                let name = &args.name;
                out.line(&format!(
                    "untold: {address} has yet to hear that {count} partitions of {name}, which were copied from there, \
                     have another owner"
                ))?;
            }
        }
        Format::Json => {
            let told = topic.partitions.iter().map(|one| {
                let replica = replicas.iter().find(|it| it.id == one.id);
                let mut told = partition(one);
                told["followers"] = json!(replica.map(|it| followers::in_json(&it.followers)));
                told["outranked"] = json!(replica.map(|it| &it.outranked));
                told
            });
            out.json(&json!({
                "name": args.name.as_str(),
                "id": topic.id.to_string(),
                "policy": super::policy::json(&topic.settings),
                "partitions": told.collect::<Vec<_>>(),
            }))?;
        }
    }
    out.flush()
}

/// If something of a partition cannot be read; one that cannot be opened at all tells of no ranges.
pub(crate) fn is_damaged(partition: &Partition) -> bool {
    partition.state == State::Damaged || !partition.damage.is_empty()
}

fn show(name: &TopicName, topic: &Answer, out: &mut Out) -> anyhow::Result<()> {
    const HEADERS: [&str; 12] = [
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
        "SCRUBBED",
        "SNAPSHOT",
    ];
    let named = [("topic", name.to_string()), ("id", topic.id.to_string())];
    out.facts(
        named
            .into_iter()
            .chain(super::policy::facts(&topic.settings)),
    )?;
    out.line("")?;
    let row = |p: &Partition| {
        vec![
            p.id.to_string(),
            shown(p),
            p.core.to_string(),
            cell(p, p.log_start),
            cell(p, p.high_watermark),
            cell(p, p.durable),
            cell(p, p.log_end),
            cell(p, p.segments),
            cell(p, Amount(p.bytes)),
            cell(p, p.epoch),
            cell(p, age(p.scrubbed_at)),
            p.snapshot.as_ref().map_or_else(
                || "-".to_owned(),
                |last| format!("{}@{}", last.name, last.end),
            ),
        ]
    };
    out.table(&HEADERS, topic.partitions.iter().map(row))?;
    for partition in &topic.partitions {
        if let Some(line) = replica_line(name, partition) {
            out.line(&line)?;
        }
        for one in &partition.waits_for {
            let (id, whom) = (partition.id, awaited(one));
            out.line(&format!(
                "held: {name}/{id} serves nobody: it waits for {whom}"
            ))?;
        }
        for line in damage_lines(name, partition.id, &partition.damage) {
            out.line(&line)?;
        }
    }
    Ok(())
}

fn shown(partition: &Partition) -> String {
    let told = Told {
        word: &own_word(partition),
        is_read_only: partition.read_only,
        is_replaced: partition.role == Role::Fenced,
    };
    told.shown().to_owned()
}

/// How long ago a scrub ended, in its two largest units.
pub(crate) fn age(scrubbed_at: Option<Timestamp>) -> String {
    let Some(time) = scrubbed_at else {
        return "never".to_owned();
    };
    let millis = corelog_client::now().millis().saturating_sub(time.millis());
    let seconds = u64::try_from(millis).unwrap_or(0) / 1_000;
    let rounded = match seconds {
        0..=59 => seconds,
        60..=3_599 => seconds / 60 * 60,
        3_600..=86_399 => seconds / 3_600 * 3_600,
        _ => seconds / 86_400 * 86_400,
    };
    format!("{} ago", Span::from_millis(rounded * 1_000))
}

/// What a partition that is not owned is, and how far behind its source.
fn replica_line(topic: &TopicName, partition: &Partition) -> Option<String> {
    if partition.role == Role::Owner {
        return None;
    }
    let place = format!("{topic}/{}", partition.id);
    let role = super::policy::word(&partition.role).replace('_', " ");
    let source = partition.source.as_deref().unwrap_or("nobody known");
    let line = match partition.role {
        Role::Follower if partition.closed => {
            format!("replica: {place} is a copy of {source}'s, and not open")
        }
        Role::Follower => match partition.copying {
            Copying::Done => format!(
                "replica: {place} was copied from {source} up to {}, and does not follow it",
                partition.durable
            ),
            Copying::Stopped => format!(
                "replica: {place} does not follow {source} any more: it has stopped at {}; `corelog top` says why",
                partition.durable
            ),
            Copying::Waiting => format!(
                "replica: {place} takes nothing from {source} now: {}{}; `corelog top` says why",
                lag(partition.lag_records, partition.lag_bytes, None),
                partition.lag_records.map_or("", |_| " when last heard")
            ),
            _ => format!(
                "replica: {place} follows {source}, {}",
                lag(partition.lag_records, partition.lag_bytes, partition.lag_ms)
            ),
        },
        Role::HandingOver => match &partition.source {
            Some(to) => format!(
                "replica: {place} takes no writes: it is being handed over to {to}; the same `corelog handover` \
                 goes on with that if it has stopped, --abort calls it off"
            ),
            None => format!(
                "replica: {place} takes no writes: it is being taken back from a handover; \
                 `corelog handover --abort` goes on with that if it has stopped"
            ),
        },
        _ => format!("replica: {place} is {role}, its owner is {source}"),
    };
    Some(line)
}

/// How far behind its source a replica is, as far as that is known.
pub(crate) fn lag(records: Option<u64>, bytes: Option<u64>, millis: Option<u64>) -> String {
    if records == Some(0) {
        return "level with it".to_owned();
    }
    let facts = [
        records.map(|records| format!("{records} records")),
        bytes.map(|bytes| Amount(bytes).to_string()),
        millis.map(|millis| Span::from_millis(millis).to_string()),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if facts.is_empty() {
        return "how far behind is not known".to_owned();
    }
    format!("{} behind", facts.join(", "))
}

/// A line for each range that cannot be read.
pub(crate) fn damage_lines(
    topic: &TopicName,
    partition: PartitionId,
    damage: &[Damage],
) -> Vec<String> {
    let line = |damage: &Damage| {
        format!(
            "damage: offsets {} to {} of {topic}/{partition} cannot be read (segment {})",
            damage.from, damage.to, damage.segment
        )
    };
    damage.iter().map(line).collect()
}

/// Says what of a partition cannot be read, and ends with that if there is any.
pub(crate) fn tell_damage(topic: &TopicName, partition: PartitionId, damage: &[Damage]) -> Exit {
    let lines = damage_lines(topic, partition, damage);
    lines.iter().for_each(|line| say(line));
    Exit::damage_if(!lines.is_empty())
}

/// Damage as programs read it.
pub(crate) fn damage(damage: &[Damage]) -> Vec<Value> {
    let json = |damage: &Damage| {
        json!({
            "from": damage.from.get(),
            "to": damage.to.get(),
            "segment": damage.segment.get(),
        })
    };
    damage.iter().map(json).collect()
}

/// A partition as programs read it.
pub(crate) fn partition(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "state": own_word(partition),
        "waits_for": partition.waits_for,
        "core": partition.core.get(),
        "log_start": known(partition, partition.log_start.get()),
        "high_watermark": known(partition, partition.high_watermark.get()),
        "durable": known(partition, partition.durable.get()),
        "log_end": known(partition, partition.log_end.get()),
        "segments": known(partition, partition.segments),
        "bytes": known(partition, partition.bytes),
        "epoch": known(partition, partition.epoch.get()),
        "read_only": partition.read_only,
        "damage": damage(&partition.damage),
        "scrubbed_at": partition.scrubbed_at.map(quantity::rfc3339),
        "snapshot": partition
            .snapshot
            .as_ref()
            .map(|last| json!({ "name": last.name, "end": last.end.get() })),
        "role": partition.role,
        "source": partition.source,
        "copying": partition.copying,
        "lag_records": partition.lag_records,
        "lag_bytes": partition.lag_bytes,
        "lag_ms": partition.lag_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who read that its owner is another node looked for what did not begin there.
    #[test]
    fn a_partition_that_is_being_handed_over_says_that_it_takes_no_writes() {
        let mut partition: Partition = serde_json::from_value(json!({
            "id": 3, "core": 0, "log_start": 0, "high_watermark": 0, "durable": 0, "log_end": 0,
            "epoch": 0, "segments": 0, "bytes": 0, "state": "serving", "damage": [], "role": "owner",
        }))
        .unwrap();
        let topic = TopicName::new("events").unwrap();
        assert_eq!(replica_line(&topic, &partition), None);
        partition.role = Role::HandingOver;
        let line = replica_line(&topic, &partition).unwrap();
        assert!(line.contains("`corelog handover --abort`"), "{line}");
        partition.source = Some("log2:7400".to_owned());
        let line = replica_line(&topic, &partition).unwrap();
        assert!(line.contains("being handed over to log2:7400"), "{line}");
    }

    #[test]
    fn a_lag_is_told_as_far_as_it_is_known() {
        let told = lag(Some(58), Some(5_800), Some(1_200));
        assert_eq!(told, "58 records, 5.6 KiB, 1s 200ms behind");
        assert_eq!(lag(Some(0), Some(0), Some(3)), "level with it");
        assert_eq!(lag(None, None, Some(10)), "10ms behind");
        assert_eq!(lag(None, None, None), "how far behind is not known");
    }
}
