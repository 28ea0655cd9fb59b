//! Where requests go.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corelog_client::protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::request::Request;
use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{Backoff, Client, ClientConfig, Error, Outcome, ProducerConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::producing::{check, eager, on_produce, outcomes, send_numbers};
use crate::server::{Act, Server};
use crate::{PATIENCE, away, config, config_of, connect, connect_to, error, record};

/// An address that refuses connections. A port that was free a moment ago may be another test's by now.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test]
async fn records_go_to_the_port_of_the_core_that_owns_their_partition() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 4);
    let producer = connect(&server).await.producer(ProducerConfig::default());
    for partition in 0..4 {
        let partition = Some(PartitionId::new(partition));
        producer
            .send(&topic, partition, record("value"))
            .await
            .unwrap()
            .await
            .unwrap();
    }
    assert_eq!(server.count(Some(0), "Produce"), 2);
    assert_eq!(server.count(Some(1), "Produce"), 2);
    assert_eq!(server.count(None, "Produce"), 0);
}

#[tokio::test]
async fn a_core_that_cannot_be_reached_is_reached_over_the_shared_port() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().advertised_cores[1] = NOBODY.to_string();
    let client = connect(&server).await;
    let producer = client.producer(ProducerConfig::default());
    for partition in 0..2 {
        let partition = Some(PartitionId::new(partition));
        producer
            .send(&topic, partition, record("value"))
            .await
            .unwrap()
            .await
            .unwrap();
    }
    assert_eq!(server.count(Some(0), "Produce"), 1);
    assert_eq!(server.count(None, "Produce"), 1);
    let admin = client.admin();
    let found = admin
        .list_offsets(&topic, PartitionId::new(1), At::Latest)
        .await
        .unwrap();
    assert_eq!(found.offset.get(), 1);
}

#[tokio::test]
async fn where_nothing_advertised_answers_the_configured_server_does() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    {
        let mut state = server.state.lock().unwrap();
        state.advertised_cores[0] = NOBODY.to_string();
        state.advertised_shared = NOBODY.to_string();
    }
    let producer = connect(&server).await.producer(ProducerConfig::default());
    producer
        .send(&topic, None, record("value"))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(server.count(None, "Produce"), 1);
}

/// The core's port alone was left alone for a while; each of the others before the one that answered was tried each time.
#[tokio::test]
async fn all_ports_that_do_not_answer_are_left_alone_for_a_while() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    {
        let mut state = server.state.lock().unwrap();
        state.advertised_cores[0] = NOBODY.to_string();
        state.advertised_shared = silent.local_addr().unwrap().to_string();
    }
    let tried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tried);
    tokio::spawn(async move {
        while silent.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let config = ClientConfig {
        backoff: Backoff {
            first: Duration::ZERO,
            max: Duration::ZERO,
        },
        ..config(&server)
    };
    let admin = Client::connect(config).await.unwrap().admin();
    for _ in 0..20 {
        let asked = admin.list_offsets(&topic, PartitionId::new(0), At::Latest);
        asked.await.unwrap();
    }
    assert_eq!(tried.load(Ordering::Relaxed), 1);
}

/// Each waited half a minute and failed; a moment before its news were old it was taken, and had its time to go out.
#[tokio::test]
async fn records_are_taken_while_no_server_answers_by_what_was_known_of_their_topic() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ClientConfig {
        timeout: Duration::from_millis(500),
        metadata_age_max: Duration::ZERO,
        ..config(&server)
    };
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig::default());
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    sent.await.unwrap();
    drop(server);
    let taken = producer.send(&topic, None, record("value")).await;
    assert!(taken.is_ok());
}

#[tokio::test]
async fn a_partition_that_moved_is_followed() {
    let (old, new) = (Server::start(1).await, Server::start(1).await);
    let topic = old.topic("numbers", 1);
    new.copy(&old);
    let owned = owned_at(new.shared);
    old.script(move |seen| match seen.request {
        Request::Produce(_) => Act::Refuse(owned.clone()),
        _ => Act::Serve,
    });
    let producer = connect(&old).await.producer(ProducerConfig::default());
    producer
        .send(&topic, None, record("value"))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(new.log(&topic, 0, |log| log.values()), [b"value"]);
}

/// What a server says whose partitions are another one's.
pub(crate) fn owned_at(address: SocketAddr) -> ErrorBody {
    let detail = Detail {
        address: Some(address.to_string()),
        ..Detail::default()
    };
    error(ErrorCode::NotOwner).with_detail(detail)
}

