//! A node that has nothing to do rests.

use std::time::{Duration, Instant};

use corelog_protocol::message::produce;

use crate::client::{Client, batch, from, to};
use crate::{directory, resident_bytes, run_apart, start, sum, wait_until};

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("the kernel tells");
    let micros = |time: nix::sys::time::TimeVal| {
        let (seconds, micros) = (time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs());
        Duration::from_micros(seconds * 1_000_000 + micros)
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

#[test]
fn an_idle_node_rests() {
    run_apart("idle::an_idle_node_with_a_hundred_waiting_consumers_rests");
}

#[test]
#[ignore = "a child process of the test above, which takes processor time of its own only"]
fn an_idle_node_with_a_hundred_waiting_consumers_rests() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("idle", 100);
    let _waiting: Vec<Client> = (0..100)
        .map(|partition| {
            let mut client = Client::hello(node.addresses().listen);
            let mut request = from("idle", id, partition, 0);
            request.max_wait_ms = 60_000;
            client.send(&request, &[]);
            client
        })
        .collect();
    let parked = || sum(&node, |core| core.parked_fetches);
    wait_until(|| parked() == 100);
    let (before, begun) = (processor_time(), Instant::now());
    std::thread::park_timeout(Duration::from_secs(5));
    let share = (processor_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.03, "{:.2} % of a core", share * 100.0);
    eprintln!("{:.2} % of a core", share * 100.0);
    node.stop().expect("a clean stop");
}

#[test]
fn a_partition_that_nobody_uses_takes_little_memory() {
    run_apart("idle::a_thousand_idle_partitions");
}

#[test]
#[ignore = "a child process of the test above, which takes memory of its own only"]
fn a_thousand_idle_partitions() {
    const COUNT: u32 = 1_000;
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("first", 2);
    for partition in 0..2 {
        let first = to("first", id, partition);
        client.produce(&first, &["v"]).expect("produced");
    }
    let before = resident_bytes();
    let id = client.create("idle", COUNT);
    let record = batch(&["v"]);
    for partitions in (0..COUNT).collect::<Vec<_>>().chunks(50) {
        for partition in partitions {
            client.send(&to("idle", id, *partition), &record);
        }
        for _ in partitions {
            let produced = client.receive::<produce::Request>();
            produced.told.expect("produced");
        }
    }
    let taken = resident_bytes().saturating_sub(before) / COUNT as usize;
    eprintln!("{taken} bytes for each");
    assert!(taken < 32 << 10, "{taken} bytes for each");
    node.stop().expect("a clean stop");
}
