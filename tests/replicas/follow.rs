//! A follower has what its source has, whatever becomes of either.

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::settings::{Change, SettingsChange};
use corelog_protocol::message::{clone_topic, describe_topic, handover, reopen_partition};
use corelog_record::batch::Codec;
use corelog_record::{Offset, PartitionId};

use super::copies::{
    assert_equal, assert_same_below, chain_at, copy_segments, level_pair, segments, status,
    wait_until_level,
};
use super::handover::handing;
use super::node::{Node, cloning};
use super::promote::{promote, rejoin};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::wire::{Target, batch};

#[test]
fn a_follower_has_its_sources_bytes_serves_them_and_takes_no_others() {
    let folder = Folder::new();
    let a = Node::on(folder.path().join("a"), Vec::new(), 2);
    let b = Node::on(folder.path().join("b"), Vec::new(), 2);
    let topic = a.topic("t", 3);
    // The last partition has no records.
    a.fill(&topic, 0, 200);
    a.fill(&topic, 1, 3);
    let cloned = b.follow(&topic, &[&a]);
    assert!(cloned.created);
    assert_eq!(cloned.id, topic.id);
    assert_eq!(cloned.partitions.len(), 3);
    for partition in 0..3 {
        wait_until_level(&a, &b, &topic, partition);
        assert_refused(&a, &b, &topic, partition);
    }
    a.fill(&topic, 1, 20);
    a.fill(&topic, 2, 1);
    for partition in 0..3 {
        wait_until_level(&a, &b, &topic, partition);
        assert_equal(&a, &b, &topic, partition);
        let told = status(&b, &topic, partition);
        assert_eq!((told.role, told.lag_records), (Role::Follower, Some(0)));
        assert_eq!(told.source, Some(a.address()));
        until("the source knows of its follower", || {
            let told = status(&a, &topic, partition).followers;
            told.len() == 1 && told[0].end == segments(&a, &topic, partition).high_watermark
        });
        let told = status(&a, &topic, partition);
        assert_eq!(told.role, Role::Owner);
        assert_eq!(told.followers[0].address, Some(b.address()));
    }
    let compared = a.corelog().run(["compare", "t", "--with", &b.address()]);
    compared.done();
    // Nothing counted what came as files.
    let came = (0..3).map(|partition| status(&b, &topic, partition).bytes_done);
    let came = came.sum::<u64>() as f64;
    assert!(0.0 < came);
    let counted = metric(b.server().ready.admin, "corelog_installed_bytes_total");
    assert_eq!(counted, came);
}

fn assert_refused(a: &Node, b: &Node, topic: &Target, partition: u32) {
    let bytes = batch(Codec::None, ["not here"]);
    let refused = b.wire().call(&topic.produce(partition), &bytes).unwrap();
    let refused = refused.unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(a.address()));
}

#[test]
fn a_follower_goes_on_when_either_side_was_killed_or_stopped() {
    let folder = Folder::new();
    let (mut a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 60);
    b.follow(&topic, &[&a]);
    let ways: [fn(&mut Node); 2] = [Node::kill, Node::stop];
    for end in ways {
        end(&mut b);
        a.fill(&topic, 0, 40);
        b.up();
        wait_until_level(&a, &b, &topic, 0);
        end(&mut a);
        assert_eq!(status(&b, &topic, 0).role, Role::Follower);
        a.up();
        a.fill(&topic, 0, 40);
        wait_until_level(&a, &b, &topic, 0);
        assert_equal(&a, &b, &topic, 0);
    }
}

/// Records that were truncated away came back with a copy that does not go on to follow.
#[test]
fn a_copy_that_follows_nobody_begins_where_its_source_does() {
    for batches in [3, 200] {
        let folder = Folder::new();
        let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
        let topic = a.topic("t", 1);
        let end = a.fill(&topic, 0, batches);
        until("those that are full are sealed", || {
            batches < 100 || segments(&a, &topic, 0).sealed.len() > 1
        });
        let lowest = Offset::new(4).unwrap();
        a.truncate(&topic, lowest);
        b.ask(&clone_topic::Request {
            follow: false,
            ..cloning(&topic, &[&a])
        })
        .unwrap();
        until("all is there", || {
            status(&b, &topic, 0).state == State::Done
        });
        assert_eq!(status(&b, &topic, 0).end, end);
        assert_eq!(segments(&b, &topic, 0).log_start, lowest);
    }
}

/// It stayed until all segments had come: on a disk that had no room for these as well they never did. Meanwhile nothing
/// seemed to be missing, in bytes.
#[test]
fn what_a_source_has_let_go_of_goes_before_more_comes() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 200);
    until("two segments are sealed", || {
        segments(&a, &topic, 0).sealed.len() > 1
    });
    copy_segments(&b, &a, (&topic, 0), vec![Offset::ZERO]);
    let lowest = Offset::new(5).unwrap();
    a.truncate(&topic, lowest);
    b.ask(&clone_topic::Request {
        rate_bytes: Some(1),
        ..cloning(&topic, &[&a])
    })
    .unwrap();
    until("the next segment is on its way", || {
        let told = status(&b, &topic, 0);
        let is_missing = told.lag_bytes.is_some_and(|bytes| bytes > 1 << 20);
        told.state == State::Copying && is_missing
    });
    assert_eq!(segments(&b, &topic, 0).log_start, lowest);
}

