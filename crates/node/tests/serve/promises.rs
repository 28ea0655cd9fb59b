//! What the page of the protocol says of a connection, and a client seldom comes to.

use std::time::Duration;

use corelog_node::Node;
use corelog_node::config::Advertise;
use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits::{
    CLIENT_NAME_BYTES_MAX, FETCH_WAIT_MS_MAX, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_REQUEST_COUNT_MAX,
    TOPIC_PARTITION_COUNT_MAX,
};
use corelog_protocol::message::{authenticate, fetch, hello, metadata, ping};
use futures_lite::future::block_on;

use crate::client::{Client, from, to, values};
use crate::{comes_within, directory, start, start_with, wait_until};

/// Requests that the node's only core has taken.
fn taken(node: &Node) -> u64 {
    let counters = node.handle().counters();
    counters[0].requests.iter().map(|(_, count)| count).sum()
}

/// Answers that are not taken fill the room of a connection long before it has as many requests under way as it may.
#[test]
fn a_node_reads_no_further_while_too_many_bytes_of_a_connection_are_under_way_and_then_goes_on() {
    let dir = directory();
    let node = start_with(&dir, |config| {
        config.cores = 1;
        // So much that others do not come short of it.
        config.traffic_memory = 64 << 30;
        // Metadata says it of each partition.
        config.advertise = Some(Advertise {
            host: "h".repeat(250),
            port: None,
        });
    });
    let address = node.addresses().listen;
    let mut client = Client::hello(address);
    client.create("wide", TOPIC_PARTITION_COUNT_MAX);
    // Its answer is there before the next request is taken.
    let request = metadata::Request { topics: None };
    let before = client.wire_bytes;
    client.ask(&request).expect("told");
    let bytes = (client.wire_bytes - before) as u64;
    let bytes_max = u64::from(IN_FLIGHT_BYTES_MAX);
    // Twice as much as there is room for.
    let all = 2 * bytes_max / bytes;
    assert!(all < u64::from(IN_FLIGHT_REQUEST_COUNT_MAX), "{bytes}");

    let before = taken(&node);
    for _ in 0..all {
        client.send(&request, &[]);
    }
    let reads_on = || {
        let before = taken(&node);
        comes_within(Duration::from_millis(300), || before < taken(&node))
    };
    let under_way = || node.handle().counters()[0].in_flight_requests * bytes;
    wait_until(|| bytes_max <= under_way() && !reads_on());
    assert!(taken(&node) - before < all, "nothing was left to read");
    Client::hello(address)
        .ask(&ping::Request {})
        .expect("another connection has its own room");

    for _ in 0..all {
        assert_eq!(client.receive_any(), None);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn who_would_authenticate_is_told_that_it_is_not_supported_and_goes_on() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let request = authenticate::Request {
        method: "token".into(),
        token: vec![7; 100],
    };
    let refused = client.ask(&request).expect_err("no proof is asked for");
    assert!(refused.is(ErrorCode::NotSupported), "{refused}");
    client.ask(&ping::Request {}).expect("still served");
    node.stop().expect("a clean stop");
}

/// That it is shortened takes a minute to see; that it is no mistake, on the partition's core and on another, does not.
#[test]
fn a_fetch_that_would_wait_longer_than_it_may_waits_all_the_same() {
    let dir = directory();
    let node = start(&dir);
    let address = node.addresses().cores[0];
    let mut producer = Client::hello(address);
    let id = producer.create("awaited", 2);
    for wait_ms in [FETCH_WAIT_MS_MAX + 1, u32::MAX] {
        for partition in 0..2 {
            let mut client = Client::hello(address);
            let offset = producer.latest("awaited", id, partition);
            let mut request = from("awaited", id, partition, offset);
            request.max_wait_ms = wait_ms;
            client.send(&request, &[]);
            let parked = |core: usize| node.handle().counters()[core].parked_fetches;
            wait_until(|| parked(0) + parked(1) == 1);
            producer
                .produce(&to("awaited", id, partition), &["v"])
                .expect("produced");
            let arrived = client.receive::<fetch::Request>();
            arrived.told.expect("fetched");
            assert_eq!(values(&arrived.body), ["v"]);
        }
    }
    node.stop().expect("a clean stop");
}

/// It goes into log lines, and operators are told it.
#[test]
fn a_client_s_name_that_is_too_long_is_cut_between_two_characters() {
    let dir = directory();
    let node = start(&dir);
    let bytes_max = CLIENT_NAME_BYTES_MAX as usize;
    let longest = "n".repeat(bytes_max);
    let wide = format!("n{}", "ö".repeat(bytes_max / 2 - 1));
    for (client_name, told) in [
        (longest.clone(), &longest),
        (format!("{longest}n"), &longest),
        (longest.repeat(100), &longest),
        (format!("{wide}ö"), &wide),
    ] {
        let mut client = Client::connect(node.addresses().listen);
        let hello = hello::Request {
            versions: vec![1],
            client: client_name,
        };
        client.ask(&hello).expect("hello");
        let open = block_on(node.handle().connections()).expect("told");
        assert_eq!(open.len(), 1);
        assert_eq!(&open[0].client, told);
        drop(client);
        let is_open = |core: &corelog_node::metrics::CoreSnapshot| core.connections > 0;
        wait_until(|| !node.handle().counters().iter().any(is_open));
    }
    node.stop().expect("a clean stop");
}
