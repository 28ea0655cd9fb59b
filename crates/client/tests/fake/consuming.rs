//! The consumer: starts, ends, damage, trouble.

use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{Offset, PartitionId, Timestamp, TopicName};
use corelog_client::{Backoff, Client, ClientConfig, Consumer, ConsumerConfig, End, Error, Start};

use tokio::time::timeout;

use crate::server::{Act, Server};
use crate::{config, connect, error};

pub(crate) const P0: PartitionId = PartitionId::new(0);
pub(crate) const P1: PartitionId = PartitionId::new(1);

/// As long as is waited for what is to come at once; sooner than the client gives anything up.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

/// The offsets of what is read from `start` on, which are the same by records, by batches, and by
/// batches after a record.
async fn read(server: &Server, topic: &TopicName, start: Start) -> Vec<u64> {
    let offsets = read_records(server, topic, start).await;
    for records_first in 0..2 {
        let by_batch = read_batches(server, topic, start, records_first).await;
        assert_eq!(
            by_batch, offsets,
            "{start:?}, {records_first} records first"
        );
    }
    offsets
}

async fn read_batches(
    server: &Server,
    topic: &TopicName,
    start: Start,
    records_first: usize,
) -> Vec<u64> {
    let mut consumer = connect(server).await.consumer(ConsumerConfig::default());
    consumer.assign(topic, P0, start, End::HighWatermark);
    let mut offsets = Vec::new();
    for _ in 0..records_first {
        let first = consumer.next().await;
        offsets.extend(first.map(|first| first.unwrap().offset.get()));
    }
    while let Some(batch) = consumer.next_batch().await {
        let batch = batch.unwrap();
        assert!(!batch.offsets.is_empty());
        for record in batch.records() {
            let record = record.unwrap();
            assert!(batch.offsets.contains(&record.offset));
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset.get());
        }
        let progress = consumer.progress(topic, P0).unwrap();
        assert_eq!(progress.next, batch.offsets.end);
    }
    offsets
}

/// The offsets of what is read from `start` on; each record's value names its offset.
async fn read_records(server: &Server, topic: &TopicName, start: Start) -> Vec<u64> {
    let mut consumer = connect(server).await.consumer(ConsumerConfig::default());
    consumer.assign(topic, P0, start, End::HighWatermark);
    let mut offsets = Vec::new();
    while let Some(received) = consumer.next().await {
        let received = received.unwrap();
        let value = received.offset.to_string();
        assert_eq!(received.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(received.key.as_deref(), Some(&b"key"[..]));
        let headers: Vec<_> = received.headers.iter().collect();
        assert_eq!(headers, [("name", Some(&b"header"[..]))]);
        offsets.push(received.offset.get());
    }
    offsets
}

/// Three batches: offsets 0..3, 3..6, 6..9; times out of order and equal.
pub(crate) async fn three_batches(codec: Codec) -> (Server, TopicName) {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| {
        log.fill(codec, &[10, 30, 20]);
        log.fill(codec, &[15, 40, 40]);
        log.fill(codec, &[50, 45, 60]);
    });
    (server, topic)
}

#[tokio::test]
async fn reading_begins_where_it_is_told_to() {
    for codec in Codec::ALL {
        let (server, topic) = three_batches(codec).await;
        let cases = [
            (Start::Earliest, 0),
            (Start::Latest, 9),
            (Start::Offset(offset(4)), 4),
            (Start::Offset(offset(9)), 9),
            (Start::LastN(2), 7),
            (Start::LastN(100), 0),
        ];
        for (start, first) in cases {
            let expected: Vec<u64> = (first..9).collect();
            assert_eq!(
                read(&server, &topic, start).await,
                expected,
                "{start:?} {codec}"
            );
        }
    }
}

/// Where it had as many records as are decoded at a time it was handed out once more, with none.
#[tokio::test]
async fn a_batch_that_was_read_record_by_record_is_not_handed_out_again() {
    let (server, topic) = three_batches(Codec::None).await;
    server.log(&topic, 0, |log| log.fill(Codec::None, &[0; 256]));
    server.log(&topic, 0, |log| log.fill(Codec::None, &[0]));
    let offsets = read_batches(&server, &topic, Start::LastN(257), 256).await;
    assert_eq!(offsets.len(), 257);
}

