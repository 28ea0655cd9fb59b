//! A topic's partitions, asked for one after the other: what was done to one is told, whatever becomes of the next.

use corelog_client::{Admin, Error};
use corelog_protocol::message::describe_topic::Partition;
use corelog_record::{PartitionId, TopicId, TopicName};
use serde_json::{Value, json};

use crate::exit::say;
use crate::output::{Format, Out};
use crate::{exit, session};

/// What came of the partitions that were asked for.
pub(crate) struct Each<T> {
    /// The server that was asked.
    pub(crate) server: String,
    /// What was done, by number.
    pub(crate) done: Vec<T>,
    /// Those that were not asked for, as nobody named them.
    pub(crate) left_out: Vec<PartitionId>,
    /// The partition that was not, and why; nothing behind it was asked for.
    pub(crate) ended: Option<(PartitionId, Error)>,
}

/// What becomes of a partition where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// It is asked for.
    Yes,
    /// It is not, as it would be refused.
    No,
    /// It is left out, which is told.
    LeftOut,
}

impl From<bool> for Meant {
    fn from(is_meant: bool) -> Self {
        match is_meant {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

/// Asks for the partition `one` of a topic, or for all that are meant, up to the first that is refused, all of the server that
/// tells which they are. If none is, nor left out, the first one's refusal tells why.
///
/// # Errors
/// Why the topic cannot be looked up.
pub(crate) async fn each<T>(
    admin: &Admin,
    topic: &TopicName,
    one: Option<u32>,
    meant: impl Fn(&Partition) -> Meant,
    ask: impl AsyncFn(&Admin, TopicId, PartitionId) -> Result<Vec<T>, Error>,
) -> Result<Each<T>, Error> {
    let (admin, known) = admin.of(topic).await?;
    let server = session::server(&admin).to_owned();
    let (partitions, left_out) = match one {
        Some(one) => (vec![PartitionId::new(one)], Vec::new()),
        None => asked(&known.partitions, meant),
    };
    let mut done = Vec::new();
    for partition in partitions {
        match ask(&admin, known.id, partition).await {
            Ok(parts) => done.extend(parts),
            Err(error) => {
                let ended = Some((partition, error));
                return Ok(Each {
                    server,
                    done,
                    left_out,
                    ended,
                });
            }
        }
    }
    Ok(Each {
        server,
        done,
        left_out,
        ended: None,
    })
}

/// Those that are asked for, and those that are left out.
fn asked(
    all: &[Partition],
    meant: impl Fn(&Partition) -> Meant,
) -> (Vec<PartitionId>, Vec<PartitionId>) {
    let those = |which| {
        let those = all.iter().filter(|one| meant(one) == which);
        those.map(|one| one.id).collect::<Vec<_>>()
    };
    let (mut asked, left_out) = (those(Meant::Yes), those(Meant::LeftOut));
    if asked.is_empty() && left_out.is_empty() {
        asked.extend(all.first().map(|one| one.id));
    }
    (asked, left_out)
}

/// Prints a row per partition, and says which server has them, or the same with the topic's name as JSON.
///
/// # Errors
/// Stdout cannot be written to.
pub(crate) fn print<T>(
    format: Format,
    (topic, server): (&TopicName, &str),
    headers: &[&str],
    all: &[T],
    row: impl Fn(&T) -> Vec<String>,
    in_json: impl Fn(&T) -> Value,
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match format {
        Format::Table => out.table(headers, all.iter().map(row))?,
        Format::Json => out.json(&json!({
            "topic": topic.as_str(),
            "server": server,
            "partitions": all.iter().map(in_json).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()?;
    if format == Format::Table {
        say(&format!("topic {topic} at {server}"));
    }
    Ok(())
}

impl<T> Each<T> {
    /// Has what was done printed, if anything was, or left out.
    ///
    /// # Errors
    /// The failure of the partition that was not done, with the exit code 5, and what is to do `next`, if nobody knows whether
    /// it was; else of printing.
    pub(crate) fn end(
        self,
        topic: &TopicName,
        next: &str,
        print: impl FnOnce(&str, &[T]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let printed = match self.done.is_empty() && self.left_out.is_empty() {
            true => Ok(()),
            false => print(&self.server, &self.done),
        };
        let Some((partition, error)) = self.ended else {
            return printed;
        };
        if let Err(unprinted) = printed {
            exit::tell(&unprinted);
        }
        // A server's own refusal names the partition.
        let is_refusal = error.refusal().is_some();
        let ended = session::unless_applied(&self.server, error, next);
        Err(match is_refusal {
            true => ended,
            false => ended.context(format!("{topic}/{partition}")),
        })
    }
}
