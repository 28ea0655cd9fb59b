//! Requests that are done also if their connection dies.

use std::net::TcpListener;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits::IN_FLIGHT_REQUEST_COUNT_MAX;
use corelog_protocol::message::{Call as _, clone_topic, create_snapshot, ping};

use crate::client::{Client, name};
use crate::{directory, start_with, wait_until};

/// As many as a client cared to send, hanging up and coming again, waited with all that they named.
#[test]
fn requests_that_go_on_without_their_connection_are_bounded() {
    let dir = directory();
    let node = start_with(&dir, |config| config.cores = 1);
    let address = node.addresses().listen;
    // A source that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let source = silent.local_addr().expect("an address").to_string();
    let request = clone_topic::Request {
        topic: name("elsewhere"),
        from: vec![source; 16],
        partition: None,
        follow: true,
        rate_bytes: None,
        segments: Vec::new(),
    };
    let taken = || {
        let counters = node.handle().counters();
        let kind = clone_topic::Request::KIND.number();
        let of_kind = |(number, count): &(u16, u64)| (*number == kind).then_some(*count);
        counters[0].requests.iter().find_map(of_kind).unwrap_or(0)
    };
    for hung_up in 1..=4 {
        let mut client = Client::hello(address);
        for _ in 0..IN_FLIGHT_REQUEST_COUNT_MAX {
            client.send(&request, &[]);
        }
        wait_until(|| taken() == u64::from(hung_up * IN_FLIGHT_REQUEST_COUNT_MAX));
    }
    let mut client = Client::hello(address);
    let error = client.ask(&request).expect_err("too many");
    assert!(error.is(ErrorCode::Busy), "{error}");
    client.ask(&ping::Request {}).expect("all else goes on");
    drop(silent);
    wait_until(|| {
        let error = client.ask(&request).expect_err("nobody is there");
        error.is(ErrorCode::SourceUnavailable)
    });
    node.stop().expect("a clean stop");
}

#[test]
fn a_snapshot_names_no_more_topics_than_there_can_be() {
    let dir = directory();
    let node = start_with(&dir, |config| config.limits.partitions_max = 3);
    let mut client = Client::hello(node.addresses().listen);
    let request = create_snapshot::Request {
        snapshot: "wide".to_owned(),
        topics: ["a", "b", "c", "d"].map(name).into(),
    };
    let error = client.ask(&request).expect_err("too many names");
    assert!(error.is(ErrorCode::InvalidRequest), "{error}");
    assert_eq!(error.detail.limit, Some(3));
    node.stop().expect("a clean stop");
}
