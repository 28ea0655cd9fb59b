//! Partitions that turn up while a topic is followed.

use std::collections::BTreeSet;
use std::time::Duration;

use corelog_client::{Client, Topic};
use corelog_record::PartitionId;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How often they are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What one look found.
pub(super) struct Found {
    /// Those that were not known before.
    pub(super) partitions: Vec<PartitionId>,
    /// The topic got them since it is followed: each server that may have more of it had said before what it has.
    pub(super) is_added: bool,
    /// How many there are, once each of those servers has said so.
    pub(super) count: Option<u32>,
}

/// Tells what turns up of `topic` from now on, each partition once. `is_told` says if no server may have more of it that has not
/// said so by now. It is looked for aside: a server that does not answer holds up no record of the others.
pub(super) fn watch(client: Client, topic: &Topic, mut is_told: bool) -> mpsc::Receiver<Found> {
    let (teller, found) = mpsc::channel(1);
    let (name, id) = ((*topic.name).clone(), topic.id);
    let ids = |topic: &Topic| -> BTreeSet<_> {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| partition.id).collect()
    };
    let mut known = ids(topic);
    tokio::spawn(async move {
        loop {
            sleep(LOOK_INTERVAL).await;
            // Who reads the partitions that are known tells of what is wrong.
            if client.topic_anew(&name).await.is_err() {
                continue;
            }
            let is_added = is_told;
            is_told = is_told || client.untold(&name).await.is_empty();
            // With all that those have said who count as having said it.
            let Ok(told) = client.topic(&name).await else {
                is_told = is_added;
                continue;
            };
            // Under another id it is another topic.
            if told.id != id {
                is_told = is_added;
                continue;
            }
            let partitions: Vec<_> = ids(&told).difference(&known).copied().collect();
            if partitions.is_empty() && is_told == is_added {
                continue;
            }
            known.extend(&partitions);
            let found = Found {
                partitions,
                is_added,
                count: is_told.then(|| told.partition_count()),
            };
            if teller.send(found).await.is_err() {
                return;
            }
        }
    });
    found
}
