//! The consumer where logs change under it, answers are not what they should be, or it is asked for much.

use std::time::Duration;

use corelog_client::record::PartitionId;
use corelog_client::record::batch::Codec;
use corelog_client::{ConsumerConfig, End, Error, Start};
use tokio::time::timeout;

use crate::connect;
use crate::consuming::{P0, next_error, offset, three_batches};
use crate::server::Server;

/// What is waited for comes at once, or this fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// Partitions were grouped by how many there were, the one that is replaced not among them: those of a consumer that
/// assigned all of its own again met on one connection, and who waited there for records held up the others.
#[tokio::test]
async fn partitions_that_are_assigned_again_share_a_connection_with_no_more_than_before() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 96);
    let config = ConsumerConfig {
        wait: Duration::from_secs(60),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    for partition in (0..96).chain(0..96).map(PartitionId::new) {
        consumer.assign(&topic, partition, Start::Earliest, End::Follow);
    }
    let all_wait = server.until(|server| server.count(Some(0), "Fetch") == 96);
    timeout(PATIENCE, all_wait).await.unwrap();
    assert_eq!(server.count(Some(0), "Hello"), 3);
}

#[tokio::test]
async fn partitions_that_have_ended_leave_their_connection_to_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 64);
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    server.log(&topic, 63, |log| log.fill(Codec::None, &[1]));
    for partitions in [0..32, 32..64] {
        for partition in partitions.map(PartitionId::new) {
            consumer.assign(&topic, partition, Start::Earliest, End::HighWatermark);
        }
        while consumer.next().await.transpose().unwrap().is_some() {}
    }
    assert_eq!(server.count(Some(0), "Hello"), 1);
}

/// A replica that ends right where the reader stands answers with nothing, again and again: as nothing failed, it was
/// asked for ever, many times a second.
#[tokio::test]
async fn records_that_were_readable_and_do_not_come_are_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    let config = ConsumerConfig {
        fetch_bytes_max: 1,
        unreachable_timeout: Some(Duration::from_millis(50)),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    // There is no room for a third fetch before the first is handed out.
    server
        .until(|server| server.count(Some(0), "Fetch") == 2)
        .await;
    server.log(&topic, 0, |log| log.cut(offset(6)));
    for expected in 0..6 {
        assert_eq!(
            consumer.next().await.unwrap().unwrap().offset,
            offset(expected)
        );
    }
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::OutOfRange {
            offset: end,
            high_watermark,
            ..
        } => {
            assert_eq!((end, high_watermark), (offset(9), offset(6)));
        }
        other => panic!("{other}"),
    }
}
