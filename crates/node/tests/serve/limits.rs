//! What happens at a limit is an answer or a close, never a hang or a growth.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corelog_node::{Node, NodeConfig, StartError, sys};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::limits::{IN_FLIGHT_REQUEST_COUNT_MAX, METADATA_TOPIC_COUNT_MAX};
use corelog_protocol::message::{fetch, metadata, ping, produce};
use corelog_protocol::request;

use crate::client::{Client, batch, from, to, values};
use crate::{comes_within, directory, start, start_with, sum, wait_until};

#[test]
fn a_full_lane_is_answered_busy_and_aborts_the_run_in_order() {
    let dir = directory();
    let node = start_with(&dir, |config| config.limits.lane_requests_max = 2);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("busy", 2);
    // Partition 1 is on the other core.
    let mut sent = 0;
    let mut appended = 0;
    for run in 0..20 {
        let mut request = to("busy", id, 1);
        request.run = run;
        for _ in 0..50 {
            client.send(&request, &batch(&["v"]));
            sent += 1;
        }
        let mut has_failed = false;
        for _ in 0..50 {
            match client.receive::<produce::Request>().told {
                Ok(answer) => {
                    assert!(!has_failed, "appended after its run was aborted");
                    assert_eq!(answer.base.get(), appended);
                    appended += 1;
                }
                Err(error) if has_failed => assert!(error.is(ErrorCode::Aborted), "{error}"),
                Err(error) => {
                    assert!(error.is(ErrorCode::Busy), "{error}");
                    has_failed = true;
                }
            }
        }
    }
    assert!(
        0 < appended && appended < sent,
        "{appended} of {sent}: the lane never filled"
    );
    assert!(sum(&node, |core| core.lane_busy_total) > 0);
    client.ask(&ping::Request {}).expect("still served");
    node.stop().expect("a clean stop");
}

#[test]
fn a_parked_poll_of_another_core_holds_no_place_in_the_lane() {
    let dir = directory();
    let node = start_with(&dir, |config| config.limits.lane_requests_max = 2);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("parked", 2);
    let mut waiting = Vec::new();
    for parked in 1..=10 {
        let mut client = Client::hello(node.addresses().cores[0]);
        let mut request = from("parked", id, 1, 0);
        request.max_wait_ms = 45_000;
        client.send(&request, &[]);
        wait_until(|| node.handle().counters()[1].parked_fetches == parked);
        waiting.push(client);
    }
    client
        .produce(&to("parked", id, 1), &["v"])
        .expect("the lane is free");
    for client in &mut waiting {
        let arrived = client.receive::<fetch::Request>();
        arrived.told.expect("fetched");
        assert_eq!(values(&arrived.body), ["v"]);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn a_request_names_as_many_topics_as_a_node_can_have() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[0]);
    let named = |count: u32| {
        let names = (0..count).map(|number| format!("t{number}").parse().expect("a name"));
        metadata::Request {
            topics: Some(names.collect()),
        }
    };
    let most = METADATA_TOPIC_COUNT_MAX;
    let answer = client.ask(&named(most)).expect("told of each");
    assert_eq!(answer.errors.len(), most as usize);
    let refused = client.ask(&named(most + 1)).expect_err("too many");
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused}");
    assert_eq!(refused.detail.found, Some(u64::from(most) + 1));
    assert_eq!(refused.detail.limit, Some(most.into()));
    client.ask(&ping::Request {}).expect("still served");
    node.stop().expect("a clean stop");
}

