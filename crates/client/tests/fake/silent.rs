//! Several servers, of which one says nothing of a topic, or that it cannot read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::TopicName;
use corelog_client::{Client, ClientConfig, Error, ProducerConfig};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::fewer::{Copied, moved, place_among};
use crate::producing::on_produce;
use crate::routing::owned_at;
use crate::server::{Act, Server};
use crate::{PATIENCE, config_of, connect_to, error, record};

/// Each topic of the name left a task behind that asked on for the next ones as well.
#[tokio::test]
async fn a_topic_that_is_made_anew_again_and_again_is_asked_on_for_by_one_task() {
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    copied.follow();
    let keyless = async || {
        let sent = producer.send(&copied.topic, None, record("value")).await;
        sent.unwrap().await.is_ok()
    };
    let metrics = Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for _ in 0..20 {
        copied.copy.topic("numbers", 2);
        // It hears of the other one.
        timeout(PATIENCE, async { while !keyless().await {} })
            .await
            .unwrap();
        let seen = copied.copy.count(None, "ReplicaStatus");
        let is_asked_on = |server: &Server| seen < server.count(None, "ReplicaStatus");
        tokio::select! {
            _ = producer.send(&copied.topic, None, moved()) => panic!("it is not known where it goes"),
            () = copied.copy.until(is_asked_on) => {}
        }
    }
    let ended = async {
        while before + 10 < metrics.num_alive_tasks() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
}

/// They were asked one behind the other, and the second had all the time that there was.
#[tokio::test]
async fn a_silent_server_takes_no_time_from_one_that_has_more_partitions() {
    let copied = Copied::start().await;
    let silent = silent().await;
    let config = ClientConfig {
        timeout: Duration::from_secs(2),
        ..config_of([&copied.copy, &silent, &copied.whole])
    };
    let client = Client::connect(config).await.unwrap();
    let told = client.topic_anew(&copied.topic).await.unwrap();
    assert_eq!(told.partition_count(), 4);
}

#[tokio::test]
async fn a_silent_server_takes_no_time_from_the_one_that_has_the_topic() {
    let (without, silent, server) = (
        Server::start(1).await,
        silent().await,
        Server::start(1).await,
    );
    let topic = server.topic("numbers", 1);
    let config = ClientConfig {
        connect_timeout: Duration::from_secs(3600),
        ..config_of([&without, &silent, &server])
    };
    let client = Client::connect(config).await.unwrap();
    timeout(PATIENCE, client.topic(&topic))
        .await
        .unwrap()
        .unwrap();
}

/// Whoever answered first decided: of two topics of one name it was now this one, now that.
#[tokio::test]
async fn of_servers_that_answer_the_first_that_has_the_topic_is_believed() {
    let two = TwoOfOneName::start().await;
    for _ in 0..20 {
        two.tells_of_the_first(|| ()).await;
    }
}

/// Its patience was over before it had looked at the answer that had come meanwhile.
#[tokio::test]
async fn a_client_that_was_held_up_itself_believes_the_same_one() {
    let two = TwoOfOneName::start().await;
    two.tells_of_the_first(|| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            std::hint::spin_loop();
        }
    })
    .await;
}

/// Three servers, of which the last two have each a topic of the same name; the first of these answers late.
struct TwoOfOneName {
    servers: [Server; 3],
    topic: TopicName,
    late: Arc<Notify>,
}

impl TwoOfOneName {
    async fn start() -> Self {
        let servers = [
            Server::start(1).await,
            Server::start(1).await,
            Server::start(1).await,
        ];
        let topic = servers[1].topic("numbers", 1);
        servers[2].topic("numbers", 1);
        let late = Arc::new(Notify::new());
        let held = Arc::clone(&late);
        servers[1].script(move |seen| match seen.request {
            Request::Metadata(_) => Act::Hold(Arc::clone(&held)),
            _ => Act::Serve,
        });
        Self {
            servers,
            topic,
            late,
        }
    }

    /// A client believes the first, which answers after the second one, and after this.
    async fn tells_of_the_first(&self, meanwhile: impl FnOnce()) {
        let [without, first, second] = &self.servers;
        let client = connect_to([without, first, second]).await;
        let before = second.count(None, "Metadata");
        let answered = async {
            second
                .until(|server| before < server.count(None, "Metadata"))
                .await;
            // Its answer is ahead.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            meanwhile();
            self.late.notify_one();
        };
        let (told, ()) = tokio::join!(client.topic(&self.topic), answered);
        let expected = first.state.lock().unwrap().topics[&self.topic].id;
        assert_eq!(told.unwrap().id, expected);
    }
}

