//! Servers that hang: they take what they are sent, and answer nothing, while another one serves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Delivery, End, Outcome, Producer,
    ProducerConfig, Start,
};
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::consuming::{P0, P1, next_error, offset, three_batches};
use crate::producing::{eager, on_produce};
use crate::server::{Act, Server};
use crate::{PATIENCE, config, config_of, connect, error, hang, record};

/// The configuration of a client that does not wait for long.
fn hasty<const N: usize>(servers: [&Server; N]) -> ClientConfig {
    ClientConfig {
        connect_timeout: Duration::from_millis(200),
        ..config_of(servers)
    }
}

/// The first one had all of a time that is no longer than a connection may take; then each attempt left half of the time to
/// servers behind it, also where there was none.
#[tokio::test]
async fn the_last_server_has_what_is_left_of_a_short_time() {
    let (hung, slow) = (Server::start(1).await, Server::start(1).await);
    let topic = slow.topic("numbers", 1);
    hang(&hung);
    let time = Duration::from_secs(8);
    let connect = || async {
        let config = ClientConfig {
            timeout: time,
            connect_timeout: PATIENCE,
            ..config_of([&hung, &slow])
        };
        Client::connect(config).await.unwrap()
    };
    let (looks, describes, lists) = (connect().await, connect().await, connect().await);
    let [describes, lists] = [describes, lists].map(|client| client.admin());
    let begun = Instant::now();
    slow.script(move |seen| match seen.request {
        Request::Hello(_) => Act::Serve,
        _ => {
            // More than half of what is left of the time, and less than all, however long a busy machine took to give the
            // first one up.
            let left = time.saturating_sub(begun.elapsed());
            assert!(time / 5 < left, "the first one had {:?}", time - left);
            let due = Arc::new(Notify::new());
            let told = Arc::clone(&due);
            tokio::spawn(async move {
                sleep(left * 2 / 3).await;
                told.notify_one();
            });
            Act::Hold(due)
        }
    });
    let (found, described, listed) = tokio::join!(
        looks.topic(&topic),
        describes.describe_topic(&topic),
        lists.metadata(),
    );
    found.unwrap();
    described.unwrap();
    listed.unwrap();
}

/// It counted as one that had had its share: the second one had all that was left.
#[tokio::test]
async fn a_server_that_was_away_has_its_share_once_it_is_back_where_the_second_one_hangs() {
    let (first, hung) = (Server::start(1).await, Server::start(1).await);
    let topic = first.topic("numbers", 1);
    let config = ClientConfig {
        timeout: Duration::from_secs(4),
        ..config_of([&first, &hung])
    };
    let client = Client::connect(config).await.unwrap();
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    first.script(move |_| match back.load(Ordering::Relaxed) {
        true => Act::Serve,
        false => Act::Cut,
    });
    hung.script(move |seen| match seen.request {
        Request::Hello(_) => Act::Serve,
        _ => {
            is_back.store(true, Ordering::Relaxed);
            Act::Ignore
        }
    });
    client.admin().describe_topic(&topic).await.unwrap();
    assert_eq!(hung.count(None, "DescribeTopic"), 1);
}

/// The first attempt had all the time there was.
#[tokio::test]
async fn a_topic_is_looked_up_at_another_server_where_the_first_one_hangs() {
    let (hung, topic) = three_batches(Codec::None).await;
    let other = Server::start(1).await;
    other.copy(&hung);
    hung.script(|seen| match seen.request {
        Request::Metadata(_) => Act::Ignore,
        _ => Act::Serve,
    });
    let client = Client::connect(hasty([&hung, &other])).await.unwrap();
    let found = timeout(PATIENCE, client.topic(&topic)).await.unwrap();
    assert_eq!(found.unwrap().partition_count(), 1);
    assert_eq!(other.count(None, "Metadata"), 1);
}

