//! Who takes more than others leaves them enough.

use std::fs::OpenOptions;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corelog_node::Node;
use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits::IN_FLIGHT_REQUEST_COUNT_MAX;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::{
    Call, describe_topic, fetch, metadata, ping, produce, replica_status, scrub_topic,
};

use crate::client::{Client, batch, from, name, to};
use crate::{
    comes_within, directory, keeping, resident_bytes, resident_bytes_most, run_apart, start_with,
    sum, wait_until,
};

/// What does not come to pass in this time is tried again: those who take nothing were cut before.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn connections_of_one_address_beyond_its_limit_are_told_so_on_every_core() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.limits.connections_per_address_max = 4;
    });
    let (first, second) = (node.addresses().cores[0], node.addresses().cores[1]);
    let held: Vec<_> = [first, second, first, second].map(Client::hello).into();
    for address in [first, second, node.addresses().listen] {
        let mut refused = Client::connect(address);
        let error = refused.receive::<ping::Request>().told.expect_err("full");
        assert!(error.is(ErrorCode::TooManyConnections), "{error}");
        assert_eq!(error.detail.limit, Some(4));
        assert!(error.message.contains("one address"), "{error}");
        assert!(error.message.contains("--connections-per-address-max"));
        assert!(refused.is_closed());
    }
    assert_eq!(sum(&node, |core| core.connections_refused_total), 3);
    drop(held);
    wait_until(|| sum(&node, |core| core.connections) == 0);
    Client::hello(second)
        .ask(&ping::Request {})
        .expect("served again");
    node.stop().expect("a clean stop");
}

/// Whoever is told why it is refused holds a descriptor until it has read that.
#[test]
fn only_a_few_of_those_who_are_refused_are_told_why_at_once() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.limits.connections_max = 1;
    });
    let held = Client::hello(node.addresses().listen);
    let refused: Vec<_> = (0..40)
        .map(|_| Client::connect(node.addresses().listen))
        .collect();
    wait_until(|| sum(&node, |core| core.connections_refused_total) == 40);
    let told = refused.into_iter().map(|mut client| {
        while !client.is_closed() {}
        usize::from(client.wire_bytes > 0)
    });
    let told: usize = told.sum();
    assert!((1..40).contains(&told), "{told} were told why");
    drop(held);
    node.stop().expect("a clean stop");
}

#[test]
fn who_does_nothing_is_closed_after_the_idle_timeout_and_who_waits_is_not() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        // Far longer than a machine that stands still keeps one who is busy from asking.
        config.limits.idle_timeout = Duration::from_secs(8);
    });
    let mut waiting = Client::hello(node.addresses().cores[0]);
    let id = waiting.create("idle", 1);
    let mut poll = from("idle", id, 0, 0);
    poll.max_wait_ms = 12_000;
    waiting.send(&poll, &[]);
    let mut busy = Client::hello(node.addresses().cores[0]);
    let mut idle = Client::hello(node.addresses().cores[0]);
    wait_until(|| {
        busy.ask(&ping::Request {}).expect("it is not idle");
        sum(&node, |core| core.connections_idle_total) == 1
    });
    let told = idle.receive_any().expect("why it is closed");
    assert!(told.is(ErrorCode::Idle), "{told}");
    assert_eq!(
        told.detail.taken,
        Some(1),
        "Hello was taken, and nothing else"
    );
    assert!(idle.is_closed());
    let told = waiting.receive::<fetch::Request>();
    assert!(told.told.is_ok() && told.body.is_empty());
    waiting
        .ask(&ping::Request {})
        .expect("what it waited does not count");
    wait_until(|| sum(&node, |core| core.connections) == 0);
    assert_eq!(sum(&node, |core| core.connections_idle_total), 3);
    assert_eq!(sum(&node, |core| core.connections_cut_total), 0);
    node.stop().expect("a clean stop");
}

