//! Appends a few records to a topic and reads them back.
//!
//! ```text
//! corelog serve &
//! cargo run -p corelog-client --example produce_and_consume -- 127.0.0.1:7400
//! ```

use std::error::Error;

use corelog_client::record::{PartitionId, Record, TopicName};
use corelog_client::{
    Client, ClientConfig, ConsumerConfig, End, NewTopic, ProducerConfig, Start, now,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let client = Client::connect(ClientConfig::new([server])).await?;

    let topic = TopicName::new("greetings")?;
    let wanted = NewTopic {
        if_not_exists: true,
        ..NewTopic::new(topic.clone(), 2)
    };
    client.admin().create_topic(wanted).await?;

    // Accepted one after the other, in flight together: the deliveries tell when each is in the log.
    let producer = client.producer(ProducerConfig::default());
    let mut deliveries = Vec::new();
    for (key, value) in [("en", "hello"), ("fr", "bonjour"), ("ja", "こんにちは")] {
        let record = Record {
            key: Some(key.into()),
            headers: vec![("source".to_owned(), Some(b"example".to_vec()))],
            ..Record::new(now(), value)
        };
        deliveries.push(producer.send(&topic, None, record).await?);
    }
    for delivery in deliveries {
        match delivery.await {
            Ok(ack) => println!(
                "partition {} offset {}: {:?}",
                ack.partition, ack.offset, ack.level
            ),
            // Not applied may be sent again; unknown may be in the log already.
            Err(failed) => eprintln!("{}: {}", failed.outcome, failed.error),
        }
    }

    let mut consumer = client.consumer(ConsumerConfig::default());
    for partition in 0..2 {
        consumer.assign(
            &topic,
            PartitionId::new(partition),
            Start::Earliest,
            End::HighWatermark,
        );
    }
    while let Some(received) = consumer.next().await {
        let received = received?;
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        println!(
            "{}/{} {}: {} = {}",
            received.topic,
            received.partition,
            received.offset,
            text(received.key.as_deref()),
            text(received.value.as_deref()),
        );
    }
    Ok(())
}