/// The first one had all the time for each of these.
#[tokio::test]
async fn what_any_server_can_tell_another_one_does_where_the_first_one_hangs() {
    let (hung, topic) = three_batches(Codec::None).await;
    let other = Server::start(1).await;
    other.copy(&hung);
    hang(&hung);
    let config = ClientConfig {
        timeout: Duration::from_secs(6),
        ..hasty([&hung, &other])
    };
    // Each has to find out anew.
    let connect = || async { Client::connect(config.clone()).await.unwrap().admin() };
    let (of_metadata, of_topic, of_snapshots) = (connect().await, connect().await, connect().await);
    let (told, described, listed) = tokio::join!(
        of_metadata.metadata(),
        of_topic.describe_topic(&topic),
        of_snapshots.list_snapshots(),
    );
    assert_eq!(told.unwrap().topics.len(), 1);
    described.unwrap();
    listed.unwrap();
}

/// Each call tried those two, in this order, until its time was over.
#[tokio::test]
async fn a_third_server_is_tried_by_the_next_call_where_two_take_all_the_time_of_one() {
    let servers = [
        Server::start(1).await,
        Server::start(1).await,
        Server::start(1).await,
    ];
    let client = ClientConfig {
        timeout: Duration::from_millis(300),
        ..hasty(servers.each_ref())
    };
    let client = Client::connect(client).await.unwrap();
    for hung in &servers[..2] {
        hung.script(|seen| match seen.request {
            Request::Hello(_) => Act::Ignore,
            _ => Act::Cut,
        });
    }
    for _ in 0..2 {
        if client.admin().metadata().await.is_ok() {
            break;
        }
    }
    client.admin().metadata().await.unwrap();
    assert!(servers[2].count(None, "Metadata") > 0);
}

/// Whoever had no time left had all others begin with another server.
#[tokio::test]
async fn a_server_that_was_never_asked_is_not_passed_over() {
    let servers = [Server::start(1).await, Server::start(1).await];
    let [first, other] = &servers;
    let client = ClientConfig {
        timeout: Duration::ZERO,
        ..hasty([first, other])
    };
    let client = Client::connect(client).await.unwrap();
    client.admin().metadata().await.unwrap_err();
    assert_eq!(first.count(None, "Metadata"), 0);
    let told = client.hello().await.unwrap();
    assert_eq!(told.shared, first.shared.to_string());
}

/// The look-up took as long as a partition may be unreachable, at the server that hung.
#[tokio::test]
async fn a_consumer_whose_server_hangs_reads_on_at_another_one() {
    let (hung, topic) = three_batches(Codec::None).await;
    let other = Server::start(1).await;
    other.copy(&hung);
    let hangs = Arc::new(AtomicBool::new(false));
    let is_hung = Arc::clone(&hangs);
    hung.script(move |_| match is_hung.load(Ordering::Relaxed) {
        true => Act::Ignore,
        false => Act::Serve,
    });
    let time = Duration::from_secs(4);
    let client = ClientConfig {
        timeout: time,
        ..hasty([&hung, &other])
    };
    let config = ConsumerConfig {
        wait: Duration::from_millis(10),
        unreachable_timeout: Some(time),
        ..ConsumerConfig::default()
    };
    let mut consumer = Client::connect(client).await.unwrap().consumer(config);
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.offset, offset(expected));
    }
    hangs.store(true, Ordering::Relaxed);
    other.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(9));
}

/// The look-up took all the time of each attempt: none was left to ask the owner, which answered all the while.
#[tokio::test]
async fn the_owner_that_is_known_is_asked_where_nobody_tells_of_the_topic_any_more() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Metadata(_) if seen.nth > 0 => Act::Ignore,
        Request::Fetch(_) if seen.nth == 1 => Act::Cut,
        _ => Act::Serve,
    });
    let time = Duration::from_secs(4);
    let client = ClientConfig {
        timeout: time,
        connect_timeout: Duration::from_millis(200),
        ..config(&server)
    };
    let config = ConsumerConfig {
        fetch_bytes_max: 1,
        unreachable_timeout: Some(time),
        ..ConsumerConfig::default()
    };
    let mut consumer = Client::connect(client).await.unwrap().consumer(config);
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    for expected in 0..9 {
        let record = timeout(PATIENCE, consumer.next()).await.unwrap();
        assert_eq!(record.unwrap().unwrap().offset, offset(expected));
    }
}