#[tokio::test]
async fn by_time_reading_begins_at_the_first_record_of_that_time_or_later() {
    let (server, topic) = three_batches(Codec::None).await;
    for (time, first) in [
        (0, 0),
        (11, 1),
        (25, 1),
        (31, 4),
        (40, 4),
        (41, 6),
        (51, 8),
        (61, 9),
    ] {
        let expected: Vec<u64> = (first..9).collect();
        let start = Start::Time(Timestamp::from_millis(time));
        assert_eq!(read(&server, &topic, start).await, expected, "{time}");
    }
}

#[tokio::test]
async fn records_that_were_truncated_are_not_read() {
    let (server, topic) = three_batches(Codec::None).await;
    server.log(&topic, 0, |log| log.truncate(offset(4)));
    assert_eq!(
        read(&server, &topic, Start::Earliest).await,
        [4, 5, 6, 7, 8]
    );
}

#[tokio::test]
async fn control_batches_are_stepped_over_and_offsets_may_jump() {
    let (server, topic) = three_batches(Codec::None).await;
    server.log(&topic, 0, |log| {
        log.control();
        log.fill(Codec::Zstd, &[70]);
        log.jump(5);
        log.fill(Codec::None, &[80]);
        log.control();
    });
    let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 16];
    assert_eq!(read(&server, &topic, Start::Earliest).await, expected);
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    while consumer.next().await.is_some() {}
    let progress = consumer.progress(&topic, P0).unwrap();
    assert_eq!(progress.next, offset(18), "behind what was stepped over");
    assert!(progress.is_ended);
}

#[tokio::test]
async fn an_end_within_a_batch_is_kept() {
    let (server, topic) = three_batches(Codec::None).await;
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Offset(offset(2)), End::Offset(offset(4)));
    let mut offsets = Vec::new();
    while let Some(received) = consumer.next().await {
        offsets.push(received.unwrap().offset.get());
    }
    assert_eq!(offsets, [2, 3]);
    assert_eq!(consumer.progress(&topic, P0).unwrap().next, offset(4));
    consumer.assign(&topic, P0, Start::Offset(offset(2)), End::Offset(offset(4)));
    let mut ranges = Vec::new();
    while let Some(batch) = consumer.next_batch().await {
        let batch = batch.unwrap();
        ranges.push((batch.offsets.clone(), batch.records().count()));
    }
    let expected = [(offset(2)..offset(3), 1), (offset(3)..offset(4), 1)];
    assert_eq!(ranges, expected);
}

#[tokio::test]
async fn an_offset_outside_the_log_is_reported_with_the_range() {
    let (server, topic) = three_batches(Codec::None).await;
    server.log(&topic, 0, |log| log.truncate(offset(3)));
    for asked in [2, 10] {
        let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
        consumer.assign(&topic, P0, Start::Offset(offset(asked)), End::HighWatermark);
        match consumer.next().await {
            Some(Err(Error::OutOfRange {
                log_start,
                high_watermark,
                ..
            })) => {
                assert_eq!((log_start, high_watermark), (offset(3), offset(9)));
            }
            other => panic!("{other:?}"),
        }
        assert!(consumer.next().await.is_none(), "it ended its partition");
    }
}

#[tokio::test]
async fn who_follows_hears_of_new_records() {
    let (server, topic) = three_batches(Codec::None).await;
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Offset(offset(8)), End::Follow);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, offset(8));
    for round in 0..20 {
        // Parked at the end before there is something to hear of.
        let parked = server.state.lock().unwrap().count_all("Fetch");
        assert!(parked >= 1);
        server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
        assert_eq!(
            consumer.next().await.unwrap().unwrap().offset,
            offset(9 + round)
        );
    }
    let progress = consumer.progress(&topic, P0).unwrap();
    assert_eq!(progress.next, progress.high_watermark);
    consumer.unassign(&topic, P0);
    assert!(consumer.next().await.is_none());
}

/// It ended, as out of range, once the pause was as long as a server may be unreachable.
#[tokio::test]
async fn who_follows_waits_for_as_long_as_it_takes_until_an_offset_can_be_read() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) if seen.nth < 12 => Act::Refuse(error(ErrorCode::PastHighWatermark)),
        _ => Act::Serve,
    });
    let client = ClientConfig {
        backoff: Backoff {
            first: Duration::from_millis(2),
            max: Duration::from_secs(2),
        },
        ..config(&server)
    };
    let consumer = ConsumerConfig {
        unreachable_timeout: Some(Duration::from_secs(1)),
        ..ConsumerConfig::default()
    };
    let mut consumer = Client::connect(client).await.unwrap().consumer(consumer);
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let received = timeout(SOON, consumer.next()).await.unwrap();
    assert_eq!(received.unwrap().unwrap().offset, Offset::ZERO);
}

