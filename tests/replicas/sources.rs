//! Of several sources, and of those that are copies themselves, a follower believes the owner.

use std::collections::BTreeSet;
use std::fs::{File, read_to_string};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::{delete_topic, handover};
use corelog_record::Offset;

use super::copies::{
    assert_equal, copy_segments, forget, level_pair, segments, status, wait_until_level,
};
use super::handover::handing;
use super::node::{Node, cloning};
use super::promote::promote;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::wire::Target;

/// Three nodes, and a topic that the first one owns.
fn three(folder: &Folder) -> ([Node; 3], Target) {
    let nodes = ["a", "b", "c"].map(|name| Node::start(folder, name));
    let topic = nodes[0].topic("t", 1);
    nodes[0].fill(&topic, 0, 100);
    (nodes, topic)
}

/// Whether a node follows another one just now.
fn follows(node: &Node, topic: &Target, source: &Node) -> bool {
    let told = status(node, topic, 0);
    (told.state, told.source) == (State::Following, Some(source.address()))
}

/// Makes `node` a copy of `source` without its first segment, and follows it; gives where the copy begins.
fn follow_later(node: &Node, topic: &Target, source: &Node) -> Offset {
    until("two segments are sealed", || {
        1 < segments(source, topic, 0).sealed.len()
    });
    let second = segments(source, topic, 0).sealed[1].base;
    copy_segments(node, source, (topic, 0), vec![second]);
    node.follow(topic, &[source]);
    until("it has all behind it", || {
        status(node, topic, 0).end == segments(source, topic, 0).high_watermark
    });
    assert_eq!(segments(node, topic, 0).log_start, second);
    second
}

/// A balancer answers for a source that is being started: that is no reason to follow it no more.
#[test]
fn a_follower_whose_source_answers_rubbish_for_a_while_goes_on_with_it() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 10);
    a.proxy
        .lead_to_words(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    a.fill(&topic, 0, 5);
    until("it is told what answers there", || {
        let told = status(&b, &topic, 0);
        let is_told = |why: &ErrorBody| why.message.contains("no server for clients");
        told.state == State::Waiting && told.error.as_ref().is_some_and(is_told)
    });
    a.connect();
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// It followed no more for good: nothing that was done there mended it.
#[test]
fn a_copy_goes_on_when_its_source_has_the_topic_again() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 10);
    let c = Node::start(&folder, "c");
    c.follow(&topic, &[&b]);
    wait_until_level(&a, &c, &topic, 0);
    b.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    until("it is told that there is none", || {
        let told = status(&c, &topic, 0);
        let is_unknown = told.error.is_some_and(|e| e.is(ErrorCode::UnknownTopic));
        is_unknown && told.state == State::Waiting
    });
    b.follow(&topic, &[&a]);
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &c, &topic, 0);
    assert_equal(&a, &c, &topic, 0);
}

/// It follows no more only once none of its sources ever will be one.
#[test]
fn a_copy_waits_for_a_source_that_is_away_though_the_other_one_has_another_topic_by_now() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = three(&folder);
    c.follow(&topic, &[&a]);
    wait_until_level(&a, &c, &topic, 0);
    b.follow(&topic, &[&a, &c]);
    wait_until_level(&a, &b, &topic, 0);
    c.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    c.topic("t", 1);
    a.kill();
    until("it is told what the other one has", || {
        let error = status(&b, &topic, 0).error;
        error.is_some_and(|why| why.is(ErrorCode::TopicChanged))
    });
    a.up();
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// Of a source that had all when it was looked at, and less once it was asked for more, it was told that the two logs part: it followed
/// no more for good.
#[test]
fn a_copy_whose_source_begins_anew_just_as_it_comes_waits_for_that() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 10);
    let c = Node::start(&folder, "c");
    c.follow(&topic, &[&b]);
    wait_until_level(&a, &c, &topic, 0);
    let asked = || b.proxy.asked(Kind::Segments);
    let before = asked();
    for port in 0..2 {
        b.proxy.hold(port, Kind::Segments);
        b.proxy.cut(port);
    }
    until("it comes again", || before < asked());
    assert!(Offset::ZERO < segments(&b, &topic, 0).high_watermark);
    for port in 0..2 {
        a.proxy.hold(port, Kind::Fetch);
    }
    b.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    b.follow(&topic, &[&a]);
    for port in 0..2 {
        b.proxy.release(port, Kind::Segments);
    }
    until("it waits, or has stopped", || {
        let told = status(&c, &topic, 0);
        let lags = |why: ErrorBody| why.message.contains("less than this copy");
        told.state == State::Stopped || told.error.is_some_and(lags)
    });
    for port in 0..2 {
        a.proxy.release(port, Kind::Fetch);
    }
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &c, &topic, 0);
    assert_equal(&a, &c, &topic, 0);
}

