//! The producer: acknowledgements, partitions, memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::message::ack::Level;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::{Builder, Codec};
use corelog_client::record::{PartitionId, Record, Timestamp, TopicName};
use corelog_client::{
    Ack, BatchReport, Client, ClientConfig, Delivery, Error, Outcome, ProduceError, Producer,
    ProducerConfig, partition_of_key,
};
use tokio::sync::Notify;

use crate::server::{Act, Seen, Server};
use crate::{config, connect, error, record};

pub(crate) const P0: Option<PartitionId> = Some(PartitionId::new(0));

/// Small batches at once, so that many are in flight.
pub(crate) fn eager() -> ProducerConfig {
    ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes_max: 200,
        ..ProducerConfig::default()
    }
}

/// A script for Produce requests alone.
pub(crate) fn on_produce(
    mut act: impl FnMut(&Seen<'_>) -> Act + Send + 'static,
) -> impl FnMut(&Seen<'_>) -> Act + Send + 'static {
    move |seen| match seen.request {
        Request::Produce(_) => act(seen),
        _ => Act::Serve,
    }
}

/// Holds the first Produce until it is told, and all behind it on its connection; those meet `behind`, and then a good server.
pub(crate) fn hold_first<const N: usize>(server: &Server, behind: [Act; N]) -> Arc<Notify> {
    let gate = Arc::new(Notify::new());
    let first = Act::Hold(Arc::clone(&gate));
    let mut acts = std::iter::once(first).chain(behind);
    server.script(on_produce(move |_| acts.next().unwrap_or(Act::Serve)));
    gate
}

pub(crate) async fn send_numbers(
    producer: &Producer,
    topic: &TopicName,
    numbers: std::ops::Range<usize>,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in numbers {
        let delivery = producer
            .send(topic, P0, record(number.to_string()))
            .await
            .unwrap();
        deliveries.push(delivery);
    }
    deliveries
}

pub(crate) async fn outcomes(deliveries: Vec<Delivery>) -> Vec<Result<Ack, ProduceError>> {
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await);
    }
    outcomes
}

