//! What is produced is fetched, also after a restart.

use std::time::{Duration, Instant};

use corelog_node::Node;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::{fetch, metadata, produce, truncate};
use corelog_record::{Offset, PartitionId, TopicId};

use crate::client::{Client, batch, from, name, to, values};
use crate::{directory, keeping, reads_ahead, start, sum, wait_until};

#[test]
fn records_come_back_in_order_from_every_partition_and_core() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("orders", 4);
    for partition in 0..4 {
        let request = to("orders", id, partition);
        let first = client.produce(&request, &["a", "b"]).expect("produced");
        assert_eq!(
            (first.base.get(), first.end.get(), first.level),
            (0, 2, Level::Durable)
        );
        let second = client.produce(&request, &["c"]).expect("produced");
        assert_eq!((second.base.get(), second.end.get()), (2, 3));
    }
    for partition in 0..4 {
        let (answer, body) = client.fetch(&from("orders", id, partition, 0));
        assert_eq!(values(&body), ["a", "b", "c"]);
        assert_eq!((answer.high_watermark.get(), answer.next.get()), (3, 3));
    }
    node.stop().expect("a clean stop");
}

#[test]
fn topics_and_records_outlive_a_restart() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("kept", 3);
    for partition in 0..3 {
        client
            .produce(&to("kept", id, partition), &["x", "y"])
            .expect("produced");
    }
    let identity = node.handle().node_id();
    drop(client);
    node.stop().expect("a clean stop");

    let node = start(&dir);
    assert_eq!(node.handle().node_id(), identity);
    assert_eq!((node.report().topics, node.report().partitions), (1, 3));
    let mut client = Client::hello(node.addresses().listen);
    let told = client
        .ask(&metadata::Request {
            topics: Some(vec![name("kept")]),
        })
        .expect("told");
    assert_eq!(told.topics[0].id, id);
    for partition in 0..3 {
        assert_eq!(
            values(&client.fetch(&from("kept", id, partition, 0)).1),
            ["x", "y"]
        );
        let third = client
            .produce(&to("kept", id, partition), &["z"])
            .expect("produced");
        assert_eq!(third.base.get(), 2);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn an_aware_client_never_hops_and_an_unaware_one_is_served_all_the_same() {
    let dir = directory();
    let node = start(&dir);
    let hops = || sum(&node, |core| core.hops_total);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("routed", 8);
    let before = hops();
    let told = client
        .ask(&metadata::Request { topics: None })
        .expect("told");
    for partition in &told.topics[0].partitions {
        let mut owner = Client::hello(partition.address.parse().expect("an address"));
        owner
            .produce(&to("routed", id, partition.id.get()), &["v"])
            .expect("produced");
        owner.fetch(&from("routed", id, partition.id.get(), 0));
    }
    assert_eq!(hops(), before);
    let mut unaware = Client::hello(node.addresses().cores[0]);
    for partition in 0..8 {
        unaware
            .produce(&to("routed", id, partition), &["w"])
            .expect("produced");
        let (_, body) = unaware.fetch(&from("routed", id, partition, 0));
        assert_eq!(values(&body), ["v", "w"]);
    }
    assert_eq!(
        hops(),
        before + 8,
        "four partitions on the other core, twice each"
    );
    node.stop().expect("a clean stop");
}

#[test]
fn pipelined_produces_of_one_partition_are_answered_in_order() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("piped", 2);
    for partition in 0..2 {
        let sent: Vec<u32> = (0..60)
            .map(|_| client.send(&to("piped", id, partition), &batch(&["v"])))
            .collect();
        for (base, correlation) in (0..).zip(sent) {
            let arrived = client.receive::<produce::Request>();
            assert_eq!(arrived.correlation, correlation);
            assert_eq!(arrived.told.expect("produced").base.get(), base);
        }
    }
    node.stop().expect("a clean stop");
}

