//! A partition whose directory is gone at one of its nodes: what it had is not taken for nothing.

use std::fs;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::reopen_partition;
use corelog_record::batch::Codec;
use corelog_record::{Offset, PartitionId};

use super::copies::{assert_equal, level_pair, segments, wait_until_level};
use super::node::Node;
use super::promote::{promote, promoting};
use crate::support::folder::Folder;
use crate::support::wire::{Target, batch};

pub(super) fn reopening(topic: &Target) -> reopen_partition::Request {
    reopen_partition::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
    }
}

/// Starts a node anew, without the directory of its partition.
fn bereave(node: &mut Node, topic: &Target) {
    node.stop();
    fs::remove_dir_all(node.topic_dir(topic).join("0")).unwrap();
    node.up();
}

/// It was an empty one: who read there was out of range, and it was promoted as it was.
#[test]
fn a_copy_that_is_gone_is_neither_read_nor_promoted_and_comes_anew_once_that_is_said() {
    let folder = Folder::new();
    let (a, mut b, topic) = level_pair(&folder, 10);
    bereave(&mut b, &topic);
    let read = b.ask(&topic.fetch(0, Offset::ZERO)).unwrap_err();
    let promoted = b.ask(&promoting(&topic, true)).unwrap_err();
    let opened = b.ask(&reopening(&topic)).unwrap_err();
    for refused in [&read, &promoted, &opened] {
        assert!(refused.is(ErrorCode::Damaged), "{refused:?}");
    }
    a.fill(&topic, 0, 3);
    fs::remove_file(b.topic_dir(&topic).join("0.begun")).unwrap();
    b.ask(&reopening(&topic)).unwrap();
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// It owned an empty log from then on, which its copy had parted from.
#[test]
fn an_owner_that_is_gone_takes_nothing_and_its_copy_takes_over_with_all_it_has() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 10);
    let end = segments(&b, &topic, 0).high_watermark;
    bereave(&mut a, &topic);
    let bytes = batch(Codec::None, ["not here"]);
    let refused = a.wire().call(&topic.produce(0), &bytes).unwrap();
    let refused = refused.unwrap_err();
    assert!(refused.is(ErrorCode::Damaged), "{refused:?}");
    assert_eq!(segments(&b, &topic, 0).high_watermark, end);
    assert_eq!(promote(&b, &topic).end, end);
    b.fill(&topic, 0, 1);
}
