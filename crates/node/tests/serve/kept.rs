//! Requests that are done also if their connection dies, and what of them goes on beside a stop.

use std::fs::OpenOptions;
use std::net::TcpListener;

use corelog_node::sys::{self, NodeFile};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits::IN_FLIGHT_REQUEST_COUNT_MAX;
use corelog_protocol::message::settings::{Change, SettingsChange};
use corelog_protocol::message::{
    Call as _, alter_topic, clone_topic, create_snapshot, ping, restore_topic,
};
use corelog_storage::disk::std::alone;

use crate::client::{Client, name, to};
use crate::{directory, start, start_with, wait_until};

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

/// Nothing of a topic could be changed any more, not even what makes room.
#[test]
fn settings_change_also_where_there_are_more_partitions_than_there_may_be() {
    let dir = directory();
    let node = start(&dir);
    let id = Client::hello(node.addresses().listen).create("wide", 3);
    node.stop().expect("a clean stop");
    let node = start_with(&dir, |config| config.limits.partitions_max = 2);
    let mut client = Client::hello(node.addresses().listen);
    let mut request = alter_topic::Request {
        name: name("wide"),
        id,
        partitions: None,
        settings: SettingsChange {
            retention_bytes: Change::Set(1 << 30),
            ..SettingsChange::default()
        },
    };
    let altered = client.ask(&request).expect("it has no more than before");
    assert_eq!(altered.settings.retention_bytes, Some(1 << 30));
    request.partitions = Some(4);
    let error = client.ask(&request).expect_err("one too many");
    assert!(error.is(ErrorCode::TooManyPartitions), "{error}");
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
    assert_eq!(error.detail.found, Some(4));
    assert_eq!(error.detail.limit, Some(3));
    node.stop().expect("a clean stop");
}

/// Another node could remove what it wrote, or restore into the same place, beside it.
#[test]
fn a_restore_that_a_stop_does_not_wait_for_has_the_data_directory_until_it_has_ended() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("t", 1);
    client.produce(&to("t", id, 0), &["a"]).expect("produced");
    let snapshot = create_snapshot::Request {
        snapshot: "s".to_owned(),
        topics: Vec::new(),
    };
    client.ask(&snapshot).expect("a snapshot");
    // Who opens it waits.
    let manifest = dir.path().join("snapshots/s/topics/t/0/manifest");
    let manifest = OpenOptions::new().write(true).open(manifest);
    let manifest = manifest.expect("it is there");
    wait_until(|| alone::hold(&manifest).expect("a lease"));
    let restore = restore_topic::Request {
        source: "s".to_owned(),
        source_topic: None,
        topic: name("restored"),
        with_damage: false,
    };
    client.ask(&restore).expect("it begins");
    let target = dir.path().join("restoring/restored");
    wait_until(|| target.exists());
    node.stop().expect("a clean stop");
    let locked = NodeFile::lock(dir.path());
    assert!(matches!(locked, Err(sys::Error::Locked { .. })));
    drop(manifest);
    wait_until(|| NodeFile::lock(dir.path()).is_ok());
}