/// The bound was one of each partition, and of what other cores ask for: a client of the core itself with many
/// connections and partitions met none.
#[test]
fn a_core_parks_no_more_polls_than_it_may_in_all() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.limits.parked_fetches_max = 10;
    });
    let address = node.addresses().cores[0];
    let (mut waiting, mut beyond) = (Client::hello(address), Client::hello(address));
    let id = beyond.create("polled", 2);
    let poll = |partition| {
        let mut request = from("polled", id, partition, 0);
        request.max_wait_ms = 60_000;
        request
    };
    for number in 0..10 {
        waiting.send(&poll(number % 2), &[]);
    }
    wait_until(|| node.handle().counters()[0].parked_fetches == 10);
    let mut crowd = Client::hello(address);
    for _ in 0..5 {
        crowd.send(&poll(1), &[]);
    }
    for partition in 0..2 {
        assert_paced(&mut beyond, &poll(partition));
    }
    for _ in 0..5 {
        crowd.receive::<fetch::Request>().told.expect("nothing");
        // Those that wait without a place take none.
        assert_eq!(node.handle().counters()[0].parked_fetches, 10);
    }
    beyond
        .produce(&to("polled", id, 0), &["v"])
        .expect("appended");
    for _ in 0..5 {
        assert_eq!(values(&waiting.receive::<fetch::Request>().body), ["v"]);
    }
    beyond.send(&poll(1), &[]);
    wait_until(|| node.handle().counters()[0].parked_fetches == 6);
    node.stop().expect("a clean stop");
}

/// A poll is answered with nothing, and not at once: whoever asks again is not to keep the core from all others.
fn assert_paced(client: &mut Client, poll: &fetch::Request) {
    let asked = Instant::now();
    client.send(poll, &[]);
    let answered = client.receive::<fetch::Request>();
    answered.told.expect("nothing");
    assert!(answered.body.is_empty());
    assert!(Duration::from_millis(50) <= asked.elapsed());
}

#[test]
fn a_poll_that_finds_no_place_on_another_core_waits_a_little_all_the_same() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 2;
        config.limits.parked_fetches_max = 1;
    });
    let address = node.addresses().cores[0];
    let mut clients: Vec<_> = (0..2).map(|_| Client::hello(address)).collect();
    let id = clients[0].create("polled", 2);
    // Partition 1 is on the other core.
    let mut poll = from("polled", id, 1, 0);
    poll.max_wait_ms = 60_000;
    clients[0].send(&poll, &[]);
    wait_until(|| node.handle().counters()[1].parked_fetches == 1);
    assert_paced(&mut clients[1], &poll);
    node.stop().expect("a clean stop");
}

#[test]
fn a_client_that_hangs_up_leaves_no_long_poll_behind() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("hung-up", 2);
    let parked = || sum(&node, |core| core.parked_fetches);
    let waiting: Vec<Client> = (0..2)
        .map(|partition| {
            let mut client = Client::hello(node.addresses().cores[0]);
            let mut request = from("hung-up", id, partition, 0);
            request.max_wait_ms = 60_000;
            client.send(&request, &[]);
            client
        })
        .collect();
    wait_until(|| parked() == 2);
    drop(waiting);
    wait_until(|| parked() == 0 && node.handle().counters()[0].connections == 1);
    node.stop().expect("a clean stop");
}

/// The one frame more kept the reader waiting, so that nobody saw the reset: connection and places went when the polls ended.
#[test]
fn a_client_that_hangs_up_with_all_requests_under_way_that_it_may_have_leaves_none_behind() {
    let dir = directory();
    let node = start_with(&dir, |config| config.cores = 1);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("hung-up", 1);
    client.send(&ping::Request {}, &[]);
    let mut request = from("hung-up", id, 0, 0);
    request.max_wait_ms = 60_000;
    for _ in 0..=IN_FLIGHT_REQUEST_COUNT_MAX {
        client.send(&request, &[]);
    }
    let counters = || node.handle().counters()[0].clone();
    wait_until(|| counters().parked_fetches == u64::from(IN_FLIGHT_REQUEST_COUNT_MAX));
    // With an answer that nobody read, it is reset.
    drop(client);
    let is_gone = || counters().parked_fetches == 0 && counters().connections == 0;
    assert!(
        comes_within(Duration::from_secs(20), is_gone),
        "long before the polls end"
    );
    node.stop().expect("a clean stop");
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.limits.connections_max = 5;
    });
    let held: Vec<Client> = (0..5)
        .map(|_| Client::hello(node.addresses().listen))
        .collect();
    let mut refused = Client::connect(node.addresses().listen);
    let error = refused
        .receive::<ping::Request>()
        .told
        .expect_err("an error");
    assert!(error.is(ErrorCode::TooManyConnections));
    assert!(refused.is_closed());
    drop(held);
    wait_until(|| node.handle().counters()[0].connections == 0);
    Client::hello(node.addresses().listen)
        .ask(&ping::Request {})
        .expect("served again");
    node.stop().expect("a clean stop");
}

