//! One connection: limits, lies, endings.

use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::frame::CorrelationId;
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::{
    Client, ClientConfig, ConsumerConfig, End, Error, Fault, Outcome, ProducerConfig, Start,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::consuming::P0;
use crate::server::{Act, Server};
use crate::{config, connect, error, record};

#[tokio::test]
async fn requests_in_flight_stay_below_the_servers_limit() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.state.lock().unwrap().limits.in_flight_requests_max = 3;
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    server.script(move |seen| match seen.request {
        Request::ListOffsets(_) => Act::Later(Arc::clone(&waiting)),
        _ => Act::Serve,
    });
    let client = connect(&server).await;
    client.topic(&topic).await.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let (admin, topic) = (client.admin(), topic.clone());
        asking.spawn(async move { admin.list_offsets(&topic, P0, At::Latest).await.unwrap() });
    }
    for answered in 0..47 {
        server
            .until(|server| server.count(Some(0), "ListOffsets") >= answered + 3)
            .await;
        // A question on another connection gives the client every chance to send more.
        client.admin().metadata().await.unwrap();
        assert_eq!(server.count(Some(0), "ListOffsets"), answered + 3);
        gate.add_permits(1);
    }
    gate.add_permits(3);
    assert_eq!(asking.join_all().await.len(), 50);
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection_and_what_was_sent_is_unknown() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let lies = [Act::Garble, Act::Answer(CorrelationId::new(4_000_000))];
    for lie in lies {
        server.script(move |seen| match seen.request {
            Request::Produce(_) => lie.clone(),
            _ => Act::Serve,
        });
        let producer = connect(&server).await.producer(ProducerConfig::default());
        let delivery = producer.send(&topic, Some(P0), record("0")).await.unwrap();
        let failed = delivery.await.unwrap_err();
        assert_eq!(failed.outcome, Outcome::Unknown);
        let Error::Lost { source, .. } = &*failed.error else {
            panic!("{failed}")
        };
        assert!(
            matches!(**source, Fault::Frame { .. } | Fault::Unasked { .. }),
            "{source}"
        );
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_no_answer() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    // The first request of a connection after its Hello has the second number.
    server.script(move |seen| match seen.request {
        Request::Produce(_) => Act::Answer(CorrelationId::new(2)),
        _ => Act::Serve,
    });
    let producer = connect(&server).await.producer(ProducerConfig::default());
    let delivery = producer.send(&topic, Some(P0), record("0")).await.unwrap();
    let failed = delivery.await.unwrap_err();
    assert_eq!(failed.outcome, Outcome::Unknown);
    assert!(matches!(*failed.error, Error::Answer { .. }), "{failed}");
}

#[tokio::test]
async fn the_servers_last_words_reach_the_caller() {
    let server = Server::start(1).await;
    server.script(|_| Act::Dismiss(error(ErrorCode::TooManyConnections)));
    let failed = Client::connect(config(&server)).await.unwrap_err();
    assert!(failed.is_unreachable());
    assert!(
        failed.to_string().contains("TooManyConnections"),
        "{failed}"
    );
}

/// Its outcome was unknown, though it had been told.
#[tokio::test]
async fn an_answer_behind_the_servers_last_words_is_one() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(|seen| match seen.request {
        Request::Produce(_) if seen.nth == 0 => Act::DismissAndServe(error(ErrorCode::Busy)),
        _ => Act::Serve,
    });
    let producer = connect(&server).await.producer(ProducerConfig::default());
    for number in ["0", "1"] {
        let sent = producer.send(&topic, Some(P0), record(number)).await;
        sent.unwrap().await.unwrap();
    }
    assert_eq!(server.log(&topic, 0, |log| log.values()), [b"0", b"1"]);
}

#[tokio::test]
async fn a_server_that_never_says_hello_is_given_up() {
    let server = Server::start(1).await;
    server.script(|_| Act::Ignore);
    let connect_timeout = Duration::from_millis(50);
    let impatient = ClientConfig {
        connect_timeout,
        ..config(&server)
    };
    let failed = Client::connect(impatient).await.unwrap_err();
    let Error::Connect { source, .. } = failed else {
        panic!("{failed}")
    };
    assert!(matches!(*source, Fault::ConnectTimedOut { .. }));
}

#[tokio::test]
async fn a_slow_answer_may_be_overtaken() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    // A long poll waits on its connection; another of the same consumer is answered meanwhile.
    consumer.assign(&topic, P0, Start::Latest, End::Follow);
    server
        .until(|server| server.count(Some(0), "Fetch") == 1)
        .await;
    let other = server.topic("others", 1);
    server.log(&other, 0, |log| log.fill(Codec::None, &[1]));
    let (start, end) = (Start::Earliest, End::HighWatermark);
    consumer.assign(&other, P0, start, end);
    let received = consumer.next().await.unwrap().unwrap();
    assert_eq!(*received.topic, other);
}