/// It had the timeout of a request, and behind that the time that was meant for all of it.
#[tokio::test]
async fn a_partition_whose_server_hangs_is_reported_in_the_time_that_it_may_be_unreachable() {
    for from_the_start in [true, false] {
        let (server, topic) = three_batches(Codec::None).await;
        server.script(move |seen| match seen.request {
            Request::Hello(_) => Act::Serve,
            Request::Fetch(_) => Act::Ignore,
            _ if from_the_start => Act::Ignore,
            _ => Act::Serve,
        });
        let config = ConsumerConfig {
            unreachable_timeout: Some(Duration::from_millis(500)),
            wait: Duration::from_millis(100),
            ..ConsumerConfig::default()
        };
        let mut consumer = connect(&server).await.consumer(config);
        consumer.assign(&topic, P0, Start::Earliest, End::Follow);
        let error = timeout(PATIENCE, next_error(&mut consumer)).await.unwrap();
        assert!(error.is_unreachable(), "{error}");
    }
}

/// Only who waited to the end noticed that nothing comes any more, and all others were sent after it.
#[tokio::test]
async fn a_hung_connection_ends_also_where_nobody_waits_any_more() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::ListOffsets(_) if seen.nth == 0 => Act::Ignore,
        _ => Act::Serve,
    });
    let client = ClientConfig {
        timeout: Duration::from_secs(2),
        ..config(&server)
    };
    let client = Client::connect(client).await.unwrap();
    client.topic(&topic).await.unwrap();
    let admin = client.admin();
    tokio::select! {
        told = admin.list_offsets(&topic, P0, At::Latest) => panic!("{told:?}"),
        () = server.until(|server| server.count(Some(0), "ListOffsets") == 1) => {}
    }
    let has_ended = |server: &Server| server.state.lock().unwrap().connection_count == 1;
    timeout(PATIENCE, server.until(has_ended)).await.unwrap();
    let found = admin.list_offsets(&topic, P0, At::Latest).await;
    assert_eq!(found.unwrap().high_watermark, offset(9));
}

/// The system kept what it had been handed for a minute, and sent it when the network was there again: behind what was asked
/// on the next connection, or once more beside it.
#[tokio::test]
async fn what_is_given_up_is_taken_back_from_the_system_and_what_is_let_go_of_in_order_is_not() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Produce(_) if seen.nth == 0 => Act::Ignore,
        _ => Act::Serve,
    });
    let client = ClientConfig {
        timeout: Duration::from_millis(1_200),
        ..config(&server)
    };
    let client = Client::connect(client).await.unwrap();
    let producer = client.producer(eager());
    let ended = |count: usize| {
        move |server: &Server| {
            let state = server.state.lock().unwrap();
            state.connection_count == 1 && state.reset_count == count
        }
    };
    let given_up = producer.send(&topic, Some(P0), record("0")).await.unwrap();
    assert_eq!(given_up.await.unwrap_err().outcome, Outcome::Unknown);
    timeout(PATIENCE, server.until(ended(1))).await.unwrap();
    let sent = producer.send(&topic, Some(P0), record("1")).await.unwrap();
    sent.await.unwrap();
    drop(producer);
    timeout(PATIENCE, server.until(ended(1))).await.unwrap();
}

/// A consumer of two partitions whose polls are short, and soon given up.
async fn follow_two(server: &Server, topic: &TopicName) -> Consumer {
    let config = ClientConfig {
        timeout: Duration::from_millis(100),
        ..config(server)
    };
    let client = Client::connect(config).await.unwrap();
    let mut consumer = client.consumer(ConsumerConfig {
        wait: Duration::from_millis(50),
        unreachable_timeout: None,
        ..ConsumerConfig::default()
    });
    for partition in [P0, P1] {
        consumer.assign(topic, partition, Start::Earliest, End::Follow);
    }
    consumer
}

/// A poll that was not answered kept its room at the server, and so did each that came after it: in the end those of other
/// partitions waited here.
#[tokio::test]
async fn a_partition_whose_polls_are_not_answered_leaves_the_others_their_room() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    // As many as there are partitions.
    server.state.lock().unwrap().limits.in_flight_requests_max = 2;
    server.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.partition == P0 => Act::Ignore,
        _ => Act::Serve,
    });
    let mut consumer = follow_two(&server, &topic).await;
    for number in 1..=3 {
        let polls = |server: &Server| 20 * number < server.count(Some(0), "Fetch");
        server.until(polls).await;
        server.log(&topic, 1, |log| log.fill(Codec::None, &[1]));
        let record = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        assert_eq!(record.unwrap().partition, P1);
    }
    // Nor was their connection given up as one that is silent.
    assert_eq!(server.state.lock().unwrap().reset_count, 0);
}

