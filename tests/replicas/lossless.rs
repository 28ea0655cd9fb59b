//! A follower that lacks nothing becomes the owner, and nobody has to accept a loss for it; whatever shows less than
//! that is no such promotion.

use super::halfway::taken_unheard;
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{handover, promote};
use corelog_record::Offset;

use super::copies::{assert_equal, remembered, segments, status, wait_until_level};
use super::fence::{hand_on, pair, until_fenced};
use super::handover::{aborting, epoch, handing};
use super::node::Node;
use super::promote::{promote, promoting, rejoin, rejoining, takes_nothing_also_after_a_kill};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::wire::Target;

/// How long a promotion waits for what a source says.
const WAITED_FOR: Duration = Duration::from_secs(1);

/// An owner's follower, level and remembered there.
pub(super) fn follower(folder: &Folder, a: &Node, name: &str, topic: &Target) -> Node {
    let node = Node::start(folder, name);
    let before = remembered(a, topic);
    node.follow(topic, &[a]);
    wait_until_level(a, &node, topic, 0);
    until("the owner remembers its follower", || {
        remembered(a, topic) == before + 1
    });
    node
}

/// Has `a` take no more appends for `to`, which it reaches no more before that one has taken over. All followers are
/// one batch behind until `a` is connected again. Gives the end of its log.
pub(super) fn left_handing_over(a: &Node, to: &Node, topic: &Target) -> Offset {
    a.disconnect();
    let end = a.fill(topic, 0, 1);
    let request = handover::Request {
        to: Some(to.address()),
        ..handing(topic)
    };
    let mut wire = a.wire();
    let running = thread::spawn(move || wire.call(&request, &[]).unwrap().map(drop));
    until("it takes no more appends", || {
        status(a, topic, 0).role == Role::HandingOver
    });
    to.disconnect();
    let refused = running.join().unwrap().unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    end
}

/// Has a follower be promoted, and give the partition back: its owner has a later epoch by then than a copy that is promoted.
pub(super) fn promote_and_give_back(a: &Node, b: &Node, topic: &Target) {
    a.disconnect();
    promote(b, topic);
    a.connect();
    until_fenced(a, topic);
    rejoin(a, topic, b);
    wait_until_level(b, a, topic, 0);
    let giving = handover::Request {
        to: Some(a.address()),
        ..handing(topic)
    };
    b.ask(&giving).unwrap();
    wait_until_level(a, b, topic, 0);
}

/// Has another node in the place of one from now on.
pub(super) fn put_in_place_of(gone: &Node, other: &Node) {
    gone.disconnect();
    let there = &other.server().ready;
    gone.proxy.lead_to(there.doors());
}

/// Promotes a follower unless something may be missing. Its owner has a second to answer, in vain on a machine that is
/// busy: it is asked until it did.
fn judged(node: &Node, topic: &Target) -> Result<promote::Partition, Box<ErrorBody>> {
    let mut told = None;
    until("its owner is heard", || {
        let answer = node.ask(&promoting(topic, false));
        let is_told = !matches!(&answer, Err(error) if error.is(ErrorCode::LossPossible));
        told = Some(answer);
        is_told
    });
    told.unwrap().map(|answer| answer.partitions[0])
}