/// An epoch begins where an owner opens after it was killed, and a follower has it from there.
#[test]
fn a_follower_that_was_killed_and_opened_again_begins_no_epoch() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    b.follow(&topic, &[&a]);
    for _ in 0..4 {
        a.fill(&topic, 0, 10);
        wait_until_level(&a, &b, &topic, 0);
        b.kill();
        b.up();
        let (there, here) = (segments(&a, &topic, 0), segments(&b, &topic, 0));
        assert_eq!(here.epochs, there.epochs);
    }
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

#[test]
fn a_follower_may_be_followed() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let mut b = Node::start(&folder, "b");
    let c = Node::start(&folder, "c");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 50);
    b.follow(&topic, &[&a]);
    c.follow(&topic, &[&b]);
    a.fill(&topic, 0, 30);
    wait_until_level(&a, &c, &topic, 0);
    assert_equal(&a, &c, &topic, 0);
    b.kill();
    a.fill(&topic, 0, 30);
    b.up();
    wait_until_level(&a, &c, &topic, 0);
    assert_equal(&a, &c, &topic, 0);
    // What is written at the end of the row goes to its beginning.
    let bytes = batch(Codec::None, ["not here"]);
    let refused = c.wire().call(&topic.produce(0), &bytes).unwrap();
    assert_eq!(refused.unwrap_err().detail.address, Some(b.address()));
}

#[test]
fn two_nodes_follow_each_other() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let (from_a, from_b) = (a.topic("from-a", 1), b.topic("from-b", 1));
    b.follow(&from_a, &[&a]);
    a.follow(&from_b, &[&b]);
    a.fill(&from_a, 0, 50);
    b.fill(&from_b, 0, 50);
    wait_until_level(&a, &b, &from_a, 0);
    wait_until_level(&b, &a, &from_b, 0);
    assert_equal(&a, &b, &from_a, 0);
    assert_equal(&b, &a, &from_b, 0);
    // The same topic the other way round would be a ring.
    let refused = a.ask(&cloning(&from_a, &[&b])).unwrap_err();
    assert!(refused.is(ErrorCode::NotFollower), "{refused:?}");
    a.fill(&from_a, 0, 5);
    wait_until_level(&a, &b, &from_a, 0);
}

#[test]
fn a_clone_that_does_not_follow_ends_where_its_source_ended_then() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 80);
    let request = clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[&a])
    };
    b.ask(&request).unwrap();
    until("it is done", || status(&b, &topic, 0).state == State::Done);
    let copied = status(&b, &topic, 0).end;
    assert_eq!(copied, end);
    assert_eq!(chain_at(&b, &topic, 0, end), {
        a.fill(&topic, 0, 10);
        let there = chain_at(&a, &topic, 0, end);
        corelog_protocol::message::chain_at::Answer {
            epoch: chain_at(&b, &topic, 0, end).epoch,
            ..there
        }
    });
    b.kill();
    b.up();
    assert_eq!(status(&b, &topic, 0).end, end);
    // Asked again it goes on from there.
    b.ask(&request).unwrap();
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

#[test]
fn what_its_source_lets_go_of_a_follower_lets_go_of() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 300);
    b.follow(&topic, &[&a]);
    // Amid the copying, within segments and between them.
    for at in [1, 3, 4, 5, 7] {
        a.truncate(&topic, Offset::ZERO.plus(end.get() * at / 10));
        a.fill(&topic, 0, 10);
    }
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
    let settings = SettingsChange {
        retention_bytes: Change::Set(2 << 20),
        ..SettingsChange::default()
    };
    a.alter(&topic, None, settings);
    let before = segments(&a, &topic, 0).log_start;
    a.fill(&topic, 0, 100);
    until("the source lets go", || {
        segments(&a, &topic, 0).log_start > before
    });
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

#[test]
fn a_follower_that_fell_behind_what_its_source_still_has_begins_anew() {
    let folder = Folder::new();
    let (a, mut b, topic) = level_pair(&folder, 50);
    let behind = segments(&b, &topic, 0);
    b.kill();
    let end = a.fill(&topic, 0, 200);
    a.truncate(&topic, Offset::ZERO.plus(end.get() - 10));
    b.up();
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
    let anew = segments(&b, &topic, 0);
    assert_eq!(anew.history, behind.history);
    assert!(anew.log_start > behind.high_watermark);
    b.kill();
    b.up();
    a.fill(&topic, 0, 50);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// What it had taken in, and not yet on its disk, was asked for a chain that only what is durable has.
#[test]
fn a_follower_that_takes_in_what_comes_rejoins_its_source() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 5);
    for _ in 0..20 {
        let _poured = a.pour(&topic, 0, 20);
        assert_eq!(rejoin(&b, &topic, &a).records, 0);
    }
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// Its source had forgotten the epochs that both had with the records it let go of, and had none to begin
/// anew with: the follower was told that the logs part, and stopped for good; or it waited for the next record.
#[test]
fn a_follower_that_ends_below_all_that_its_source_remembers_begins_where_that_goes_on() {
    let folder = Folder::new();
    let (mut a, mut b, topic) = level_pair(&folder, 10);
    b.kill();
    a.fill(&topic, 0, 10);
    let end = forget_epochs(&mut a, &topic, 10);
    b.up();
    wait_until_level(&a, &b, &topic, 0);
    assert_eq!(status(&b, &topic, 0).end, end);
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
    assert_eq!(segments(&b, &topic, 0).log_start, end);
}

