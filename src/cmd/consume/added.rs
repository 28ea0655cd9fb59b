//! Partitions that a topic gets while it is followed.

use std::time::Duration;

use corelog_client::{Client, Topic};
use corelog_record::PartitionId;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How often they are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Tells each partition once that `topic` gets from now on. It is looked for aside: a server that does not answer holds up no
/// record of the others.
pub(super) fn watch(client: Client, topic: &Topic) -> mpsc::Receiver<PartitionId> {
    let (teller, added) = mpsc::channel(1);
    let (name, id) = ((*topic.name).clone(), topic.id);
    let partitions = topic.partitions.iter();
    let mut known: Vec<_> = partitions.map(|partition| partition.id).collect();
    tokio::spawn(async move {
        loop {
            sleep(LOOK_INTERVAL).await;
            // Who reads the partitions that are known tells of what is wrong.
            let Ok(told) = client.topic_anew(&name).await else {
                continue;
            };
            // Under another id it is another topic.
            if told.id != id {
                continue;
            }
            for partition in &told.partitions {
                if known.contains(&partition.id) {
                    continue;
                }
                known.push(partition.id);
                if teller.send(partition.id).await.is_err() {
                    return;
                }
            }
        }
    });
    added
}
