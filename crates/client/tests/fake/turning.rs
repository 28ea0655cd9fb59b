//! Readers of whom the server that they read from is not the one that has what they are to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{PartitionId, Record, Timestamp, TopicName};
use corelog_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, End, ProducerConfig, Start, partition_of_key,
};
use tokio::time::{sleep, timeout};

use crate::consuming::{P0, offset, three_batches};
use crate::log::Log;
use crate::server::{Act, Server};
use crate::{PATIENCE, away, config_of, error, record};

/// A server of three batches and a copy of it, and whether the first one is away.
async fn copied() -> ([Server; 2], TopicName, Arc<AtomicBool>) {
    let (home, topic) = three_batches(Codec::None).await;
    let copy = Server::start(1).await;
    copy.copy(&home);
    let is_away = away(&home, false);
    ([home, copy], topic, is_away)
}

/// A client of both that looks at the other one soon.
async fn connect(servers: &[Server; 2]) -> Client {
    let config = ClientConfig {
        detour: Duration::from_millis(20),
        ..config_of(servers.each_ref())
    };
    Client::connect(config).await.unwrap()
}

/// Asks again soon.
fn short_polls() -> ConsumerConfig {
    ConsumerConfig {
        wait: Duration::from_millis(10),
        ..ConsumerConfig::default()
    }
}

/// Nothing failed there: it stayed for ever at a copy that got no more.
#[tokio::test]
async fn who_follows_at_a_copy_while_the_first_server_is_away_goes_back_to_that() {
    let (servers, topic, is_away) = copied().await;
    is_away.store(true, Ordering::Relaxed);
    let [home, _] = &servers;
    let mut consumer = connect(&servers).await.consumer(short_polls());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.offset, offset(expected));
    }
    home.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    is_away.store(false, Ordering::Relaxed);
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(9));
}

/// A copy that knows of no high watermark past its end, as one whose source was cut off, was asked again and again.
#[tokio::test]
async fn who_waits_at_a_copy_for_what_may_not_be_read_there_goes_back_to_the_first_server() {
    let (servers, topic, is_away) = copied().await;
    is_away.store(true, Ordering::Relaxed);
    let [home, copy] = &servers;
    copy.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.offset == offset(9) => {
            Act::Refuse(error(ErrorCode::PastHighWatermark))
        }
        _ => Act::Serve,
    });
    let mut consumer = connect(&servers).await.consumer(short_polls());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.offset, offset(expected));
    }
    home.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    is_away.store(false, Ordering::Relaxed);
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(9));
}

/// That the first server lacks what was read counted as one trouble, for however long the copy knew of it: in the end it was an error.
#[tokio::test]
async fn who_waits_at_a_copy_is_not_out_of_range_because_the_first_server_ends_before_that() {
    let (servers, topic, _) = copied().await;
    let [home, copy] = &servers;
    let is_early = Arc::new(AtomicBool::new(true));
    let early = Arc::clone(&is_early);
    copy.script(move |seen| match seen.request {
        Request::Fetch(asked) if asked.offset == offset(9) && early.load(Ordering::Relaxed) => {
            Act::Refuse(error(ErrorCode::PastHighWatermark))
        }
        _ => Act::Serve,
    });
    let limit = Duration::from_millis(500);
    let mut consumer = connect(&servers).await.consumer(ConsumerConfig {
        unreachable_timeout: Some(limit),
        ..short_polls()
    });
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.offset, offset(expected));
    }
    home.log(&topic, 0, |log| log.cut(offset(6)));
    until_fetched(copy, &mut consumer, 1).await;
    tokio::select! {
        () = sleep(limit * 3) => {}
        record = consumer.next() => panic!("{record:?}"),
    }
    copy.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    is_early.store(false, Ordering::Relaxed);
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(9));
}

/// Waits, as a reader does, until a server was asked for records so often.
async fn until_fetched(server: &Server, consumer: &mut Consumer, count: usize) {
    tokio::select! {
        () = server.until(|server| count <= server.count(Some(0), "Fetch")) => {}
        record = consumer.next() => panic!("{record:?}"),
    }
}

/// Only who had read a record before went back.
#[tokio::test]
async fn who_has_read_nothing_yet_at_a_copy_goes_back_to_the_first_server() {
    for (start, first) in [
        (Start::Earliest, 0),
        (Start::Latest, 9),
        (Start::LastN(0), 9),
        (Start::Offset(offset(9)), 9),
    ] {
        let (servers, topic, is_away) = copied().await;
        let [home, copy] = &servers;
        if first == 0 {
            let empty = |server: &Server| server.log(&topic, 0, |log| *log = Log::default());
            servers.iter().for_each(empty);
        }
        is_away.store(true, Ordering::Relaxed);
        let mut consumer = connect(&servers).await.consumer(short_polls());
        consumer.assign(&topic, P0, start, End::Follow);
        until_fetched(copy, &mut consumer, 1).await;
        home.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
        is_away.store(false, Ordering::Relaxed);
        let record = timeout(PATIENCE, consumer.next()).await.unwrap();
        assert_eq!(record.unwrap().unwrap().offset, offset(first), "{start:?}");
    }
}