/// Readers, so many at each address, that ask for much, again and again, and take nothing of it. They begin together: soon
/// they are cut.
fn deaf(count: usize, addresses: &[SocketAddr], request: &fetch::Request) -> Vec<Client> {
    let each = addresses.iter().flat_map(|address| vec![*address; count]);
    let mut deaf: Vec<_> = each.map(Client::hello).collect();
    for client in &mut deaf {
        for _ in 0..8 {
            client.send(request, &[]);
        }
    }
    deaf
}

/// A topic with more than all room for answers, and what asks for it.
fn large(client: &mut Client) -> fetch::Request {
    let id = client.create("large", 1);
    for _ in 0..40 {
        client
            .produce(&to("large", id, 0), &[&"x".repeat(500_000)])
            .expect("produced");
    }
    let mut request = from("large", id, 0, 0);
    request.max_bytes = 8 << 20;
    request
}

/// A core whose room a few readers of what is asked for can hold.
fn crowded(dir: &tempfile::TempDir) -> (Node, Client, fetch::Request) {
    let node = start_with(dir, |config| {
        config.cores = 1;
        config.traffic_memory = 200 << 20;
        config.tail_memory = 64 << 20;
    });
    let mut client = Client::hello(node.addresses().listen);
    let request = large(&mut client);
    (node, client, request)
}

/// They held all the room of the core for the half minute until the write timeout.
#[test]
fn readers_that_take_nothing_are_cut_soon_when_others_need_the_room() {
    let dir = directory();
    let (node, mut client, request) = crowded(&dir);
    let address = node.addresses().listen;
    let deaf = deaf(8, &[address], &request);
    let begun = Instant::now();
    wait_until(|| sum(&node, |core| core.connections_cut_total) > 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "others wait");
    while client.ask(&request).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "others wait");
    }
    drop(deaf);
    node.stop().expect("a clean stop");
}

/// They held all the room of the core for as long as each took for its 16 MiB, and others were told `Busy`.
#[test]
fn readers_that_take_little_of_much_are_cut_when_others_need_the_room() {
    let dir = directory();
    let (node, mut client, request) = crowded(&dir);
    let address = node.addresses().listen;
    let slow = deaf(8, &[address], &request);
    let is_over = Arc::new(AtomicBool::new(false));
    let reading = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        let mut sockets: Vec<_> = slow.iter().map(Client::socket).collect();
        move || {
            while !is_over.load(Ordering::Relaxed) {
                for socket in &mut sockets {
                    // Some wait for room as well, or were cut.
                    socket.set_nonblocking(true).expect("no waiting");
                    let _ = socket.read(&mut [0; 9 << 10]);
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
    });
    let begun = Instant::now();
    while client.ask(&request).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "others wait");
    }
    assert!(sum(&node, |core| core.connections_cut_total) > 0);
    is_over.store(true, Ordering::Relaxed);
    reading.join().expect("read");
    drop(slow);
    node.stop().expect("a clean stop");
}

/// Each kept all that was read with it, and was counted as the few bytes that it is.
#[test]
fn small_batches_that_nobody_takes_hold_nothing_of_the_large_ones_beside_them() {
    run_apart("fairness::small_among_large");
}

#[test]
#[ignore = "a child process of the test above, which takes memory of its own only"]
fn small_among_large() {
    let dir = directory();
    let node = keeping(&dir, 0);
    let address = node.addresses().listen;
    let mut client = Client::hello(address);
    let id = client.create("mixed", 1);
    let megabyte = "x".repeat(1_000_000);
    for values in [&["v"][..], &[&*megabyte; 7]] {
        client
            .produce(&to("mixed", id, 0), values)
            .expect("produced");
    }
    let fetched = || sum(&node, |core| core.fetched_bytes_total);
    let [mut small, mut large] = [0, 1].map(|offset| from("mixed", id, 0, offset));
    (small.max_bytes, large.max_bytes) = (6 << 20, 6 << 20);
    let bytes = client.fetch(&small).1.len() as u64;
    assert!(bytes < 1_000, "{bytes}");
    let mut deaf = Client::hello(address);
    deaf.send(&large, &[]);
    wait_until(|| fetched() > 7_000_000);
    let (before, taken) = (fetched(), resident_bytes());
    for _ in 0..60 {
        deaf.send(&small, &[]);
    }
    wait_until(|| fetched() == before + 60 * bytes);
    let taken = resident_bytes().saturating_sub(taken);
    assert!(taken < 150 << 20, "{taken} bytes of memory more");
    drop(deaf);
    node.stop().expect("a clean stop");
}

