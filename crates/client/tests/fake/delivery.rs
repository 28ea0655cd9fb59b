//! A record's outcome comes in its time, whatever it waits for, and in its turn.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::request::Request;
use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{
    Ack, BatchReport, Client, ClientConfig, Delivery, Error, Outcome, ProduceError, Producer,
    ProducerConfig,
};
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, interval, timeout};

use crate::producing::{P0, check, eager, hold_first, on_produce, outcomes, send_numbers};
use crate::server::{Act, Server};
use crate::{config, connect, error, record};

const P1: Option<PartitionId> = Some(PartitionId::new(1));

/// What a record has here.
const TIME: Duration = Duration::from_secs(2);

/// Who waits for it has long noticed by then, and whoever waits for a request has not.
const PATIENCE: Duration = Duration::from_secs(20);

/// A producer whose requests may take far longer than a record.
async fn producer(server: &Server) -> Producer {
    producer_of(
        server,
        ProducerConfig {
            batch_bytes_max: 1,
            ..eager()
        },
    )
    .await
}

async fn producer_of(server: &Server, options: ProducerConfig) -> Producer {
    let client = ClientConfig {
        timeout: 10 * PATIENCE,
        ..config(server)
    };
    Client::connect(client)
        .await
        .unwrap()
        .producer(ProducerConfig {
            delivery_timeout: TIME,
            ..options
        })
}

/// What a producer sends of one record each, each behind the answer to the one before it.
fn one_by_one() -> ProducerConfig {
    ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 1,
        ..eager()
    }
}

/// What became of records that were sent just now, which is told neither before their time is over nor long after it.
async fn in_time(deliveries: Vec<Delivery>) -> Vec<Result<Ack, ProduceError>> {
    let sent = Instant::now();
    let all = timeout(PATIENCE, outcomes(deliveries)).await.unwrap();
    assert!(TIME / 2 < sent.elapsed());
    all
}

fn assert_given_up(outcome: &Result<Ack, ProduceError>) {
    let failed = outcome.as_ref().unwrap_err();
    assert_eq!(failed.outcome, Outcome::NotApplied);
    assert!(matches!(*failed.error, Error::GivenUp { .. }), "{failed}");
    assert!(failed.error.is_unreachable(), "{failed}");
}

/// The look-up took all the time of a request, and to connect some more.
#[tokio::test]
async fn a_record_is_given_up_in_time_where_nobody_tells_the_way() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = producer(&server).await;
    server.script(on_produce(|_| Act::Cut));
    let first = send_numbers(&producer, &topic, 0..1).await.remove(0);
    assert_eq!(first.await.unwrap_err().outcome, Outcome::Unknown);
    server.script(|_| Act::Ignore);
    for outcome in in_time(send_numbers(&producer, &topic, 1..4).await).await {
        assert_given_up(&outcome);
    }
    server.script(|_| Act::Serve);
    // What was begun for them goes on for a while.
    let goes_on =
        async { while outcomes(send_numbers(&producer, &topic, 4..5).await).await[0].is_err() {} };
    timeout(PATIENCE, goes_on).await.unwrap();
}

/// Sends to the second partition what is never answered, and takes all the room that there is.
async fn take_all_room(server: &Server, producer: &Producer, topic: &TopicName) -> Delivery {
    server.script(on_produce(|_| Act::Ignore));
    let taking = producer.send(topic, P1, record("0")).await.unwrap();
    let is_taken = |server: &Server| server.count(Some(0), "Produce") == 1;
    server.until(is_taken).await;
    taking
}

/// It was waited for as long as for the answer to a request.
#[tokio::test]
async fn a_record_is_given_up_in_time_where_its_connection_has_no_room() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().limits.in_flight_requests_max = 1;
    let producer = producer(&server).await;
    let taking = take_all_room(&server, &producer, &topic).await;
    for outcome in in_time(send_numbers(&producer, &topic, 0..3).await).await {
        assert_given_up(&outcome);
    }
    let unanswered = timeout(PATIENCE, taking).await.unwrap();
    assert_eq!(unanswered.unwrap_err().outcome, Outcome::Unknown);
    assert_eq!(producer.memory_bytes(), 0);
}

