//! The consumer where a partition cannot be read.

use corelog_client::protocol::error::{Detail, ErrorCode};
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{Offset, PartitionId};
use corelog_client::{ConsumerConfig, End, Error, Start};
use tokio::time::timeout;

use crate::consuming::{P0, next_error, offset, three_batches};
use crate::server::{Act, Server};
use crate::{PATIENCE, connect, error};

#[tokio::test]
async fn a_batch_that_fails_its_checksum_is_reported_and_other_partitions_go_on() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    for partition in 0..2 {
        server.log(&topic, partition, |log| log.fill(Codec::None, &[1, 2, 3]));
    }
    server.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.partition == P0 => {
            Act::Tamper(|body| *body.last_mut().unwrap() ^= 1)
        }
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    for partition in 0..2 {
        consumer.assign(
            &topic,
            PartitionId::new(partition),
            Start::Earliest,
            End::HighWatermark,
        );
    }
    let (mut records, mut errors) = (0, Vec::new());
    while let Some(received) = consumer.next().await {
        match received {
            Ok(received) => {
                assert_eq!(received.partition, PartitionId::new(1));
                records += 1;
            }
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(records, 3);
    assert!(
        matches!(&errors[..], [Error::Damaged { partition: P0, offset, .. }] if *offset == Offset::ZERO),
        "{errors:?}"
    );
}

#[tokio::test]
async fn damage_that_the_server_found_is_reported_as_damage() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) => Act::Refuse(error(ErrorCode::Damaged)),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    assert!(matches!(
        consumer.next().await,
        Some(Err(Error::Damaged { .. }))
    ));
}

/// It was an error of nobody's: which partition had ended, and where, was not said.
#[tokio::test]
async fn what_the_disk_does_not_give_the_server_is_reported_with_its_place() {
    let (server, topic) = three_batches(Codec::None).await;
    let segment = Some(Offset::ZERO);
    let unread = error(ErrorCode::Internal).with_detail(Detail {
        segment,
        ..Detail::default()
    });
    server.script(move |seen| match seen.request {
        Request::Fetch(_) => Act::Refuse(unread.clone()),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Offset(offset(4)), End::HighWatermark);
    match consumer.next().await {
        Some(Err(
            error @ Error::Unread {
                partition: P0,
                offset: at,
                ..
            },
        )) => {
            assert_eq!(at, offset(4));
            assert!(error.refusal().unwrap().is(ErrorCode::Internal));
        }
        other => panic!("{other:?}"),
    }
}

/// A server that knows nothing of the epoch that was read may give others in the place of the records that follow.
#[tokio::test]
async fn records_of_an_earlier_epoch_than_what_was_read_are_of_another_log_and_not_handed_out() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        // The epoch of the last batch of three, which no checksum covers.
        Request::Fetch(_) if seen.nth == 0 => Act::Tamper(|body| body[body.len() / 3 * 2 + 15] = 7),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let received = consumer.next().await.unwrap().unwrap();
        assert_eq!(received.offset, offset(expected));
    }
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::Diverged { offset: at, .. } => assert_eq!(at, offset(9)),
        other => panic!("{other}"),
    }
}
