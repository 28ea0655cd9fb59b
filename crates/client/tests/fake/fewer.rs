//! A copy that has not all partitions of its topic, asked while the node that has is away.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::{Builder, Codec};
use corelog_client::record::{PartitionId, Record, TopicName};
use corelog_client::{
    Client, ClientConfig, ConsumerConfig, End, Error, ProducerConfig, Start, partition_of_key,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::producing::on_produce;
use crate::server::{Act, Server};
use crate::{PATIENCE, away, config_of, connect, connect_to, error, record};

const P3: PartitionId = PartitionId::new(3);

/// A topic of four partitions, a copy that has two of them, and whether who has all four is away.
pub(crate) struct Copied {
    pub(crate) whole: Server,
    pub(crate) copy: Server,
    pub(crate) topic: TopicName,
    is_away: Arc<AtomicBool>,
}

impl Copied {
    pub(crate) async fn start() -> Self {
        let (whole, copy) = (Server::start(1).await, Server::start(1).await);
        let topic = whole.topic("numbers", 4);
        copy.copy(&whole);
        copy.remove_partitions(&topic, 2);
        let is_away = away(&whole, false);
        Self {
            whole,
            copy,
            topic,
            is_away,
        }
    }

    /// A client that has heard of the topic from who has all of it, and asks each time.
    async fn connect(&self) -> Client {
        let config = ClientConfig {
            metadata_age_max: Duration::ZERO,
            ..config_of([&self.whole, &self.copy])
        };
        let client = Client::connect(config).await.unwrap();
        let told = client.topic(&self.topic).await.unwrap();
        assert_eq!(told.partition_count(), 4);
        client
    }

    /// A client that asks the copy first, and waits so long for a server that says nothing.
    pub(crate) async fn connect_to_copy_first(&self, connect_timeout: Duration) -> Client {
        let config = ClientConfig {
            connect_timeout,
            ..config_of([&self.copy, &self.whole])
        };
        Client::connect(config).await.unwrap()
    }

    /// The copy says that it owns nothing.
    pub(crate) fn follow(&self) {
        self.copy.script(|seen| match seen.request {
            Request::ReplicaStatus(_) => Act::Refuse(error(ErrorCode::NotOwner)),
            _ => Act::Serve,
        });
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Until the copy is the one that is asked for topics.
    async fn ask_copy(&self, client: &Client) {
        let before = self.copy.count(None, "Metadata");
        while self.copy.count(None, "Metadata") == before {
            client.topic(&self.topic).await.unwrap();
        }
    }
}

/// The copy's word replaced what was known: keys went to other partitions than before.
#[tokio::test]
async fn keys_stay_in_their_partitions_where_a_copy_tells_of_fewer() {
    let copied = Copied::start().await;
    let client = copied.connect().await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    copied.ask_copy(&client).await;
    assert_eq!(
        client.topic(&copied.topic).await.unwrap().partition_count(),
        4
    );
    copied.set_away(false);
    for number in 0..20 {
        let key = format!("key {number}").into_bytes();
        let expected = PartitionId::new(partition_of_key(&key, 4));
        let keyed = Record {
            key: Some(key),
            ..record("value")
        };
        let sent = producer.send(&copied.topic, None, keyed).await.unwrap();
        assert_eq!(sent.await.unwrap().partition, expected);
    }
}

/// What it had been told took the place of what was known by then: keys went to their former partitions again.
#[tokio::test]
async fn keys_stay_in_their_partitions_where_who_was_told_of_fewer_goes_on_later() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let client = connect(&server).await;
    let producer = client.producer(ProducerConfig::default());
    let mut late = pin!(producer.send(&topic, None, moved()));
    tokio::select! {
        biased;
        _ = &mut late => panic!("it is told first"),
        () = server.until(|server| 0 < server.count(None, "Metadata")) => {}
    }
    assert_eq!(client.topic(&topic).await.unwrap().partition_count(), 2);
    server.add_partition(&topic);
    server.add_partition(&topic);
    let told = client.topic_anew(&topic).await.unwrap();
    assert_eq!(told.partition_count(), 4);
    let sent = producer.send(&topic, None, moved()).await.unwrap();
    assert_eq!(sent.await.unwrap().partition, place_among(4));
    // A connection breaks, and what is known is doubted.
    server.script(on_produce(|seen| match seen.nth {
        1 => Act::Cut,
        _ => Act::Serve,
    }));
    let lost = producer.send(&topic, Some(P3), record("lost")).await;
    assert!(lost.unwrap().await.is_err());
    let sent = late.await.unwrap();
    assert_eq!(sent.await.unwrap().partition, place_among(4));
}

/// It was told that there is no such partition, and ended for good.
#[tokio::test]
async fn who_reads_a_partition_that_a_copy_lacks_goes_on_when_its_node_is_there_again() {
    let copied = Copied::start().await;
    let fill = || {
        let log = &copied.whole;
        log.log(&copied.topic, 3, |log| log.fill(Codec::None, &[1]));
    };
    fill();
    let client = copied.connect().await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&copied.topic, P3, Start::Earliest, End::Follow);
    consumer.next().await.unwrap().unwrap();
    let polls = |server: &Server| server.count(Some(0), "Fetch") == 2;
    copied.whole.until(polls).await;
    copied.set_away(true);
    // The poll that waits is answered, and the next one meets who is away.
    fill();
    consumer.next().await.unwrap().unwrap();
    copied.ask_copy(&client).await;
    copied.set_away(false);
    fill();
    let third = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(third.unwrap().unwrap().offset.get(), 2);
}

