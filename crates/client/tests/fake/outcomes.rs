//! What becomes of records in trouble: each future tells the truth.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use corelog_client::protocol::error::{Detail, ErrorCode};
use corelog_client::protocol::request::Request;
use corelog_client::record::PartitionId;
use corelog_client::record::batch::{Builder, Codec, Rules};
use corelog_client::{
    Backoff, BatchReport, Client, ClientConfig, Error, Outcome, ProduceError, Producer,
    ProducerConfig,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::server::{Act, Server};
use crate::{config, connect, error, record};

use crate::producing::{P0, check, eager, hold_first, on_produce, outcomes, send_numbers};

#[tokio::test]
async fn busy_at_random_neither_loses_nor_reorders_anything() {
    for seed in 0..20 {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", 1);
        let mut random = fastrand::Rng::with_seed(seed);
        server.script(on_produce(move |_| match random.u8(..4) {
            0 => Act::Refuse(error(ErrorCode::Busy)),
            _ => Act::Serve,
        }));
        let producer = connect(&server).await.producer(eager());
        let outcomes = outcomes(send_numbers(&producer, &topic, 0..200).await).await;
        assert!(outcomes.iter().all(Result::is_ok), "seed {seed}");
        check(&server, &topic, &outcomes);
    }
}

/// Answers come while the next batch waits for room on the connection, and some of them have it wait for others.
#[tokio::test]
async fn busy_at_random_on_a_narrow_connection_neither_loses_nor_reorders_anything() {
    for seed in 0..20 {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", 3);
        server.state.lock().unwrap().limits.in_flight_requests_max = 2;
        let mut random = fastrand::Rng::with_seed(seed);
        server.script(on_produce(move |_| match random.u8(..4) {
            0 => Act::Refuse(error(ErrorCode::Busy)),
            _ => Act::Serve,
        }));
        let producer = connect(&server).await.producer(eager());
        let mut deliveries = Vec::new();
        for number in 0..300 {
            let partition = Some(PartitionId::new(number % 3));
            let sent = producer.send(&topic, partition, record(number.to_string()));
            deliveries.push(sent.await.unwrap());
        }
        let outcomes = outcomes(deliveries).await;
        assert!(outcomes.iter().all(Result::is_ok), "seed {seed}");
        for partition in 0..3 {
            let values = server.log(&topic, partition, |log| log.values());
            let all = (0..300).filter(|number| number % 3 == partition);
            let expected: Vec<_> = all.map(|number| number.to_string().into_bytes()).collect();
            assert_eq!(values, expected, "seed {seed}");
        }
    }
}

/// Its answer was there, and was taken in only once the next batch had room on the connection.
#[tokio::test]
async fn an_acknowledgement_is_told_while_the_next_batch_waits_for_room() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 3);
    server.state.lock().unwrap().limits.in_flight_requests_max = 2;
    let gates = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let doors = gates.clone();
    server.script(on_produce(move |seen| match seen.request {
        Request::Produce(one) => Act::Later(Arc::clone(&doors[one.partition.get() as usize])),
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(eager());
    let mut deliveries = Vec::new();
    // Two are in flight, the third one waits for room, and in the end another one of the first partition behind it.
    for (number, partition) in [1, 0, 2, 0].into_iter().enumerate() {
        let partition = Some(PartitionId::new(partition));
        let sent = producer.send(&topic, partition, record(number.to_string()));
        deliveries.push(sent.await.unwrap());
        server
            .until(|server| {
                let count = server.state.lock().unwrap().count_all("Produce");
                count == (number + 1).min(2)
            })
            .await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    gates[0].add_permits(2);
    let told = timeout(Duration::from_secs(15), &mut deliveries[1]).await;
    told.expect("it is told though nothing has room").unwrap();
    for gate in &gates {
        gate.add_permits(2);
    }
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn connections_cut_in_mid_flight_leave_every_outcome_true() {
    let mut unknown_count = 0;
    for seed in 0..40 {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", 1);
        let mut random = fastrand::Rng::with_seed(seed);
        server.script(on_produce(move |_| match random.u8(..20) {
            0 => Act::Cut,
            1 => Act::ServeAndCut,
            2 | 3 => Act::Refuse(error(ErrorCode::Busy)),
            4 => Act::Refuse(error(ErrorCode::Fenced)),
            5 => Act::ServeAndRefuse(error(ErrorCode::OutcomeUnknown)),
            _ => Act::Serve,
        }));
        let producer = connect(&server).await.producer(eager());
        let mut all = Vec::new();
        for first in (0..200).step_by(20) {
            all.extend(send_numbers(&producer, &topic, first..first + 20).await);
            producer.flush().await;
        }
        let outcomes = outcomes(all).await;
        check(&server, &topic, &outcomes);
        let is_unknown = |one: &Result<_, ProduceError>| {
            one.as_ref().is_err_and(|e| e.outcome == Outcome::Unknown)
        };
        unknown_count += outcomes.iter().filter(|one| is_unknown(one)).count();
    }
    assert!(
        unknown_count > 0,
        "the script cuts while something is in flight"
    );
}

/// Its outcome was unknown, though the server knew it.
#[tokio::test]
async fn what_a_server_that_stops_says_it_did_not_take_is_sent_again() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|seen| match seen.nth {
        // Of the connection, Hello was taken.
        0 => {
            let taken = Some(1);
            let detail = Detail {
                taken,
                ..Detail::default()
            };
            Act::Dismiss(error(ErrorCode::Stopping).with_detail(detail))
        }
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(eager());
    let outcomes = outcomes(send_numbers(&producer, &topic, 0..1).await).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    check(&server, &topic, &outcomes);
}

/// Of several that were in flight, one was taken, and is answered behind what the server says.
#[tokio::test]
async fn what_was_not_taken_goes_again_behind_what_was() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = hold_first(&server, [Act::DismissAndServe(error(ErrorCode::Stopping))]);
    let producer = connect(&server).await.producer(eager());
    let deliveries = send_numbers(&producer, &topic, 0..60).await;
    gate.notify_one();
    let outcomes = outcomes(deliveries).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    check(&server, &topic, &outcomes);
}

#[tokio::test]
async fn what_waits_behind_an_unknown_outcome_fails_and_what_comes_after_goes_on() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = hold_first(&server, [Act::Cut]);
    let config = ProducerConfig {
        in_flight_max: 2,
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let mut deliveries = send_numbers(&producer, &topic, 0..1).await;
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") == 1)
        .await;
    // One batch is held, one more is in flight behind it, the rest waits in the queue.
    deliveries.extend(send_numbers(&producer, &topic, 1..60).await);
    gate.notify_one();
    let outcomes = outcomes(deliveries).await;
    check(&server, &topic, &outcomes);
    assert!(outcomes[0].is_ok());
    let unknown = outcomes[1].as_ref().unwrap_err();
    assert_eq!(unknown.outcome, Outcome::Unknown);
    let behind = outcomes[59].as_ref().unwrap_err();
    assert_eq!(behind.outcome, Outcome::NotApplied);
    assert!(matches!(*behind.error, Error::BehindUnknown));

    let later = producer.send(&topic, P0, record("60")).await.unwrap();
    assert!(later.await.is_ok(), "the caller knows, and goes on");
}

/// What others sent while the batches in front of the unknown one were told, or that one to the observer, went out
/// past what was queued behind it.
#[tokio::test]
async fn what_is_sent_before_an_unknown_outcome_was_told_fails_behind_it() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let gate = hold_first(
        &server,
        [
            Act::Refuse(error(ErrorCode::Busy)),
            Act::Refuse(error(ErrorCode::OutcomeUnknown)),
        ],
    );
    let other: Arc<Mutex<Option<Producer>>> = Arc::default();
    let meanwhile = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let (other, meanwhile) = (Arc::clone(&other), Arc::clone(&meanwhile));
        let (topic, runtime) = (topic.clone(), Handle::current());
        move |report: &BatchReport| {
            let sequence = report.sequence;
            if !(1..=2).contains(&sequence) {
                return;
            }
            let producer = other.lock().unwrap().clone().unwrap();
            let send = || {
                let sent = producer.send(&topic, P0, record((sequence + 9).to_string()));
                meanwhile
                    .lock()
                    .unwrap()
                    .push(runtime.block_on(sent).unwrap());
            };
            thread::scope(|scope| scope.spawn(send).join()).unwrap();
        }
    };
    let config = ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 3,
        observer: Some(Arc::new(observer)),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    *other.lock().unwrap() = Some(producer.clone());
    let mut deliveries = send_numbers(&producer, &topic, 0..1).await;
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") == 1)
        .await;
    // One is held, two are in flight behind it, the rest waits in the queue.
    deliveries.extend(send_numbers(&producer, &topic, 1..10).await);
    gate.notify_one();
    let mut all = outcomes(deliveries).await;
    let sent_meanwhile = std::mem::take(&mut *meanwhile.lock().unwrap());
    all.extend(outcomes(sent_meanwhile).await);
    drop(other.lock().unwrap().take());
    check(&server, &topic, &all);
    assert_eq!(all.len(), 12);
    let told = |number: usize| all[number].as_ref().unwrap_err();
    assert!(told(1).error.refusal().unwrap().is(ErrorCode::Busy));
    assert_eq!(told(2).outcome, Outcome::Unknown);
    for number in [3, 9, 10, 11] {
        let error = &told(number).error;
        assert!(matches!(**error, Error::BehindUnknown), "{number}: {error}");
    }
}

/// Outcomes are told in order: what waits in the queue has none before what is in flight in front of it.
#[tokio::test]
async fn what_fails_behind_an_unknown_outcome_is_told_behind_what_is_in_flight() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let due = Arc::new(Semaphore::new(0));
    let later = || Act::Later(Arc::clone(&due));
    let unknown = Act::Refuse(error(ErrorCode::OutcomeUnknown));
    let gate = hold_first(&server, [unknown, later(), later()]);
    let config = ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 3,
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let mut deliveries = send_numbers(&producer, &topic, 0..10).await;
    gate.notify_one();
    let told = (&mut deliveries[1]).await.unwrap_err();
    assert_eq!(told.outcome, Outcome::Unknown);
    let last = timeout(Duration::ZERO, &mut deliveries[9]).await;
    assert!(last.is_err(), "it is told before what is in flight");
    due.add_permits(2);
    let last = (&mut deliveries[9]).await.unwrap_err();
    assert!(matches!(*last.error, Error::BehindUnknown), "{last}");
}

