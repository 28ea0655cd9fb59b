//! Figures for those who change the path of the data; asserts only that memory stays bounded.

use std::time::Instant;

use corelog_protocol::message::produce;

use crate::client::{Client, batch, from, to};
use crate::{directory, start_with};

#[test]
#[ignore = "prints figures of this machine"]
fn figures_of_producing_and_fetching() {
    let dir = directory();
    let node = start_with(&dir, |config| config.cores = 1);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("load", 4);
    let value = "x".repeat(100);
    let body = batch(&vec![value.as_str(); 900]);
    let (requests, connections) = (1_500_usize, 4_u32);
    let begun = Instant::now();
    let address = node.addresses().listen;
    let producers: Vec<_> = (0..connections)
        .map(|partition| {
            let body = body.clone();
            std::thread::spawn(move || {
                let mut client = Client::hello(address);
                let mut latencies = Vec::new();
                let mut sent = std::collections::VecDeque::new();
                for _ in 0..requests {
                    client.send(&to("load", id, partition), &body);
                    sent.push_back(Instant::now());
                    if sent.len() == 8 {
                        client.receive::<produce::Request>().told.expect("produced");
                        latencies.extend(sent.pop_front().map(|sent| sent.elapsed()));
                    }
                }
                for _ in sent {
                    client.receive::<produce::Request>().told.expect("produced");
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for producer in producers {
        latencies.extend(producer.join().expect("a producer ends"));
    }
    latencies.sort();
    let bytes = body.len() * requests * connections as usize;
    let mib = bytes as f64 / f64::from(1 << 20);
    let rate = mib / begun.elapsed().as_secs_f64();
    let at = |share: usize| latencies[latencies.len() * share / 1_000];
    eprintln!(
        "produced {mib:.0} MiB at {rate:.0} MiB/s, p50 {:?} p99 {:?}",
        at(500),
        at(990)
    );
    let core = &node.handle().counters()[0];
    eprintln!(
        "{} flushes of {} KiB",
        core.flushes_total,
        core.flushed_bytes_total / core.flushes_total.max(1) / 1024
    );
    let begun = Instant::now();
    let mut fetched = 0;
    for partition in 0..connections {
        let mut request = from("load", id, partition, 0);
        loop {
            let (answer, body) = client.fetch(&request);
            fetched += body.len();
            request.offset = answer.next;
            if body.is_empty() {
                break;
            }
        }
    }
    assert_eq!(fetched, bytes);
    let rate = mib / begun.elapsed().as_secs_f64();
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let resident_kib = usage.expect("the kernel tells").max_rss();
    eprintln!(
        "fetched at {rate:.0} MiB/s, at most {} MiB resident",
        resident_kib / 1024
    );
    node.stop().expect("a clean stop");
}
