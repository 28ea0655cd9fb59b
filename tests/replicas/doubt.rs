//! What a node's disk says of a partition is not what the node knows.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::{clone_topic, handover, take_over};
use corelog_record::{Offset, PartitionId};

use super::copies::{chain_at, remembered, segments, status, wait_until_level};
use super::handover::handing;
use super::node::{Node, cloning};
use super::promote::promoting;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::privilege;
use crate::support::wire::Target;

/// The target's file said that it owned the partition, and could not be synced: it refused, promised its owner not
/// to take over, and took over with its next start.
#[test]
fn a_handover_is_not_taken_back_before_the_target_s_disk_does_not_say_that_it_was_done() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let mut b = Node::on(folder.path().join("b"), privilege::without(), 1);
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });

    // Names come and go in it, but it cannot be opened to be synced.
    set_mode(&b, &topic, 0o333);
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::Internal), "{refused:?}");
    let take_back = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    let refused = a.ask(&take_back).unwrap_err();
    assert!(refused.is(ErrorCode::Internal), "{refused:?}");
    set_mode(&b, &topic, 0o755);
    a.ask(&take_back).unwrap();
    b.kill();
    b.up();
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
    a.fill(&topic, 0, 1);
    wait_until_level(&a, &b, &topic, 0);
}

/// Its takeover was cut short, and left an epoch that was its own: a promotion held the promise that it gave
/// then against that one, found nothing promised, and there were two owners.
#[test]
fn a_copy_that_promised_not_to_take_over_is_not_promoted_by_an_epoch_of_its_own() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let b = Node::on(folder.path().join("b"), privilege::without(), 1);
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    // It does not follow: it would forget the epoch that is its own.
    let clone = clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[&a])
    };
    b.ask(&clone).unwrap();
    until("it is done", || status(&b, &topic, 0).state == State::Done);
    set_mode(&b, &topic, 0o333);
    let there = segments(&a, &topic, 0);
    let end = there.high_watermark;
    // As its owner asks that hands over.
    let take_over = take_over::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
        history: there.history,
        end,
        chain: chain_at(&a, &topic, 0, end).chain,
        epoch: there.epochs[0].epoch,
    };
    let refused = b.ask(&take_over).unwrap_err();
    assert!(refused.is(ErrorCode::Internal), "{refused:?}");
    set_mode(&b, &topic, 0o755);
    let here = segments(&b, &topic, 0);
    assert!(there.epochs[0].epoch < here.epochs[0].epoch, "{here:?}");

    // And first, when it takes the handover back.
    let promise = take_over::Request {
        end: Offset::MAX,
        ..take_over
    };
    let promised = b.ask(&promise).unwrap_err();
    assert!(promised.is(ErrorCode::NotEqual), "{promised:?}");
    let refused = b.ask(&promoting(&topic, false)).unwrap_err();
    assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
}

fn set_mode(node: &Node, topic: &Target, mode: u32) {
    set_permissions(node.topic_dir(topic), Permissions::from_mode(mode)).unwrap();
}