/// It had a connection of its own from then on: behind a server that hung for a while nearly each partition had one.
#[tokio::test]
async fn a_partition_is_read_over_the_connection_of_the_others_again_once_its_poll_there_has_ended()
{
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    let is_cut = Arc::new(AtomicBool::new(false));
    let (mut is_first, cut) = (true, Arc::clone(&is_cut));
    server.script(move |seen| match seen.request {
        Request::Fetch(asked) if asked.partition == P0 && std::mem::take(&mut is_first) => {
            Act::Ignore
        }
        Request::Fetch(asked) if asked.partition == P1 && cut.swap(false, Ordering::Relaxed) => {
            Act::Cut
        }
        _ => Act::Serve,
    });
    let mut consumer = follow_two(&server, &topic).await;
    let reading = async { while consumer.next().await.unwrap().is_ok() {} };
    let connected = |server: &Server| server.count(Some(0), "Hello");
    let comes_back = async {
        server.until(|server| 2 <= connected(server)).await;
        is_cut.store(true, Ordering::Relaxed);
        let is_back = |server: &Server| {
            // That of the others, which is another one by now, and the one that is asked for topics.
            3 <= connected(server) && server.state.lock().unwrap().connection_count == 2
        };
        server.until(is_back).await;
    };
    tokio::select! {
        () = reading => panic!("it follows"),
        () = comes_back => {}
    }
}

/// Serves what is for the first partitions once there is a permit of theirs, while others go on.
fn hold<const N: usize>(server: &Server) -> [Arc<Semaphore>; N] {
    let gates = [(); N].map(|()| Arc::new(Semaphore::new(0)));
    let held = gates.clone();
    server.script(on_produce(move |seen| {
        let Request::Produce(asked) = seen.request else {
            return Act::Serve;
        };
        let gate = held.get(asked.partition.get() as usize);
        gate.map_or(Act::Serve, |gate| Act::Later(Arc::clone(gate)))
    }));
    gates
}

/// A producer whose batches have so much time, and their requests more.
async fn producer(server: &Server, delivery_timeout: Duration) -> Producer {
    connect(server).await.producer(ProducerConfig {
        delivery_timeout,
        ..eager()
    })
}

async fn send(producer: &Producer, topic: &TopicName, partition: u32, bytes: usize) -> Delivery {
    let partition = Some(PartitionId::new(partition));
    let sent = producer.send(topic, partition, record(vec![0; bytes]));
    sent.await.unwrap()
}

async fn until_sent(server: &Server, count: usize) {
    let is_sent = |server: &Server| server.count(Some(0), "Produce") == count;
    server.until(is_sent).await;
}

/// A batch that was not answered kept its room on the connection, and so did each that came after it: in the end a large one of
/// another partition waited for room that did not come, and what was small behind it.
#[tokio::test]
async fn a_partition_whose_batches_are_not_answered_leaves_the_others_their_room() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    server.state.lock().unwrap().limits.in_flight_bytes_max = 64 << 10;
    let [gate] = hold(&server);
    let producer = producer(&server, Duration::from_secs(2)).await;
    let send = |partition, bytes| send(&producer, &topic, partition, bytes);
    let unanswered = [send(0, 24 << 10).await, send(0, 24 << 10).await];
    for one in unanswered {
        assert_eq!(one.await.unwrap_err().outcome, Outcome::Unknown);
    }
    let (large, small) = (send(1, 32 << 10).await, send(2, 1).await);
    large.await.unwrap();
    small.await.unwrap();
    // What comes behind what is not answered goes where that went, once there is room, or not at all.
    let behind = send(0, 24 << 10).await.await.unwrap_err();
    assert_eq!(behind.outcome, Outcome::NotApplied);
    gate.add_permits(3);
    let behind = send(0, 24 << 10).await.await.unwrap();
    assert_eq!(behind.offset, offset(2));
    assert_eq!(server.count(Some(0), "Produce"), 5);
    assert_eq!(server.state.lock().unwrap().reset_count, 0);
}

