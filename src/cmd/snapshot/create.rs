//! `corelog snapshot create`.

use corelog_client::Client;
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::snapshot::Topic;
use corelog_record::{PartitionId, TopicName};
use corelog_storage::snapshot::Name;
use serde_json::json;

use super::show;
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
    let server = admin.address().unwrap_or_default();
    let taken = admin
        .create_snapshot(args.name.as_str(), args.topics.clone())
        .await;
    let taken = session::changing(taken)?;
    let mut followed = Vec::new();
    for topic in &taken.topics {
        match admin.describe_topic(&topic.name).await {
            Ok(told) => followed.extend(Followed::of(topic, &told)),
            Err(error) => say(&format!(
                "{}: how much of it is left out is not known: {error}",
                topic.name
            )),
        }
    }
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.table(&show::HEADERS, show::rows(&taken))?,
        Format::Json => {
            let mut json = show::json(&taken);
            json["server"] = server.into();
            json["followed"] = followed.iter().flat_map(Followed::json).collect();
            out.json(&json)?;
        }
    }
    out.flush()?;
    say(&format!("snapshot {} was taken at {server}", args.name));
    for topic in &followed {
        say(&topic.said());
    }
    Ok(Exit::Done)
}

/// What a snapshot lacks of a topic, which the server does not own in these partitions: only what is sealed is in it.
struct Followed<'a> {
    topic: &'a TopicName,
    /// Of the first of them.
    role: Role,
    source: Option<String>,
    /// Each, and the records that the server has, or knows that its source has, beyond those in the snapshot.
    left_out: Vec<(PartitionId, u64)>,
}

impl<'a> Followed<'a> {
    /// None of a topic that it owns, or that is not that one any more.
    fn of(taken: &'a Topic, told: &describe_topic::Answer) -> Option<Self> {
        let is_followed = |one: &&describe_topic::Partition| one.role != Role::Owner;
        let followed = || told.partitions.iter().filter(is_followed);
        let left_out = followed().filter_map(|now| {
            let held = taken.partitions.iter().find(|held| held.id == now.id)?;
            let here = now.log_end.get().saturating_sub(held.end.get());
            let left = here.saturating_add(now.lag_records.unwrap_or(0));
            Some((now.id, left))
        });
        let left_out: Vec<_> = left_out.collect();
        let is_told = told.id == taken.id && !left_out.is_empty();
        let role = followed().next()?.role;
        is_told.then(|| Self {
            topic: &taken.name,
            role,
            source: followed().find_map(|one| one.source.clone()),
            left_out,
        })
    }

    fn said(&self) -> String {
        let ids = self.left_out.iter().map(|(id, _)| id.to_string());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let sum = self.left_out.iter().map(|(_, left)| left);
        let sum = sum.fold(0_u64, |sum, left| sum.saturating_add(*left));
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
            "{}: {why}: at least {sum} records are not in the snapshot; {next}",
            self.topic
        )
    }

    fn json(&self) -> impl Iterator<Item = serde_json::Value> {
        self.left_out.iter().map(|(partition, left)| {
            json!({
                "topic": self.topic.as_str(),
                "partition": partition.get(),
                "left_out": left,
            })
        })
    }
}