/// An owner, and two that follow it.
pub(super) fn owner_and_two(folder: &Folder) -> ([Node; 3], Target) {
    let a = Node::start(folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let b = follower(folder, &a, "b", &topic);
    let c = follower(folder, &a, "c", &topic);
    ([a, b, c], topic)
}

#[test]
fn the_target_of_a_handover_that_was_cut_off_is_promoted_without_a_loss() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let b = follower(&folder, &a, "b", &topic);
    let end = left_handing_over(&a, &b, &topic);

    // Its owner cannot be asked for what is missing here.
    let refused = b.ask(&promoting(&topic, false)).unwrap_err();
    assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
    a.connect();
    wait_until_level(&a, &b, &topic, 0);
    let given_at = segments(&a, &topic, 0).epochs[0].epoch;
    let promoted = judged(&b, &topic).unwrap();
    assert!(promoted.is_lossless, "{promoted:?}");
    assert_eq!((promoted.end, promoted.source_end), (end, Some(end)));
    assert!(given_at < promoted.epoch);
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
    b.fill(&topic, 0, 3);

    // The old owner did not hear of it. It takes nothing, nor after a restart, and does not take the partition back.
    takes_nothing_also_after_a_kill(&mut a, &topic, &b);
    b.connect();
    let taken_back = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    let refused = a.ask(&taken_back).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    // Asked again, the handover is found done.
    let handed = a.ask(&handing(&topic)).unwrap().partitions.remove(0);
    assert_eq!((handed.end, handed.epoch), (end, promoted.epoch));
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
}

#[test]
fn a_follower_is_told_to_whom_its_owner_gives_the_partition_and_is_not_promoted() {
    let folder = Folder::new();
    let ([a, b, c], topic) = owner_and_two(&folder);
    let end = left_handing_over(&a, &c, &topic);
    a.connect();
    wait_until_level(&a, &b, &topic, 0);
    let refused = judged(&b, &topic).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(c.address()));
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
    // It has all that there is, and the one that is to own the partition loses nothing by it.
    c.connect();
    let handed = a.ask(&handing(&topic)).unwrap().partitions.remove(0);
    assert_eq!((handed.end, handed.owner), (end, c.address()));
}

/// The owner named an address: who was there by then seemed to be the one that it gives the partition to, and both owned it.
#[test]
fn another_node_at_the_target_s_address_is_not_promoted_as_the_target() {
    let folder = Folder::new();
    let ([a, b, c], topic) = owner_and_two(&folder);
    let end = left_handing_over(&a, &b, &topic);
    put_in_place_of(&b, &c);
    a.connect();
    wait_until_level(&a, &c, &topic, 0);
    assert_is_another_s(&c, &b, &topic);
    b.disconnect();
    b.connect();
    wait_until_level(&a, &b, &topic, 0);
    let promoted = judged(&b, &topic).unwrap();
    assert_eq!((promoted.is_lossless, promoted.end), (true, end));
}

/// The same of one that had been promoted, and whose address the old owner named as the owner's.
#[test]
fn another_node_at_the_new_owner_s_address_is_not_promoted_as_that_one() {
    let folder = Folder::new();
    let ([a, b, c], topic) = owner_and_two(&folder);
    promote(&b, &topic);
    until_fenced(&a, &topic);
    put_in_place_of(&b, &c);
    assert_is_another_s(&c, &b, &topic);
}

/// It had handed the partition on, and followed the old owner again when it did not reach the new one: of what that had taken since
/// nothing was said to be missing.
#[test]
fn an_owner_that_was_replaced_does_not_speak_for_what_came_after_it() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    promote(&b, &topic);
    until_fenced(&a, &topic);
    let c = hand_on(&folder, &b, &topic);
    c.disconnect();
    c.fill(&topic, 0, 5);
    b.follow(&topic, &[&a]);
    assert_loss_possible(&b, &a, &topic);
}

/// A target had taken over, which its owner did not hear, handed the partition on, and followed the owner again when it did not reach
/// the next one: it owned it once more, beside that one, by a promotion or when the handover was asked for again.
#[test]
fn an_owner_that_did_not_hear_that_its_handover_was_done_does_not_give_the_partition_away_again() {
    let folder = Folder::new();
    let ([a, mut b, c], topic) = given_on_unheard(&folder);
    for _ in 0..2 {
        assert_loss_possible(&b, &a, &topic);
        let refused = a.ask(&handing(&topic)).unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
        let refused = a.ask(&aborting(&topic, true)).unwrap_err();
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
        assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
        assert_eq!(status(&b, &topic, 0).role, Role::Follower);
        b.kill();
        b.up();
        wait_until_level(&a, &b, &topic, 0);
    }
    // Whoever had it last may give it back.
    c.connect();
    b.follow(&topic, &[&c]);
    wait_until_level(&c, &b, &topic, 0);
    let end = left_handing_over(&c, &b, &topic);
    c.connect();
    b.connect();
    wait_until_level(&c, &b, &topic, 0);
    let promoted = judged(&b, &topic).unwrap();
    assert_eq!((promoted.is_lossless, promoted.end), (true, end));
}