/// Its log began later by then, which was an error, though all that is left was asked for.
#[tokio::test]
async fn who_has_read_nothing_yet_at_a_copy_begins_where_the_first_server_does() {
    for start in [
        Start::Earliest,
        Start::LastN(5),
        Start::Time(Timestamp::ZERO),
    ] {
        let (servers, topic, is_away) = copied().await;
        let [home, copy] = &servers;
        let empty = |server: &Server| server.log(&topic, 0, |log| *log = Log::default());
        servers.iter().for_each(empty);
        is_away.store(true, Ordering::Relaxed);
        let mut consumer = connect(&servers).await.consumer(short_polls());
        consumer.assign(&topic, P0, start, End::Follow);
        until_fetched(copy, &mut consumer, 2).await;
        home.log(&topic, 0, |log| {
            log.fill(Codec::None, &[1]);
            log.fill(Codec::None, &[1]);
            log.truncate(offset(1));
        });
        is_away.store(false, Ordering::Relaxed);
        let record = timeout(PATIENCE, consumer.next()).await.unwrap();
        assert_eq!(record.unwrap().unwrap().offset, offset(1), "{start:?}");
    }
}

/// It is told of as out of range there, which is no reason to end where another one knows the place.
#[tokio::test]
async fn who_has_read_nothing_yet_and_finds_the_first_server_behind_goes_back_to_the_copy() {
    let (servers, topic, is_away) = copied().await;
    is_away.store(true, Ordering::Relaxed);
    let [home, copy] = &servers;
    home.log(&topic, 0, |log| log.cut(offset(6)));
    let mut consumer = connect(&servers).await.consumer(short_polls());
    consumer.assign(&topic, P0, Start::Offset(offset(9)), End::Follow);
    until_fetched(copy, &mut consumer, 1).await;
    is_away.store(false, Ordering::Relaxed);
    until_fetched(home, &mut consumer, 1).await;
    copy.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(9));
}

/// The connection to it stayed open for as long as the consumer lived.
#[tokio::test]
async fn who_has_turned_away_from_a_server_keeps_no_connection_to_it() {
    let (servers, topic, is_away) = copied().await;
    is_away.store(true, Ordering::Relaxed);
    let [home, copy] = &servers;
    let mut consumer = connect(&servers).await.consumer(short_polls());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let reads = |server: &Server| server.count(Some(0), "Fetch") >= 1;
    copy.until(reads).await;
    is_away.store(false, Ordering::Relaxed);
    let reading = async { while consumer.next().await.unwrap().is_ok() {} };
    // Only what has no user of its own is still asked there.
    let has_left = async {
        home.until(reads).await;
        copy.until(|copy| copy.state.lock().unwrap().connection_count <= 1)
            .await;
    };
    tokio::select! {
        () = reading => panic!("it follows"),
        left = timeout(PATIENCE, has_left) => left.unwrap(),
    }
}

/// A client of a copy with two of four partitions, and of who has them all, in this order.
async fn with_fewer() -> ([Server; 2], TopicName, Client) {
    let (copy, whole) = (Server::start(1).await, Server::start(1).await);
    let topic = whole.topic("numbers", 4);
    copy.copy(&whole);
    copy.remove_partitions(&topic, 2);
    let servers = [copy, whole];
    let client = connect(&servers).await;
    (servers, topic, client)
}

/// They went by the two that the first server told of.
#[tokio::test]
async fn the_first_keys_go_by_the_partitions_of_all_servers() {
    let (_servers, topic, client) = with_fewer().await;
    let producer = client.producer(ProducerConfig::default());
    let mut sent = Vec::new();
    for number in 0..20 {
        let key = format!("key {number}").into_bytes();
        let expected = PartitionId::new(partition_of_key(&key, 4));
        let keyed = Record {
            key: Some(key),
            ..record("value")
        };
        let delivery = producer.send(&topic, None, keyed).await.unwrap();
        sent.push((delivery, expected));
    }
    for (delivery, expected) in sent {
        assert_eq!(delivery.await.unwrap().partition, expected);
    }
}

/// It asked each server again for each record that was sent meanwhile, or one after the other for as long as one hung.
#[tokio::test]
async fn many_who_send_to_a_topic_first_ask_each_server_once() {
    let ([copy, whole], topic, client) = with_fewer().await;
    let producer = Arc::new(client.producer(ProducerConfig::default()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (producer, topic) = (Arc::clone(&producer), topic.clone());
        tasks.spawn(async move {
            let sent = producer.send(&topic, None, record("value")).await;
            sent.unwrap().await.unwrap();
        });
    }
    tasks.join_all().await;
    let asked = [&copy, &whole].map(|server| server.count(None, "Metadata"));
    assert_eq!(asked, [1, 1]);
}

/// There was said to be none, as long as the first server answered.
#[tokio::test]
async fn a_partition_that_the_first_server_lacks_is_read_at_the_one_that_has_it() {
    let ([_copy, whole], topic, client) = with_fewer().await;
    whole.log(&topic, 3, |log| log.fill(Codec::None, &[1]));
    let mut consumer = client.consumer(ConsumerConfig::default());
    let partition = PartitionId::new(3);
    consumer.assign(&topic, partition, Start::Earliest, End::HighWatermark);
    consumer.next().await.unwrap().unwrap();
    assert!(consumer.next().await.is_none());
}