/// The server that was asked first had a copy of a topic that was made again at the other: each time it was asked anew,
/// and told of the one that was gone.
#[tokio::test]
async fn a_recreated_topic_is_found_beside_a_copy_of_the_old_one() {
    let (copy, owner) = (Server::start(1).await, Server::start(1).await);
    let (topic, _) = (copy.topic("numbers", 1), owner.topic("numbers", 1));
    let address = owner.shared;
    copy.script(move |seen| match seen.request {
        Request::Produce(_) => Act::Refuse(owned_at(address)),
        _ => Act::Serve,
    });
    let producer = connect_to([&copy, &owner]).await.producer(eager());
    let sent = producer.send(&topic, None, record("old")).await.unwrap();
    let failed = sent.await.unwrap_err();
    assert!(failed.error.refusal().unwrap().is(ErrorCode::TopicChanged));
    // The next one may still carry the old id.
    for _ in 0..2 {
        let sent = producer.send(&topic, None, record("new")).await;
        drop(sent.unwrap().await);
    }
    let values = owner.log(&topic, 0, |log| log.values());
    assert!(values.contains(&b"new".to_vec()), "{values:?}");
}

/// While the owner was restarted, what another server had of that name was taken for it, and whoever read or wrote was told
/// that the topic had been deleted and created again.
#[tokio::test]
async fn another_topic_of_a_name_is_believed_once_the_server_of_the_known_one_says_so() {
    let (owner, old) = (Server::start(1).await, Server::start(1).await);
    let (topic, _) = (owner.topic("numbers", 1), old.topic("numbers", 2));
    let client = connect_asking([&owner, &old]).await;
    let known = client.topic(&topic).await.unwrap().id;
    owner.script(|_| Act::Cut);
    for _ in 0..3 {
        assert_eq!(client.topic(&topic).await.unwrap().id, known);
    }
    assert!(old.count(None, "Metadata") > 0, "it was asked");
    owner.script(|_| Act::Serve);
    owner.topic("numbers", 3);
    let mut told = client.topic(&topic).await.unwrap();
    // Connecting to it is tried again behind a pause.
    while told.id == known {
        told = client.topic(&topic).await.unwrap();
    }
    assert_eq!(told.partition_count(), 3);
    owner.delete(&topic);
    assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 2);
}

/// It named its source, which was gone for good, and was asked again and again.
#[tokio::test]
async fn a_producer_finds_the_new_owner_that_a_follower_does_not_know() {
    let (follower, owner) = (Server::start(1).await, Server::start(1).await);
    let topic = follower.topic("numbers", 1);
    owner.copy(&follower);
    follower.script(|seen| match seen.request {
        Request::Produce(_) => Act::Refuse(owned_at(NOBODY.parse().unwrap())),
        _ => Act::Serve,
    });
    let producer = connect_to([&follower, &owner])
        .await
        .producer(ProducerConfig::default());
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    sent.await.unwrap();
    assert_eq!(
        owner.count(Some(0), "Produce") + owner.count(None, "Produce"),
        1
    );
}

/// With each refusal of the follower's the owner's address was left alone for half a minute from then, as a port of a
/// core is while the node is reached over another one: it was never tried again.
#[tokio::test]
async fn a_producer_goes_back_to_an_owner_that_is_there_again() {
    let (follower, mut owner) = (Server::start(1).await, Server::start(1).await);
    let topic = follower.topic("numbers", 1);
    owner.copy(&follower);
    let port = silent_port();
    let owned = owned_at(port.local_addr().unwrap());
    follower.script(move |seen| match seen.request {
        Request::Produce(_) => Act::Refuse(owned.clone()),
        _ => Act::Serve,
    });
    let config = ProducerConfig {
        delivery_timeout: Duration::from_secs(10),
        ..ProducerConfig::default()
    };
    let producer = connect(&follower).await.producer(config);
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    // By the second time the owner was tried.
    follower
        .until(|follower| follower.state.lock().unwrap().count_all("Produce") >= 2)
        .await;
    owner.listen(None, port.listen(8).unwrap());
    sent.await.unwrap();
    assert_eq!(owner.log(&topic, 0, |log| log.values()), [b"value"]);
}

/// A port at which nobody listens yet, and that nobody else gets.
fn silent_port() -> TcpSocket {
    let port = TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    port
}

