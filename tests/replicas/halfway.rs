//! Handovers that were cut off in the middle, whatever came of them at the target: each is finished, or called off, and no
//! two nodes own the partition behind that.

use std::fs;
use std::thread;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::handover;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_record::PartitionId;

use super::copies::{assert_equal, peers, remembered, segments, status, wait_until_level};
use super::fence::until_fenced;
use super::handover::{aborting, behind, epoch, handing, pair, taking_over};
use super::lossless::{left_handing_over, owner_and_two, put_in_place_of};
use super::node::Node;
use super::promote::{promote, promoting, rejoin, rejoining};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric_if_any;
use crate::support::wire::Target;

/// A pair of which the second has taken over what the first gives it, which did not hear the answer.
pub(super) fn taken_unheard(folder: &Folder) -> ([Node; 2], Target) {
    let ([a, b], topic) = pair(folder, 1);
    left_unfinished(&a, &b, &topic);
    b.ask(&taking_over(&a, &topic, 0)).unwrap();
    assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
    ([a, b], topic)
}

/// An owner that is handing its partition over, and its target, which is level by now.
fn left_unfinished(a: &Node, b: &Node, topic: &Target) {
    left_handing_over(a, b, topic);
    a.connect();
    b.connect();
    wait_until_level(a, b, topic, 0);
}

/// Has an owner let go of all that it has.
fn let_go(node: &Node, topic: &Target) {
    let end = node.fill(topic, 0, 100);
    node.truncate(topic, end);
}

/// The target had begun its epoch when it was cut off, and never forgot that one: its owner, which has no record, told of none.
#[test]
fn a_handover_of_a_partition_without_records_that_was_cut_off_is_finished_by_asking_again() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    b.follow(&topic, &[&a]);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    // As if it had been killed behind the epoch, and before it had written down that it owns the partition.
    let file = b.topic_dir(&topic).join("topic");
    let before = fs::read(&file).unwrap();
    a.disconnect();
    promote(&b, &topic);
    b.kill();
    fs::write(&file, before).unwrap();
    b.up();
    assert_eq!(segments(&b, &topic, 0).epochs.len(), 1);
    a.connect();
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &a, &topic, 0);
}

/// The new owner had let go of where its epoch begins, and could neither say again that it had taken over, nor be said to
/// have what is here: the old one was neither to be finished nor to be called off.
#[test]
fn a_handover_behind_the_new_owner_s_retention_is_found_done() {
    let folder = Folder::new();
    let ([a, b], topic) = taken_unheard(&folder);
    let end = status(&a, &topic, 0).end;
    let_go(&b, &topic);
    let refused = a.ask(&aborting(&topic, true)).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    let handed = a.ask(&handing(&topic)).unwrap().partitions.remove(0);
    assert_eq!((handed.end, handed.owner), (end, b.address()));
    assert_eq!(segments(&b, &topic, 0).epochs[0].epoch, handed.epoch);
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
}

/// Nothing tells any more whether the new owner took over from the end of this log, or was promoted below it.
#[test]
fn an_owner_is_fenced_by_its_target_that_has_forgotten_where_it_took_over() {
    let folder = Folder::new();
    let ([a, mut b], topic) = taken_unheard(&folder);
    b.fill(&topic, 0, 1);
    b.kill();
    b.up();
    let_go(&b, &topic);
    until("the epoch that it took over by is forgotten", || {
        segments(&b, &topic, 0).epochs.len() == 1
    });
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(b.address()));
    let there = status(&a, &topic, 0);
    assert_eq!(
        (there.role, there.source),
        (Role::Fenced, Some(b.address()))
    );
    let refused = a.ask(&rejoining(&topic, &b)).unwrap_err();
    assert!(refused.message.contains("clone it"), "{refused:?}");
}

/// Each way to end it was refused, and nothing said that the two logs part.
#[test]
fn an_owner_is_fenced_by_its_target_that_was_promoted_without_all_of_its_log() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    left_handing_over(&a, &b, &topic);
    promote(&b, &topic);
    a.connect();
    b.connect();
    b.fill(&topic, 0, 3);
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Fenced);
    assert!(0 < rejoin(&a, &topic, &b).records);
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
}

/// What the target gave on was asked of it for ever.
#[test]
fn a_handover_that_the_target_has_given_on_is_found_done() {
    let folder = Folder::new();
    let ([a, b], topic) = taken_unheard(&folder);
    let c = super::fence::hand_on(&folder, &b, &topic);
    let handed = a.ask(&handing(&topic)).unwrap().partitions.remove(0);
    assert_eq!(handed.owner, c.address());
    c.fill(&topic, 0, 1);
    wait_until_level(&c, &a, &topic, 0);
}

