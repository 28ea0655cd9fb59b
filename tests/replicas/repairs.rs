//! What repairs cost each other, and how they end.

use std::net::TcpListener;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{describe_topic, repair_topic};
use corelog_record::Offset;
use nix::sys::signal::Signal;

use super::copies::{copy_segments, segments, status, wait_until_level};
use super::node::Node;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::stores;
use crate::support::wire::Target;

/// The only copy of the first damaged segment was gone, and all others stayed damaged until it expired.
#[test]
fn a_segment_that_nobody_has_keeps_no_other_one_from_being_repaired() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 120);
    until("it has sealed two segments", || {
        segments(&a, &topic, 0).sealed.len() >= 2
    });
    let sealed = segments(&a, &topic, 0).sealed;
    let (lost, kept) = (sealed[0].base, sealed[1].base);
    copy_segments(&b, &a, (&topic, 0), vec![kept]);
    assert_eq!(status(&b, &topic, 0).lag_ms, None, "it asks for no more");
    damage(&mut a, &topic, &[(0, lost), (0, kept)]);
    let told = repaired(&a, &repair_from(&topic, vec![b.address()]));
    let replaced: Vec<_> = told.segments.iter().map(|one| one.base).collect();
    assert_eq!((replaced, told.damage_left), (vec![kept], 1));
    let error = told.error.unwrap();
    assert!(error.is(ErrorCode::SourceUnavailable), "{error:?}");
    assert_eq!(error.detail.segment, Some(lost));
}

/// A stop waited ten seconds for threads that nobody had told, and they went on beside those of the next start.
#[test]
fn repairs_end_when_their_node_stops() {
    const PARTITIONS: u32 = 3;
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        a.fill(&topic, partition, 60);
    }
    b.follow(&topic, &[&a]);
    for partition in 0..PARTITIONS {
        wait_until_level(&a, &b, &topic, partition);
    }
    let data = b.server().ready.data.clone();
    b.stop();
    for partition in 0..PARTITIONS {
        let store = format!("topics/t/{partition}/00000000000000000000.log");
        stores::flip_first(&data.join(store));
    }
    b.up();
    for partition in 0..PARTITIONS {
        b.wait_until_served(&topic, partition);
    }
    // It takes connections, and says nothing: two are repaired, and one waits for that.
    a.server().signal(Signal::SIGSTOP);
    for partition in 0..PARTITIONS {
        let fetched = b.ask(&topic.fetch(partition, Offset::ZERO));
        assert!(fetched.unwrap_err().is(ErrorCode::Damaged));
    }
    let log = b.log_at_stop();
    a.server().signal(Signal::SIGCONT);
    assert!(!log.contains("is being received still"), "{log}");
    assert!(!log.contains("being received already"), "{log}");
}

/// It was waited for again, for each of them, and again in each partition.
#[test]
fn a_source_that_says_nothing_is_asked_for_the_first_of_the_damaged_segments_alone() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 2);
    let mut damaged = Vec::new();
    for partition in [0, 1] {
        a.fill(&topic, partition, 120);
        until("it has sealed two segments", || {
            segments(&a, &topic, partition).sealed.len() >= 2
        });
        let sealed = segments(&a, &topic, partition).sealed;
        let both = [sealed[0].base, sealed[1].base];
        copy_segments(&b, &a, (&topic, partition), both.to_vec());
        damaged.extend(both.map(|base| (partition, base)));
    }
    damage(&mut a, &topic, &damaged);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let told = a.ask(&repair_from(&topic, vec![address, b.address()]));
    let told = told.unwrap().partitions;
    assert_eq!(told.len(), 2, "{told:?}");
    for told in told {
        assert_eq!((told.segments.len(), told.damage_left), (2, 0), "{told:?}");
        assert!(told.segments.iter().all(|one| one.from == b.address()));
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.incoming().map_while(Result::ok).count(), 1);
}

/// Has damage found in sealed segments of a node: each with its partition.
fn damage(node: &mut Node, topic: &Target, segments: &[(u32, Offset)]) {
    let dir = node.topic_dir(topic);
    node.stop();
    for (partition, base) in segments {
        let store = format!("{partition}/{:020}.log", base.get());
        stores::flip(&dir.join(store), 300_000);
    }
    node.up();
    node.corelog().run(["scrub", "t", "--wait"]);
    let name = topic.name.clone();
    let told = node.ask(&describe_topic::Request { name }).unwrap();
    let damages = told.partitions.iter().map(|one| one.damage.len());
    assert_eq!(damages.sum::<usize>(), segments.len(), "{told:?}");
}

pub(super) fn repair_from(topic: &Target, from: Vec<String>) -> repair_topic::Request {
    repair_topic::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        from,
    }
}

/// Has a node repair a partition, which waits for a repair that it began by itself.
pub(super) fn repaired(node: &Node, request: &repair_topic::Request) -> repair_topic::Partition {
    let mut told = None;
    until("no other repair is under way", || {
        let one = node.ask(request).unwrap().partitions.remove(0);
        let is_busy = |one: &repair_topic::Partition| {
            let error = one.error.as_ref();
            error.is_some_and(|error| error.is(ErrorCode::Busy))
        };
        told = Some(one).filter(|one| !is_busy(one));
        told.is_some()
    });
    told.unwrap()
}