/// One that asks so often for 8 MiB, and takes nothing; and what it asks for.
fn deaf(node: &Node, client: &mut Client, times: usize) -> (Client, fetch::Request) {
    let id = client.create("large", 1);
    let value = "x".repeat(500_000);
    for _ in 0..20 {
        client
            .produce(&to("large", id, 0), &[&value])
            .expect("produced");
    }
    let mut deaf = Client::hello(node.addresses().listen);
    let mut request = from("large", id, 0, 0);
    request.max_bytes = 8 << 20;
    for _ in 0..times {
        deaf.send(&request, &[]);
    }
    (deaf, request)
}

#[test]
fn a_client_that_never_reads_is_cut_and_stalls_nobody() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.limits.write_timeout = Duration::from_secs(2);
    });
    let mut client = Client::hello(node.addresses().listen);
    let (_deaf, request) = deaf(&node, &mut client, 60);
    wait_until(|| {
        client.ask(&ping::Request {}).expect("served meanwhile");
        node.handle().counters()[0].connections_cut_total > 0
    });
    assert!(client.fetch(&request).0.next.get() > 0);
    // Its reader counted it once more.
    wait_until(|| node.handle().counters()[0].connections == 1);
    assert_eq!(node.handle().counters()[0].connections_cut_total, 1);
    node.stop().expect("a clean stop");
}

/// What was being sent to it went on until that had taken too long as well: a minute, and more for each byte.
#[test]
fn a_client_that_is_cut_for_what_it_sends_is_sent_nothing_more() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.limits.read_timeout = Duration::from_secs(2);
        config.limits.write_timeout = Duration::from_secs(600);
    });
    let mut client = Client::hello(node.addresses().listen);
    let (mut deaf, _request) = deaf(&node, &mut client, 10);
    deaf.send_raw(&[40, 0, 0, 0, 1, 0]);
    wait_until(|| node.handle().counters()[0].connections == 1);
    assert_eq!(node.handle().counters()[0].connections_cut_total, 1);
    node.stop().expect("a clean stop");
}

/// A crowd of clients that were killed looked like one that breaks the protocol.
#[test]
fn a_connection_that_its_client_reset_is_not_counted_as_cut() {
    let dir = directory();
    let node = start_with(&dir, |config| config.cores = 1);
    let mut client = Client::hello(node.addresses().listen);
    client.send(&ping::Request {}, &[]);
    let socket = client.socket();
    socket.peek(&mut [0]).expect("the answer is there");
    // What is closed with an answer that nobody read is reset.
    drop((client, socket));
    wait_until(|| node.handle().counters()[0].connections == 0);
    assert_eq!(node.handle().counters()[0].connections_cut_total, 0);
    node.stop().expect("a clean stop");
}

#[test]
fn a_frame_that_is_begun_and_never_finished_is_cut() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.limits.read_timeout = Duration::from_secs(2);
    });
    let mut silent = Client::connect(node.addresses().listen);
    assert!(silent.is_closed(), "no hello in time");
    let mut slow = Client::hello(node.addresses().listen);
    slow.send_raw(&[40, 0, 0, 0, 1, 0]);
    assert!(slow.is_closed(), "no whole frame in time");
    let mut idle = Client::hello(node.addresses().listen);
    std::thread::park_timeout(Duration::from_millis(4_000));
    idle.ask(&ping::Request {})
        .expect("an idle connection is kept");
    node.stop().expect("a clean stop");
}

