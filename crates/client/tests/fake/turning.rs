//! Readers of whom the server that they read from is not the one that has what they are to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelog_client::record::TopicName;
use corelog_client::record::batch::Codec;
use corelog_client::{Client, ClientConfig, ConsumerConfig, End, Start};
use tokio::time::timeout;

use crate::config;
use crate::consuming::{P0, offset, three_batches};
use crate::server::{Act, Server};

/// What is waited for comes at once, or this fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server of three batches and a copy of it, and whether the first one is away.
async fn copied() -> ([Server; 2], TopicName, Arc<AtomicBool>) {
    let (home, topic) = three_batches(Codec::None).await;
    let copy = Server::start(1).await;
    copy.copy(&home);
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    home.script(move |_| match away.load(Ordering::Relaxed) {
        true => Act::Cut,
        false => Act::Serve,
    });
    ([home, copy], topic, is_away)
}

/// A client of both that looks at the other one soon.
async fn connect(servers: &[Server; 2]) -> Client {
    let addresses = servers.each_ref().map(|server| server.shared.to_string());
    let config = ClientConfig {
        servers: addresses.into(),
        detour: Duration::from_millis(20),
        ..config(&servers[0])
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
