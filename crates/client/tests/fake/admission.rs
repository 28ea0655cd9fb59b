//! Records that wait for a partition in trouble, of which something changes meanwhile.

use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::{Record, TopicName};
use corelog_client::{Client, ClientConfig, Delivery, Producer};
use tokio::time::timeout;

use crate::fewer::{moved, place_among};
use crate::memory::{
    MEMORY_BYTES, P1, assert_waits, begin_trouble, fill_share, refuse, send, small,
};
use crate::producing::{P0, on_produce, outcomes};
use crate::server::{Act, Server};
use crate::{PATIENCE, config, connect, error, record};

/// It stayed with the partition that it had waited for: of the other topic that was not where its key goes.
#[tokio::test]
async fn a_key_that_waits_for_a_partition_goes_by_the_topic_that_there_is_when_it_has_room() {
    // Of one that has fewer there may be no such partition at all.
    for [count, count_anew] in [[2, 4], [4, 2]] {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", count);
        server.script(on_produce(|_| Act::Refuse(error(ErrorCode::StorageFull))));
        let producer = connect(&server).await.producer(small());
        let first = producer.send(&topic, None, half()).await.unwrap();
        server
            .until(|server| server.state.lock().unwrap().count_all("Produce") >= 2)
            .await;
        let mut waiting = Box::pin(producer.send(&topic, None, moved()));
        assert_waits(&mut waiting).await;
        server.topic("numbers", count_anew);
        server.script(|_| Act::Serve);
        first.await.unwrap_err();
        let sent = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        let expected = place_among(count_anew.try_into().unwrap());
        assert_eq!(sent.await.unwrap().partition, expected);
    }
}

/// It failed for want of the partition that it had waited for, although any other one would have done.
#[tokio::test]
async fn a_record_without_a_key_goes_elsewhere_where_the_partition_that_it_waits_for_is_gone() {
    go_elsewhere(async |_, _| ()).await;
}

/// It asked twice for the one that was gone.
#[tokio::test]
async fn a_record_without_a_key_asks_nobody_where_it_is_known_that_its_partition_is_gone() {
    let anew = async |client: &Client, topic: &TopicName| {
        client.topic_anew(topic).await.unwrap();
    };
    assert_eq!(go_elsewhere(anew).await, 0);
}

/// Waits for a partition that is gone with its topic, and goes to the one that the new topic has; how often that was asked for
/// behind this.
async fn go_elsewhere(then: impl AsyncFnOnce(&Client, &TopicName)) -> usize {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let client = connect(&server).await;
    // Of one whose first goes to the first partition the next waits for the second, where it has to.
    let producer = loop {
        let producer = client.producer(small());
        let sent = send(&producer, &topic, None, 0).await.unwrap();
        if sent.await.unwrap().partition == P0.unwrap() {
            break producer;
        }
    };
    let deliveries = two_in_trouble(&server, &producer, &topic).await;
    let of_bytes = |bytes| record(vec![b'v'; bytes]);
    let mut in_front = Box::pin(producer.send(&topic, P0, of_bytes(MEMORY_BYTES * 45 / 100)));
    assert_waits(&mut in_front).await;
    let mut waiting = Box::pin(producer.send(&topic, None, of_bytes(MEMORY_BYTES / 4)));
    assert_waits(&mut waiting).await;
    server.topic("numbers", 1);
    let anew = server.state.lock().unwrap().id_of(&topic).unwrap();
    then(&client, &topic).await;
    let asked = server.count(None, "Metadata");
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) if one.id == anew => Act::Refuse(error(ErrorCode::StorageFull)),
        _ => Act::Serve,
    }));
    assert!(outcomes(deliveries).await.iter().all(Result::is_err));
    let in_front = in_front.await.unwrap();
    // There is room where it waits, and none at the other one.
    let seen = server.count(Some(0), "Produce");
    tokio::select! {
        sent = &mut waiting => panic!("it is to wait: {sent:?}"),
        () = server.until(|server| seen + 20 < server.count(Some(0), "Produce")) => {}
    }
    server.script(|_| Act::Serve);
    in_front.await.unwrap();
    let sent = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(sent.await.unwrap().partition, P0.unwrap());
    server.count(None, "Metadata") - asked
}

/// It asked for the topic each time that something had changed, and what it had been given where it waited lay idle until a
/// server answered.
#[tokio::test]
async fn a_record_without_a_key_asks_nobody_before_it_goes_where_it_need_not_wait_any_more() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let config = ClientConfig {
        metadata_age_max: Duration::ZERO,
        ..config(&server)
    };
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(small());
    let deliveries = two_in_trouble(&server, &producer, &topic).await;
    let mut waiting = Box::pin(send(&producer, &topic, None, 9_000));
    let asked = server.count(None, "Metadata");
    tokio::select! {
        _ = &mut waiting => panic!("it is to wait"),
        () = server.until(|server| asked < server.count(None, "Metadata")) => {}
    }
    for _ in 0..100 {
        assert_waits(&mut waiting).await;
        tokio::task::yield_now().await;
    }
    server.script(|seen| match seen.request {
        Request::Metadata(_) => Act::Ignore,
        _ => Act::Serve,
    });
    let sent = timeout(PATIENCE / 3, waiting).await.unwrap();
    sent.unwrap().await.unwrap();
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

/// Both partitions come into trouble, and hold together what they may.
async fn two_in_trouble(server: &Server, producer: &Producer, topic: &TopicName) -> Vec<Delivery> {
    refuse(server, &[0, 1]);
    let first = begin_trouble(server, producer, topic).await;
    let second = send(producer, topic, P1, 0).await.unwrap();
    let seen = server.state.lock().unwrap().count_all("Produce");
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") >= seen + 20)
        .await;
    let mut deliveries = fill_share(producer, topic).await;
    deliveries.extend([first, second]);
    deliveries
}

/// A record of that key with which a partition in trouble holds what it may.
fn half() -> Record {
    Record {
        value: Some(vec![b'v'; MEMORY_BYTES / 2]),
        ..moved()
    }
}