/// It waited as long for each of the servers as the client does.
#[tokio::test]
async fn a_key_waits_no_longer_than_its_delivery_may_take_where_servers_say_nothing() {
    let copied = Copied::start().await;
    let silent = silent().await;
    let config = ClientConfig {
        connect_timeout: PATIENCE,
        ..config_of([&copied.copy, &silent])
    };
    copied.copy.script(|seen| match seen.request {
        Request::Metadata(_) if 0 < seen.nth => Act::Ignore,
        Request::ReplicaStatus(_) => Act::Refuse(error(ErrorCode::NotOwner)),
        _ => Act::Serve,
    });
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig {
        delivery_timeout: Duration::ZERO,
        ..ProducerConfig::default()
    });
    let given_up = producer.send(&copied.topic, None, moved());
    let given_up = timeout(PATIENCE / 2, given_up).await.unwrap().unwrap_err();
    assert!(matches!(given_up, Error::Uncounted { .. }), "{given_up}");
}

/// It passed for one that does not answer.
#[tokio::test]
async fn a_server_that_cannot_read_the_topic_is_told_from_one_that_says_nothing() {
    let copied = Copied::start().await;
    copied.follow();
    let unreadable = vec![copied.topic.clone()];
    copied.whole.state.lock().unwrap().unreadable = unreadable;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let told = client.topic_anew(&copied.topic).await.unwrap();
    assert_eq!(told.partition_count(), 2);
    let untold = client.untold(&copied.topic).await;
    let [one] = &untold[..] else {
        panic!("{untold:?}");
    };
    assert_eq!(one.server, copied.whole.shared.to_string());
    assert!(one.damage.as_ref().unwrap().is(ErrorCode::Damaged));
    let producer = client.producer(ProducerConfig {
        delivery_timeout: Duration::ZERO,
        ..ProducerConfig::default()
    });
    let given_up = producer.send(&copied.topic, None, moved()).await;
    let error = given_up.unwrap_err();
    assert!(!error.is_unreachable());
    assert!(error.refusal().unwrap().is(ErrorCode::Damaged));
    assert!(error.to_string().contains(&one.server), "{error}");
    // Once it can be read again that is all the same.
    copied.whole.state.lock().unwrap().unreadable.clear();
    let sent = loop {
        if let Ok(sent) = producer.send(&copied.topic, None, moved()).await {
            break sent.await.unwrap();
        }
    };
    assert_eq!(sent.partition, place_among(4));
    assert!(client.untold(&copied.topic).await.is_empty());
}

/// The first of them was told of, which may be there in a moment.
#[tokio::test]
async fn a_server_that_cannot_read_the_topic_is_told_before_one_that_says_nothing() {
    let (copied, silent) = (Copied::start().await, silent().await);
    copied.follow();
    let unreadable = vec![copied.topic.clone()];
    copied.whole.state.lock().unwrap().unreadable = unreadable;
    let config = ClientConfig {
        connect_timeout: Duration::from_secs(1),
        ..config_of([&copied.copy, &silent, &copied.whole])
    };
    let [silent, damaged] = [&silent, &copied.whole].map(|server| server.shared.to_string());
    let client = Client::connect(config).await.unwrap();
    client.topic_anew(&copied.topic).await.unwrap();
    let untold = client.untold(&copied.topic).await.into_iter();
    let untold: Vec<_> = untold.map(|one| one.server).collect();
    assert_eq!(untold, [damaged, silent]);
    let producer = client.producer(ProducerConfig {
        delivery_timeout: Duration::ZERO,
        ..ProducerConfig::default()
    });
    let given_up = producer.send(&copied.topic, None, moved()).await;
    let error = given_up.unwrap_err();
    assert!(error.refusal().unwrap().is(ErrorCode::Damaged), "{error}");
}

/// It stayed there for as long as the connection lasted, also once the copy had been promoted.
#[tokio::test]
async fn a_producer_leaves_the_server_that_cannot_read_its_topic() {
    let (home, copy) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    copy.copy(&home);
    home.state.lock().unwrap().unreadable.push(topic.clone());
    home.script(on_produce(|_| Act::Refuse(error(ErrorCode::Damaged))));
    // It follows, and knows whom; then it owns.
    let owned = owned_at(home.shared);
    copy.script(on_produce(move |seen| match seen.nth {
        0 => Act::Refuse(owned.clone()),
        _ => Act::Serve,
    }));
    let producer = connect_to([&home, &copy])
        .await
        .producer(ProducerConfig::default());
    let sent = producer.send(&topic, None, record("lost")).await.unwrap();
    let failed = sent.await.unwrap_err().error;
    assert!(failed.refusal().unwrap().is(ErrorCode::Damaged), "{failed}");
    let sent = producer.send(&topic, None, record("value")).await.unwrap();
    sent.await.unwrap();
    assert_eq!(copy.log(&topic, 0, |log| log.values()), [b"value"]);
}

/// A server that connects, and tells of no topic.
async fn silent() -> Server {
    let silent = Server::start(1).await;
    silent.script(|seen| match seen.request {
        Request::Metadata(_) => Act::Ignore,
        _ => Act::Serve,
    });
    silent
}
