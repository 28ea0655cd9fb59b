//! A producer's memory where partitions are in trouble: they hold half of it together, the others all of the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::{Builder, Codec};
use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{Ack, Client, Delivery, Error, ProduceError, Producer, ProducerConfig};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::producing::{P0, check, eager, on_produce, outcomes};
use crate::server::{Act, Server};
use crate::{config, connect, error, record};

pub(crate) const P1: Option<PartitionId> = Some(PartitionId::new(1));

/// What a producer has here.
pub(crate) const MEMORY_BYTES: usize = 20_000;

/// What a record takes of it.
pub(crate) const RECORD_BYTES: usize = 64 + 4;

pub(crate) fn small() -> ProducerConfig {
    ProducerConfig {
        memory_bytes_max: MEMORY_BYTES,
        ..eager()
    }
}

/// A server that takes nothing for these partitions.
pub(crate) fn refuse(server: &Server, partitions: &'static [u32]) {
    server.script(on_produce(|seen| match seen.request {
        Request::Produce(one) if partitions.contains(&one.partition.get()) => {
            Act::Refuse(error(ErrorCode::StorageFull))
        }
        _ => Act::Serve,
    }));
}

pub(crate) async fn send(
    producer: &Producer,
    topic: &TopicName,
    partition: Option<PartitionId>,
    number: usize,
) -> Result<Delivery, Error> {
    let record = record(format!("{number:04}"));
    producer.send(topic, partition, record).await
}

/// Sends until the partition is known to be in trouble: its second attempt is after the first has failed.
pub(crate) async fn begin_trouble(
    server: &Server,
    producer: &Producer,
    topic: &TopicName,
) -> Delivery {
    let first = send(producer, topic, P0, 0).await.unwrap();
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") >= 2)
        .await;
    first
}

/// Sends to the first partition, which is in trouble already, as much as it may hold.
pub(crate) async fn fill_share(producer: &Producer, topic: &TopicName) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES / 2 {
        deliveries.push(
            send(producer, topic, P0, 1 + deliveries.len())
                .await
                .unwrap(),
        );
    }
    deliveries
}

/// Sends to the first partition, whose server is silent, until that is held to be in trouble; gives what waits then.
pub(crate) async fn send_until_one_waits<'a>(
    producer: &'a Producer,
    topic: &'a TopicName,
    deliveries: &mut Vec<Delivery>,
) -> Pin<Box<dyn Future<Output = Result<Delivery, Error>> + 'a>> {
    // A little at a time, so that memory is not full before the silence is one.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        let mut send = Box::pin(send(producer, topic, P0, deliveries.len()));
        tokio::select! {
            biased;
            sent = &mut send => deliveries.push(sent.unwrap()),
            () = std::future::ready(()) => return send,
        }
    }
}

/// Polls once what is not to come to anything yet.
pub(crate) async fn assert_waits<F: Future + Unpin>(waiting: &mut F) {
    tokio::select! {
        biased;
        _ = waiting => panic!("it is to wait"),
        () = std::future::ready(()) => {}
    }
}

pub(crate) async fn assert_all_acknowledged(
    server: &Server,
    topic: &TopicName,
    deliveries: Vec<Delivery>,
) -> Vec<Result<Ack, ProduceError>> {
    let outcomes = outcomes(deliveries).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    check(server, topic, &outcomes);
    outcomes
}

/// What waited for a partition whose owner was down took all of the memory, and nothing was sent to any other one until its
/// time was over.
#[tokio::test]
async fn a_partition_in_trouble_leaves_half_of_the_memory_to_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    let mut waiting = Box::pin(send(&producer, &topic, P0, deliveries.len()));
    assert_waits(&mut waiting).await;

    let mut others = Vec::new();
    for number in 0..1_000 {
        others.push(send(&producer, &topic, P1, number).await.unwrap());
    }
    assert!(outcomes(others).await.iter().all(Result::is_ok));
    assert_waits(&mut waiting).await;

    server.script(|_| Act::Serve);
    deliveries.push(waiting.await.unwrap());
    assert_all_acknowledged(&server, &topic, deliveries).await;
    assert_eq!(producer.memory_bytes(), 0);
}

/// A header without a name or a value cost nothing: records of a thousand of them took far more memory than they were counted for.
#[tokio::test]
async fn the_headers_of_a_record_count_with_what_they_take_in_its_batch() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Ignore));
    let producer = connect(&server).await.producer(eager());
    let mut record = record("value");
    record.headers = vec![("h".to_owned(), None); 1_000];
    let mut batch = Builder::new(Codec::None);
    batch.append_record(&record).unwrap();
    let _sent = producer.send(&topic, P0, record).await.unwrap();
    assert!(batch.len_bytes() <= producer.memory_bytes());
}