/// The way over another port was good as long as anything was in flight on it: with a producer that is busy, for ever.
#[tokio::test]
async fn a_busy_producer_goes_back_to_a_core_whose_port_is_there_again() {
    let mut server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let port = silent_port();
    server.state.lock().unwrap().advertised_cores[0] = port.local_addr().unwrap().to_string();
    // Each waits until it is told: whenever one is answered, the one behind it is in flight.
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    server.script(on_produce(move |_| Act::Hold(Arc::clone(&held))));
    let client = ClientConfig {
        detour: Duration::from_millis(20),
        ..config(&server)
    };
    let config = ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 2,
        ..eager()
    };
    let producer = Client::connect(client).await.unwrap().producer(config);
    let mut waiting = VecDeque::from(send_numbers(&producer, &topic, 0..4).await);
    server
        .until(|server| server.count(None, "Produce") == 1)
        .await;
    server.listen(Some(0), port.listen(8).unwrap());
    let mut acked = Vec::new();
    let going_back = async {
        while server.count(Some(0), "Produce") == 0 {
            gate.notify_one();
            acked.push(waiting.pop_front().unwrap().await);
            let next = acked.len() + waiting.len();
            waiting.extend(send_numbers(&producer, &topic, next..next + 1).await);
        }
    };
    timeout(PATIENCE, going_back).await.unwrap();
    server.script(|_| Act::Serve);
    gate.notify_one();
    acked.extend(outcomes(waiting.into()).await);
    assert!(acked.iter().all(Result::is_ok), "{acked:?}");
    check(&server, &topic, &acked);
}

/// A client of these servers that asks each time.
async fn connect_asking(servers: [&Server; 2]) -> Client {
    let config = ClientConfig {
        metadata_age_max: Duration::ZERO,
        ..config_of(servers)
    };
    Client::connect(config).await.unwrap()
}

/// The first that answered said that there is no such topic, which was the last word.
#[tokio::test]
async fn a_topic_is_found_at_whichever_server_has_it() {
    let (without, with) = (Server::start(1).await, Server::start(1).await);
    let topic = with.topic("numbers", 3);
    let client = connect_to([&without, &with]).await;
    assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 3);
    // It is asked first from then on.
    let told = client.admin().metadata().await.unwrap();
    assert_eq!(told.topics.len(), 1);
    let unknown = client.topic(&TopicName::new("unknown").unwrap()).await;
    let unknown = unknown.unwrap_err();
    assert!(unknown.refusal().unwrap().is(ErrorCode::UnknownTopic));
    assert_eq!(without.count(None, "Metadata"), 2);
}

/// The other server was asked as soon as the first one was away, and what was sent meanwhile failed.
#[tokio::test]
async fn a_topic_whose_server_is_away_is_not_gone() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    let client = connect_to([&home, &other]).await;
    client.topic(&topic).await.unwrap();
    let is_away = away(&home, true);
    let told = client.admin().metadata().await.unwrap();
    assert!(told.topics.is_empty(), "the other one answers");
    let config = ProducerConfig {
        delivery_timeout: Duration::from_secs(10),
        ..ProducerConfig::default()
    };
    let producer = client.producer(config);
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    other
        .until(|other| other.count(None, "Metadata") >= 3)
        .await;
    is_away.store(false, Ordering::Relaxed);
    sent.await.unwrap();
    assert_eq!(home.log(&topic, 0, |log| log.values()), [b"value"]);
    assert_eq!(other.count(None, "Produce"), 0);
}

/// It was not forgotten while any other server was away, and what was sent to it failed late.
#[tokio::test]
async fn a_topic_is_gone_once_the_server_that_described_it_says_so() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    let client = connect_asking([&other, &home]).await;
    client.topic(&topic).await.unwrap();
    home.delete(&topic);
    other.script(|_| Act::Cut);
    // Who asks later is told the same.
    for _ in 0..2 {
        let gone = client.topic(&topic).await.unwrap_err();
        assert!(gone.refusal().unwrap().is(ErrorCode::UnknownTopic));
    }
}

/// It was said not to exist, for good, while the one server that has it was being restarted.
#[tokio::test]
async fn a_topic_that_a_server_that_is_away_may_have_is_not_said_to_be_none() {
    let (other, home) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    let client = connect_to([&other, &home]).await;
    home.script(|_| Act::Cut);
    let told = client.topic(&topic).await.unwrap_err();
    assert!(told.is_unreachable(), "{told}");
    assert_eq!(told.outcome(), Outcome::NotApplied);
    home.script(|_| Act::Serve);
    // It is tried again behind a pause.
    while let Err(error) = client.topic(&topic).await {
        assert!(error.is_unreachable(), "{error}");
    }
}