/// The delivery timeout was told, where the least that an attempt has is longer.
#[tokio::test]
async fn what_is_given_up_says_how_long_it_was_tried() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().limits.in_flight_requests_max = 1;
    let hasty = ProducerConfig {
        delivery_timeout: Duration::from_millis(1),
        ..eager()
    };
    let producer = connect(&server).await.producer(hasty);
    let _taking = take_all_room(&server, &producer, &topic).await;
    let waiting = send_numbers(&producer, &topic, 0..1).await.remove(0);
    let failed = timeout(PATIENCE, waiting).await.unwrap().unwrap_err();
    let Error::GivenUp { after, .. } = &*failed.error else {
        panic!("{failed}");
    };
    assert!(Duration::from_secs(1) <= *after, "{failed}");
}

/// The one in front was waited for as long as for the answer to a request.
#[tokio::test]
async fn a_record_is_told_in_time_what_became_of_those_in_front_of_it() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = producer(&server).await;
    server.script(on_produce(|_| Act::Ignore));
    let all = in_time(send_numbers(&producer, &topic, 0..20).await).await;
    for (number, outcome) in all.iter().enumerate() {
        let failed = outcome.as_ref().unwrap_err();
        match number {
            0..8 => assert_eq!(failed.outcome, Outcome::Unknown),
            _ => assert!(matches!(*failed.error, Error::BehindUnknown), "{failed}"),
        }
    }
}

/// They went out however late, one behind the other.
#[tokio::test]
async fn what_has_its_turn_too_late_is_given_up_in_its_turn() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |_| Act::Later(Arc::clone(&held))));
    let producer = producer_of(&server, one_by_one()).await;
    let deliveries = send_numbers(&producer, &topic, 0..100).await;
    let mut pace = interval(TIME / 8);
    let all = async {
        let mut all = std::pin::pin!(outcomes(deliveries));
        loop {
            tokio::select! {
                biased;
                all = &mut all => return all,
                _ = pace.tick() => gate.add_permits(1),
            }
        }
    };
    let all = timeout(PATIENCE, all).await.unwrap();
    let told = all.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(0 < told && told < 50, "{told}");
    for outcome in &all[told..] {
        assert_given_up(outcome);
    }
    assert_eq!(server.log(&topic, 0, |log| log.values()).len(), told);
    gate.add_permits(1);
    let later = send_numbers(&producer, &topic, 100..101).await;
    assert!(timeout(PATIENCE, outcomes(later)).await.unwrap()[0].is_ok());
}

/// Each that waited in the queue asked anew whether the topic is there, after a longer and longer pause: who flushed waited for
/// as long as a record has.
#[tokio::test]
async fn what_waited_while_its_topic_was_deleted_is_told_so_once_that_is_known() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = hold_first(&server, []);
    let one_by_one = ProducerConfig {
        batch_bytes_max: 1,
        ..eager()
    };
    let producer = connect(&server).await.producer(one_by_one);
    let deliveries = send_numbers(&producer, &topic, 0..100).await;
    let count = |server: &Server, kind| server.state.lock().unwrap().count_all(kind);
    server.until(|server| count(server, "Produce") == 1).await;
    let asked = count(&server, "Metadata");
    server.delete(&topic);
    gate.notify_one();
    timeout(PATIENCE, producer.flush()).await.unwrap();
    for outcome in outcomes(deliveries).await {
        let failed = outcome.unwrap_err();
        assert_eq!(failed.outcome, Outcome::NotApplied);
        assert!(failed.error.is_unknown_topic(), "{failed}");
    }
    assert_eq!(count(&server, "Metadata"), asked + 1);
}

