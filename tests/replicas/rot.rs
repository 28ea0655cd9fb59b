//! Rot that nobody has met yet, in what a copy has to go on from: that comes anew, and the copy goes on.

use std::path::Path;

use corelog_protocol::message::handover;
use corelog_protocol::message::replica_status::Role;
use corelog_record::Offset;

use super::copies::{assert_equal, level_pair, remembered, segments, status, wait_until_level};
use super::fence::{copy_of, until_fenced};
use super::handover::handing;
use super::heal::first_store;
use super::node::Node;
use super::promote::{cut_off, promote, rejoin};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::stores::flip;
use crate::support::wire::{Target, Wire};

/// The rest of it could not follow what cannot be read, which was tried every two seconds for ever.
#[test]
fn a_copy_whose_source_goes_on_in_a_segment_that_is_rotten_here_has_it_anew() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 10);
    a.corelog().run(["snapshot", "create", "s"]);
    until("the segment is sealed", || {
        !segments(&a, &topic, 0).sealed.is_empty()
    });
    let giving = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    a.ask(&giving).unwrap();
    let data = a.server().ready.data.clone();
    a.stop();
    flip(&first_store(&data), 5_000);
    a.up();
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
    let kept = std::fs::read_dir(data.join("quarantine")).unwrap();
    assert_eq!(kept.count(), 1, "what was rotten is kept");
}

/// It was fenced, could not be cut where the two part, and was refused each time it was asked again.
#[test]
fn an_old_owner_with_rot_below_where_the_logs_part_rejoins() {
    let folder = Folder::new();
    let (mut a, b, topic, common) = cut_off(&folder, 10);
    a.fill(&topic, 0, 5);
    promote(&b, &topic);
    b.fill(&topic, 0, 3);
    let data = a.server().ready.data.clone();
    a.stop();
    flip(&first_store(&data), 5_000);
    a.up();
    until_fenced(&a, &topic);
    let rejoined = rejoin(&a, &topic, &b);
    assert!(rejoined.common < common, "{rejoined:?}");
    assert!(rejoined.file.is_some(), "{rejoined:?}");
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
    assert_eq!(status(&a, &topic, 0).error, None);
}

/// Where the new epoch begins the chains could not be compared: it stayed an owner beside the new one, and nothing told of that.
#[test]
fn an_old_owner_with_known_damage_below_where_the_logs_part_is_fenced() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 10);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    a.disconnect();
    promote(&b, &topic);
    b.disconnect();
    a.fill(&topic, 0, 5);
    damage_what_is_sealed(&mut a, &topic);
    b.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
}

/// Each had been promoted without the other, by epochs of one number, and the other one began the next behind a restart. What the
/// chains would have told there was lost to damage, and what the epochs tell counted for nothing: it was fenced by who has nothing
/// of what it took.
#[test]
fn an_owner_with_damage_is_not_fenced_by_one_whose_log_has_parted_before_its_new_epoch() {
    let folder = Folder::new();
    let (mut a, mut b, topic) = level_pair(&folder, 6);
    let mut c = copy_of(&folder, &b, &topic);
    b.disconnect();
    a.kill();
    let promoted = [promote(&b, &topic), promote(&c, &topic)];
    assert_eq!(promoted[0].epoch, promoted[1].epoch);
    b.fill(&topic, 0, 1);
    b.kill();
    b.up_out_of_reach();
    c.fill(&topic, 0, 4);
    damage_what_is_sealed(&mut c, &topic);
    b.connect();
    let admin = c.server().ready.admin;
    let contested = || metric(admin, "corelog_contested_partitions{core=\"0\"");
    until("it has looked into that", || {
        contested() == 1.0 || status(&c, &topic, 0).role == Role::Fenced
    });
    assert_eq!(status(&c, &topic, 0).role, Role::Owner);
}

/// Has a node seal all that it has of a topic.
pub(super) fn seal(node: &Node, topic: &Target) {
    node.corelog().run(["snapshot", "create", "s"]).done();
    until("the segment is sealed", || {
        !segments(node, topic, 0).sealed.is_empty()
    });
}

/// Has a node know of damage in the first of its segments, which is sealed then with all that is there.
fn damage_what_is_sealed(node: &mut Node, topic: &Target) {
    seal(node, topic);
    damage_the_first(node);
    node.connect();
}

/// Has a node, which nobody reaches from then on, know of damage in the first of its segments, which is sealed.
pub(super) fn damage_the_first(node: &mut Node) {
    let data = node.server().ready.data.clone();
    node.stop();
    flip(&first_store(&data), 5_000);
    node.up_out_of_reach();
    let (_, said, code) = node.corelog().run(["scrub", "t", "--wait"]).parts();
    assert_eq!(code, Some(3), "{said}");
}

/// It was damage to nobody: what another node had was never asked for, and readers ended there for ever.
#[test]
fn a_segment_that_a_reader_cannot_be_given_comes_from_the_source() {
    let folder = Folder::new();
    let (a, mut b, topic) = sealed_pair(&folder, 1);
    let data = b.server().ready.data.clone();
    b.stop();
    make_unreadable(&folder, &data);
    b.up();
    until("a reader has it again", || has_first(&mut b.wire(), &topic));
    assert_equal(&a, &b, &topic, 0);
}

/// Who asked another core was told at once that the disk fails, each time, and nothing was repaired.
#[test]
fn a_segment_that_a_reader_cannot_be_given_comes_from_the_source_also_for_who_asks_another_core() {
    let folder = Folder::new();
    let (a, mut b, topic) = sealed_pair(&folder, 2);
    // Nothing of it is in memory, or open.
    b.stop();
    b.up();
    b.wait_until_served(&topic, 0);
    make_unreadable(&folder, &b.server().ready.data);
    let owner = b.wire().owners(&topic)[0];
    let other = b.server().ready.cores[1 - owner];
    until("a reader has it again", || {
        has_first(&mut Wire::open(other).unwrap(), &topic)
    });
    assert_equal(&a, &b, &topic, 0);
}

/// An owner, its follower on so many cores, and a topic whose first segment both have sealed.
fn sealed_pair(folder: &Folder, cores: u16) -> (Node, Node, Target) {
    let a = Node::start(folder, "a");
    let b = Node::on(folder.path().join("b"), Vec::new(), cores);
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 80);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    until("both have sealed it", || {
        [&a, &b]
            .iter()
            .all(|node| !segments(node, &topic, 0).sealed.is_empty())
    });
    (a, b, topic)
}

/// Has each read of the first segment fail: nobody reads a directory as a file. It is no error of the disk, which a scrub would
/// have repaired as well.
fn make_unreadable(folder: &Folder, data: &Path) {
    let store = first_store(data);
    std::fs::rename(&store, folder.path().join("aside")).unwrap();
    std::fs::create_dir(&store).unwrap();
}

/// Whether who asks there is given the first records.
fn has_first(wire: &mut Wire, topic: &Target) -> bool {
    let read = wire.call(&topic.fetch(0, Offset::ZERO), &[]);
    read.unwrap().is_ok()
}