/// Whatever it said counted as a no.
#[tokio::test]
async fn a_server_that_cannot_tell_of_a_topic_has_not_said_that_there_is_none() {
    let (other, home) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    let client = connect_asking([&other, &home]).await;
    client.topic(&topic).await.unwrap();
    home.script(|_| Act::Cut);
    let told = client.admin().metadata().await.unwrap();
    assert!(told.topics.is_empty(), "the other one answers from now on");
    home.script(|seen| match seen.request {
        Request::Metadata(_) => Act::Refuse(error(ErrorCode::Internal)),
        _ => Act::Serve,
    });
    // The connection to it is tried again behind a pause.
    let before = home.count(None, "Metadata");
    while home.count(None, "Metadata") == before {
        assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 1);
    }
}

#[tokio::test]
async fn any_of_the_servers_will_do() {
    let server = Server::start(1).await;
    let servers = vec![NOBODY.to_string(), server.shared.to_string()];
    let client = Client::connect(ClientConfig {
        servers,
        ..config(&server)
    })
    .await
    .unwrap();
    assert_eq!(client.hello().await.unwrap().software, "fake");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let failed = Client::connect(ClientConfig::new([NOBODY]))
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Connect { .. }));
    assert!(failed.is_unreachable());
    let none: [String; 0] = [];
    let failed = Client::connect(ClientConfig::new(none)).await.unwrap_err();
    assert!(matches!(failed, Error::NoServer));
}

#[tokio::test]
async fn new_partitions_are_found_when_they_are_asked_for() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 1);
    server.add_partition(&topic);
    let producer = client.producer(ProducerConfig::default());
    let partition = Some(PartitionId::new(1));
    producer
        .send(&topic, partition, record("value"))
        .await
        .unwrap()
        .await
        .unwrap();
}

#[tokio::test]
async fn many_who_ask_for_one_topic_ask_the_server_once() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, topic) = (client.clone(), topic.clone());
        tasks.spawn(async move { client.topic(&topic).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(server.count(None, "Metadata"), 1);
}

#[tokio::test]
async fn a_question_survives_a_lost_connection() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(|seen| match seen.request {
        Request::ListOffsets(_) if seen.nth < 3 => Act::Cut,
        _ => Act::Serve,
    });
    let admin = connect(&server).await.admin();
    let found = admin
        .list_offsets(&topic, PartitionId::new(0), At::Earliest)
        .await
        .unwrap();
    assert_eq!(found.offset.get(), 0);
}

#[tokio::test]
async fn a_partition_that_was_added_is_asked_for_where_old_news_have_none() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 1);
    server.add_partition(&topic);
    let added = PartitionId::new(1);
    let found = client
        .admin()
        .list_offsets(&topic, added, At::Earliest)
        .await;
    assert_eq!(found.unwrap().offset.get(), 0);
}

/// Each had the whole timeout for itself, one behind the other.
#[tokio::test]
async fn all_who_ask_for_a_topic_have_waited_when_the_first_of_them_has() {
    let server = Server::start(1).await;
    server.script(|seen| match seen.request {
        Request::Metadata(_) => Act::Refuse(error(ErrorCode::Busy)),
        _ => Act::Serve,
    });
    let config = ClientConfig {
        timeout: Duration::from_millis(300),
        ..config(&server)
    };
    let client = Client::connect(config).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let name = TopicName::new(&format!("numbers-{number}")).unwrap();
        let client = client.clone();
        tasks.spawn(async move { client.topic(&name).await.unwrap_err() });
    }
    let all = timeout(Duration::from_secs(20), tasks.join_all()).await;
    assert_eq!(all.unwrap().len(), 200);
}

/// What has no time left would be sent and given up at once, its outcome unknown; and what was slow to be answered is
/// not dead.
#[tokio::test]
async fn a_request_with_little_time_ends_nobody_elses_connection() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(move |seen| match seen.request {
        Request::ListOffsets(_) => Act::Later(Arc::clone(&held)),
        _ => Act::Serve,
    });
    let config = ClientConfig {
        timeout: Duration::from_millis(50),
        ..config(&server)
    };
    let client = Client::connect(config).await.unwrap();
    let p0 = PartitionId::new(0);
    let late = client.admin().list_offsets(&topic, p0, At::Latest).await;
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    gate.add_permits(100);
    let admin = client.admin();
    let mut found = admin.list_offsets(&topic, p0, At::Latest).await;
    // So little time may be too little for the machine; a second of silence would end the connection.
    for _ in 0..15 {
        if matches!(found, Err(Error::TimedOut { .. })) {
            found = admin.list_offsets(&topic, p0, At::Latest).await;
        }
    }
    assert_eq!(found.unwrap().offset.get(), 0);
    assert_eq!(server.state.lock().unwrap().count_all("Hello"), 2);
}