#[tokio::test]
async fn whole_batches_for_a_partition_in_trouble_leave_half_of_the_memory_to_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    let batch = || {
        let mut batch = Builder::new(Codec::None);
        batch.append_record(&record("9999")).unwrap();
        batch
    };
    let mut waiting = Box::pin(producer.send_batch(&topic, P0.unwrap(), batch()));
    assert_waits(&mut waiting).await;
    for _ in 0..1_000 {
        let sent = producer.send_batch(&topic, P1.unwrap(), batch()).await;
        drop(sent.unwrap());
    }
    server.script(|_| Act::Serve);
    let last = waiting.await.unwrap().await.unwrap();
    assert_eq!(last.first.get(), deliveries.len() as u64);
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

/// No failure tells of a server that hangs, for as long as the timeout is.
#[tokio::test]
async fn a_partition_whose_server_is_silent_leaves_memory_to_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) if one.partition == PartitionId::new(0) => {
            Act::Later(Arc::clone(&held))
        }
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![send(&producer, &topic, P0, 0).await.unwrap()];
    deliveries.extend(fill_share(&producer, &topic).await);
    let waiting = send_until_one_waits(&producer, &topic, &mut deliveries).await;
    assert!(producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES);
    let other = send(&producer, &topic, P1, 0).await.unwrap();
    other.await.unwrap();
    gate.add_permits(1_000);
    deliveries.push(waiting.await.unwrap());
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

#[tokio::test]
async fn partitions_in_trouble_share_one_half() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    refuse(&server, &[0, 1]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    // One that holds nothing is tried.
    let tried = send(&producer, &topic, P1, 0).await.unwrap();
    let seen = server.state.lock().unwrap().count_all("Produce");
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") >= seen + 20)
        .await;
    let mut waiting = Box::pin(send(&producer, &topic, P1, 1));
    assert_waits(&mut waiting).await;
    let well = Some(PartitionId::new(2));
    let sent = send(&producer, &topic, well, 0).await.unwrap();
    sent.await.unwrap();
    // The first one's recovery leaves room for the other.
    refuse(&server, &[1]);
    assert_all_acknowledged(&server, &topic, deliveries).await;
    let behind = waiting.await.unwrap();
    server.script(|_| Act::Serve);
    tried.await.unwrap();
    behind.await.unwrap();
}

#[tokio::test]
async fn a_partition_that_recovers_may_hold_all_of_the_memory() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    server.script(|_| Act::Serve);
    producer.flush().await;
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let mut acts = std::iter::once(Act::Hold(held));
    server.script(on_produce(move |_| acts.next().unwrap_or(Act::Serve)));
    while producer.memory_bytes() + RECORD_BYTES <= MEMORY_BYTES {
        let number = deliveries.len();
        deliveries.push(send(&producer, &topic, P0, number).await.unwrap());
    }
    gate.notify_one();
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

#[tokio::test]
async fn sends_that_wait_for_a_partition_in_trouble_keep_their_order() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    let mut waiting = Vec::new();
    for number in deliveries.len()..deliveries.len() + 300 {
        let mut send = Box::pin(send(&producer, &topic, P0, number));
        assert_waits(&mut send).await;
        waiting.push(send);
    }
    server.script(|_| Act::Serve);
    // The last ones are polled first, and have to wait for those before them all the same.
    let last = deliveries.len() + waiting.len() - 1;
    let mut sent = Vec::new();
    while !waiting.is_empty() {
        let mut left = Vec::new();
        for mut one in waiting.into_iter().rev() {
            tokio::select! {
                biased;
                delivery = &mut one => sent.push(delivery.unwrap()),
                () = std::future::ready(()) => left.push(one),
            }
        }
        left.reverse();
        waiting = left;
        tokio::task::yield_now().await;
    }
    let mut offsets = Vec::new();
    for delivery in sent {
        offsets.push(delivery.await.unwrap().offset.get());
    }
    assert!(
        offsets.is_sorted(),
        "in the order of their sends: {offsets:?}"
    );
    assert_eq!(offsets.last(), Some(&(last as u64)));
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

#[tokio::test]
async fn a_send_that_waits_for_a_partition_in_trouble_may_be_dropped() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    let bytes = producer.memory_bytes();
    let mut first = Box::pin(send(&producer, &topic, P0, 9_000));
    let mut second = Box::pin(send(&producer, &topic, P0, 9_001));
    let mut third = Box::pin(send(&producer, &topic, P0, deliveries.len()));
    for waiting in [&mut first, &mut second, &mut third] {
        assert_waits(waiting).await;
    }
    drop(second);
    drop(first);
    assert_eq!(producer.memory_bytes(), bytes);
    server.script(|_| Act::Serve);
    deliveries.push(third.await.unwrap());
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

#[tokio::test]
async fn records_without_a_key_go_past_a_partition_that_may_hold_no_more() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(small());
    let mut deliveries = vec![begin_trouble(&server, &producer, &topic).await];
    deliveries.extend(fill_share(&producer, &topic).await);
    for number in 0..100 {
        let sent = send(&producer, &topic, None, number).await.unwrap();
        assert_ne!(sent.await.unwrap().partition, P0.unwrap());
    }
    server.script(|_| Act::Serve);
    assert_all_acknowledged(&server, &topic, deliveries).await;
    let mut counts = [0; 3];
    for number in 0..200 {
        let sent = send(&producer, &topic, None, number).await.unwrap();
        counts[sent.await.unwrap().partition.get() as usize] += 1;
    }
    assert!(!counts.contains(&0), "{counts:?}");
}