/// It had looked before, when it could not leave, and waited for room that did not come.
#[tokio::test]
async fn a_partition_that_waits_for_room_leaves_once_all_of_its_own_is_answered() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().limits.in_flight_bytes_max = 64 << 10;
    let [_, gate] = hold(&server);
    let producer = producer(&server, Duration::from_secs(2)).await;
    let send = |partition, bytes| send(&producer, &topic, partition, bytes);
    let unanswered = [send(0, 24 << 10).await, send(0, 24 << 10).await];
    for one in unanswered {
        assert_eq!(one.await.unwrap_err().outcome, Outcome::Unknown);
    }
    let small = send(1, 1).await;
    until_sent(&server, 3).await;
    let large = send(1, 32 << 10).await;
    for _ in 0..100 {
        yield_now().await;
    }
    gate.add_permits(2);
    small.await.unwrap();
    large.await.unwrap();
}

/// It had looked before, when all was only slow, and waited for room that did not come.
#[tokio::test]
async fn a_partition_that_waits_for_room_leaves_once_others_have_given_up_what_keeps_it() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().limits.in_flight_requests_max = 2;
    let [_gate] = hold(&server);
    let time = Duration::from_secs(5);
    let producer = producer(&server, time).await;
    let send = |partition| send(&producer, &topic, partition, 200);
    let unanswered = [send(0).await, send(0).await];
    until_sent(&server, 2).await;
    // That one has as much time left when these are given up, and has waited as long by then.
    sleep(time / 2).await;
    let waits = send(1).await;
    for one in unanswered {
        assert_eq!(one.await.unwrap_err().outcome, Outcome::Unknown);
    }
    waits.await.unwrap();
}

/// A moment without room is no reason to leave: whose batches are answered in time show those that wait that the server is there.
#[tokio::test]
async fn nobody_leaves_a_connection_on_which_little_was_given_up() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    server.state.lock().unwrap().limits.in_flight_requests_max = 3;
    let [_, gate] = hold(&server);
    let producer = producer(&server, Duration::from_secs(2)).await;
    let send = |partition| send(&producer, &topic, partition, 200);
    let unanswered = send(0).await.await.unwrap_err();
    assert_eq!(unanswered.outcome, Outcome::Unknown);
    let connections = server.state.lock().unwrap().connection_count;
    let busy = [send(1).await, send(1).await];
    until_sent(&server, 3).await;
    let waits = send(2).await;
    for _ in 0..100 {
        yield_now().await;
    }
    gate.add_permits(2);
    for one in busy {
        one.await.unwrap();
    }
    waits.await.unwrap();
    assert_eq!(server.state.lock().unwrap().connection_count, connections);
}

/// The time in which it did not run was over before its first attempt had failed.
#[tokio::test]
async fn a_consumer_that_was_held_up_itself_asks_again_where_its_connection_ended_meanwhile() {
    reads_on_behind_a_hold_up(0).await;
}

/// A server that starts refuses at first, and says when to come again: the second failure was the last.
#[tokio::test]
async fn a_consumer_that_was_held_up_itself_waits_for_a_server_that_is_busy_at_first() {
    reads_on_behind_a_hold_up(1).await;
}

/// Holds a consumer up for longer than a partition may be unreachable, cuts it off, and refuses it so often.
async fn reads_on_behind_a_hold_up(refusals: usize) {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    let limit = Duration::from_secs(4);
    let (_sender, nothing) = mpsc::channel::<()>();
    server.script(move |seen| match seen.request {
        Request::Fetch(_) if seen.nth == 0 => {
            // The thread of all of this stands still, and leaves the processor to other tests.
            nothing.recv_timeout(limit + limit / 4).unwrap_err();
            Act::Cut
        }
        Request::Fetch(_) if seen.nth <= refusals => Act::Refuse(error(ErrorCode::Busy)),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig {
        unreachable_timeout: Some(limit),
        ..ConsumerConfig::default()
    });
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    let received = consumer.next().await.unwrap();
    assert_eq!(received.unwrap().offset, offset(0));
}