/// The copy had answered last, and was asked for topics again and again, while a third one had them all.
#[tokio::test]
async fn where_a_copy_lacks_a_partition_whose_node_is_away_the_next_server_is_asked() {
    let mut copied = Copied::start().await;
    let other = Server::start(1).await;
    other.copy(&copied.whole);
    let client = connect_to([&copied.whole, &copied.copy, &other]).await;
    client.topic(&copied.topic).await.unwrap();
    // It goes for good.
    copied.whole = Server::start(1).await;
    let admin = client.admin();
    let found = timeout(PATIENCE, admin.list_offsets(&copied.topic, P3, At::Latest)).await;
    assert_eq!(found.unwrap().unwrap().offset.get(), 0);
}

/// Who looked for added partitions asked the server that had answered last, and never heard of them where that was a copy.
#[tokio::test]
async fn partitions_that_the_first_server_lacks_are_told_by_the_others() {
    let copied = Copied::start().await;
    let client = connect_to([&copied.copy, &copied.whole]).await;
    let told = client.topic(&copied.topic).await.unwrap();
    assert_eq!(told.partition_count(), 2);
    let told = client.topic_anew(&copied.topic).await.unwrap();
    assert_eq!(told.partition_count(), 4);
    // The way to them is known as well.
    copied
        .whole
        .log(&copied.topic, 3, |log| log.fill(Codec::None, &[1]));
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(&copied.topic, P3, Start::Earliest, End::HighWatermark);
    consumer.next().await.unwrap().unwrap();
    // Old news are none.
    copied.whole.add_partition(&copied.topic);
    let told = client.topic_anew(&copied.topic).await.unwrap();
    assert_eq!(told.partition_count(), 5);
}