/// Time runs out for all that the one holds; what waited for it has its turn then.
#[tokio::test]
async fn what_a_partition_in_trouble_gives_up_makes_room_for_what_waits() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    refuse(&server, &[0]);
    let producer = connect(&server).await.producer(ProducerConfig {
        delivery_timeout: Duration::from_secs(2),
        ..small()
    });
    let first = begin_trouble(&server, &producer, &topic).await;
    let mut all = vec![first];
    for number in 1..500 {
        all.push(send(&producer, &topic, P0, number).await.unwrap());
        assert!(producer.memory_bytes() <= MEMORY_BYTES / 2);
    }
    let outcomes = outcomes(all).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(producer.memory_bytes(), 0);
}

/// The batch that holds the memory waited for others to join it, and these waited for its room.
#[tokio::test]
async fn a_batch_of_a_partition_in_trouble_does_not_linger_where_its_memory_is_waited_for() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    refuse(&server, &[0]);
    let linger = Duration::from_secs(1_000_000);
    let client = Client::connect(config(&server)).await.unwrap();
    let producer = client.producer(ProducerConfig {
        linger,
        delivery_timeout: Duration::ZERO,
        memory_bytes_max: MEMORY_BYTES,
        ..ProducerConfig::default()
    });
    // It is given up at once, and leaves the partition in trouble.
    let first = send(&producer, &topic, P0, 0).await.unwrap();
    producer.flush().await;
    first.await.unwrap_err();
    server.script(|_| Act::Serve);
    let mut deliveries = Vec::new();
    for number in 0..300 {
        deliveries.push(send(&producer, &topic, P0, number).await.unwrap());
    }
    producer.flush().await;
    assert_all_acknowledged(&server, &topic, deliveries).await;
}

/// Each of them waited for the other's turn from then on, and whatever they sent went at once, in batches of a few.
#[tokio::test]
async fn batches_fill_again_once_a_partition_is_well_however_many_send_to_it() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |_| Act::Later(Arc::clone(&held))));
    let memory_bytes_max = 10 * MEMORY_BYTES;
    let producer = connect(&server).await.producer(ProducerConfig {
        linger: Duration::from_secs(1_000_000),
        memory_bytes_max,
        ..ProducerConfig::default()
    });
    let mut deliveries = Vec::new();
    while producer.memory_bytes() < memory_bytes_max / 2 {
        deliveries.push(send(&producer, &topic, P0, 0).await.unwrap());
    }
    let flushing = producer.clone();
    let flushing = tokio::spawn(async move { flushing.flush().await });
    let waiting = send_until_one_waits(&producer, &topic, &mut deliveries).await;
    let mut senders = JoinSet::new();
    for _ in 0..2 {
        let (producer, topic) = (producer.clone(), topic.clone());
        senders.spawn(async move {
            let mut deliveries = Vec::new();
            for _ in 0..400 {
                deliveries.push(send(&producer, &topic, P0, 0).await.unwrap());
            }
            deliveries
        });
    }
    gate.add_permits(10_000);
    deliveries.push(waiting.await.unwrap());
    deliveries.extend(senders.join_all().await.into_iter().flatten());
    let requests = server.state.lock().unwrap().count_all("Produce");
    assert!(requests < 20, "{requests}");
    flushing.await.unwrap();
    producer.flush().await;
    let count = deliveries.len();
    let acknowledged = outcomes(deliveries).await;
    assert_eq!(acknowledged.iter().filter(|one| one.is_ok()).count(), count);
}

/// On several threads, with partitions that come into trouble and out of it all the time, and senders that give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_for_ever_whoever_is_in_trouble() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 4);
    server.script(on_produce(|_| match fastrand::u8(..3) {
        0 => Act::Refuse(error(ErrorCode::Busy)),
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(ProducerConfig {
        memory_bytes_max: 2_000,
        ..eager()
    });
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let (producer, topic) = (producer.clone(), topic.clone());
        senders.spawn(async move {
            let partition = Some(PartitionId::new(sender % 4));
            let mut deliveries = Vec::new();
            for number in 0..300 {
                let send = Box::pin(send(&producer, &topic, partition, number));
                if fastrand::bool() {
                    deliveries.push(send.await.unwrap());
                } else if let Ok(sent) = timeout(Duration::from_micros(50), send).await {
                    deliveries.push(sent.unwrap());
                }
                assert!(producer.memory_bytes() <= 2_000);
            }
            outcomes(deliveries).await
        });
    }
    let all = timeout(Duration::from_secs(60), senders.join_all()).await;
    let outcomes: Vec<_> = all.unwrap().into_iter().flatten().collect();
    assert!(outcomes.iter().all(Result::is_ok));
    producer.flush().await;
    assert_eq!(producer.memory_bytes(), 0);
    let log = |partition| server.log(&topic, partition, |log| log.end.get());
    let count: u64 = (0..4).map(log).sum();
    assert_eq!(
        count,
        outcomes.len() as u64,
        "what was given up is not there"
    );
}