#[tokio::test]
async fn an_unknown_outcome_is_never_sent_again() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|seen| match seen.nth {
        0 => Act::ServeAndRefuse(error(ErrorCode::OutcomeUnknown)),
        _ => Act::Serve,
    }));
    let producer = connect(&server).await.producer(eager());
    let failed = producer
        .send(&topic, P0, record("0"))
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(failed.outcome, Outcome::Unknown);
    producer
        .send(&topic, P0, record("1"))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(server.log(&topic, 0, |log| log.values()), [b"0", b"1"]);
}

#[tokio::test]
async fn a_refused_batch_fails_alone() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|seen| match seen.nth {
        2 => Act::Refuse(error(ErrorCode::InvalidBatch)),
        _ => Act::Serve,
    }));
    let config = ProducerConfig {
        batch_bytes_max: 1,
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let outcomes = outcomes(send_numbers(&producer, &topic, 0..20).await).await;
    check(&server, &topic, &outcomes);
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|one| one.as_ref().err())
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].outcome, Outcome::NotApplied);
    assert!(
        failed[0]
            .error
            .refusal()
            .unwrap()
            .is(ErrorCode::InvalidBatch)
    );
}

#[tokio::test]
async fn retries_end_at_the_delivery_timeout() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Refuse(error(ErrorCode::Busy))));
    let config = ProducerConfig {
        delivery_timeout: Duration::from_millis(100),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    for outcome in outcomes(send_numbers(&producer, &topic, 0..50).await).await {
        let failed = outcome.unwrap_err();
        assert_eq!(failed.outcome, Outcome::NotApplied);
        assert!(matches!(*failed.error, Error::GivenUp { .. }), "{failed}");
    }
    assert!(server.log(&topic, 0, |log| log.values()).is_empty());
}

