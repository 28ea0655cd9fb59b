//! Callers that begin something, and are polled no more, while others want the same.

use std::pin::pin;

use corelog_client::Client;
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::record::PartitionId;
use tokio::time::timeout;

use crate::server::Server;
use crate::{PATIENCE, connect};

/// Polls a future once; it has to be one that waits.
macro_rules! poll_once {
    ($future:expr) => {
        tokio::select! {
            biased;
            _ = &mut $future => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
    };
}

async fn start() -> (Server, Client) {
    let server = Server::start(1).await;
    let client = connect(&server).await;
    (server, client)
}

/// It held the lock that all take who look for a topic.
#[tokio::test]
async fn who_begins_to_look_for_a_topic_and_leaves_it_holds_up_nobody() {
    let (server, client) = start().await;
    let (kept, other) = (server.topic("kept", 1), server.topic("other", 1));
    let mut kept = pin!(client.topic(&kept));
    poll_once!(kept);
    let found = timeout(PATIENCE, client.topic(&other)).await.unwrap();
    assert_eq!(found.unwrap().partition_count(), 1);
    kept.await.unwrap();
}

/// It held the place of the connection that it opened.
#[tokio::test]
async fn who_begins_to_connect_and_leaves_it_holds_up_nobody() {
    let (server, client) = start().await;
    let topic = server.topic("numbers", 1);
    client.topic(&topic).await.unwrap();
    let (admin, partition) = (client.admin(), PartitionId::new(0));
    let mut kept = pin!(admin.list_offsets(&topic, partition, At::Latest));
    poll_once!(kept);
    let found = timeout(
        PATIENCE,
        admin.list_offsets(&topic, partition, At::Earliest),
    );
    found.await.unwrap().unwrap();
    kept.await.unwrap();
}
