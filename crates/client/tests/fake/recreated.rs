//! Readers of a topic that is deleted and created again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::{Client, ClientConfig, ConsumerConfig, End, ProducerConfig, Start};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::consuming::{P0, SOON, next_error, offset, three_batches};
use crate::producing::on_produce;
use crate::routing::owned_at;
use crate::server::{Act, Server};
use crate::{config, connect, connect_to, record};

#[tokio::test]
async fn a_recreated_topic_ends_its_readers() {
    let (server, topic) = three_batches(Codec::None).await;
    let config = ClientConfig {
        metadata_age_max: Duration::ZERO,
        ..config(&server)
    };
    let mut consumer = Client::connect(config)
        .await
        .unwrap()
        .consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for _ in 0..9 {
        consumer.next().await.unwrap().unwrap();
    }
    server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let error = next_error(&mut consumer).await;
    assert!(
        error.refusal().unwrap().is(ErrorCode::TopicChanged),
        "{error}"
    );
}

/// All forgot the new one with that, and asked the copy of the old one first: what was sent then failed.
#[tokio::test]
async fn a_reader_that_is_told_late_of_a_recreated_topic_misleads_nobody() {
    let (owner, copy) = (Server::start(1).await, Server::start(1).await);
    let topic = owner.topic("numbers", 1);
    copy.copy(&owner);
    let address = owner.shared;
    copy.script(on_produce(move |_| Act::Refuse(owned_at(address))));
    let client = connect_to([&owner, &copy]).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Latest, End::Follow);
    let is_waiting = |server: &Server| server.count(Some(0), "Fetch") == 1;
    owner.until(is_waiting).await;
    owner.topic("numbers", 1);
    client.topic_anew(&topic).await.unwrap();
    owner.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let error = next_error(&mut consumer).await;
    assert!(error.refusal().unwrap().is(ErrorCode::TopicChanged));
    let producer = client.producer(ProducerConfig::default());
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    sent.await.unwrap();
}

/// What the old one's server says of it was noted of the new one, and what was sent went to where nobody has it.
#[tokio::test]
async fn a_reader_that_is_told_late_where_a_recreated_topic_was_misleads_nobody() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    let is_anew = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&is_anew);
    server.script(move |seen| match seen.request {
        Request::Fetch(_) if is_gone.load(Ordering::Relaxed) => {
            Act::Refuse(owned_at("127.0.0.1:1".parse().unwrap()))
        }
        Request::Fetch(_) => Act::Empty,
        _ => Act::Serve,
    });
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Latest, End::Follow);
    let is_asked = |server: &Server| server.count(Some(0), "Fetch") > 0;
    server.until(is_asked).await;
    server.topic("numbers", 1);
    let anew = client.topic_anew(&topic).await.unwrap();
    is_anew.store(true, Ordering::Relaxed);
    let error = next_error(&mut consumer).await;
    assert!(error.refusal().unwrap().is(ErrorCode::TopicChanged));
    let known = client.topic(&topic).await.unwrap();
    assert_eq!(known.partitions, anew.partitions);
}

/// It had all forget the new one, and ask the copy of the old one first, which it read then.
#[tokio::test]
async fn a_reader_whose_topic_is_made_anew_as_it_begins_misleads_nobody() {
    let (owner, copy) = (Server::start(1).await, Server::start(1).await);
    let topic = owner.topic("numbers", 1);
    copy.copy(&owner);
    let client = connect_to([&owner, &copy]).await;
    let old = client.topic(&topic).await.unwrap().id;
    let is_away = Arc::new(AtomicBool::new(true));
    let script_is_away = Arc::clone(&is_away);
    owner.script(move |seen| match seen.request {
        Request::ListOffsets(_) if script_is_away.load(Ordering::Relaxed) => Act::Cut,
        _ => Act::Serve,
    });
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let is_cut = |server: &Server| server.count(Some(0), "ListOffsets") > 0;
    owner.until(is_cut).await;
    owner.topic("numbers", 1);
    owner.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    is_away.store(false, Ordering::Relaxed);
    let read = timeout(SOON, consumer.next()).await.unwrap();
    assert_eq!(read.unwrap().unwrap().offset, offset(0));
    assert_ne!(client.topic(&topic).await.unwrap().id, old);
}

/// It was put in the place of the new topic, which another look-up had learned meanwhile, and read, and written to.
#[tokio::test]
async fn what_a_slow_server_has_of_the_name_does_not_replace_what_was_learned_meanwhile() {
    let (owner, old) = (Server::start(1).await, Server::start(1).await);
    let (topic, _) = (owner.topic("numbers", 1), old.topic("numbers", 2));
    let client = connect_to([&owner, &old]).await;
    client.topic(&topic).await.unwrap();
    let late = Arc::new(Notify::new());
    let held = Arc::clone(&late);
    old.script(move |seen| match seen.request {
        Request::Metadata(_) if seen.nth == 0 => Act::Hold(Arc::clone(&held)),
        _ => Act::Serve,
    });
    owner.delete(&topic);
    let asked_before = async {
        let told = client.topic_anew(&topic).await;
        assert_eq!(told.unwrap().partition_count(), 3);
    };
    let learned_meanwhile = async {
        let is_asked = |server: &Server| server.count(None, "Metadata") == 1;
        old.until(is_asked).await;
        owner.topic("numbers", 3);
        let told = client.topic(&topic).await;
        assert_eq!(told.unwrap().partition_count(), 3);
        late.notify_one();
    };
    tokio::join!(asked_before, learned_meanwhile);
    let known = client.topic(&topic).await.unwrap();
    assert_eq!(known.partition_count(), 3);
}

/// What was remembered of a topic of the same name was asked for, and whoever began to read was told that it was deleted.
#[tokio::test]
async fn who_begins_to_read_means_the_topic_as_it_is() {
    let (server, topic) = three_batches(Codec::None).await;
    let client = connect(&server).await;
    client.topic(&topic).await.unwrap();
    server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    consumer.next().await.unwrap().unwrap();
    assert!(consumer.next().await.is_none());

    client.topic(&topic).await.unwrap();
    server.topic("numbers", 1);
    let admin = client.admin();
    let told = admin.list_offsets(&topic, P0, At::Latest).await.unwrap();
    assert_eq!(told.high_watermark.get(), 0);
}