/// It was asked where it had been before: the handover was neither to be finished nor to be called off, and the new address was
/// taken for another node's.
#[test]
fn a_handover_whose_target_comes_back_at_another_address_is_finished_or_called_off() {
    for is_abort in [false, true] {
        let folder = Folder::new();
        let ([a, mut b], topic) = pair(&folder, 1);
        left_handing_over(&a, &b, &topic);
        b.kill();
        let b = Node::on(folder.path().join("b"), Vec::new(), 1);
        a.connect();
        until("it is heard from there", || {
            peers(&a, &topic)[0].address == b.address()
        });
        let (request, owner) = match is_abort {
            true => (aborting(&topic, false), &a),
            false => (handing(&topic), &b),
        };
        let told = a.ask(&request).unwrap().partitions.remove(0);
        assert_eq!(told.owner, owner.address());
        assert_eq!(status(owner, &topic, 0).role, Role::Owner);
    }
}

/// The same of one that had taken over, and is heard no more.
#[test]
fn a_handover_whose_target_has_taken_over_and_moved_is_found_done_where_that_is_named() {
    let folder = Folder::new();
    let ([a, mut b], topic) = taken_unheard(&folder);
    b.kill();
    let b = Node::on(folder.path().join("b"), Vec::new(), 1);
    let c = Node::start(&folder, "c");
    let to = |node: &Node| handover::Request {
        to: Some(node.address()),
        ..handing(&topic)
    };
    let refused = a.ask(&to(&c)).unwrap_err();
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
    let handed = a.ask(&to(&b)).unwrap().partitions.remove(0);
    assert_eq!(handed.owner, b.address());
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &a, &topic, 0);
}

/// It knew of no node that it could ask, and nobody told it: both took records until a person saw that.
#[test]
fn a_target_that_took_over_what_was_taken_back_by_force_is_fenced_by_the_later_epoch() {
    let folder = Folder::new();
    let ([a, b], topic) = taken_unheard(&folder);
    b.disconnect();
    a.ask(&aborting(&topic, true)).unwrap();
    for node in [&a, &b] {
        node.fill(&topic, 0, 1);
    }
    b.connect();
    until_fenced(&b, &topic);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    rejoin(&b, &topic, &a);
    wait_until_level(&a, &b, &topic, 0);
}

/// It had promised once before not to take over, and heard of a later epoch then, by which it was level with the owner's: neither
/// of the two gave way to the other.
#[test]
fn a_target_that_took_over_what_had_been_taken_back_before_is_fenced_by_the_later_epoch() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    left_unfinished(&a, &b, &topic);
    a.ask(&aborting(&topic, false)).unwrap();
    wait_until_level(&a, &b, &topic, 0);
    left_unfinished(&a, &b, &topic);
    b.ask(&taking_over(&a, &topic, 0)).unwrap();
    b.disconnect();
    a.ask(&aborting(&topic, true)).unwrap();
    assert!(epoch(&b, &topic) < epoch(&a, &topic));
    b.connect();
    until_fenced(&b, &topic);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// Its owner, which had taken a handover to another copy back meanwhile, outranked it: what it had acknowledged was set aside.
#[test]
fn a_copy_that_is_promoted_outranks_an_owner_that_takes_a_handover_to_another_one_back() {
    for is_promised in [true, false] {
        let folder = Folder::new();
        let ([a, b, c], topic) = owner_and_two(&folder);
        left_handing_over(&a, &b, &topic);
        a.connect();
        b.connect();
        wait_until_level(&a, &b, &topic, 0);
        wait_until_level(&a, &c, &topic, 0);
        for node in [&a, &c] {
            node.disconnect();
        }
        if !is_promised {
            b.disconnect();
        }
        promote(&c, &topic);
        c.fill(&topic, 0, 5);
        a.ask(&aborting(&topic, !is_promised)).unwrap();
        assert!(epoch(&a, &topic) < epoch(&c, &topic));
        for node in [&a, &c] {
            node.connect();
        }
        until_fenced(&a, &topic);
        assert_eq!(status(&c, &topic, 0).role, Role::Owner);
    }
}

/// It was answered as if all were, without the one that takes no records: what would have ended that was never said.
#[test]
fn handovers_of_all_partitions_are_not_taken_back_where_one_was_taken_over() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 2);
    left_unfinished(&a, &b, &topic);
    b.ask(&taking_over(&a, &topic, 0)).unwrap();
    let all = handover::Request {
        partition: None,
        ..aborting(&topic, false)
    };
    let refused = a.ask(&all).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert!(refused.message.contains("t/0"), "{refused:?}");
    let first = handover::Request {
        partition: Some(PartitionId::new(0)),
        ..handing(&topic)
    };
    a.ask(&first).unwrap();
    assert_eq!(status(&a, &topic, 0).role, Role::Follower);
    // By now it is another node's.
    let taken_back = a.ask(&all).unwrap().partitions;
    assert_eq!(taken_back[0].id, PartitionId::new(1));
}