/// The server's wish was slept for, though the batch had long been late.
#[tokio::test]
async fn a_server_that_asks_for_patience_gets_no_more_than_the_delivery_timeout() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let mut busy = error(ErrorCode::Busy);
    busy.detail.retry_ms = Some(u32::MAX);
    server.script(on_produce(move |_| Act::Refuse(busy.clone())));
    let config = ProducerConfig {
        delivery_timeout: Duration::from_millis(100),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let all = outcomes(send_numbers(&producer, &topic, 0..50).await);
    let all = timeout(Duration::from_secs(20), all).await;
    for outcome in all.unwrap() {
        let failed = outcome.unwrap_err();
        assert!(matches!(*failed.error, Error::GivenUp { .. }), "{failed}");
    }
}

/// Each waited for a pause and an attempt of its own, the last of them for all of these.
#[tokio::test]
async fn what_is_late_behind_a_failure_is_given_up_with_it() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Refuse(error(ErrorCode::Busy))));
    let config = ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 1,
        delivery_timeout: Duration::from_millis(100),
        ..eager()
    };
    let producer = pausing(&server, config).await;
    let all = outcomes(send_numbers(&producer, &topic, 0..500).await).await;
    assert!(all.iter().all(Result::is_err));
    assert!(server.count(Some(0), "Produce") < 10);
}