/// Who follows the end of a log waited in line with them, for seconds.
#[test]
fn who_reads_little_from_memory_does_not_wait_for_readers_that_take_nothing() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 2;
        config.traffic_memory = 200 << 20;
        config.tail_memory = 64 << 20;
    });
    let cores = node.addresses().cores.clone();
    let mut client = Client::hello(cores[0]);
    let large = large(&mut client);
    let id = client.create("small", 1);
    client
        .produce(&to("small", id, 0), &["v"])
        .expect("produced");
    let small = from("small", id, 0, 0);
    // Both ways: one of the cores owns the partition.
    let mut readers = [Client::hello(cores[0]), Client::hello(cores[1])];
    let cut = || sum(&node, |core| core.connections_cut_total);
    // On a machine that stands still for seconds some are cut before anybody reads: that says nothing.
    let are_asked = |_| {
        let before = cut();
        let deaf = deaf(12, &cores, &large);
        let ask = || sum(&node, |core| core.in_flight_requests) >= 2 * 12 * 4;
        let mut are_asked = comes_within(SOON, ask);
        for reader in &mut readers {
            reader.ask(&ping::Request {}).expect("it lives");
            are_asked &= cut() == before;
            reader.ask(&small).expect("it is not told to come again");
            let is_at_once = cut() == before;
            assert!(is_at_once || !are_asked, "it waited until others were cut");
        }
        drop(deaf);
        wait_until(|| sum(&node, |core| core.connections) == 3);
        are_asked
    };
    assert!((0..20).any(are_asked), "others were cut each time before");
    node.stop().expect("a clean stop");
}

/// A topic with a batch that is known to be damaged, and what asks for it.
fn damaged(client: &mut Client, home: &Path) -> fetch::Request {
    let id = client.create("rotten", 1);
    client
        .produce(&to("rotten", id, 0), &[&"x".repeat(50_000)])
        .expect("produced");
    let store = home.join("topics/rotten/0/00000000000000000000.log");
    let store = OpenOptions::new().write(true).open(store).expect("a store");
    store.write_all_at(b"y", 25_000).expect("written");
    store.sync_all().expect("synced");
    let request = from("rotten", id, 0, 0);
    let error = client.ask(&request).expect_err("damage");
    assert!(error.is(ErrorCode::Damaged), "{error}");
    let name = name("rotten");
    let describe = describe_topic::Request { name };
    let is_known = |told: describe_topic::Answer| !told.partitions[0].damage.is_empty();
    wait_until(|| is_known(client.ask(&describe).expect("described")));
    request
}

/// Who asked for little was told of damage for good, and did not wait for its repair.
#[test]
fn who_meets_damage_waits_for_room_as_all_others_that_may_have_to_wait_for_a_repair() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.traffic_memory = 200 << 20;
        config.tail_memory = 0;
    });
    let address = node.addresses().listen;
    let mut client = Client::hello(address);
    let rotten = damaged(&mut client, dir.path());
    let large = large(&mut client);
    let cut = || sum(&node, |core| core.connections_cut_total);
    // On a machine that stands still for seconds some are cut before it is asked for: that says nothing.
    let is_asked = |_| {
        let before = cut();
        let deaf = deaf(8, &[address], &large);
        let ask = || sum(&node, |core| core.in_flight_requests) >= 8 * 4;
        let all_ask = comes_within(SOON, ask);
        client.ask(&ping::Request {}).expect("it lives");
        let is_asked = all_ask && cut() == before;
        let told = client.ask(&rotten).expect_err("damage, or no room");
        let has_waited = told.is(ErrorCode::Busy) || cut() > before;
        assert!(has_waited || !is_asked, "it was told at once: {told}");
        drop(deaf);
        wait_until(|| sum(&node, |core| core.connections) == 1);
        is_asked
    };
    assert!((0..20).any(is_asked), "others were cut each time before");
    node.stop().expect("a clean stop");
}

