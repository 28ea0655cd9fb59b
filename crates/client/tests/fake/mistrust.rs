//! The consumer where logs change under it, answers are not what they should be, or it is asked for much.

use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{Offset, PartitionId, Timestamp};
use corelog_client::{ConsumerConfig, End, Error, Start};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::connect;
use crate::consuming::{P0, next_error, offset, three_batches};
use crate::server::{Act, Server};

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

/// The base offset lies outside the checksum: of the last batch of an answer it was believed, so that what was read had
/// other offsets than in the log, and a consumer that goes on from one of them leaves records out.
#[tokio::test]
async fn a_base_offset_that_was_changed_on_the_way_is_reported_before_a_record_is_handed_out() {
    let raise: [fn(&mut [u8]); 3] = [
        |body| body[7] += 1,
        |body| body[body.len() / 3 + 7] += 1,
        |body| body[body.len() / 3 * 2 + 7] += 1,
    ];
    for (raise, number) in raise.into_iter().zip(0..) {
        let (server, topic) = three_batches(Codec::None).await;
        server.script(move |seen| match seen.request {
            Request::Fetch(_) => Act::Tamper(raise),
            _ => Act::Serve,
        });
        let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
        consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
        let error = next_error(&mut consumer).await;
        assert!(
            matches!(error, Error::Damaged { .. }),
            "batch {number}: {error}"
        );
        assert!(consumer.next().await.is_none(), "it ended its partition");
    }
}

/// Up to 255 of them were left out with it.
#[tokio::test]
async fn records_before_one_that_is_none_are_handed_out() {
    const SOUND: u64 = 20;
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill_badly(SOUND));
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    for by_batch in [false, true] {
        consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
        if by_batch {
            let batch = consumer.next_batch().await.unwrap().unwrap();
            let read: Vec<_> = batch.records().map(|record| record.is_ok()).collect();
            let sound = usize::try_from(SOUND).unwrap();
            assert_eq!(read, [vec![true; sound], vec![false]].concat());
            continue;
        }
        for expected in 0..SOUND {
            let received = consumer.next().await.unwrap().unwrap();
            assert_eq!(received.offset, offset(expected));
        }
        match next_error(&mut consumer).await {
            Error::Damaged { offset: at, .. } => assert_eq!(at, offset(SOUND)),
            other => panic!("{other}"),
        }
    }
}

/// The log's first offset was asked for, and gone by the time it was fetched from: a reader of all there is ended with
/// an error.
#[tokio::test]
async fn where_retention_outruns_the_first_fetch_the_start_is_found_anew_unless_it_was_an_offset() {
    for start in [
        Start::Earliest,
        Start::LastN(8),
        Start::Time(Timestamp::ZERO),
        Start::Offset(Offset::ZERO),
    ] {
        let (server, topic) = three_batches(Codec::None).await;
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        server.script(move |seen| match seen.request {
            Request::Fetch(_) if seen.nth == 0 => Act::Hold(Arc::clone(&held)),
            _ => Act::Serve,
        });
        let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
        consumer.assign(&topic, P0, start, End::HighWatermark);
        server
            .until(|server| server.count(Some(0), "Fetch") == 1)
            .await;
        server.log(&topic, 0, |log| log.truncate(offset(6)));
        gate.notify_one();
        match (start, consumer.next().await.unwrap()) {
            (Start::Offset(_), Err(Error::OutOfRange { log_start, .. })) => {
                assert_eq!(log_start, offset(6));
            }
            (Start::Offset(_), other) => panic!("{other:?}"),
            (_, first) => assert_eq!(first.unwrap().offset, offset(6), "{start:?}"),
        }
    }
}