/// Those behind it were told to be aborted, and not what for.
#[tokio::test]
async fn what_is_given_up_behind_a_failure_is_told_that_one() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let mut last = None;
    server.script(on_produce(move |seen| match seen.request {
        // The others of its run are aborted.
        Request::Produce(one) if last.replace(one.run) != Some(one.run) => {
            Act::Refuse(error(ErrorCode::Busy))
        }
        _ => Act::Serve,
    }));
    let config = ProducerConfig {
        batch_bytes_max: 1,
        delivery_timeout: Duration::from_millis(100),
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    for outcome in outcomes(send_numbers(&producer, &topic, 0..50).await).await {
        let failed = outcome.unwrap_err();
        let is_busy = failed.error.refusal().unwrap().is(ErrorCode::Busy);
        assert!(
            is_busy && matches!(*failed.error, Error::GivenUp { .. }),
            "{failed}"
        );
    }
}

/// It was held to be trouble of the partition: what came behind it waited for a pause, and might have been told its error.
#[tokio::test]
async fn a_batch_that_fits_into_no_frame_fails_alone_and_at_once() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.state.lock().unwrap().limits.batch_bytes_max = 16 << 20;
    let producer = pausing(&server, eager()).await;
    let rules = Rules {
        record_bytes_max: 16 << 20,
        batch_bytes_max: 16 << 20,
        ..Rules::default()
    };
    let mut batch = Builder::with_rules(Codec::None, rules);
    // So large that the frame has no room for the head.
    let large = record(vec![0; (16 << 20) - 100]);
    batch.append_record(&large).unwrap();
    let sent = producer.send_batch(&topic, P0.unwrap(), batch);
    let large = sent.await.unwrap();
    let behind = producer.send(&topic, P0, record("0")).await.unwrap();
    let failed = large.await.unwrap_err();
    assert_eq!(failed.outcome, Outcome::NotApplied);
    assert!(matches!(*failed.error, Error::Request { .. }), "{failed}");
    let told = timeout(Duration::from_secs(20), behind).await;
    told.unwrap().unwrap();
}