/// Holds what each future said against what the log has.
pub(crate) fn check(server: &Server, topic: &TopicName, outcomes: &[Result<Ack, ProduceError>]) {
    let values = server.log(topic, 0, |log| log.values());
    let numbers: Vec<usize> = values
        .iter()
        .map(|value| str::from_utf8(value).unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "in order, none twice: {numbers:?}"
    );
    for (number, outcome) in outcomes.iter().enumerate() {
        let found = numbers.binary_search(&number);
        match outcome {
            Ok(ack) => assert_eq!(found, Ok(usize::try_from(ack.offset.get()).unwrap())),
            Err(error) if error.outcome == Outcome::NotApplied => {
                assert!(found.is_err(), "{number} is in the log: {error}");
            }
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn records_arrive_in_order_and_acks_name_their_offsets() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    for codec in Codec::ALL {
        let producer = connect(&server)
            .await
            .producer(ProducerConfig { codec, ..eager() });
        let end = server.log(&topic, 0, |log| log.end.get());
        for (number, delivery) in send_numbers(&producer, &topic, 0..100)
            .await
            .into_iter()
            .enumerate()
        {
            let ack = delivery.await.unwrap();
            assert_eq!(ack.offset.get(), end + number as u64);
            assert_eq!(ack.level, Level::Durable);
        }
    }
}

/// A batch of records whose values are the numbers.
fn batch(codec: Codec, numbers: std::ops::Range<usize>) -> Builder {
    let mut batch = Builder::new(codec);
    for number in numbers {
        batch.append_record(&record(number.to_string())).unwrap();
    }
    batch
}

#[tokio::test]
async fn whole_batches_arrive_as_they_are_among_the_records() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = connect(&server).await.producer(ProducerConfig {
        linger: Duration::from_secs(60),
        ..ProducerConfig::default()
    });
    let before = send_numbers(&producer, &topic, 0..3).await;
    let mut whole = Vec::new();
    for (codec, numbers) in [(Codec::None, 3..10), (Codec::Zstd, 10..500)] {
        let count = numbers.len() as u64;
        let sent = producer.send_batch(&topic, P0.unwrap(), batch(codec, numbers));
        whole.push((count, sent.await.unwrap()));
    }
    let behind = send_numbers(&producer, &topic, 500..503).await;
    producer.flush().await;
    let mut outcomes = outcomes(before).await;
    for (count, delivery) in whole {
        let ack = delivery.await.unwrap();
        assert_eq!(ack.last.since(ack.first), count - 1);
        outcomes.extend((0..count).map(|index| {
            Ok(Ack {
                partition: PartitionId::new(0),
                offset: ack.first.plus(index),
                level: ack.level,
            })
        }));
    }
    outcomes.extend(self::outcomes(behind).await);
    assert_eq!(outcomes.len(), 503);
    check(&server, &topic, &outcomes);
    assert_eq!(producer.memory_bytes(), 0);
}

#[tokio::test]
async fn a_batch_that_no_server_takes_is_refused_before_it_is_sent() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ProducerConfig {
        memory_bytes_max: 20_000,
        ..ProducerConfig::default()
    };
    let producer = connect(&server).await.producer(config);
    let empty = Builder::new(Codec::None);
    let large = batch(Codec::None, 0..10_000);
    for (batch, is_empty) in [(empty, true), (large, false)] {
        let refused = producer.send_batch(&topic, P0.unwrap(), batch).await;
        match refused.unwrap_err() {
            Error::Batch {
                source: corelog_client::record::Error::Count { found: 0, .. },
            } => assert!(is_empty),
            Error::Batch {
                source: corelog_client::record::Error::BatchTooLarge { max: 20_000, .. },
            } => assert!(!is_empty),
            other => panic!("{other}"),
        }
    }
    let missing = producer.send_batch(&topic, PartitionId::new(7), batch(Codec::None, 0..1));
    let missing = missing.await.unwrap_err();
    assert!(
        matches!(missing, Error::NoSuchPartition { .. }),
        "{missing}"
    );
    assert_eq!(producer.memory_bytes(), 0);
    assert!(server.log(&topic, 0, |log| log.values()).is_empty());
}

#[tokio::test]
async fn memory_stays_within_its_bound_and_send_waits() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = hold_first(&server, []);
    let memory_bytes_max = 20_000;
    let config = ProducerConfig {
        memory_bytes_max,
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let mut deliveries = Vec::new();
    let waiting = loop {
        let value = deliveries.len().to_string();
        let mut send = Box::pin(producer.send(&topic, P0, record(value)));
        tokio::select! {
            biased;
            sent = &mut send => deliveries.push(sent.unwrap()),
            // The server is held, so once memory is full nothing but the gate frees any.
            () = full(&producer, memory_bytes_max) => break send,
        }
        assert!(producer.memory_bytes() <= memory_bytes_max);
    };
    assert!(deliveries.len() > 100);
    gate.notify_one();
    deliveries.push(waiting.await.unwrap());
    let outcomes = outcomes(deliveries).await;
    assert!(outcomes.iter().all(Result::is_ok));
    check(&server, &topic, &outcomes);
    assert_eq!(producer.memory_bytes(), 0);
}

/// Resolves once the next record finds no room.
async fn full(producer: &Producer, memory_bytes_max: usize) {
    while producer.memory_bytes() + 66 <= memory_bytes_max {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_record_beyond_a_limit_is_refused_before_it_is_accepted() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.state.lock().unwrap().limits.record_bytes_max = 100;
    let producer = connect(&server).await.producer(ProducerConfig::default());
    let refused = producer
        .send(&topic, P0, record(vec![0; 101]))
        .await
        .unwrap_err();
    assert!(matches!(
        refused,
        Error::RecordTooLarge {
            bytes: 101,
            bytes_max: 100
        }
    ));
    producer
        .send(&topic, P0, record(vec![0; 100]))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(producer.memory_bytes(), 0);
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_refused_before_it_is_accepted() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = connect(&server).await.producer(ProducerConfig::default());
    let unknown = TopicName::new("unknown").unwrap();
    let refused = producer.send(&unknown, P0, record("0")).await.unwrap_err();
    assert!(refused.refusal().unwrap().is(ErrorCode::UnknownTopic));
    let partition = Some(PartitionId::new(1));
    let refused = producer
        .send(&topic, partition, record("0"))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NoSuchPartition { count: 1, .. }));
}