/// The next owner did not come back, and nothing ended that: the target refused, promised nothing, and was sent nowhere. Once it is
/// promoted it outranks that one, whose number it had begun itself.
#[test]
fn what_was_given_on_to_who_is_gone_is_had_again_by_a_promotion_of_who_gave_it() {
    let folder = Folder::new();
    let ([a, b, c], topic) = given_on_unheard(&folder);
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.message.contains("accept_loss"), "{refused:?}");
    let refused = a.ask(&aborting(&topic, false)).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, None, "nobody owns it there");
    assert!(refused.message.contains("accept_loss"), "{refused:?}");
    promote(&b, &topic);
    assert!(epoch(&c, &topic) < epoch(&b, &topic));
    a.ask(&handing(&topic)).unwrap();
    wait_until_level(&b, &a, &topic, 0);
    c.connect();
    until_fenced(&c, &topic);
}

/// A target had let the partition go by a later epoch than that of a copy that was promoted, and heard of neither: it was written
/// down that it is handed over, the target refused, and nothing led on or back.
#[test]
fn who_let_a_partition_go_to_a_later_owner_is_refused_as_a_target_before_anything_is_written_down()
{
    let folder = Folder::new();
    let ([mut a, b, mut c], topic) = owner_and_two(&folder);
    wait_until_level(&a, &c, &topic, 0);
    c.kill();
    promote_and_give_back(&a, &b, &topic);
    a.kill();
    c.up();
    promote(&c, &topic);
    b.follow(&topic, &[&c]);
    wait_until_level(&c, &b, &topic, 0);
    let giving = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    let refused = c.ask(&giving).unwrap_err();
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
    assert!(refused.message.contains("rejoin"), "{refused:?}");
    assert_eq!(status(&c, &topic, 0).role, Role::Owner);
    c.fill(&topic, 0, 1);
    b.ask(&rejoining(&topic, &c)).unwrap();
    wait_until_level(&c, &b, &topic, 0);
    c.ask(&giving).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

/// An owner that gives the partition to a target that had taken it over unheard, and given it on to one that cannot be reached; the
/// target follows the first one again.
fn given_on_unheard(folder: &Folder) -> ([Node; 3], Target) {
    let ([a, b], topic) = taken_unheard(folder);
    let c = hand_on(folder, &b, &topic);
    c.disconnect();
    c.fill(&topic, 0, 5);
    b.follow(&topic, &[&a]);
    until("it has forgotten what it began itself", || {
        segments(&b, &topic, 0).epochs == segments(&a, &topic, 0).epochs
    });
    ([a, b, c], topic)
}

/// Checks that a follower is not promoted without a loss, whatever its source says: that has been asked by then, and its
/// word was there in time.
fn assert_loss_possible(follower: &Node, source: &Node, topic: &Target) {
    until("its word was there in time", || {
        let asked = source.proxy.asked(Kind::ReplicaStatus);
        let begun = Instant::now();
        let refused = follower.ask(&promoting(topic, false)).unwrap_err();
        assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
        asked < source.proxy.asked(Kind::ReplicaStatus) && begun.elapsed() < WAITED_FOR
    });
    assert_eq!(status(follower, topic, 0).role, Role::Follower);
}

/// Checks that a follower is not promoted without a loss, since its source gave the partition to another node.
fn assert_is_another_s(follower: &Node, other: &Node, topic: &Target) {
    let refused = judged(follower, topic).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(other.address()));
    assert_eq!(status(follower, topic, 0).role, Role::Follower);
}