/// It was asked as often as it could answer.
#[tokio::test]
async fn a_server_that_does_not_wait_for_records_is_asked_again_behind_a_pause() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(|_| Act::Hurry);
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Latest, End::Follow);
    let nothing = timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let asked = server.count(Some(0), "Fetch");
    assert!((1..10).contains(&asked), "{asked} times");
}

/// The time that was waited for an answer took it as it was, and ended the partition's task.
#[tokio::test]
async fn who_would_wait_for_ever_asks_again_each_minute() {
    let (server, topic) = three_batches(Codec::None).await;
    let config = ConsumerConfig {
        wait: Duration::MAX,
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    consumer.assign(&topic, P0, Start::Offset(offset(8)), End::Follow);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, offset(8));
}

#[tokio::test]
async fn trouble_on_the_way_loses_and_repeats_nothing() {
    for seed in 0..20 {
        let server = Server::start(2).await;
        let topic = server.topic("numbers", 1);
        server.log(&topic, 0, |log| {
            (0..50).for_each(|_| log.fill(Codec::None, &[1, 2, 3]));
        });
        let mut random = fastrand::Rng::with_seed(seed);
        server.script(move |seen| match seen.request {
            Request::Fetch(_) | Request::ListOffsets(_) => match random.u8(..4) {
                0 => Act::Cut,
                1 => Act::Refuse(error(ErrorCode::Busy)),
                _ => Act::Serve,
            },
            _ => Act::Serve,
        });
        let small = ConsumerConfig {
            fetch_bytes_max: 500,
            ..ConsumerConfig::default()
        };
        let mut consumer = connect(&server).await.consumer(small);
        consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
        for expected in 0..150 {
            let received = consumer.next().await.unwrap().unwrap();
            assert_eq!(received.offset, offset(expected), "seed {seed}");
        }
        assert!(consumer.next().await.is_none());
    }
}

#[tokio::test]
async fn a_server_that_stays_away_is_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) => Act::Cut,
        _ => Act::Serve,
    });
    let unreachable_timeout = Some(Duration::from_millis(500));
    let impatient = ConsumerConfig {
        unreachable_timeout,
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(impatient);
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let error = consumer.next().await.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

/// The first attempt had no time at all: nothing was read at a server that is well.
#[tokio::test]
async fn where_a_server_may_be_unreachable_for_no_time_its_first_failure_is_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    let impatient = ConsumerConfig {
        unreachable_timeout: Some(Duration::ZERO),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(impatient);
    consumer.assign(&topic, P0, Start::Offset(offset(8)), End::Follow);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, offset(8));
    let before = server.state.lock().unwrap().count_all("ListOffsets");
    server.script(|seen| match seen.request {
        Request::ListOffsets(_) => Act::Cut,
        _ => Act::Serve,
    });
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let error = consumer.next().await.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let after = server.state.lock().unwrap().count_all("ListOffsets");
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn no_more_is_fetched_ahead_than_there_is_memory_for() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| {
        (0..100).for_each(|_| log.fill(Codec::None, &[1, 2, 3]));
    });
    let small = ConsumerConfig {
        fetch_bytes_max: 1,
        ..ConsumerConfig::default()
    };
    let client = connect(&server).await;
    let mut consumer = client.consumer(small);
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    for batch in 1..=90 {
        for _ in 0..3 {
            consumer.next().await.unwrap().unwrap();
        }
        // The last record of this batch was handed out: its room is free only with the next call.
        server
            .until(|server| server.state.lock().unwrap().count_all("Fetch") > batch)
            .await;
        client.admin().metadata().await.unwrap();
        let fetched = server.state.lock().unwrap().count_all("Fetch");
        assert!(
            fetched <= batch + 2,
            "{fetched} fetches for {batch} batches"
        );
    }
}