#[test]
fn answers_that_nobody_takes_come_to_no_more_than_their_part_of_the_memory() {
    let all = metadata::Request { topics: None };
    leave_untaken(|client| {
        for topic in 0..3 {
            client.create(&format!("wide-{topic}-{}", "x".repeat(200)), 3_000);
        }
        all
    });
}

#[test]
fn so_do_answers_to_the_question_how_far_a_scrub_is() {
    leave_untaken(|client| scrub_topic::Request {
        topic: name("wide"),
        id: client.create("wide", 4_000),
        partition: None,
        start: false,
    });
}

/// They were given to whoever had scrubs begin, however many answers waited already.
#[test]
fn so_do_answers_to_those_who_have_a_topic_scrubbed() {
    leave_untaken(|client| scrub_topic::Request {
        topic: name("wide"),
        id: client.create("wide", 4_000),
        partition: None,
        start: true,
    });
}

/// Has many ask what `prepare` gives, and take no answer.
fn leave_untaken<R: Call>(prepare: impl FnOnce(&mut Client) -> R) {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.traffic_memory = 198 << 20;
    });
    let address = node.addresses().listen;
    let mut client = Client::hello(address);
    let all = prepare(&mut client);
    let before = client.wire_bytes;
    client.ask(&all).expect("all there is");
    let bytes = client.wire_bytes - before;
    assert!(bytes > 100_000, "{bytes}");
    let deaf: Vec<Client> = (0..20)
        .map(|_| {
            let mut deaf = Client::hello(address);
            for _ in 0..60 {
                deaf.send(&all, &[]);
            }
            deaf
        })
        .collect();
    assert!(
        20 * 60 * bytes > 2 * (18 << 20),
        "less than there is room for"
    );
    outlast(&node, &mut client, deaf);
    client.ask(&all).expect("room again");
    node.stop().expect("a clean stop");
}

/// Waits until some of those who take none of their answers are told `Busy`, whenever they read, while small answers go
/// on; then has them go.
fn outlast(node: &Node, client: &mut Client, deaf: Vec<Client>) {
    wait_until(|| {
        let told = node.handle().counters()[0].errors.clone();
        let busy = ErrorCode::Busy.number();
        told.iter().any(|(code, count)| *code == busy && *count > 0)
    });
    client.ask(&ping::Request {}).expect("small answers go on");
    drop(deaf);
    wait_until(|| node.handle().counters()[0].connections == 1);
}

/// What every core had told of its partitions was counted nowhere until all of them had: gigabytes, where many
/// asked for much.
#[test]
fn answers_that_all_cores_have_a_part_in_are_put_together_a_few_at_a_time() {
    run_apart("fairness::many_of_all_cores");
}

#[test]
#[ignore = "a child process of the test above, which takes memory of its own only"]
fn many_of_all_cores() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 2;
        config.traffic_memory = 198 << 20;
    });
    let address = node.addresses().cores[0];
    let mut client = Client::hello(address);
    let id = client.create("wide", 4_000);
    let (name, topic, id) = (name("wide"), name("wide"), Some(id));
    let (described, replicas) = (
        describe_topic::Request { name },
        replica_status::Request {
            topic,
            id,
            partition: None,
        },
    );
    client.ask(&described).expect("all there is");
    client.ask(&replicas).expect("all there is");
    let before = resident_bytes();
    let deaf: Vec<Client> = (0..16)
        .map(|_| {
            let mut deaf = Client::hello(address);
            for _ in 0..32 {
                deaf.send(&described, &[]);
                deaf.send(&replicas, &[]);
            }
            deaf
        })
        .collect();
    outlast(&node, &mut client, deaf);
    wait_until(|| client.ask(&described).is_ok());
    let taken = resident_bytes_most().saturating_sub(before);
    assert!(taken < 96 << 20, "{taken} bytes of memory more");
    node.stop().expect("a clean stop");
}