/// The promise was asked of an address: whoever was there by then gave it, while the one that was to take over might do so yet.
#[test]
fn another_node_at_the_target_s_address_neither_promises_for_it_nor_takes_over_in_its_place() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    let c = Node::start(&folder, "c");
    c.follow(&topic, &[&a]);
    let running = {
        let to = handover::Request {
            to: Some(b.address()),
            ..handing(&topic)
        };
        wait_until_level(&a, &c, &topic, 0);
        a.disconnect();
        a.fill(&topic, 0, 1);
        let mut wire = a.wire();
        thread::spawn(move || wire.call(&to, &[]).unwrap().map(drop))
    };
    until("it takes no more appends", || {
        status(&a, &topic, 0).role == Role::HandingOver
    });
    b.disconnect();
    running.join().unwrap().unwrap_err();
    put_in_place_of(&b, &c);
    a.connect();
    wait_until_level(&a, &c, &topic, 0);
    for request in [handing(&topic), aborting(&topic, false)] {
        let refused = a.ask(&request).unwrap_err();
        assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
        assert!(refused.message.contains("by now"), "{refused:?}");
    }
    assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
    assert_eq!(status(&c, &topic, 0).role, Role::Follower);
    b.disconnect();
    b.connect();
    wait_until_level(&a, &b, &topic, 0);
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

/// The target was killed behind its promise, and was promoted as the one that the partition is given to, which its owner had
/// told it while it still was: both owned it, by epochs of one number.
#[test]
fn a_target_that_was_started_anew_behind_its_promise_does_not_own_what_is_taken_back() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    b.disconnect();
    running.join().unwrap().unwrap_err();
    a.connect();
    b.connect();
    wait_until_level(&a, &b, &topic, 0);

    b.proxy.hold(0, Kind::TakeOver);
    let sent = b.proxy.asked(Kind::TakeOver);
    let admin = b.server().ready.admin;
    let count = |admin, kind| {
        let name = format!("corelog_requests_total{{core=\"0\",kind=\"{kind}\"");
        metric_if_any(admin, &name).unwrap_or_default()
    };
    let taking = || count(admin, "TakeOver");
    let before = taking();
    let (mut wire, abort) = (a.wire(), aborting(&topic, false));
    let aborted = thread::spawn(move || wire.call(&abort, &[]).unwrap());
    until("it has promised", || before < taking());
    b.kill();
    b.up();
    until("it follows", || {
        status(&b, &topic, 0).state == State::Following
    });

    a.proxy.hold(0, Kind::ReplicaStatus);
    let (admin, asked) = (a.server().ready.admin, a.proxy.asked(Kind::ChainAt));
    let told = || count(admin, "ReplicaStatus");
    let before = told();
    let (mut wire, promote) = (b.wire(), promoting(&topic, false));
    let promoted = thread::spawn(move || wire.call(&promote, &[]).unwrap());
    until("it is told to whom the partition is given", || {
        asked < a.proxy.asked(Kind::ChainAt) && before < told()
    });
    b.proxy.release(0, Kind::TakeOver);
    until("it is taken back, or that waits", || {
        aborted.is_finished() || sent + 1 < b.proxy.asked(Kind::TakeOver)
    });
    a.proxy.release(0, Kind::ReplicaStatus);
    let (aborted, promoted) = (aborted.join().unwrap(), promoted.join().unwrap());
    assert!(
        aborted.is_err() || promoted.is_err(),
        "{aborted:?}, {promoted:?}"
    );
    let owners = || {
        let roles = [&a, &b].map(|one| status(one, &topic, 0).role);
        roles
            .into_iter()
            .filter(|role| *role == Role::Owner)
            .count()
    };
    if owners() == 0 {
        a.wire()
            .call(&aborting(&topic, false), &[])
            .unwrap()
            .unwrap();
    }
    assert_eq!(owners(), 1);
}

/// Which node that was stood nowhere: whoever finished it after a kill asked nobody for the second promise.
#[test]
fn a_handover_that_an_older_version_began_is_taken_back_by_its_target_s_second_promise_also_after_a_kill()
 {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder, 1);
    left_handing_over(&a, &b, &topic);
    a.kill();
    let file = a.topic_dir(&topic).join("topic");
    let mut written = a.topic_file(&topic);
    assert!(written.replicas[0].target.take().is_some());
    fs::write(file, written.encode().unwrap()).unwrap();
    let questions = || [Kind::TakeOver, Kind::ReplicaStatus].map(|kind| b.proxy.asked(kind));
    let before = questions();
    a.up();
    b.connect();
    until(
        "it is asked who owns the partition, as behind each start",
        || before[1] < questions()[1],
    );
    wait_until_level(&a, &b, &topic, 0);

    let before = questions();
    b.proxy.hold(0, Kind::ReplicaStatus);
    let (mut wire, abort) = (a.wire(), aborting(&topic, false));
    let cut_off = thread::spawn(move || wire.call(&abort, &[]));
    until("it has given its first promise", || {
        let asked = questions();
        asked[0] == before[0] + 1 && before[1] < asked[1]
    });
    b.proxy.hold(0, Kind::TakeOver);
    b.proxy.release(0, Kind::ReplicaStatus);
    until("it is asked for its second one", || {
        questions()[0] == before[0] + 2
    });
    a.kill();
    cut_off.join().unwrap().unwrap_err();
    let known = &a.topic_file(&topic).replicas[0];
    assert!(known.sources.is_empty(), "it is given to nobody: {known:?}");

    b.disconnect();
    a.up();
    let refused = a.ask(&aborting(&topic, false)).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
    b.proxy.release(0, Kind::TakeOver);
    b.connect();
    a.ask(&aborting(&topic, false)).unwrap();
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}
