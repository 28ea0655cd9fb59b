//! What partitions in trouble share of a producer's memory: who is in trouble, and who waits for what.

use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::PartitionId;
use corelog_client::{Client, ClientConfig, ProducerConfig};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::memory::{
    MEMORY_BYTES, P1, RECORD_BYTES, assert_all_acknowledged, assert_waits, begin_trouble,
    fill_share, refuse, send, send_until_one_waits, small,
};
use crate::producing::{P0, on_produce, outcomes};
use crate::server::{Act, Server};
use crate::{config, connect, error, record};

/// It took all of the memory: nothing of it was in flight, so that no answer to it was missed.
#[tokio::test]
async fn a_partition_that_waits_for_room_with_a_silent_server_leaves_memory_to_others() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 4);
    server.state.lock().unwrap().limits.in_flight_requests_max = 1;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) if one.partition == PartitionId::new(2) => {
            Act::Later(Arc::clone(&held))
        }
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(small());
    // On the same core, it takes all the room there.
    let taking = send(&producer, &topic, Some(PartitionId::new(2)), 0).await;
    server
        .until(|server| server.count(Some(0), "Produce") == 1)
        .await;
    let mut deliveries = fill_share(&producer, &topic).await;
    let waiting = send_until_one_waits(&producer, &topic, &mut deliveries).await;
    assert!(producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES);
    let other = send(&producer, &topic, P1, 0).await.unwrap();
    other.await.unwrap();
    gate.add_permits(1);
    drop(waiting);
    taking.unwrap().await.unwrap();
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

/// Nor had it failed yet where it was to connect first, or asked the way.
#[tokio::test]
async fn a_partition_to_which_there_is_no_way_leaves_memory_to_others() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 2);
    let client = ClientConfig {
        connect_timeout: Duration::from_secs(15),
        ..config(&server)
    };
    let producer = Client::connect(client).await.unwrap().producer(small());
    let other = send(&producer, &topic, P1, 0).await.unwrap();
    other.await.unwrap();
    server.script(|seen| match seen.request {
        Request::Hello(_) => Act::Ignore,
        _ => Act::Serve,
    });
    let mut deliveries = fill_share(&producer, &topic).await;
    let waiting = send_until_one_waits(&producer, &topic, &mut deliveries).await;
    assert!(producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES);
    drop(waiting);
    let other = send(&producer, &topic, P1, 0).await.unwrap();
    other.await.unwrap();
}