/// Holds the first Produce to partition 0 until it is told, and refuses one Metadata as this, once there is such.
fn hold_and_refuse(server: &Server) -> (Arc<Notify>, Arc<Mutex<Option<ErrorCode>>>) {
    let gate = Arc::new(Notify::new());
    let refusal: Arc<Mutex<Option<ErrorCode>>> = Arc::default();
    let (mut held, refused) = (Some(Arc::clone(&gate)), Arc::clone(&refusal));
    server.script(move |seen| match seen.request {
        Request::Produce(asked) if Some(asked.partition) == P0 => {
            held.take().map_or(Act::Serve, Act::Hold)
        }
        Request::Metadata(_) => {
            let code = refused.lock().unwrap().take();
            code.map_or(Act::Serve, |code| Act::Refuse(error(code)))
        }
        _ => Act::Serve,
    });
    (gate, refusal)
}

/// A server that refused the look-up for another reason, once, had all fail that waited behind the first.
#[tokio::test]
async fn only_what_is_gone_is_refused_to_all_that_waited() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let (gate, refusal) = hold_and_refuse(&server);
    let producer = connect(&server).await.producer(one_by_one());
    let deliveries = send_numbers(&producer, &topic, 0..3).await;
    let is_sent = |server: &Server| server.count(Some(0), "Produce") == 1;
    server.until(is_sent).await;
    server.topic("numbers", 1);
    *refusal.lock().unwrap() = Some(ErrorCode::InvalidRequest);
    gate.notify_one();
    let codes = [
        ErrorCode::TopicChanged,
        ErrorCode::InvalidRequest,
        ErrorCode::TopicChanged,
    ];
    for (outcome, code) in outcomes(deliveries).await.into_iter().zip(codes) {
        let failed = outcome.unwrap_err();
        assert!(failed.error.refusal().unwrap().is(code), "{failed}");
    }
}

/// What was meant for the new one was told that the old one is gone.
#[tokio::test]
async fn what_waits_for_a_topic_made_anew_is_tried_behind_what_waited_for_the_one_that_is_gone() {
    let server = Server::start(2).await;
    let topic = server.topic("numbers", 2);
    let (gate, refusal) = hold_and_refuse(&server);
    let client = connect(&server).await;
    let producer = client.producer(one_by_one());
    let of_old = send_numbers(&producer, &topic, 0..3).await;
    let is_sent = |server: &Server| server.count(Some(0), "Produce") == 1;
    server.until(is_sent).await;
    server.topic("numbers", 2);
    // The other partition is told, and asks for the new one.
    let tell = async || {
        let sent = producer.send(&topic, P1, record("9")).await;
        sent.unwrap().await
    };
    while tell().await.is_err() {}
    let of_new = send_numbers(&producer, &topic, 3..4).await;
    // For a moment there is none, and nothing is known of it.
    let kept = Server::start(1).await;
    kept.copy(&server);
    server.delete(&topic);
    client.topic_anew(&topic).await.unwrap_err();
    server.copy(&kept);
    *refusal.lock().unwrap() = Some(ErrorCode::UnknownTopic);
    gate.notify_one();
    for outcome in outcomes(of_old).await {
        let failed = outcome.unwrap_err();
        assert_eq!(failed.outcome, Outcome::NotApplied);
    }
    assert!(refusal.lock().unwrap().is_none(), "it was asked");
    assert!(outcomes(of_new).await[0].is_ok());
    assert_eq!(server.log(&topic, 0, |log| log.values()), [b"3"]);
}

/// It had waited for longer than its time before it was to be sent at all.
#[tokio::test]
async fn the_time_of_a_batch_that_lingers_counts_from_when_it_is_to_be_sent() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let lingering = ProducerConfig {
        linger: Duration::MAX,
        ..ProducerConfig::default()
    };
    let producer = producer_of(&server, lingering).await;
    let all = send_numbers(&producer, &topic, 0..3).await;
    let mut pace = interval(TIME * 3 / 2);
    for _ in 0..2 {
        pace.tick().await;
    }
    timeout(PATIENCE, producer.flush()).await.unwrap();
    assert!(outcomes(all).await.iter().all(Result::is_ok));
}

