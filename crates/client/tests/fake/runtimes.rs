//! Clients whose runtime ends under them, while another one goes on, or is short of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use corelog_client::record::TopicName;
use corelog_client::record::batch::Codec;
use corelog_client::{
    Client, ConsumerConfig, Delivery, End, Error, Outcome, ProduceError, ProducerConfig, Start,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::producing::{P0, eager, on_produce, send_numbers};
use crate::server::{Act, Server};
use crate::{PATIENCE, connect, consuming, record};

/// A server on a runtime of its own, the one that is to end, and a client that was made there.
struct Home {
    home: Runtime,
    server: Server,
    topic: TopicName,
    ending: Runtime,
    client: Client,
}

fn home() -> Home {
    let (home, ending) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let server = home.block_on(Server::start(1));
    let topic = server.topic("numbers", 1);
    let client = ending.block_on(connect(&server));
    Home {
        home,
        server,
        topic,
        ending,
        client,
    }
}

async fn outcome(delivery: Delivery) -> ProduceError {
    let told = timeout(PATIENCE, delivery).await.unwrap();
    told.unwrap_err()
}

/// The queue went on taking records that nobody sent.
#[test]
fn a_producer_goes_on_in_another_runtime_and_tells_what_became_of_the_rest() {
    let Home {
        home,
        server,
        topic,
        ending,
        client,
    } = home();
    let one_by_one = ProducerConfig {
        in_flight_max: 1,
        ..eager()
    };
    let producer = client.producer(one_by_one);
    server.script(on_produce(|_| Act::Ignore));
    let in_flight = ending.block_on(producer.send(&topic, P0, record("0")));
    let in_flight = in_flight.unwrap();
    let is_sent = |server: &Server| server.count(Some(0), "Produce") == 1;
    ending.block_on(server.until(is_sent));
    let queued = ending.block_on(send_numbers(&producer, &topic, 1..4));
    drop(ending);
    home.block_on(async {
        assert_eq!(outcome(in_flight).await.outcome, Outcome::Unknown);
        for delivery in queued {
            // As given up, or behind the one that is unknown: its connection may end before its lane does.
            assert_eq!(outcome(delivery).await.outcome, Outcome::NotApplied);
        }
        timeout(PATIENCE, producer.flush()).await.unwrap();
        server.script(|_| Act::Serve);
        let sent = timeout(PATIENCE, producer.send(&topic, P0, record("4"))).await;
        let sent = sent.unwrap().unwrap();
        timeout(PATIENCE, sent).await.unwrap().unwrap();
    });
}

/// It waited for records that nobody fetched.
#[test]
fn a_consumer_is_told_that_the_runtime_of_its_partition_has_ended() {
    let Home {
        home,
        server: _server,
        topic,
        ending,
        client,
    } = home();
    let mut consumer = client.consumer(ConsumerConfig::default());
    let partition = consuming::P0;
    ending.block_on(async {
        consumer.assign(&topic, partition, Start::Earliest, End::Follow);
    });
    drop(ending);
    home.block_on(async {
        let told = timeout(PATIENCE, consuming::next_error(&mut consumer)).await;
        assert!(matches!(told.unwrap(), Error::Closed));
        assert!(consumer.next().await.is_none());
    });
}

/// It counted as one that is read: the end of the others was waited for for ever.
#[test]
fn a_partition_that_was_assigned_outside_of_a_runtime_is_not_read() {
    let Home {
        home,
        server: _server,
        topic,
        client,
        ..
    } = home();
    let mut consumer = client.consumer(ConsumerConfig::default());
    let assign = || consumer.assign(&topic, consuming::P0, Start::Earliest, End::Follow);
    catch_unwind(AssertUnwindSafe(assign)).unwrap_err();
    let ended = home.block_on(async { timeout(PATIENCE, consumer.next()).await });
    assert!(ended.unwrap().is_none());
}

/// What was asked was never written, nor answered.
#[test]
fn a_client_connects_anew_where_the_runtime_of_its_connection_has_ended() {
    let Home {
        home,
        server: _server,
        topic,
        ending,
        client,
    } = home();
    drop(ending);
    home.block_on(async {
        let told = timeout(PATIENCE, client.topic(&topic)).await;
        assert_eq!(told.unwrap().unwrap().partition_count(), 1);
    });
}

/// It waited for a thread as long as the program had none left, its time over or not, and what was answered meanwhile was not
/// told. Given up, it and the batch behind it were told as a server that could not be reached.
#[test]
fn a_batch_that_no_thread_compresses_is_given_up_in_time_and_holds_up_no_answer() {
    let narrow = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    // Behind the runtime, which waits for the thread: gone before it.
    let (_busy, idle) = mpsc::channel::<()>();
    narrow.spawn_blocking(move || idle.recv());
    narrow.block_on(async {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", 1);
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        server.script(on_produce(move |_| Act::Later(Arc::clone(&held))));
        let producer = connect(&server).await.producer(ProducerConfig {
            codec: Codec::Zstd,
            delivery_timeout: Duration::from_secs(2),
            ..eager()
        });
        let sent = producer.send(&topic, P0, record("0")).await.unwrap();
        server
            .until(|server| server.count(Some(0), "Produce") == 1)
            .await;
        let large = || record(vec![0; 64 << 10]);
        let waiting = producer.send(&topic, P0, large()).await.unwrap();
        let behind = producer.send(&topic, P0, large()).await.unwrap();
        // It is waited for by now.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        timeout(PATIENCE, sent).await.unwrap().unwrap();
        for late in [waiting, behind] {
            let given_up = outcome(late).await;
            assert_eq!(given_up.outcome, Outcome::NotApplied);
            assert!(!given_up.error.is_unreachable(), "{given_up}");
            let Error::GivenUp { source, .. } = &*given_up.error else {
                panic!("{given_up}");
            };
            assert!(matches!(**source, Error::Uncompressed), "{given_up}");
        }
        timeout(PATIENCE, producer.flush()).await.unwrap();
    });
}