/// One that waits for its turn on a connection where others are answered all the while is not in trouble.
#[tokio::test]
async fn a_partition_that_waits_for_room_with_a_busy_server_may_hold_all_of_the_memory() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 31);
    server.state.lock().unwrap().limits.in_flight_requests_max = 1;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |_| Act::Later(Arc::clone(&held))));
    let producer = connect(&server).await.producer(small());
    // All of these come before it.
    for partition in 1..31 {
        let partition = Some(PartitionId::new(partition));
        drop(send(&producer, &topic, partition, 0).await.unwrap());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    let first = send(&producer, &topic, P0, 0).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..20 {
        pace.tick().await;
        gate.add_permits(1);
    }
    let mut deliveries = Vec::new();
    while producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES {
        let mut sending = Box::pin(send(&producer, &topic, P0, 1 + deliveries.len()));
        tokio::select! {
            biased;
            sent = &mut sending => deliveries.push(sent.unwrap()),
            () = std::future::ready(()) => panic!("it waits"),
        }
    }
    gate.add_permits(10_000);
    first.await.unwrap();
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

/// They stayed with the partition that was next when they came, whichever was well first.
#[tokio::test]
async fn records_without_a_key_that_wait_go_to_the_partition_that_is_well_first() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    refuse(&server, &[0, 1, 2]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    let mut others = Vec::new();
    for partition in [1, 2] {
        let partition = Some(PartitionId::new(partition));
        others.push(send(&producer, &topic, partition, 0).await.unwrap());
        let seen = server.state.lock().unwrap().count_all("Produce");
        server
            .until(|server| server.state.lock().unwrap().count_all("Produce") >= seen + 20)
            .await;
    }
    deliveries.extend(fill_share(&producer, &topic).await);
    let mut waiting: Vec<_> = (0..9)
        .map(|number| Box::pin(send(&producer, &topic, None, 9_000 + number)))
        .collect();
    for one in &mut waiting {
        assert_waits(one).await;
    }
    refuse(&server, &[0, 2]);
    let mut elsewhere = Vec::new();
    for one in waiting {
        let sent = timeout(Duration::from_secs(15), one).await.unwrap();
        let mut sent = sent.unwrap();
        match timeout(Duration::from_secs(3), &mut sent).await {
            Ok(told) => assert_eq!(told.unwrap().partition, P1.unwrap()),
            Err(_) => elsewhere.push(sent),
        }
    }
    assert!(elsewhere.len() < 2, "what it held before is room for one");
    server.script(|_| Act::Serve);
    assert!(outcomes(elsewhere).await.iter().all(Result::is_ok));
    assert!(outcomes(others).await.iter().all(Result::is_ok));
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

/// Only those of the partition that was waited for left, and the others lingered on with what was waited for.
#[tokio::test]
async fn no_batch_in_trouble_lingers_where_another_partition_waits_for_its_share() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 2);
    let mut cuts = 1;
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) if one.partition == PartitionId::new(0) => {
            Act::Refuse(error(ErrorCode::StorageFull))
        }
        _ if cuts > 0 => {
            cuts -= 1;
            Act::Cut
        }
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(ProducerConfig {
        linger: Duration::from_secs(1_000_000),
        memory_bytes_max: MEMORY_BYTES,
        ..ProducerConfig::default()
    });
    let lost = send(&producer, &topic, P1, 0).await.unwrap();
    producer.flush().await;
    lost.await.unwrap_err();
    let kept = send(&producer, &topic, P0, 0).await.unwrap();
    let flushing = producer.clone();
    let flushing = tokio::spawn(async move { flushing.flush().await });
    server
        .until(|server| server.count(Some(0), "Produce") >= 3)
        .await;
    let mut lingering = Vec::new();
    while producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES / 2 {
        lingering.push(send(&producer, &topic, P1, lingering.len()).await.unwrap());
    }
    let waiting = send(&producer, &topic, P0, 1);
    let waiting = timeout(Duration::from_secs(15), waiting).await;
    let waiting = waiting.unwrap().unwrap();
    assert!(outcomes(lingering).await.iter().all(Result::is_ok));
    server.script(|_| Act::Serve);
    flushing.await.unwrap();
    producer.flush().await;
    kept.await.unwrap();
    waiting.await.unwrap();
}

/// Where it waited first it was given memory, or about to be, and waited there for as much again: more than there is.
#[tokio::test]
async fn a_record_without_a_key_never_waits_for_memory_that_it_was_given_where_it_waited_first() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let producer = connect(&server).await.producer(small());
    // Where the next one without a key would go as well, and then does not: it waits at the other one.
    let first = send(&producer, &topic, None, 0).await.unwrap();
    let next = first.await.unwrap().partition;
    refuse(&server, &[0, 1]);
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.push(send(&producer, &topic, P1, 0).await.unwrap());
    let seen = server.state.lock().unwrap().count_all("Produce");
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") >= seen + 20)
        .await;
    // More than those in trouble may hold, and than half of the memory.
    let large = || record(vec![0; MEMORY_BYTES * 6 / 10]);
    let mut in_front = Box::pin(producer.send(&topic, Some(next), large()));
    assert_waits(&mut in_front).await;
    let mut waiting = Box::pin(producer.send(&topic, None, large()));
    assert_waits(&mut waiting).await;
    // It holds memory until it is acknowledged.
    let (other, gate) = (server.topic("other", 1), Arc::new(Semaphore::new(0)));
    server.script({
        let (other, gate) = (other.clone(), Arc::clone(&gate));
        move |seen| match seen.request {
            Request::Produce(one) if one.topic == other => Act::Later(Arc::clone(&gate)),
            _ => Act::Serve,
        }
    });
    let holding = producer.send(&other, P0, record(vec![0; MEMORY_BYTES / 2]));
    let mut holding = holding.await.unwrap();
    assert_waits(&mut holding).await;
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
    // In its turn it waits for memory now, and then where nobody is in front of it any more.
    assert_waits(&mut waiting).await;
    drop(in_front);
    assert_waits(&mut waiting).await;
    gate.add_permits(1);
    holding.await.unwrap();
    let sent = timeout(Duration::from_secs(15), waiting).await.unwrap();
    assert_eq!(sent.unwrap().await.unwrap().partition, next);
}