/// The pause counted from when each was to be sent, and took all of its time: none was tried any more, however well the server was.
#[tokio::test]
async fn a_record_is_tried_however_long_the_server_asked_to_be_left_alone_before_it_came() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let mut busy = error(ErrorCode::Busy);
    busy.detail.retry_ms = Some(u32::MAX);
    server.script(on_produce(move |seen| match seen.nth {
        0 => Act::Refuse(busy.clone()),
        _ => Act::Serve,
    }));
    let producer = producer(&server).await;
    let refused = send_numbers(&producer, &topic, 0..1).await.remove(0);
    let failed = refused.await.unwrap_err();
    assert!(matches!(*failed.error, Error::GivenUp { .. }), "{failed}");
    let goes_on =
        async { while outcomes(send_numbers(&producer, &topic, 1..2).await).await[0].is_err() {} };
    timeout(PATIENCE, goes_on).await.unwrap();
}

/// The one that waited for room was told before those in front of it.
#[tokio::test]
async fn outcomes_are_told_in_order_also_where_a_producer_is_dropped_with_a_batch_in_hand() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.state.lock().unwrap().limits.in_flight_requests_max = 2;
    server.script(on_produce(|_| Act::Ignore));
    let told: Arc<Mutex<Vec<(u64, bool)>>> = Arc::default();
    let heard = Arc::clone(&told);
    let producer = producer_of(
        &server,
        ProducerConfig {
            batch_bytes_max: 1,
            observer: Some(Arc::new(move |report: &BatchReport| {
                let failed = report.result.as_ref().unwrap_err();
                let is_unknown = failed.outcome == Outcome::Unknown;
                heard.lock().unwrap().push((report.sequence, is_unknown));
            })),
            ..eager()
        },
    )
    .await;
    let deliveries = send_numbers(&producer, &topic, 0..6).await;
    server
        .until(|server| server.count(Some(0), "Produce") == 2)
        .await;
    // The third one has come to wait for room.
    for _ in 0..100 {
        yield_now().await;
    }
    drop(producer);
    assert!(outcomes(deliveries).await.iter().all(Result::is_err));
    let told = told.lock().unwrap().clone();
    let expected: Vec<_> = (0..6).map(|sequence| (sequence, sequence < 2)).collect();
    assert_eq!(told, expected);
}

/// A record that has less time than a request says nothing of those that others made on the connection.
#[tokio::test]
async fn a_record_whose_time_is_over_does_not_end_the_connection() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 2);
    server.state.lock().unwrap().limits.in_flight_bytes_max = 64 << 10;
    let producer = producer(&server).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) if one.partition == PartitionId::new(1) => {
            Act::Later(Arc::clone(&held))
        }
        _ => Act::Serve,
    }));
    let large = |kib: usize| record(vec![0; kib << 10]);
    // Its own time is over, and the server is still about to answer it.
    let taking = producer.send(&topic, P1, large(20)).await.unwrap();
    let unanswered = timeout(PATIENCE, taking).await.unwrap();
    assert_eq!(unanswered.unwrap_err().outcome, Outcome::Unknown);
    let connections = server.state.lock().unwrap().connection_count;
    let behind = producer.send(&topic, P0, large(50)).await.unwrap();
    for _ in 0..100 {
        yield_now().await;
    }
    gate.add_permits(1);
    let told = timeout(PATIENCE, behind).await.unwrap();
    told.unwrap();
    let state = server.state.lock().unwrap();
    assert_eq!(
        (state.connection_count, state.reset_count),
        (connections, 0)
    );
}

