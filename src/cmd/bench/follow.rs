//! A consumer that waits for what comes.

use std::time::Duration;

use corelog_client::{Client, Consumer, ConsumerConfig, End, Start};
use corelog_record::{PartitionId, TopicName};

use crate::exit::{Exit, stop};

/// A consumer that waits at the end of each of a topic's first partitions: it gets all that is sent from now on.
///
/// # Errors
/// As the client says.
pub(super) async fn follow(
    client: &Client,
    topic: &TopicName,
    partitions: u32,
    timeout: Duration,
) -> anyhow::Result<Consumer> {
    let mut consumer = client.consumer(ConsumerConfig {
        unreachable_timeout: Some(timeout),
        ..ConsumerConfig::default()
    });
    let partitions = || (0..partitions).map(PartitionId::new);
    for partition in partitions() {
        consumer.assign(topic, partition, Start::Latest, End::Follow);
    }
    // One that has not begun would begin behind the first records.
    while partitions().any(|partition| consumer.progress(topic, partition).is_none()) {
        let begun = tokio::time::timeout(POLL, consumer.next_batch()).await;
        match begun {
            Ok(Some(batch)) => drop(batch?),
            Ok(None) => return Err(stop(Exit::Failed, "the consumer ended")),
            Err(_) => {}
        }
    }
    Ok(consumer)
}

/// How often it is looked whether a consumer has begun.
const POLL: Duration = Duration::from_millis(10);