#[tokio::test]
async fn a_recreated_topic_gets_nothing_that_was_meant_for_the_old_one() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = connect(&server).await.producer(eager());
    producer
        .send(&topic, P0, record("0"))
        .await
        .unwrap()
        .await
        .unwrap();
    server.topic("numbers", 1);
    let failed = producer
        .send(&topic, P0, record("1"))
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(failed.outcome, Outcome::NotApplied);
    assert!(failed.error.refusal().unwrap().is(ErrorCode::TopicChanged));
    // The next attempts may still carry the old id; soon they carry the new one.
    for _ in 0..3 {
        drop(producer.send(&topic, P0, record("2")).await.unwrap().await);
    }
    let values = server.log(&topic, 0, |log| log.values());
    assert!(!values.is_empty());
    assert!(values.iter().all(|value| value == b"2"), "{values:?}");
}

/// A lane kept its way to the old topic, held each batch for the new one against it, and failed them all.
#[tokio::test]
async fn a_recreated_topic_is_found_by_partitions_that_were_not_told() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let producer = connect(&server).await.producer(eager());
    let p1 = PartitionId::new(1);
    for partition in [P0, Some(p1)] {
        let sent = producer.send(&topic, partition, record("0")).await;
        sent.unwrap().await.unwrap();
    }
    server.topic("numbers", 2);
    // Partition 0 is told that the topic is another one now, and asks which.
    while producer
        .send(&topic, P0, record("1"))
        .await
        .unwrap()
        .await
        .is_err()
    {}
    let sent = producer.send(&topic, Some(p1), record("2")).await;
    sent.unwrap().await.unwrap();
    assert_eq!(server.log(&topic, 1, |log| log.values()), [b"2"]);
}