/// Sends to a server that takes the first batch, asks for patience with the second, and does not understand the head of the
/// third, which is of no run then. What comes after these meets `then`.
async fn refused_behind_what_goes_again(
    server: &Server,
    producer: &Producer,
    topic: &TopicName,
    then: Act,
) -> Vec<Result<Ack, ProduceError>> {
    let gate = Arc::new(Notify::new());
    let held = Act::Hold(Arc::clone(&gate));
    let refusals = [ErrorCode::Busy, ErrorCode::BadFrame].map(|code| Act::Refuse(error(code)));
    let mut acts = std::iter::once(held).chain(refusals);
    server.script(on_produce(move |_| {
        acts.next().unwrap_or_else(|| then.clone())
    }));
    let mut deliveries = send_numbers(producer, topic, 0..1).await;
    server
        .until(|server| server.count(Some(0), "Produce") == 1)
        .await;
    // Those that it refuses are in flight behind the one that it holds.
    deliveries.extend(send_numbers(producer, topic, 1..6).await);
    gate.notify_one();
    timeout(PATIENCE, outcomes(deliveries)).await.unwrap()
}

fn assert_not_understood(outcome: &Result<Ack, ProduceError>) {
    let failed = outcome.as_ref().unwrap_err();
    assert_eq!(failed.outcome, Outcome::NotApplied);
    assert!(
        matches!(&*failed.error, Error::Refused { body } if body.is(ErrorCode::BadFrame)),
        "{failed}"
    );
}

/// It was sent again, which cost those behind it a run.
#[tokio::test]
async fn what_is_refused_behind_what_is_sent_again_is_told_so_in_its_turn() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    let heard = Arc::clone(&told);
    let observed = ProducerConfig {
        batch_bytes_max: 1,
        observer: Some(Arc::new(move |report: &BatchReport| {
            heard.lock().unwrap().push(report.sequence);
        })),
        ..eager()
    };
    let producer = producer_of(&server, observed).await;
    let all = refused_behind_what_goes_again(&server, &producer, &topic, Act::Serve).await;
    check(&server, &topic, &all);
    for (number, outcome) in all.iter().enumerate() {
        match number {
            2 => assert_not_understood(outcome),
            _ => assert!(outcome.is_ok(), "{number}: {outcome:?}"),
        }
    }
    assert_eq!(*told.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

/// It was taken for aborted, and sent again: it was in the log twice.
#[tokio::test]
async fn what_is_lost_behind_a_head_that_the_server_cannot_read_is_unknown() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let unread = Act::Refuse(error(ErrorCode::BadFrame));
    let gate = hold_first(&server, [unread, Act::ServeAndCut]);
    let producer = producer(&server).await;
    let mut deliveries = send_numbers(&producer, &topic, 0..1).await;
    server
        .until(|server| server.count(Some(0), "Produce") == 1)
        .await;
    // In flight behind the one that is held.
    deliveries.extend(send_numbers(&producer, &topic, 1..3).await);
    gate.notify_one();
    let all = timeout(PATIENCE, outcomes(deliveries)).await.unwrap();
    check(&server, &topic, &all);
    assert!(all[0].is_ok());
    assert_not_understood(&all[1]);
    assert_eq!(all[2].as_ref().unwrap_err().outcome, Outcome::Unknown);
}

/// The one in front of it was busy until its time was over: that was told of it, too.
#[tokio::test]
async fn what_is_refused_is_told_so_also_where_its_time_is_over_by_its_turn() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let producer = producer(&server).await;
    let busy = Act::Refuse(error(ErrorCode::Busy));
    let all = refused_behind_what_goes_again(&server, &producer, &topic, busy).await;
    assert!(all[0].is_ok());
    assert_not_understood(&all[2]);
    for number in [1, 3, 4, 5] {
        let failed = all[number].as_ref().unwrap_err();
        let is_busy = failed
            .error
            .refusal()
            .is_some_and(|body| body.is(ErrorCode::Busy));
        assert!(
            is_busy && matches!(*failed.error, Error::GivenUp { .. }),
            "{number}: {failed}"
        );
    }
}
