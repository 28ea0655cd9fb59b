//! A way to the server that is narrow: what is on it takes longer than a server may be silent.

use std::time::Duration;

use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, End, Outcome, ProducerConfig, Start,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::consuming::{P0, P1, offset};
use crate::producing::eager;
use crate::server::{Act, Server};
use crate::{PATIENCE, config, record};

/// How long requests are waited for: for far less than all that is on its way takes.
const TIME: Duration = Duration::from_secs(1);
/// So much passes at a time.
const PIECE_BYTES: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Its batches were given up as of unknown outcome while they left and were acknowledged one after the other, and all behind them
/// failed.
#[tokio::test]
async fn batches_that_leave_slowly_are_waited_for_while_acknowledgements_come() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    narrow(&server, [PAUSE, Duration::ZERO], PIECE_BYTES).await;
    let producer = connect(&server).await.producer(ProducerConfig {
        in_flight_max: 16,
        ..eager()
    });
    let mut sent = Vec::new();
    for _ in 0..16 {
        let value = record(vec![0; 4 * PIECE_BYTES]);
        sent.push(producer.send(&topic, Some(P0), value).await.unwrap());
    }
    for sent in sent {
        sent.await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_is_not_answered_has_its_outcome_in_time_however_much_comes_of_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.script(|seen| match seen.request {
        Request::Produce(asked) if asked.partition == P0 => Act::Ignore,
        _ => Act::Serve,
    });
    let producer = connect(&server).await.producer(ProducerConfig {
        delivery_timeout: 2 * TIME,
        ..eager()
    });
    let sent = producer.send(&topic, Some(P0), record("0")).await.unwrap();
    let others = async {
        loop {
            let one = producer.send(&topic, Some(P1), record("1")).await.unwrap();
            one.await.unwrap();
        }
    };
    let outcome = async {
        tokio::select! {
            sent = sent => sent.unwrap_err().outcome,
            () = others => unreachable!(),
        }
    };
    let begun = Instant::now();
    let outcome = timeout(PATIENCE, outcome).await.unwrap();
    assert_eq!(outcome, Outcome::Unknown);
    assert!(TIME + TIME / 2 < begun.elapsed(), "it may be answered");
}

/// Whose answer took longer than half of the time that a partition may be unreachable got nothing, however often it asked.
#[tokio::test]
async fn an_answer_that_takes_long_is_waited_for_while_it_comes() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    for _ in 0..10 {
        server.log(&topic, 0, |log| log.fill(Codec::None, &[0; 2_000]));
    }
    narrow(&server, [Duration::ZERO, PAUSE], PIECE_BYTES).await;
    let mut consumer = impatient(&server).await;
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    for expected in 0..20_000 {
        let received = consumer.next().await.unwrap().unwrap();
        assert_eq!(received.offset, offset(expected));
    }
    assert!(consumer.next().await.is_none());
    assert_eq!(server.count(Some(0), "Fetch"), 1, "nothing came twice");
}

#[tokio::test]
async fn a_partition_whose_answer_trickles_is_reported() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill(Codec::None, &[0; 20_000]));
    narrow(&server, [Duration::ZERO, PAUSE], 200).await;
    let mut consumer = impatient(&server).await;
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    let told = timeout(PATIENCE, consumer.next()).await.unwrap();
    let error = told.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test]
async fn a_partition_that_is_not_answered_is_reported_however_much_comes_of_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.partition == P0 => Act::Ignore,
        _ => Act::Serve,
    });
    let mut consumer = impatient(&server).await;
    for partition in [P0, P1] {
        consumer.assign(&topic, partition, Start::Earliest, End::Follow);
    }
    let reported = async {
        loop {
            server.log(&topic, 1, |log| log.fill(Codec::None, &[0; 2_000]));
            match consumer.next_batch().await.unwrap() {
                Ok(batch) => assert_ne!(batch.partition, P0),
                Err(error) => return error,
            }
        }
    };
    let error = timeout(PATIENCE, reported).await.unwrap();
    assert!(error.is_unreachable(), "{error}");
}

async fn connect(server: &Server) -> Client {
    let config = ClientConfig {
        timeout: TIME,
        ..config(server)
    };
    Client::connect(config).await.unwrap()
}

async fn impatient(server: &Server) -> Consumer {
    connect(server).await.consumer(ConsumerConfig {
        unreachable_timeout: Some(2 * TIME),
        wait: Duration::from_millis(10),
        ..ConsumerConfig::default()
    })
}

/// Has clients reach a server's core on a way that passes on so many bytes at a time, each behind its pause: to it, and back.
async fn narrow(server: &Server, pauses: [Duration; 2], piece_bytes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = listener.local_addr().unwrap().to_string();
    let advertised = &mut server.state.lock().unwrap().advertised_cores[0];
    let core = std::mem::replace(advertised, way);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&core).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let [to, back] = pauses;
            tokio::spawn(pass(from_client, to_server, to, piece_bytes));
            tokio::spawn(pass(from_server, to_client, back, piece_bytes));
        }
    });
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pause: Duration, bytes: usize) {
    let mut piece = vec![0; bytes];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        sleep(pause).await;
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
