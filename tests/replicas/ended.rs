//! An owner whose log ends, for damage, before what it acknowledged: neither its followers give up what they have beyond, nor
//! is one that ends where it does taken to have all. And a follower whose log does: it is none to hand the partition to.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_record::batch::Codec;
use corelog_record::{Offset, Position};

use super::copies::{
    assert_equal, chain_at, level_pair, remembered, segments, status, wait_until_level,
};
use super::gone::reopening;
use super::handover::{aborting, handing, pair};
use super::heal::first_store;
use super::lossless::left_handing_over;
use super::node::Node;
use super::promote::{promote, promoting};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::stores::flip;
use crate::support::wire::{Target, batch};

/// Kills a node and starts it again with a log that ends before the batch at `position` of its first store: how long that is
/// cannot be told, and more lies behind it than is ever torn.
fn end_before(node: &mut Node, position: Position) {
    let data = node.server().ready.data.clone();
    node.kill();
    let store = first_store(&data);
    // The highest byte of its length.
    flip(&store, position.get() + 8);
    let file = OpenOptions::new().write(true).open(&store).unwrap();
    let behind = file.metadata().unwrap().len() + (17 << 20);
    file.write_all_at(&[1], behind).unwrap();
    fs::remove_file(store.with_file_name("mark")).unwrap();
    node.up();
}

fn assert_takes_nothing(node: &Node, topic: &Target) {
    node.wait_until_served(topic, 0);
    let bytes = batch(Codec::None, ["not here"]);
    let refused = node.wire().call(&topic.produce(0), &bytes).unwrap();
    assert!(refused.unwrap_err().is(ErrorCode::ReadOnly));
}

#[test]
fn a_follower_that_is_ahead_of_an_owner_that_ends_before_damage_keeps_all() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 4);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    let at = segments(&a, &topic, 0).active.unwrap().durable_position;
    let sound_end = a.fill(&topic, 0, 1);
    let end = a.fill(&topic, 0, 4);
    until("it has all", || status(&b, &topic, 0).end == end);
    let sound_end = Offset::new(sound_end.get() - 2).unwrap();
    end_before(&mut a, at);
    assert_takes_nothing(&a, &topic);
    assert_eq!(status(&a, &topic, 0).end, sound_end);
    until("it is told of the owner's end", || {
        let told = status(&b, &topic, 0);
        let why = told.error.is_some_and(|why| why.message.contains("less"));
        why && told.state == State::Waiting
    });
    assert_eq!(status(&b, &topic, 0).end, end);
    let chain = |node| chain_at(node, &topic, 0, sound_end).chain;
    assert_eq!(chain(&a), chain(&b));
    // Nothing was written down before it was refused.
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::ReadOnly), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// It was promoted without a loss, by its owner's word, and what that had acknowledged last was in no log any more.
#[test]
fn a_follower_that_ends_where_its_owner_ends_before_damage_is_not_taken_to_have_all() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder, 1);
    let at = segments(&a, &topic, 0).active.unwrap().durable_position;
    let end = left_handing_over(&a, &b, &topic);
    end_before(&mut a, at);
    b.connect();
    let here = status(&a, &topic, 0);
    assert_eq!(here.end, status(&b, &topic, 0).end);
    assert!(here.end < end && here.role == Role::HandingOver, "{here:?}");
    until("its owner is heard", || {
        status(&b, &topic, 0).source_heard_ms.is_some()
    });
    for _ in 0..3 {
        let refused = b.ask(&promoting(&topic, false)).unwrap_err();
        assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
    }
    // It began no epoch, but was given to nobody then, and could not be given any more.
    for request in [aborting(&topic, true), handing(&topic)] {
        let refused = a.ask(&request).unwrap_err();
        assert!(refused.is(ErrorCode::ReadOnly), "{refused:?}");
        assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
    }
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
    // Nor is the handover done where that is promoted in spite of it: what is here behind the damage it has not.
    let promoted = promote(&b, &topic);
    assert_eq!(promoted.end, here.end);
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Fenced);
}

/// Its mark told its source the place that it had come to: it was taken for level, the partition was handed to it, and had no owner
/// from then on. What came next it fetched, and could not take, again and again.
#[test]
fn a_follower_that_damage_ends_is_given_nothing_and_asks_for_nothing_until_it_is_whole_again() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder, 1);
    a.fill(&topic, 0, 8);
    wait_until_level(&a, &b, &topic, 0);
    let store = first_store(&b.server().ready.data);
    b.stop();
    let whole = fs::read(&store).unwrap();
    b.up();
    until("it follows", || {
        status(&b, &topic, 0).state == State::Following
    });
    let file = OpenOptions::new().write(true).open(&store).unwrap();
    file.set_len(50_000).unwrap();
    b.ask(&reopening(&topic)).unwrap();
    until("it follows no more, and says why", || {
        let told = status(&b, &topic, 0);
        let why = told.error.is_some_and(|why| why.is(ErrorCode::ReadOnly));
        why && told.state == State::Waiting
    });
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::ReadOnly), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    a.fill(&topic, 0, 1);
    let asked = |kind| a.proxy.asked(kind);
    let (fetches, looks) = (asked(Kind::Fetch), asked(Kind::Segments));
    until("it looks where its source begins", || {
        looks + 3 < asked(Kind::Segments)
    });
    assert_eq!(asked(Kind::Fetch), fetches);
    fs::write(&store, whole).unwrap();
    b.ask(&reopening(&topic)).unwrap();
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}