#[tokio::test]
async fn a_topic_that_has_lost_its_partitions_is_refused_not_a_panic() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    let producer = client.producer(eager());
    let sent = producer.send(&topic, None, record("0")).await;
    sent.unwrap().await.unwrap();
    server.topic("numbers", 0);
    // The batch that meets the new topic has its client ask for it.
    let sent = producer.send(&topic, None, record("1")).await;
    drop(sent.unwrap().await.unwrap_err());
    drop(client.topic(&topic).await);
    let refused = producer.send(&topic, None, record("2")).await.unwrap_err();
    assert!(
        matches!(refused, Error::NoSuchPartition { count: 0, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn an_observer_that_panics_holds_up_nobody() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ProducerConfig {
        observer: Some(Arc::new(|_| panic!("as the test wants it"))),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    for number in ["0", "1"] {
        let sent = producer.send(&topic, P0, record(number)).await;
        sent.unwrap().await.unwrap();
    }
    producer.flush().await;
}

#[tokio::test]
async fn a_batch_may_linger_for_ever_until_it_is_flushed() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ProducerConfig {
        linger: Duration::MAX,
        ..ProducerConfig::default()
    };
    let producer = connect(&server).await.producer(config);
    let sent = producer.send(&topic, P0, record("0")).await.unwrap();
    producer.flush().await;
    sent.await.unwrap();
}

/// The batch that had no room for it was closed, and nobody was told to send it.
#[tokio::test]
async fn a_record_that_can_be_in_no_batch_leaves_none_behind() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ProducerConfig {
        linger: Duration::MAX,
        ..eager()
    };
    let client = connect(&server).await;
    let producer = client.producer(config);
    let sent = producer.send(&topic, P0, record("0")).await.unwrap();
    // Meanwhile the batch is found not to be due.
    client.admin().metadata().await.unwrap();
    let of_no_time = Record {
        timestamp: Timestamp::from_millis(-1),
        ..record([0; 200])
    };
    let refused = producer.send(&topic, P0, of_no_time).await.unwrap_err();
    assert!(matches!(refused, Error::Batch { .. }), "{refused}");
    let acknowledged = tokio::time::timeout(Duration::from_secs(15), sent).await;
    acknowledged.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_always_asks_for_its_topics_can_send() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ClientConfig {
        metadata_age_max: Duration::ZERO,
        ..config(&server)
    };
    let producer = Client::connect(config).await.unwrap().producer(eager());
    let sent = producer.send(&topic, P0, record("0")).await;
    sent.unwrap().await.unwrap();
}

#[tokio::test]
async fn partitions_do_not_wait_for_each_other() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.script(on_produce(|seen| match seen.request {
        Request::Produce(one) if one.partition == PartitionId::new(0) => {
            Act::Refuse(error(ErrorCode::StorageFull))
        }
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(eager());
    let stuck = producer.send(&topic, P0, record("0")).await.unwrap();
    let partition = Some(PartitionId::new(1));
    producer
        .send(&topic, partition, record("1"))
        .await
        .unwrap()
        .await
        .unwrap();
    server.script(|_| Act::Serve);
    stuck.await.unwrap();
}

#[tokio::test]
async fn keys_choose_their_partition_and_the_rest_is_spread() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 5);
    let producer = connect(&server).await.producer(eager());
    for number in 0..200 {
        let key = format!("key {}", number % 20).into_bytes();
        let expected = PartitionId::new(partition_of_key(&key, 5));
        let keyed = Record {
            key: Some(key),
            ..record("value")
        };
        let delivery = producer.send(&topic, None, keyed).await.unwrap();
        assert_eq!(delivery.await.unwrap().partition, expected);
    }
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        let ack = producer
            .send(&topic, None, record("value"))
            .await
            .unwrap()
            .await
            .unwrap();
        *counts.entry(ack.partition).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 5, "{counts:?}");
}

#[tokio::test]
async fn the_observer_hears_of_every_batch_once_in_order() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|seen| match seen.nth % 3 {
        0 => Act::Refuse(error(ErrorCode::Busy)),
        _ => Act::Serve,
    }));
    let reports: Arc<Mutex<Vec<BatchReport>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let config = ProducerConfig {
        level: Some(Level::Accepted),
        observer: Some(Arc::new(move |report| {
            heard.lock().unwrap().push(report.clone());
        })),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let deliveries = send_numbers(&producer, &topic, 0..100).await;
    producer.flush().await;
    let reports = std::mem::take(&mut *reports.lock().unwrap());
    let mut next = 0;
    for (sequence, report) in reports.iter().enumerate() {
        assert_eq!(report.sequence, sequence as u64);
        let ack = report.result.as_ref().unwrap();
        assert_eq!(ack.first.get(), next);
        assert_eq!(
            ack.last.get() + 1 - ack.first.get(),
            u64::from(report.record_count)
        );
        assert_eq!(ack.level, Level::Accepted);
        next = ack.last.get() + 1;
    }
    assert_eq!(next, 100);
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_batch_that_lingers_leaves_when_its_memory_is_needed() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let config = ProducerConfig {
        linger: Duration::from_secs(1_000_000),
        memory_bytes_max: 1_000,
        ..ProducerConfig::default()
    };
    let producer = connect(&server).await.producer(config);
    let mut deliveries = Vec::new();
    for number in 0..100 {
        let partition = Some(PartitionId::new(number % 2));
        let value = number.to_string();
        deliveries.push(
            producer
                .send(&topic, partition, record(value))
                .await
                .unwrap(),
        );
    }
    producer.flush().await;
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_lone_record_waits_no_longer_than_its_linger() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let linger = Duration::from_millis(20);
    let config = ProducerConfig {
        linger,
        ..ProducerConfig::default()
    };
    let producer = connect(&server).await.producer(config);
    producer
        .send(&topic, P0, record("0"))
        .await
        .unwrap()
        .await
        .unwrap();
}