/// A copy's part passed for the whole: that who has the rest had said nothing was told to nobody.
#[tokio::test]
async fn a_server_that_may_have_more_partitions_and_has_said_nothing_is_named() {
    let copied = Copied::start().await;
    let short = Duration::from_millis(200);
    let untold = async |client: &Client| {
        let told = client.topic_anew(&copied.topic).await.unwrap();
        let untold = client.untold(&copied.topic).await.into_iter();
        let untold: Vec<_> = untold.map(|one| one.server).collect();
        (told.partition_count(), untold)
    };
    copied.set_away(true);
    // Who owns all that is known has all there is.
    let client = copied.connect_to_copy_first(short).await;
    assert_eq!(untold(&client).await, (2, Vec::new()));

    copied.follow();
    let client = copied.connect_to_copy_first(short).await;
    let whole = copied.whole.shared.to_string();
    assert_eq!(untold(&client).await, (2, vec![whole]));
    copied.set_away(false);
    let told = async { while untold(&client).await != (4, Vec::new()) {} };
    timeout(PATIENCE, told).await.unwrap();
    // It has said it once.
    copied.set_away(true);
    assert_eq!(untold(&client).await, (4, Vec::new()));
}

/// A copy with two of the four partitions and a server that was asked once in vain: keys went by the two for minutes, and to
/// other partitions from then on.
#[tokio::test]
async fn keys_go_by_what_a_server_has_once_it_says_so_that_said_nothing_at_first() {
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(200))
        .await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    copied.follow();
    let sent = producer.send(&copied.topic, None, record("value")).await;
    drop(sent.unwrap());
    copied.set_away(false);
    let told = async {
        while client.topic(&copied.topic).await.unwrap().partition_count() < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    let sent = producer.send(&copied.topic, None, moved()).await.unwrap();
    assert_eq!(sent.await.unwrap().partition, place_among(4));
}

/// Nobody was asked about the other one, and keys waited for a word of servers that had said all they had.
#[tokio::test]
async fn a_key_of_a_topic_that_was_made_anew_waits_only_until_its_servers_have_said_what_they_have()
{
    let [server, other] = [Server::start(1).await, Server::start(1).await];
    let topic = server.topic("numbers", 4);
    let client = connect_to([&server, &other]).await;
    let producer = client.producer(ProducerConfig::default());
    let send = async || {
        let sent = producer.send(&topic, None, moved());
        timeout(PATIENCE, sent).await.unwrap().unwrap().await
    };
    send().await.unwrap();
    server.topic("numbers", 4);
    send().await.unwrap_err();
    // The next attempts may still carry the old id; soon they carry the new one.
    let sent = async { while send().await.is_err() {} };
    timeout(PATIENCE, sent).await.unwrap();
}

/// It said that it owns all it had told of, and more by then: keys went by what it had told.
#[tokio::test]
async fn a_copy_that_owns_more_by_now_than_it_told_of_is_asked_again() {
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    copied.follow();
    let first = producer.send(&copied.topic, None, record("value")).await;
    drop(first.unwrap());
    for _ in 0..2 {
        copied.copy.add_partition(&copied.topic);
    }
    copied.copy.script(|_| Act::Serve);
    let sent = producer.send(&copied.topic, None, moved());
    let sent = timeout(PATIENCE, sent).await.unwrap().unwrap();
    assert_eq!(sent.await.unwrap().partition, place_among(4));
}

/// Memory for one large record.
fn small() -> ProducerConfig {
    ProducerConfig {
        memory_bytes_max: 1 << 20,
        ..ProducerConfig::default()
    }
}

/// Whoever had nothing to do with that server waited for the memory.
#[tokio::test]
async fn keys_that_wait_for_a_server_leave_the_memory_to_others() {
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let producer = client.producer(small());
    copied.set_away(true);
    copied.follow();
    let keyed = Record {
        key: Some(moved_key()),
        ..large()
    };
    let mut waiting = std::pin::pin!(producer.send(&copied.topic, None, keyed));
    let asked = |server: &Server| 1 < server.count(None, "ReplicaStatus");
    tokio::select! {
        _ = &mut waiting => panic!("it is not known where it goes"),
        () = copied.copy.until(asked) => {}
    }
    let other = producer.send(&copied.topic, Some(PartitionId::new(1)), large());
    let other = timeout(PATIENCE, other).await.unwrap().unwrap();
    other.await.unwrap();
    copied.set_away(false);
    let sent = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(sent.await.unwrap().partition, place_among(4));
}