#[tokio::test]
async fn many_partitions_are_read_as_one() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 100);
    for partition in 0..100 {
        server.log(&topic, partition, |log| log.fill(Codec::Lz4, &[1, 2, 3]));
    }
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    for partition in 0..100 {
        consumer.assign(
            &topic,
            PartitionId::new(partition),
            Start::Earliest,
            End::Follow,
        );
    }
    let mut next = vec![0; 100];
    for _ in 0..300 {
        let received = consumer.next().await.unwrap().unwrap();
        let partition = usize::try_from(received.partition.get()).unwrap();
        assert_eq!(received.offset.get(), next[partition]);
        next[partition] += 1;
    }
    assert_eq!(next, [3; 100]);
    // All hundred poll at the end, on connections that each keep requests free.
    server.log(&topic, 77, |log| log.fill(Codec::None, &[4]));
    assert_eq!(
        consumer.next().await.unwrap().unwrap().partition,
        PartitionId::new(77)
    );
}

/// Assigns the first of two partitions again and again, each time once the server has the poll at its end, while
/// the second one is followed: another poll of the server's for each time, until somebody closes its connection.
async fn seek_often(server: &Server, topic: &TopicName) -> Consumer {
    let config = ConsumerConfig {
        wait: Duration::MAX,
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(server).await.consumer(config);
    let followed = [PartitionId::new(1)].into_iter();
    let sought = std::iter::repeat_n(P0, 300);
    for (polls, partition) in followed.chain(sought).enumerate() {
        consumer.assign(topic, partition, Start::Latest, End::Follow);
        let is_asked = |server: &Server| server.state.lock().unwrap().count_all("Fetch") > polls;
        let asked = timeout(SOON, server.until(is_asked)).await;
        asked.unwrap_or_else(|_| panic!("no poll after {polls}"));
    }
    consumer
}

/// The polls that nobody waited for any more had all of a connection's requests, until the server answered them.
#[tokio::test]
async fn polls_that_nobody_waits_for_hold_up_no_partition() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let mut consumer = seek_often(&server, &topic).await;
    for (partition, expected) in [(1, 0), (1, 1), (0, 0), (1, 2)] {
        server.log(&topic, partition, |log| log.fill(Codec::None, &[1]));
        let received = timeout(SOON, consumer.next()).await.unwrap();
        let received = received.unwrap().unwrap();
        assert_eq!(received.partition.get() as usize, partition);
        assert_eq!(received.offset, offset(expected));
    }
}

#[tokio::test]
async fn a_partition_that_is_assigned_again_and_again_leaves_no_connections_behind() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let _consumer = seek_often(&server, &topic).await;
    // Of what has no user of its own, of the partition that stayed, and of the other one.
    let are_few = |server: &Server| server.state.lock().unwrap().connection_count <= 3;
    timeout(SOON, server.until(are_few)).await.unwrap();
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_reported_by_next() {
    let server = Server::start(1).await;
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(
        &TopicName::new("unknown").unwrap(),
        P0,
        Start::Earliest,
        End::Follow,
    );
    let error = consumer.next().await.unwrap().unwrap_err();
    assert!(error.refusal().unwrap().is(ErrorCode::UnknownTopic));
    assert!(consumer.next().await.is_none());
}

/// The refusal named neither topic nor partition, so that nobody could tell whether the others go on.
#[tokio::test]
async fn a_partition_that_is_refused_as_damaged_where_reading_begins_is_named_and_the_others_go_on()
{
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.log(&topic, 1, |log| log.fill(Codec::None, &[1, 2]));
    server.script(|seen| match seen.request {
        Request::ListOffsets(asked) if asked.partition == P0 => {
            Act::Refuse(error(ErrorCode::Damaged))
        }
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    let (mut read, mut damaged) = (Vec::new(), Vec::new());
    for partition in [P0, PartitionId::new(1)] {
        consumer.assign(&topic, partition, Start::Earliest, End::HighWatermark);
    }
    while let Some(next) = consumer.next().await {
        match next {
            Ok(received) => read.push((received.partition.get(), received.offset.get())),
            Err(Error::Damaged {
                topic, partition, ..
            }) => damaged.push((topic, partition)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(read, [(1, 0), (1, 1)]);
    assert_eq!(damaged, [(topic, P0)]);
}

pub(crate) async fn next_error(consumer: &mut Consumer) -> Error {
    match consumer.next().await {
        Some(Err(error)) => error,
        other => panic!("{other:?}"),
    }
}
