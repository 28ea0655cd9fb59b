//! A topic's partitions, asked for one after the other: what was done to one is told, whatever becomes of the next.

use anyhow::Context as _;
use corelog_client::{Admin, Error};
use corelog_protocol::message::describe_topic::Partition;
use corelog_record::{PartitionId, TopicId, TopicName};

use crate::{exit, session};

/// What came of the partitions that were asked for.
pub(crate) struct Each<T> {
    /// What was done, by number.
    pub(crate) done: Vec<T>,
    /// The partition that was not, and why; nothing behind it was asked for.
    pub(crate) ended: Option<(PartitionId, Error)>,
}

/// Asks for the partition `one` of a topic, or for all that are meant, up to the first that is refused, all of the server that
/// tells which they are. If none is, the first one's refusal tells why.
///
/// # Errors
/// Why the topic cannot be looked up.
pub(crate) async fn each<T>(
    admin: &Admin,
    topic: &TopicName,
    one: Option<u32>,
    is_meant: impl Fn(&Partition) -> bool,
    ask: impl AsyncFn(&Admin, TopicId, PartitionId) -> Result<Vec<T>, Error>,
) -> Result<Each<T>, Error> {
    let (admin, known) = admin.of(topic).await?;
    let partitions = match one {
        Some(one) => vec![PartitionId::new(one)],
        None => meant(&known.partitions, is_meant),
    };
    let mut done = Vec::new();
    for partition in partitions {
        match ask(&admin, known.id, partition).await {
            Ok(parts) => done.extend(parts),
            Err(error) => {
                let ended = Some((partition, error));
                return Ok(Each { done, ended });
            }
        }
    }
    Ok(Each { done, ended: None })
}

fn meant(all: &[Partition], is_meant: impl Fn(&Partition) -> bool) -> Vec<PartitionId> {
    let meant: Vec<_> = all.iter().filter(|one| is_meant(one)).collect();
    let asked = match meant.is_empty() {
        true => all.iter().take(1).collect(),
        false => meant,
    };
    asked.into_iter().map(|one| one.id).collect()
}

impl<T> Each<T> {
    /// Has what was done printed, if anything was.
    ///
    /// # Errors
    /// The failure of the partition that was not done, with the exit code 5 if nobody knows whether it was; else of printing.
    pub(crate) fn end(
        self,
        topic: &TopicName,
        print: impl FnOnce(&[T]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let printed = match &self.done[..] {
            [] => Ok(()),
            done => print(done),
        };
        let Some((partition, error)) = self.ended else {
            return printed;
        };
        if let Err(unprinted) = printed {
            exit::tell(&unprinted);
        }
        // A server's own refusal names the partition.
        let is_named = error.refusal().is_some();
        let ended = session::changing(Err(error));
        match is_named {
            true => ended,
            false => ended.with_context(|| format!("{topic}/{partition}")),
        }
    }
}