/// It had given its room back, had room again once there was some, and held that while it waited for the other topic's
/// partitions to be counted.
#[tokio::test]
async fn a_key_holds_no_memory_where_its_topic_is_made_anew_while_it_waits_for_some() {
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let producer = client.producer(small());
    copied.set_away(true);
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    copied.copy.script(move |seen| match seen.request {
        Request::ReplicaStatus(_) => Act::Refuse(error(ErrorCode::NotOwner)),
        Request::Produce(_) if seen.nth == 0 => Act::Hold(Arc::clone(&held)),
        _ => Act::Serve,
    });
    let keyed = Record {
        key: Some(moved_key()),
        ..large()
    };
    let waiting = tokio::spawn({
        let (producer, topic) = (producer.clone(), copied.topic.clone());
        async move { producer.send(&topic, None, keyed).await.unwrap().await }
    });
    let asked = |server: &Server| 1 < server.count(None, "ReplicaStatus");
    copied.copy.until(asked).await;
    let p1 = Some(PartitionId::new(1));
    let former = producer.send(&copied.topic, p1, large()).await.unwrap();
    let is_held = |server: &Server| 0 < server.count(Some(0), "Produce");
    copied.copy.until(is_held).await;
    // It is known where keys go, and there is no room.
    copied.set_away(false);
    while producer.memory_bytes() < 1 << 20 {
        tokio::task::yield_now().await;
    }
    copied.set_away(true);
    copied.whole.topic("numbers", 4);
    copied.copy.copy(&copied.whole);
    copied.copy.remove_partitions(&copied.topic, 2);
    gate.notify_one();
    former.await.unwrap_err();
    let other = producer.send(&copied.topic, p1, large());
    let other = timeout(PATIENCE, other).await.unwrap().unwrap();
    other.await.unwrap();
    copied.set_away(false);
    let sent = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(sent.unwrap().partition, place_among(4));
}

/// A batch kept its room while each server was asked how many partitions there are.
#[tokio::test]
async fn what_waits_for_the_word_of_a_server_leaves_the_memory_to_others() {
    let copied = Copied::start().await;
    let other = copied.whole.topic("others", 1);
    copied.copy.copy(&copied.whole);
    let client = copied.connect_to_copy_first(PATIENCE).await;
    let producer = client.producer(small());
    let sent = producer.send(&other, None, record("value")).await;
    sent.unwrap().await.unwrap();
    copied.whole.script(|_| Act::Ignore);
    let mut batch = Builder::new(Codec::None);
    batch.append_record(&large()).unwrap();
    let mut waiting = std::pin::pin!(producer.send_batch(&copied.topic, P3, batch));
    let asked = |server: &Server| 1 < server.count(None, "Metadata");
    tokio::select! {
        _ = &mut waiting => panic!("nobody has said that there is such a partition"),
        () = copied.whole.until(asked) => {}
    }
    let sent = producer.send(&other, None, large());
    let sent = timeout(PATIENCE, sent).await.unwrap().unwrap();
    sent.await.unwrap();
}

/// They were counted off from the first, which nobody told of.
#[tokio::test]
async fn records_without_a_key_go_to_the_partitions_that_there_are() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 4);
    server.state.lock().unwrap().hidden = [0, 1].map(PartitionId::new).into();
    let client = connect(&server).await;
    let producer = client.producer(ProducerConfig::default());
    for _ in 0..8 {
        let sent = producer.send(&topic, None, large()).await.unwrap();
        assert!(1 < sent.await.unwrap().partition.get());
    }
}