/// A producer of a client whose pauses are longer than any test.
async fn pausing(server: &Server, config: ProducerConfig) -> Producer {
    let client = ClientConfig {
        backoff: Backoff {
            first: Duration::from_secs(100),
            max: Duration::from_secs(100),
        },
        ..crate::config(server)
    };
    Client::connect(client).await.unwrap().producer(config)
}

/// It was asked some thirty thousand times a second.
#[tokio::test]
async fn a_server_that_aborts_each_run_is_asked_again_behind_a_pause() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Refuse(error(ErrorCode::Aborted))));
    let config = ProducerConfig {
        delivery_timeout: Duration::from_millis(100),
        ..eager()
    };
    let producer = pausing(&server, config).await;
    let all = outcomes(send_numbers(&producer, &topic, 0..1).await).await;
    assert!(all.iter().all(Result::is_err));
    assert!(server.count(Some(0), "Produce") < 10);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_an_unknown_outcome() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|seen| {
        if seen.nth == 0 {
            Act::Ignore
        } else {
            Act::Serve
        }
    }));
    let config = ClientConfig {
        timeout: Duration::from_millis(200),
        ..config(&server)
    };
    let producer = Client::connect(config).await.unwrap().producer(eager());
    let failed = producer
        .send(&topic, P0, record("0"))
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(failed.outcome, Outcome::Unknown);
    assert!(failed.error.is_unreachable());
    producer
        .send(&topic, P0, record("1"))
        .await
        .unwrap()
        .await
        .unwrap();
}

/// A lane that waited for room on a connection looked at no answer, so nothing noticed that the
/// server had gone silent while all its room was taken.
#[tokio::test]
async fn a_silent_server_is_given_up_also_by_who_waits_for_its_room() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Ignore));
    let client = ClientConfig {
        timeout: Duration::from_millis(200),
        ..config(&server)
    };
    // More batches than the connection takes requests.
    let config = ProducerConfig {
        batch_bytes_max: 1,
        in_flight_max: 200,
        delivery_timeout: Duration::from_millis(600),
        ..eager()
    };
    let producer = Client::connect(client).await.unwrap().producer(config);
    let deliveries = send_numbers(&producer, &topic, 0..200).await;
    let all = timeout(Duration::from_secs(20), outcomes(deliveries)).await;
    assert!(all.unwrap().iter().all(Result::is_err));
}

#[tokio::test]
async fn a_dropped_producer_settles_what_it_leaves() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(on_produce(|_| Act::Ignore));
    let config = ProducerConfig {
        in_flight_max: 1,
        ..eager()
    };
    let producer = connect(&server).await.producer(config);
    let in_flight = producer.send(&topic, P0, record("0")).await.unwrap();
    server
        .until(|server| server.state.lock().unwrap().count_all("Produce") == 1)
        .await;
    let queued = producer.send(&topic, P0, record("1")).await.unwrap();
    drop(producer);
    let expected = [Outcome::Unknown, Outcome::NotApplied];
    for (delivery, expected) in [in_flight, queued].into_iter().zip(expected) {
        let failed = delivery.await.unwrap_err();
        // Who looked at the error alone sent again what may be in the log.
        assert_eq!(
            (failed.outcome, failed.error.outcome()),
            (expected, expected)
        );
    }
}

#[tokio::test]
async fn records_wait_out_a_server_that_is_away() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let client = connect(&server).await;
    client.topic(&topic).await.unwrap();
    // Every new connection ends before it begins, three times.
    server.script(|seen| match seen.request {
        Request::Hello(_) if seen.nth < 4 => Act::Cut,
        _ => Act::Serve,
    });
    let producer = client.producer(eager());
    let outcomes = outcomes(send_numbers(&producer, &topic, 0..20).await).await;
    assert!(outcomes.iter().all(Result::is_ok));
    check(&server, &topic, &outcomes);
}