/// They were level with each other for good, and what came at the owner came to neither.
#[test]
fn copies_that_stood_in_for_their_owner_return_to_it() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = three(&folder);
    b.follow(&topic, &[&a, &c]);
    c.follow(&topic, &[&a, &b]);
    wait_until_level(&a, &b, &topic, 0);
    wait_until_level(&a, &c, &topic, 0);
    a.kill();
    let mut seen = BTreeSet::new();
    until("each has followed the other one", || {
        for (node, other) in [(&b, &c), (&c, &b)] {
            if follows(node, &topic, other) {
                seen.insert(other.address());
            }
        }
        seen.len() == 2
    });
    a.up();
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &b, &topic, 0);
    wait_until_level(&a, &c, &topic, 0);
}

/// It waited without a word, for as long as nobody had the rest.
#[test]
fn a_clone_says_that_what_stands_in_for_its_source_has_less_than_was_asked_for() {
    let folder = Folder::new();
    let nodes = ["a", "b", "c"].map(|name| Node::start(&folder, name));
    let [mut a, b, c] = nodes;
    let topic = a.topic("t", 1);
    let less = a.fill(&topic, 0, 3);
    let from = a.address();
    b.corelog().run(["clone", "t", "--from", &from]).done();
    let end = a.fill(&topic, 0, 3);
    for port in 0..2 {
        a.proxy.hold(port, Kind::Fetch);
    }
    let said = folder.path().join("said");
    let is_said = |words: &str| read_to_string(&said).unwrap().contains(words);
    let from = format!("{},{}", a.address(), b.address());
    let mut clone = c.corelog().command(["clone", "t", "--from", &from]);
    let mut clone = clone.stderr(File::create(&said).unwrap()).spawn().unwrap();
    until("it has begun", || is_said("bytes_done"));
    a.kill();
    let words = format!(
        "{} ends at {less}, and what was asked for at {end}",
        b.address()
    );
    until("it says so", || is_said(&words));
    clone.kill().unwrap();
    clone.wait().unwrap();
    assert_eq!(read_to_string(&said).unwrap().matches("waits").count(), 1);
}

#[test]
fn a_copy_that_follows_this_node_is_no_source_of_it() {
    let folder = Folder::new();
    let ([a, b, c], topic) = three(&folder);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    c.follow(&topic, &[&b]);
    wait_until_level(&b, &c, &topic, 0);
    let refused = b.ask(&cloning(&topic, &[&c])).unwrap_err();
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
    assert!(refused.message.contains("follows this node"), "{refused:?}");
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &c, &topic, 0);
}

/// A copy of a part stood in for the owner, and all before it was let go of, of which the owner was to have the only
/// other copy.
#[test]
fn a_copy_lets_go_of_nothing_that_a_stand_in_never_had() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = three(&folder);
    follow_later(&c, &topic, &a);
    b.follow(&topic, &[&a, &c]);
    wait_until_level(&a, &b, &topic, 0);
    a.kill();
    until("it follows the stand-in", || follows(&b, &topic, &c));
    a.up();
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &b, &topic, 0);
    assert_eq!(segments(&b, &topic, 0).log_start, Offset::ZERO);
}

/// The new owner had begun later, and the old one, its follower by then, let go of all before.
#[test]
fn a_partition_is_not_handed_to_a_copy_that_begins_later() {
    let folder = Folder::new();
    let ([a, b, _c], topic) = three(&folder);
    follow_later(&b, &topic, &a);
    let request = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    let refused = a.ask(&request).unwrap_err();
    assert!(refused.is(ErrorCode::NotEqual), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    assert_eq!(segments(&a, &topic, 0).log_start, Offset::ZERO);
    a.fill(&topic, 0, 1);
}

/// It let go of what the old owner had let go of, before the two were compared.
#[test]
fn a_copy_lets_go_of_nothing_at_the_word_of_a_log_that_parted_from_it() {
    let folder = Folder::new();
    let ([a, b, c], topic) = three(&folder);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    // The old one hears nothing of the new one.
    a.disconnect();
    forget(&a, &topic, &b);
    promote(&b, &topic);
    b.fill(&topic, 0, 40);
    c.follow(&topic, &[&b]);
    wait_until_level(&b, &c, &topic, 0);
    let end = segments(&c, &topic, 0).high_watermark;
    b.disconnect();
    let gone = Offset::new(end.get() - 20).unwrap();
    assert!(end < a.fill(&topic, 0, 100));
    a.truncate(&topic, gone);
    a.connect();
    c.follow(&topic, &[&a]);
    until("it stops", || status(&c, &topic, 0).state == State::Stopped);
    assert_eq!(segments(&c, &topic, 0).log_start, Offset::ZERO);
    assert_eq!(segments(&c, &topic, 0).high_watermark, end);
}
