//! The topic that is written to: a new one, or one that is written to with consent.

use std::sync::Arc;

use corelog_client::{Admin, Client, Error, NewTopic, Topic};
use corelog_protocol::message::describe_topic::{Answer, Partition};
use corelog_protocol::message::list_offsets::At;
use corelog_record::{PartitionId, TopicName};

use crate::exit::{Exit, stop};
use crate::untold;

/// The topic that is taken for a measurement's own.
pub(super) const DEFAULT: &str = "bench";

/// Consent to write behind what others wrote.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(super) struct Consent {
    /// Write also to a topic that has records; one called bench needs no --yes.
    #[arg(long)]
    yes: bool,
}

/// Creates the topic if it is not there; gives how many partitions it has, whichever of the servers has them.
///
/// # Errors
/// As [`whole`]; exit code 6 for a topic that has records, without consent.
pub(super) async fn create(
    client: &Client,
    name: &TopicName,
    partitions: u32,
    consent: Consent,
) -> anyhow::Result<u32> {
    let admin = client.admin();
    // Of several servers it may be another one's than the one that would create it.
    let known = match admin.describe_topic(name).await {
        Err(error) if error.is_unknown_topic() => {
            let mut topic = NewTopic::new(name.clone(), partitions);
            topic.if_not_exists = true;
            let made = admin.create_topic(topic).await?;
            if made.created {
                return Ok(made.partitions);
            }
            // Somebody was faster.
            admin.describe_topic(name).await?
        }
        known => known?,
    };
    let count = whole(client, name).await?.partition_count();
    let is_given = consent.yes || name.as_str() == DEFAULT;
    if !is_given && has_records(&admin, name, &known, count).await? {
        let message = format!(
            "topic {name} has records, and this writes others behind them; say --yes if it may, or name another with --topic"
        );
        return Err(stop(Exit::Denied, message));
    }
    Ok(count)
}

/// A topic with the partitions of all servers: what is measured of a part is not what was asked for.
///
/// # Errors
/// As the client says; exit code 4 where a server may have more of it and does not answer, 3 where one cannot read it.
pub(super) async fn whole(client: &Client, name: &TopicName) -> anyhow::Result<Arc<Topic>> {
    let topic = client.topic_anew(name).await?;
    match client.untold(name).await.first() {
        Some(one) => Err(untold::error(name, one, "nothing is measured")),
        None => Ok(topic),
    }
}

/// If any partition has records. Of one that the server which told of the topic does not own, its owner is asked: a copy may
/// have none of them.
async fn has_records(
    admin: &Admin,
    name: &TopicName,
    known: &Answer,
    count: u32,
) -> Result<bool, Error> {
    let has_records = |one: &Partition| one.closed || one.log_start < one.log_end;
    if known.partitions.iter().any(has_records) {
        return Ok(true);
    }
    let is_owned = |partition: &PartitionId| {
        let mut told = known.partitions.iter();
        told.any(|one| one.id == *partition && one.role.owns())
    };
    let all = (0..count).map(PartitionId::new);
    for partition in all.filter(|one| !is_owned(one)) {
        let there = admin.list_offsets(name, partition, At::Latest).await?;
        if there.log_start < there.high_watermark {
            return Ok(true);
        }
    }
    Ok(false)
}