/// It was asked once, and what it has counted for nothing from then on.
#[tokio::test]
async fn a_key_waits_for_a_server_that_is_away_for_a_moment_unless_another_one_owns_all_that_is_known()
 {
    let copied = Copied::start().await;
    let client = copied.connect_to_copy_first(PATIENCE).await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    copied.follow();
    let sending = tokio::spawn({
        let topic = copied.topic.clone();
        async move { producer.send(&topic, None, moved()).await.unwrap().await }
    });
    // It is asked a second time what it is, and so a third time what the other one has.
    let asked = |server: &Server| 1 < server.count(None, "ReplicaStatus");
    copied.copy.until(asked).await;
    copied.set_away(false);
    let sent = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert_eq!(sent.unwrap().partition, place_among(4));

    // Where it is the owner nobody waits.
    copied.copy.script(|_| Act::Serve);
    let client = copied
        .connect_to_copy_first(Duration::from_secs(3600))
        .await;
    let producer = client.producer(ProducerConfig::default());
    copied.set_away(true);
    let sent = producer.send(&copied.topic, None, moved());
    drop(timeout(PATIENCE, sent).await.unwrap().unwrap());
}

/// It was waited for as long as to connect may take, and keys went by the two partitions of the copy then.
#[tokio::test]
async fn a_key_is_given_up_with_an_error_where_a_server_that_may_have_more_partitions_stays_silent()
{
    let copied = Copied::start().await;
    let client = copied
        .connect_to_copy_first(Duration::from_millis(50))
        .await;
    let producer = client.producer(ProducerConfig {
        delivery_timeout: Duration::ZERO,
        ..ProducerConfig::default()
    });
    copied.set_away(true);
    copied.follow();
    // What says itself where it goes, or goes anywhere, waits for nobody.
    for partition in [None, Some(PartitionId::new(1))] {
        let sent = producer.send(&copied.topic, partition, record("value"));
        sent.await.unwrap().await.unwrap();
    }
    let given_up = producer.send(&copied.topic, None, moved()).await;
    let error = given_up.unwrap_err();
    assert!(error.is_unreachable());
    match error {
        Error::Uncounted { server, .. } => assert_eq!(*server, copied.whole.shared.to_string()),
        other => panic!("{other}"),
    }
    copied.set_away(false);
    let sent = loop {
        if let Ok(sent) = producer.send(&copied.topic, None, moved()).await {
            break sent.await.unwrap();
        }
    };
    assert_eq!(sent.partition, place_among(4));
}

/// Two that own a half each were asked on for a third one that was gone for good.
#[tokio::test]
async fn a_key_waits_for_no_server_that_is_gone_where_others_own_the_topic_between_them() {
    let [one, other, gone] = [
        Server::start(1).await,
        Server::start(1).await,
        Server::start(1).await,
    ];
    let topic = one.topic("numbers", 4);
    other.copy(&one);
    for (server, followed) in [(&one, [0, 1]), (&other, [2, 3])] {
        server.state.lock().unwrap().followed = followed.map(PartitionId::new).into();
    }
    let config = config_of([&one, &other, &gone]);
    drop(gone);
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig {
        delivery_timeout: Duration::from_secs(3600),
        ..ProducerConfig::default()
    });
    let sent = timeout(PATIENCE, producer.send(&topic, None, moved())).await;
    assert_eq!(
        sent.unwrap().unwrap().await.unwrap().partition,
        place_among(4)
    );
}

/// More than half of a producer's memory of 1 MiB.
fn large() -> Record {
    record(vec![b'v'; 600 << 10])
}

/// A record whose key goes to one of two partitions, and to another one of four.
pub(crate) fn moved() -> Record {
    Record {
        key: Some(moved_key()),
        ..record("value")
    }
}

fn moved_key() -> Vec<u8> {
    let keys = (0..).map(|number| format!("key {number}").into_bytes());
    let mut moved = keys.filter(|key| partition_of_key(key, 2) != partition_of_key(key, 4));
    moved.next().unwrap()
}

/// Where its key goes among so many partitions.
pub(crate) fn place_among(count: u32) -> PartitionId {
    PartitionId::new(partition_of_key(&moved_key(), count))
}