/// As long as there was something to be read nobody looked whether the node stops.
#[test]
fn a_client_that_sends_on_and_on_holds_up_no_stop() {
    let dir = directory();
    let patience = Duration::from_secs(60);
    let node = start_with(&dir, |config| config.stop_timeout = patience);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("flood", 2);
    let request = to("flood", id, 0);
    let (mut frames, body) = (Vec::new(), batch(&["v"; 2_000]));
    for number in 0..50 {
        let number = CorrelationId::new(number);
        request::encode(number, &request, body.len(), &mut frames).expect("a frame");
        frames.extend_from_slice(&body);
    }
    let (mut sender, mut receiver) = (client.socket(), client.socket());
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answers);
    let sending = std::thread::spawn(move || while sender.write_all(&frames).is_ok() {});
    let receiving = std::thread::spawn(move || {
        let mut into = vec![0; 1 << 20];
        while receiver.read(&mut into).is_ok_and(|bytes| bytes > 0) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    wait_until(|| answers.load(Ordering::Relaxed) > 50);
    let begun = Instant::now();
    node.stop().expect("a clean stop");
    assert!(begun.elapsed() < patience, "it was cut in the end");
    sending.join().expect("it ends");
    receiving.join().expect("it ends");
}

/// Before a Hello and behind it: each byte is no new frame.
#[test]
fn who_sends_a_frame_byte_by_byte_is_cut_in_the_middle_of_it() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.limits.read_timeout = Duration::from_secs(2);
    });
    let address = node.addresses().listen;
    for mut client in [Client::connect(address), Client::hello(address)] {
        let (mut socket, sent) = (client.socket(), Arc::new(AtomicUsize::new(0)));
        let dripping = std::thread::spawn({
            let sent = Arc::clone(&sent);
            move || {
                // The length of a frame, and most of what is not looked at before there is more.
                for byte in [200, 0, 0, 0].into_iter().chain([1; 15]) {
                    if socket.write_all(&[byte]).is_err() {
                        return;
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(300));
                }
            }
        });
        assert!(client.is_closed());
        assert!(sent.load(Ordering::Relaxed) < 19, "it had all the time");
        dripping.join().expect("a thread that drips");
    }
    node.stop().expect("a clean stop");
}

#[test]
fn a_stop_under_load_answers_or_closes_and_loses_nothing_it_acknowledged() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("load", 2);
    let address = node.addresses().listen;
    let producers: Vec<_> = (0..4_u32)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::hello(address);
                let mut acked = 0;
                while let Some(Ok(_)) = client.try_produce(&to("load", id, number % 2), &["v"]) {
                    acked += 1;
                }
                (number % 2, acked)
            })
        })
        .collect();
    wait_until(|| client.latest("load", id, 0) >= 50);
    drop(client);
    node.stop().expect("a clean stop");
    let mut acked = [0_u64; 2];
    for producer in producers {
        let (partition, count) = producer.join().expect("a producer ends");
        acked[partition as usize] += count;
    }
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    for (partition, count) in (0..).zip(acked) {
        let end = client.latest("load", id, partition);
        assert!(
            count <= end,
            "partition {partition}: {count} acknowledged, {end} there"
        );
    }
    node.stop().expect("a clean stop");
}

#[test]
fn another_number_of_cores_moves_no_files() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("cores", 5);
    for partition in 0..5 {
        client
            .produce(&to("cores", id, partition), &["v"])
            .expect("produced");
    }
    drop(client);
    node.stop().expect("a clean stop");
    for cores in [1, 3] {
        let node = start_with(&dir, |config| config.cores = cores);
        let mut client = Client::hello(node.addresses().listen);
        for partition in 0..5 {
            assert_eq!(
                values(&client.fetch(&from("cores", id, partition, 0)).1),
                ["v"]
            );
        }
        drop(client);
        node.stop().expect("a clean stop");
    }
}

