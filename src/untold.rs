//! Servers that may have more of a topic than the others tell: they do not answer, or cannot read it.

use corelog_client::{Client, Error, Topic, Untold};
use corelog_record::{PartitionId, TopicName};

use crate::exit::{Exit, stop};

/// That one of them does not say what it has of a topic, and what comes of that.
pub(crate) fn sentence(topic: &TopicName, untold: &Untold, so: &str) -> String {
    let server = &untold.server;
    match untold.damage {
        Some(_) => format!("{server} cannot read its topic {topic}: {so}"),
        None => format!("{server} does not say what it has of {topic}: {so}"),
    }
}

/// The same as a command's end: with 3 where it cannot read it, else with 4.
pub(crate) fn error(topic: &TopicName, untold: &Untold, so: &str) -> anyhow::Error {
    let sentence = sentence(topic, untold, so);
    match untold.damage.clone().map(Box::new) {
        Some(body) => anyhow::Error::new(Error::Refused { body }).context(sentence),
        None => {
            let next = "ask again when it answers, or name the others alone with --server";
            stop(Exit::Unreachable, format!("{sentence}; {next}"))
        }
    }
}

/// A topic's partition of this number.
///
/// # Errors
/// That there is none, or as [`error`], that one of them may have it.
pub(crate) async fn partition(
    client: &Client,
    topic: &Topic,
    number: u32,
) -> anyhow::Result<PartitionId> {
    let missing = match topic.partition(PartitionId::new(number)) {
        Ok(found) => return Ok(found.id),
        Err(missing) => missing,
    };
    Err(match client.untold(&topic.name).await.first() {
        Some(untold) => {
            let so = format!("whether it has partition {number} is not known");
            error(&topic.name, untold, &so)
        }
        None => missing.into(),
    })
}
