//! Who follows is remembered, over restarts, and forgotten when an operator says so.

use std::time::Instant;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::settings::{Change, RetentionHold, SettingsChange};
use corelog_protocol::message::{forget_follower, replica_status};
use corelog_record::{Offset, PartitionId};

use super::copies::{forgetting, peers, remembered, segments, status, wait_until_level};
use super::node::Node;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::wire::Target;

fn forget(
    at: &Node,
    topic: &Target,
    partition: Option<u32>,
    address: &str,
) -> Result<Vec<PartitionId>, Box<ErrorBody>> {
    let request = forget_follower::Request {
        partition: partition.map(PartitionId::new),
        ..forgetting(topic, address.to_owned())
    };
    at.ask(&request).map(|answer| answer.partitions)
}

fn followers(at: &Node, topic: &Target) -> Vec<replica_status::Follower> {
    status(at, topic, 0).followers
}

fn is_known(at: &Node, topic: &Target, address: &str) -> bool {
    let known = followers(at, topic);
    known
        .iter()
        .any(|one| one.address.as_deref() == Some(address))
}

fn log_start(node: &Node, topic: &Target) -> Offset {
    segments(node, topic, 0).log_start
}

#[test]
fn a_follower_that_is_forgotten_holds_retention_back_no_longer() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let (b, mut c) = (Node::start(&folder, "b"), Node::start(&folder, "c"));
    let topic = a.topic("t", 1);
    let held = SettingsChange {
        retention_bytes: Change::Set(1 << 20),
        retention_hold: Some(RetentionHold::Replicated),
        ..SettingsChange::default()
    };
    a.alter(&topic, None, held);
    b.follow(&topic, &[&a]);
    c.follow(&topic, &[&a]);
    let end = a.fill(&topic, 0, 10);
    wait_until_level(&a, &c, &topic, 0);
    until("both are written down", || remembered(&a, &topic) == 2);
    let (gone, end) = (c.address(), end.min(status(&c, &topic, 0).end));
    c.kill();
    a.fill(&topic, 0, 150);
    wait_until_level(&a, &b, &topic, 0);
    until("segments are sealed", || {
        segments(&a, &topic, 0).sealed.len() > 2
    });
    assert!(log_start(&a, &topic) <= end);

    // Over a restart it is remembered, though it was not heard since.
    a.kill();
    a.up();
    let silent = followers(&a, &topic);
    let silent = silent
        .iter()
        .find(|one| one.address.as_ref() == Some(&gone))
        .unwrap();
    assert!(silent.is_silent);
    assert_eq!(silent.end, Offset::ZERO);

    let refused = forget(&a, &topic, None, "127.0.0.1:1").unwrap_err();
    assert!(refused.is(ErrorCode::UnknownFollower), "{refused:?}");
    let refused = forget(&a, &topic, Some(7), &gone).unwrap_err();
    assert!(refused.is(ErrorCode::UnknownPartition), "{refused:?}");
    let forgotten = forget(&a, &topic, None, &gone).unwrap();
    assert_eq!(forgotten, [PartitionId::new(0)]);
    let refused = forget(&a, &topic, None, &gone).unwrap_err();
    assert!(refused.is(ErrorCode::UnknownFollower), "{refused:?}");
    until("what it was held for goes", || log_start(&a, &topic) > end);
    assert!(!is_known(&a, &topic, &gone));

    a.kill();
    a.up();
    assert!(!is_known(&a, &topic, &gone));
    let before = a.fill(&topic, 0, 100);
    a.fill(&topic, 0, 100);
    until("retention goes on with the other one", || {
        log_start(&a, &topic) > before
    });
}

/// A copy without files has another name after a restart, and what it was called before was waited for.
#[test]
fn a_follower_that_is_started_again_before_its_first_record_is_one_follower() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let held = SettingsChange {
        retention_bytes: Change::Set(1 << 20),
        retention_hold: Some(RetentionHold::Replicated),
        ..SettingsChange::default()
    };
    a.alter(&topic, None, held);
    b.follow(&topic, &[&a]);
    let copy = |node: &Node| {
        let copies = peers(node, &topic).into_iter();
        copies.map(|peer| peer.copy).collect::<Vec<_>>()
    };
    until("it is written down", || copy(&a).len() == 1);
    let before = copy(&a);
    b.kill();
    b.up();
    until("its other copy is written down", || copy(&a) != before);
    assert_eq!(copy(&a).len(), 1);
    a.fill(&topic, 0, 150);
    wait_until_level(&a, &b, &topic, 0);
    assert_eq!(followers(&a, &topic).len(), 1);
    a.fill(&topic, 0, 20);
    until("nothing is held for a copy that is no more", || {
        log_start(&a, &topic) > Offset::ZERO
    });
}

