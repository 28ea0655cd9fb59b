//! `corelog snapshot create`.

use corelog_client::{Admin, Client};
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::snapshot::{Snapshot, Topic};
use corelog_record::{PartitionId, TopicName};
use corelog_storage::snapshot::Name;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::show;
use crate::cmd::topic::closed::known;
use crate::exit::{Exit, say};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Take a snapshot of all topics, or of some.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Take a snapshot of all topics, or of some.\n\n\
        It holds every record that was acknowledged as durable before, of partitions that the \
        server owns; of one that it follows what is not sealed is left out, which is said, and how \
        much that is: the owner takes all. Of several servers the first that answers takes it, and is \
        named. Producers and consumers go \
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
    let (admin, _) = client.admin().of_one().await?;
    let server = session::server(&admin);
    let taken = admin
        .create_snapshot(args.name.as_str(), args.topics.clone())
        .await;
    let taken = session::changing(server, taken)?;
    let until = Instant::now() + args.client.timeout();
    let (left_out, unknown) = lacking(&admin, &taken, until).await;
    // First: it was taken also where that cannot be printed.
    say(&format!("snapshot {} was taken at {server}", args.name));
    for one in &left_out {
        say(&one.said());
    }
    if let [first, others @ ..] = &unknown[..] {
        let others = match others.len() {
            0 => String::new(),
            count => format!(" and {count} other topics"),
        };
        say(&format!(
            "{first}{others}: if something is left out is not known; `corelog topic describe` says if {server} owns it"
        ));
    }
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.table(&show::HEADERS, show::rows(&taken))?,
        Format::Json => {
            let mut json = show::json(&taken);
            json["server"] = server.into();
            json["followed"] = left_out.iter().flat_map(LeftOut::json).collect();
            json["unknown"] = unknown.iter().map(|name| name.as_str()).collect();
            out.json(&json)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What a snapshot lacks, as the server tells until then, and the topics of which it does not tell.
async fn lacking<'a>(
    admin: &Admin,
    taken: &'a Snapshot,
    until: Instant,
) -> (Vec<LeftOut<'a>>, Vec<&'a TopicName>) {
    let (mut left_out, mut unknown) = (Vec::new(), Vec::new());
    for topic in &taken.topics {
        let told = timeout_at(until, admin.describe_topic(&topic.name)).await;
        match told {
            Ok(Ok(told)) if told.id == topic.id => {
                let lacking = Role::ALL.map(|role| LeftOut::of(topic, &told, role));
                left_out.extend(lacking.into_iter().flatten());
            }
            _ => unknown.push(&topic.name),
        }
    }
    (left_out, unknown)
}

/// What a snapshot lacks of a topic in partitions that the server does not own, for the same reason: of them only what is
/// sealed is in it.
struct LeftOut<'a> {
    topic: &'a TopicName,
    /// What the server is to each of them.
    role: Role,
    source: Option<String>,
    /// Each, and the records that the server has, or knows that its source has, beyond those in the snapshot; none of one whose
    /// log is not open.
    records: Vec<(PartitionId, Option<u64>)>,
}

impl<'a> LeftOut<'a> {
    /// In partitions that it is `role` to; none of those that it owns.
    fn of(taken: &'a Topic, told: &describe_topic::Answer, role: Role) -> Option<Self> {
        let is_it = |one: &&describe_topic::Partition| one.role == role && role != Role::Owner;
        let those = || told.partitions.iter().filter(is_it);
        let records = those().filter_map(|now| {
            let held = taken.partitions.iter().find(|held| held.id == now.id)?;
            let here = now.log_end.get().saturating_sub(held.end.get());
            let left = here.saturating_add(now.lag_records.unwrap_or(0));
            Some((now.id, known(now, left)))
        });
        let records: Vec<_> = records.collect();
        (!records.is_empty()).then(|| Self {
            topic: &taken.name,
            role,
            source: those().find_map(|one| one.source.clone()),
            records,
        })
    }

    fn said(&self) -> String {
        let ids = self.records.iter().map(|(id, _)| id.to_string());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let lefts = self.records.iter().map(|(_, left)| *left);
        // Of one that is not open nobody knows.
        let sum = lefts.clone().flatten().fold(0, u64::saturating_add);
        let count = match lefts.flatten().next() {
            Some(_) => format!("at least {sum}"),
            None => "an unknown number of".to_owned(),
        };
        let (why, next) = match self.role {
            Role::Fenced => (
                format!("another node owns partition {ids} by now"),
                "`rejoin` sets aside what only this one has",
            ),
            Role::HandingOver => (
                format!("partition {ids} is being handed over"),
                "take it when that is done, or called off",
            ),
            _ => {
                let source = self.source.as_deref().unwrap_or("another");
                (
                    format!("the server follows {source} in partition {ids}"),
                    "take it at the owner for all",
                )
            }
        };
        format!(
            "{}: {why}: {count} records are not in the snapshot; {next}",
            self.topic
        )
    }

    fn json(&self) -> impl Iterator<Item = serde_json::Value> {
        self.records.iter().map(|(partition, left)| {
            json!({
                "topic": self.topic.as_str(),
                "partition": partition.get(),
                "left_out": left,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All were said to be as the first of them is.
    #[test]
    fn what_is_left_out_is_told_by_what_the_server_is_to_each_partition() {
        let id = "00000000000000000000000000000001";
        let taken: Topic = serde_json::from_value(json!({
            "name": "events", "id": id,
            "partitions": [{ "id": 0, "log_start": 0, "end": 1 }, { "id": 1, "log_start": 0, "end": 2 }, { "id": 2, "log_start": 0, "end": 9 }],
        }))
        .unwrap();
        let partition = |id: u32, role: &str, source: Option<&str>| {
            json!({
                "id": id, "core": 0, "log_start": 0, "high_watermark": 9, "durable": 9, "log_end": 9,
                "epoch": 0, "segments": 0, "bytes": 0, "state": "serving", "damage": [], "role": role, "source": source,
            })
        };
        let told: describe_topic::Answer = serde_json::from_value(json!({
            "id": id,
            "partitions": [
                partition(0, "fenced", None),
                partition(1, "follower", Some("log2:7400")),
                partition(2, "owner", None),
            ],
        }))
        .unwrap();
        let of = |role| LeftOut::of(&taken, &told, role);
        let said = of(Role::Fenced).unwrap().said();
        assert!(
            said.contains("another node owns partition 0 by now: at least 8 records"),
            "{said}"
        );
        let said = of(Role::Follower).unwrap().said();
        assert!(
            said.contains("follows log2:7400 in partition 1: at least 7 records"),
            "{said}"
        );
        assert!(of(Role::Owner).is_none());
        assert!(of(Role::HandingOver).is_none());
    }
}
