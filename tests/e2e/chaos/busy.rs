//! The server refuses at random, or what leads to it does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use corelog_client::ProducerConfig;
use corelog_node::config::Advertise;
use corelog_node::{Node, NodeConfig};

use super::kill::any_config;
use crate::support::books::Tally;
use crate::support::chance;
use crate::support::folder::Folder;
use crate::support::load::{Load, Task};
use crate::support::proxy::{Counts, Odds, Proxy};
use crate::support::server::Start;
use crate::support::wire::Wire;

/// One Produce in eight is answered `Busy` on the way, and nothing else happens: then every record
/// is acknowledged in the end, since each failure said *not applied*.
#[test]
fn refused_at_random_every_record_is_there_once_and_in_order() {
    let mut random = chance::random("chaos::busy");
    let odds = Odds {
        busy: 8,
        ..Odds::default()
    };
    let (tally, counts) = through_a_proxy(odds, 20_000, &mut random);
    println!("{tally:?}; {counts:?}");
    assert!(counts.busy >= 10, "hardly ever busy: {counts:?}");
    assert_eq!((tally.not_applied, tally.unknown), (0, 0));
    assert!(tally.acked >= 20_000);
}

/// The same, and connections that are cut in the middle of frames, either way.
#[test]
fn refused_and_cut_at_random_every_outcome_is_true() {
    let mut random = chance::random("chaos::cut");
    let odds = Odds {
        busy: 20,
        cut: 40,
        ..Odds::default()
    };
    let (tally, counts) = through_a_proxy(odds, 8_000, &mut random);
    println!("{tally:?}; {counts:?}");
    assert!(counts.cut >= 2, "hardly ever cut: {counts:?}");
    assert!(tally.acked >= 8_000);
}

fn through_a_proxy(odds: Odds, acks: usize, random: &mut fastrand::Rng) -> (Tally, Counts) {
    let folder = Folder::new();
    let proxy = Proxy::listen(3, odds, random.fork());
    let server = Start::on(&folder.path().join("data"))
        .cores(2)
        .arg("--advertise")
        .arg(proxy.address.to_string())
        .start();
    let targets = server.ready.doors();
    proxy.lead_to(targets);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("refused", PARTITIONS, 1 << 20);
    let config = ProducerConfig {
        // So that batches follow each other closely, and refusals hit several in flight.
        in_flight_max: 4,
        ..any_config(random)
    };
    let load = Load::begin(Task {
        server: proxy.address.to_string(),
        topic: topic.name.clone(),
        partitions: PARTITIONS,
        producer: config,
        timeout: Duration::from_secs(30),
    });
    load.wait_for_acks(acks);
    let report = load.end();
    let tally = report.books.audit(&mut wire, &topic, PARTITIONS);
    (tally, proxy.counts())
}

/// A node with room for one request between its cores, and a client that cannot reach the cores'
/// own ports: the node itself says `Busy`, again and again, and aborts the runs behind it.
#[test]
fn a_node_that_is_busy_loses_nothing_and_keeps_the_order() {
    let mut random = chance::random("chaos::narrow");
    let folder = Folder::new();
    let mut config = NodeConfig::new(folder.path().join("data"));
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.cores = 2;
    config.limits.lane_requests_max = 1;
    // Nobody listens there, so the client stays with the address that it was given.
    config.advertise = Some(Advertise {
        host: "127.0.0.2".to_owned(),
        port: None,
    });
    let node = Node::start(config).unwrap();
    let listen = node.addresses().listen;
    let mut wire = Wire::open(listen).unwrap();
    let topic = wire.topic("narrow", PARTITIONS, 1 << 20);
    let load = Load::begin(Task {
        server: listen.to_string(),
        topic: topic.name.clone(),
        partitions: PARTITIONS,
        producer: ProducerConfig {
            in_flight_max: 8,
            batch_bytes_max: 4_000,
            linger: Duration::ZERO,
            ..any_config(&mut random)
        },
        timeout: Duration::from_secs(30),
    });
    load.wait_for_acks(3_000);
    let report = load.end();
    let cores = node.handle().counters();
    let busy: u64 = cores.iter().map(|core| core.lane_busy_total).sum();
    let tally = report.books.audit(&mut wire, &topic, PARTITIONS);
    println!("{tally:?}, the node said Busy {busy} times");
    assert_eq!((tally.not_applied, tally.unknown), (0, 0));
    assert!(busy > 0, "never busy");
    drop(wire);
    node.stop().unwrap();
}

const PARTITIONS: u32 = 4;