#[test]
fn a_follower_that_lives_and_is_forgotten_is_remembered_again() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 3);
    b.follow(&topic, &[&a]);
    until("all are written down", || remembered(&a, &topic) == 3);
    let one = forget(&a, &topic, Some(2), &b.address()).unwrap();
    assert_eq!(one, [PartitionId::new(2)]);
    until("it is written down again", || remembered(&a, &topic) == 3);
    b.disconnect();
    // What was on its way may have come yet.
    let all = forget(&a, &topic, None, &b.address()).unwrap();
    assert_eq!(all.len(), 3);
    b.connect();
    a.fill(&topic, 1, 3);
    until("all are written down again", || remembered(&a, &topic) == 3);
    wait_until_level(&a, &b, &topic, 1);
}

/// Each follower of each partition was a write of the topic's file and a change that each core was told
/// of, whose cost grows with the number of partitions.
#[test]
fn a_thousand_partitions_that_are_cloned_are_written_down_a_few_times() {
    const PARTITIONS: u32 = 1_000;
    let folder = Folder::new();
    let a = Node::on(folder.path().join("a"), Vec::new(), 2);
    let b = Node::on(folder.path().join("b"), Vec::new(), 2);
    let topic = a.topic("t", PARTITIONS);
    let writes = |node: &Node| metric(node.server().ready.admin, "corelog_topic_writes_total");
    assert!(writes(&a) < 1.5, "its creation is one");
    let begun = Instant::now();
    b.follow(&topic, &[&a]);
    until("all are written down", || {
        remembered(&a, &topic) == PARTITIONS as usize
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (there, here) = (writes(&a), writes(&b));
    println!("{there} writes at the source, {here} at the follower, in {seconds:.1} s");
    // Five in the first second, then one in each.
    assert!(there <= 8.0 + seconds, "{there} writes in {seconds} s");
    assert!(here < 1.5, "{here} writes at the follower");
}

#[test]
fn who_asks_about_one_partition_is_told_of_that_one_alone() {
    let folder = Folder::new();
    let a = Node::on(folder.path().join("a"), Vec::new(), 2);
    let topic = a.topic("t", 4);
    let asked = |id, partition: Option<u32>| replica_status::Request {
        topic: topic.name.clone(),
        id,
        partition: partition.map(PartitionId::new),
    };
    let told = |id, partition| {
        let told = a.ask(&asked(id, partition)).unwrap().partitions;
        told.iter().map(|one| one.id.get()).collect::<Vec<_>>()
    };
    for id in [None, Some(topic.id)] {
        for partition in 0..4 {
            assert_eq!(told(id, Some(partition)), [partition]);
        }
        assert_eq!(told(id, None), [0, 1, 2, 3]);
        let refused = a.ask(&asked(id, Some(4))).unwrap_err();
        assert!(refused.is(ErrorCode::UnknownPartition), "{refused:?}");
    }
}

/// Each of its questions about one partition was answered with the whole topic: 262 MB for a thousand partitions.
#[test]
fn an_owner_that_comes_back_is_told_little_by_its_follower_for_each_partition() {
    const PARTITIONS: u32 = 100;
    let folder = Folder::new();
    let mut a = Node::on(folder.path().join("a"), Vec::new(), 2);
    let b = Node::on(folder.path().join("b"), Vec::new(), 2);
    let topic = a.topic("t", PARTITIONS);
    b.follow(&topic, &[&a]);
    until("all are written down", || {
        remembered(&a, &topic) == PARTITIONS as usize
    });
    a.stop();
    let sent = || metric(b.server().ready.admin, "corelog_sent_bytes_total");
    let asked = || b.proxy.asked(Kind::ReplicaStatus);
    let before = (sent(), asked());
    a.up();
    // Those that come back are heard, and not asked about any more.
    until("it has asked about one", || before.1 < asked());
    let each = (sent() - before.0) / (asked() - before.1) as f64;
    assert!(each < 2_048.0, "{each} bytes for each question");
}

/// It was forgotten, and what it had not copied yet was let go of.
#[test]
fn a_copy_that_is_asked_again_to_follow_knows_its_own_followers_still() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let mut c = Node::start(&folder, "c");
    let topic = a.topic("t", 1);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    c.follow(&topic, &[&b]);
    until("it is written down", || remembered(&b, &topic) == 1);
    c.kill();
    b.follow(&topic, &[&a]);
    assert_eq!(remembered(&b, &topic), 1);
}