#[test]
fn a_second_server_and_a_taken_port_are_refused_and_disturb_nothing() {
    let dir = directory();
    let node = start(&dir);
    let mut config = NodeConfig::new(dir.path());
    config.listen.set_port(0);
    config.cores = 1;
    let second = Node::start(config).expect_err("the directory is taken");
    assert!(
        matches!(
            second,
            StartError::System {
                source: sys::Error::Locked { .. }
            }
        ),
        "{second}"
    );

    let other = directory();
    let mut config = NodeConfig::new(other.path());
    config.listen = node.addresses().listen;
    config.cores = 1;
    let taken = Node::start(config).expect_err("the port is taken");
    assert!(matches!(taken, StartError::Bind { .. }), "{taken}");
    Client::hello(node.addresses().listen)
        .ask(&ping::Request {})
        .expect("undisturbed");
    node.stop().expect("a clean stop");
}

/// A frame's time begins with its first byte, not with the frame before.
#[test]
fn a_connection_that_idled_may_send_its_next_frame_in_two_pieces() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.limits.read_timeout = Duration::from_secs(3);
    });
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("pieces", 1);
    std::thread::park_timeout(Duration::from_millis(4_200));
    let body = batch(&["x"]);
    let mut frame = Vec::new();
    let correlation = CorrelationId::new(77);
    let request = to("pieces", id, 0);
    request::encode(correlation, &request, body.len(), &mut frame).expect("a frame");
    frame.extend_from_slice(&body);
    client.send_raw(&frame[..30]);
    std::thread::park_timeout(Duration::from_millis(50));
    client.send_raw(&frame[30..]);
    client.receive::<produce::Request>().told.expect("produced");
    node.stop().expect("a clean stop");
}

#[test]
fn senders_that_claim_much_and_dawdle_hold_up_nobody() {
    let dir = directory();
    let node = start(&dir);
    let own = node.addresses().cores[0];
    let mut client = Client::hello(own);
    let id = client.create("dawdle", 1);
    let mut slow: Vec<Client> = (0..40).map(|_| Client::hello(own)).collect();
    for sender in &mut slow {
        sender.send_raw(&beginning(&to("dawdle", id, 0), 100));
    }
    let begun = Instant::now();
    client
        .produce(&to("dawdle", id, 0), &[&"v".repeat(500_000)])
        .expect("produced");
    // They are waited for longer.
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "took {:?}",
        begun.elapsed()
    );
    node.stop().expect("a clean stop");
}

#[test]
fn senders_that_stop_in_the_middle_of_large_frames_are_cut_where_others_need_their_room() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.traffic_memory = 198 << 20;
    });
    let own = node.addresses().listen;
    let mut client = Client::hello(own);
    let id = client.create("stopped", 1);
    let stopped: Vec<_> = (0..12).map(|_| Client::hello(own)).collect();
    let begun = beginning(&to("stopped", id, 0), 7 << 20);
    // Who waits for the room of those before it may be cut as well.
    let _ = stopped
        .iter()
        .try_for_each(|sender| sender.socket().write_all(&begun));
    wait_until(|| node.handle().counters()[0].connections_cut_total > 0);
    client
        .produce(&to("stopped", id, 0), &["v"])
        .expect("produced");
    node.stop().expect("a clean stop");
}

/// So much of the body of a frame that is nearly as large as it may be, behind its head.
fn beginning(request: &produce::Request, bytes: usize) -> Vec<u8> {
    let (mut frame, correlation) = (Vec::new(), CorrelationId::new(9));
    let body_bytes = (16 << 20) - 1024;
    request::encode(correlation, request, body_bytes, &mut frame).expect("a frame");
    frame.resize(frame.len() + bytes, 0);
    frame
}