/// A sync ends when all that was written before it has: whoever sent little waited for 16 MiB of a stream's.
#[test]
fn groups_of_a_stream_are_small_while_somebody_waits_for_little_on_whichever_core() {
    let dir = directory();
    let node = start_with(&dir, |config| config.cores = 2);
    let [mut little, mut much] = [0, 1].map(|core| Client::hello(node.addresses().cores[core]));
    let id = little.create("both", 2);
    let [few, many] = [(0, Level::Durable), (1, Level::Accepted)].map(|(partition, level)| {
        let mut request = to("both", id, partition);
        request.level = Some(level);
        request
    });
    let value = "x".repeat(500_000);
    let (body, batches) = (batch(&[&value, &value]), 4);
    // So many groups the stream goes to the disk in, and if all of it was accepted while little is about: for a tenth of a
    // second.
    let mut groups = |is_little_about: bool| {
        let begun = Instant::now();
        if is_little_about {
            little.produce(&few, &["little"]).expect("durable");
        }
        let before = sum(&node, |core| core.flushes_total);
        for _ in 0..batches {
            much.send(&many, &body);
        }
        for _ in 0..batches {
            much.receive::<produce::Request>().told.expect("accepted");
        }
        let is_in_time = begun.elapsed() < Duration::from_millis(90);
        let waits = || {
            sum(&node, |core| {
                core.appended_bytes_total - core.flushed_bytes_total
            })
        };
        wait_until(|| waits() == 0);
        (sum(&node, |core| core.flushes_total) - before, is_in_time)
    };
    // Two batches are more than such a group holds. Turns on a machine that stood still say nothing, nor do those alone in
    // which the disk was as fast as the stream.
    let (mut beside, mut joined) = (0, 0);
    for _ in 0..200 {
        let (count, is_in_time) = groups(true);
        assert!(!is_in_time || count == batches, "{count} groups beside it");
        beside += u32::from(is_in_time);
        // Until it is about no more.
        std::thread::park_timeout(Duration::from_millis(200));
        joined += u32::from(groups(false).0 < batches);
        if beside.min(joined) == 5 {
            break;
        }
    }
    assert!(
        beside.min(joined) == 5,
        "{beside} and {joined} say something"
    );
    node.stop().expect("a clean stop");
}

/// Their frames had the room that they had come in for as long as their polls: a few clients had a minute of all that a core
/// has, and who sent large frames beside them slowly was cut.
#[test]
fn long_polls_that_a_large_frame_waits_behind_are_answered_where_others_need_its_room() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        config.traffic_memory = 198 << 20;
    });
    let address = node.addresses().listen;
    let id = Client::hello(address).create("polled", 1);
    let mut poll = from("polled", id, 0, 0);
    poll.max_wait_ms = 60_000;
    let mut waiting: Vec<_> = (0..6).map(|_| Client::hello(address)).collect();
    for client in &mut waiting {
        for _ in 0..IN_FLIGHT_REQUEST_COUNT_MAX {
            client.send(&poll, &[]);
        }
    }
    let parked = || sum(&node, |core| core.parked_fetches);
    let all = 6 * u64::from(IN_FLIGHT_REQUEST_COUNT_MAX);
    wait_until(|| parked() == all);
    let large = vec![0; 7 << 20];
    for client in &mut waiting {
        client.send(&to("polled", id, 0), &large);
    }
    let is_less = || parked() < all;
    assert!(
        comes_within(Duration::from_secs(30), is_less),
        "long before the polls end"
    );
    assert_eq!(sum(&node, |core| core.connections_cut_total), 0);
    node.stop().expect("a clean stop");
}