#[test]
fn a_long_poll_wakes_on_data_here_and_on_another_core() {
    let dir = directory();
    let node = start(&dir);
    let mut producer = Client::hello(node.addresses().cores[0]);
    let id = producer.create("polled", 2);
    for partition in 0..2 {
        let mut waiting: Vec<Client> = (0..20)
            .map(|_| {
                let mut client = Client::hello(node.addresses().cores[1]);
                let mut request = from("polled", id, partition, 0);
                request.max_wait_ms = 45_000;
                client.send(&request, &[]);
                client
            })
            .collect();
        let parked = || sum(&node, |core| core.parked_fetches);
        wait_until(|| parked() == 20);
        let begun = Instant::now();
        producer
            .produce(&to("polled", id, partition), &["woken"])
            .expect("produced");
        for client in &mut waiting {
            let arrived = client.receive::<fetch::Request>();
            assert_eq!(values(&arrived.body), ["woken"]);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "took {:?}",
            begun.elapsed()
        );
        wait_until(|| parked() == 0);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn an_accepted_record_is_answered_at_once_and_flushed_soon() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("quick", 1);
    let mut request = to("quick", id, 0);
    request.level = Some(Level::Accepted);
    let answer = client.produce(&request, &["v"]).expect("produced");
    assert_eq!(answer.level, Level::Accepted);
    wait_until(|| client.latest("quick", id, 0) > 0);
    assert_eq!(values(&client.fetch(&from("quick", id, 0, 0)).1), ["v"]);
    node.stop().expect("a clean stop");
}

/// A partition of 64 batches of some 100 KiB, each one record of its own number, none of them in memory.
fn cold(dir: &tempfile::TempDir) -> (Node, TopicId) {
    let node = keeping(dir, 0);
    let id = fill(&mut Client::hello(node.addresses().listen), "cold");
    (node, id)
}

/// Such a partition, in memory or not.
fn fill(client: &mut Client, topic: &str) -> TopicId {
    let id = client.create(topic, 1);
    for number in 0..COUNT {
        let value = format!("{}{number:04}", "0".repeat(100_000));
        client
            .produce(&to(topic, id, 0), &[&value])
            .expect("produced");
    }
    id
}

const COUNT: u64 = 64;

#[test]
fn who_reads_on_from_the_disk_finds_what_was_read_ahead() {
    let dir = directory();
    let (node, id) = cold(&dir);
    let fetches = read_on(&mut Client::hello(node.addresses().listen), "cold", id);
    // The first two show that it reads on.
    assert_eq!(reads_ahead(&node), fetches - 2);
    node.stop().expect("a clean stop");
}

/// Reads such a partition a few batches at a time; gives how often it asked.
fn read_on(client: &mut Client, topic: &str, id: TopicId) -> u64 {
    let (mut offset, mut fetches) = (0, 0);
    while offset < COUNT {
        let mut request = from(topic, id, 0, offset);
        request.max_bytes = 400_000;
        let (answer, body) = client.fetch(&request);
        let numbers: Vec<u64> = values(&body)
            .iter()
            .map(|value| value.parse().expect("a number"))
            .collect();
        assert!((1..=4).contains(&numbers.len()), "{}", numbers.len());
        let wanted: Vec<u64> = (offset..answer.next.get()).collect();
        assert_eq!(numbers, wanted);
        offset = answer.next.get();
        fetches += 1;
    }
    fetches
}

/// It kept half of the memory for ever, and readers of the busy one read from the disk.
#[test]
fn a_partition_that_nobody_writes_to_any_more_leaves_its_memory_to_one_that_is_written_to() {
    let dir = directory();
    let node = keeping(&dir, 8 << 20);
    let mut client = Client::hello(node.addresses().listen);
    fill(&mut client, "idle");
    let busy = fill(&mut client, "busy");
    read_on(&mut client, "busy", busy);
    assert_eq!(reads_ahead(&node), 0, "it was read from the disk");
    node.stop().expect("a clean stop");
}

/// One batch was read twice for each fetch, for ever: a consumer of many partitions asks for less of each
/// than a batch is.
#[test]
fn who_asks_for_less_than_a_batch_finds_the_next_one_read_ahead() {
    let dir = directory();
    let (node, id) = cold(&dir);
    let mut client = Client::hello(node.addresses().listen);
    for offset in 0..10 {
        let mut request = from("cold", id, 0, offset);
        request.max_bytes = 50_000;
        let (answer, body) = client.fetch(&request);
        assert_eq!(answer.next.get(), offset + 1);
        assert!(body.len() > 100_000);
    }
    assert_eq!(reads_ahead(&node), 10 - 2);
    node.stop().expect("a clean stop");
}

#[test]
fn what_was_read_ahead_is_no_more_than_is_asked_for_later_and_goes_with_the_log_start() {
    let dir = directory();
    let (node, id) = cold(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let mut ask = |offset, max_bytes| {
        let mut request = from("cold", id, 0, offset);
        request.max_bytes = max_bytes;
        client.send(&request, &[]);
        let arrived = client.receive::<fetch::Request>();
        arrived
            .told
            .map(|answer| (answer.next.get(), arrived.body.len()))
    };
    for offset in [0, 4, 8] {
        assert_eq!(ask(offset, 450_000).expect("read").0, offset + 4);
    }
    assert_eq!(reads_ahead(&node), 1);
    let (next, bytes) = ask(12, 150_000).expect("read");
    assert!(next == 13 && bytes <= 150_000, "{next} {bytes}");
    assert_eq!(reads_ahead(&node), 1, "what was read ahead was more");
    for offset in [30, 20, 50] {
        ask(offset, 450_000).expect("read");
    }
    assert_eq!(reads_ahead(&node), 1, "they jumped");
    let mut other = Client::hello(node.addresses().listen);
    let cut = truncate::Request {
        topic: name("cold"),
        id,
        partition: PartitionId::new(0),
        lowest: Offset::new(60).expect("an offset"),
    };
    other.ask(&cut).expect("truncated");
    assert!(ask(54, 450_000).is_err(), "it lies below the log start");
    node.stop().expect("a clean stop");
}