/// The same where the follower had all that its source let go of, and the source's segment is not full yet.
#[test]
fn a_follower_that_ends_where_all_that_its_source_remembers_begins_goes_on() {
    let folder = Folder::new();
    let (mut a, mut b, topic) = level_pair(&folder, 10);
    b.kill();
    forget_epochs(&mut a, &topic, 0);
    let end = a.fill(&topic, 0, 5);
    b.up();
    wait_until_level(&a, &b, &topic, 0);
    // It let go of its records before it heard of the epoch behind them, and remembers the one before that.
    assert_same_below(&a, &b, &topic, 0, end);
    assert_eq!(chain_at(&b, &topic, 0, end), chain_at(&a, &topic, 0, end));
}

/// A copy of a log without records stayed at offset 0, or where it was: nothing could be handed to it, and once
/// it was promoted it gave out offsets again.
#[test]
fn a_copy_of_a_log_whose_records_have_all_gone_is_handed_that_and_goes_on_at_its_end() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 10);
    a.corelog().run(["snapshot", "create", "s"]).done();
    a.truncate(&topic, end);
    until("no segment is left", || {
        segments(&a, &topic, 0).sealed.is_empty()
    });
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    assert_eq!(status(&b, &topic, 0).end, end);
    let [here, there] = [&b, &a].map(|node| chain_at(node, &topic, 0, end));
    assert_eq!((here.ordinal, here.chain), (there.ordinal, there.chain));
    let request = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    let handed = a.ask(&request).unwrap().partitions.remove(0);
    assert_eq!(handed.end, end);
    assert_eq!(b.fill(&topic, 0, 1), end.plus(2));
    wait_until_level(&b, &a, &topic, 0);
    assert_same_below(&b, &a, &topic, 0, end.plus(2));
}

/// Has a node that owns a partition begin an epoch, append to it, and let go of all that it has; gives the end.
fn forget_epochs(node: &mut Node, topic: &Target, batches: usize) -> Offset {
    node.kill();
    node.up();
    node.fill(topic, 0, batches);
    node.corelog().run(["snapshot", "create", "s"]).done();
    let end = segments(node, topic, 0).high_watermark;
    node.truncate(topic, end);
    until("the epochs before its last one are forgotten", || {
        segments(node, topic, 0).epochs.len() == 1
    });
    end
}

/// What it had asked for did not follow what it had any more, and it followed no more: its log was taken for another one.
#[test]
fn a_copy_whose_write_failed_follows_on_when_it_is_reopened() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let b = Node::start(&folder, "b");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 3);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let told = || {
        let name = topic.name.clone();
        let told = b.ask(&describe_topic::Request { name }).unwrap();
        told.partitions[0].clone()
    };
    b.server().fail_writes_beyond(told().bytes);
    a.fill(&topic, 0, 1);
    until("its write fails", || {
        told().state == describe_topic::State::Fenced
    });
    b.server().write_again();
    let ports = 0..2;
    for port in ports.clone() {
        a.proxy.hold(port, Kind::Fetch);
    }
    a.fill(&topic, 0, 1);
    let before = a.proxy.asked(Kind::Fetch);
    until("it asks for what is behind more than it has", || {
        before < a.proxy.asked(Kind::Fetch)
    });
    b.ask(&reopen_partition::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
    })
    .unwrap();
    for port in ports {
        a.proxy.release(port, Kind::Fetch);
    }
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// A node, one that follows it, and one that follows it or else the second one.
pub(super) fn with_two_copies(folder: &Folder) -> ([Node; 3], Target) {
    let nodes = ["a", "b", "c"].map(|name| Node::start(folder, name));
    let [a, b, c] = &nodes;
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 3);
    b.follow(&topic, &[a]);
    c.follow(&topic, &[a, b]);
    wait_until_level(a, b, &topic, 0);
    wait_until_level(a, c, &topic, 0);
    (nodes, topic)
}

/// It named the first of its sources, which was gone: whoever wrote to it was sent there again and again.
#[test]
fn a_follower_names_the_owner_that_it_follows_not_the_one_that_it_would_rather() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = with_two_copies(&folder);
    a.kill();
    promote(&b, &topic);
    until("it follows the new owner", || {
        let told = status(&c, &topic, 0);
        (told.state, told.source) == (State::Following, Some(b.address()))
    });
    until("it names the new owner", || {
        let bytes = batch(Codec::None, ["not here"]);
        let refused = c.wire().call(&topic.produce(0), &bytes).unwrap();
        let refused = refused.unwrap_err();
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
        refused.detail.address == Some(b.address())
    });
}
