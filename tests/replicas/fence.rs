//! An old owner that was away takes no more appends once it is back, whatever has become of either log.

use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{
    clone_topic, fetch, handover, metadata, produce, reopen_partition, truncate,
};
use corelog_record::batch::Codec;
use corelog_record::{LeaderEpoch, Offset, PartitionId};
use corelog_storage::format::replica::Peer;
use corelog_storage::format::topic as file;
use nix::sys::signal::Signal;

use super::copies::{
    chain_at, forget, level_pair, peers, remembered, segments, status, wait_until_level,
};
use super::handover::handing;
use super::node::{Node, cloning};
use super::promote::{promote, promoting_one, rejoin};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::mount::Mount;
use crate::support::wire::{Target, batch};

/// Two nodes of which the second follows the first, and is remembered there.
pub(super) fn pair(folder: &Folder) -> ([Node; 2], Target) {
    let (a, b, topic) = level_pair(folder, 40);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    ([a, b], topic)
}

/// If a node remembers such a follower.
fn remembers(node: &Node, topic: &Target, is_it: impl Fn(&Peer) -> bool) -> bool {
    peers(node, topic).iter().any(is_it)
}

/// Has a new owner let go of all that it shares with the one before, its epochs too.
pub(super) fn let_go(node: &Node, topic: &Target) {
    let end = node.fill(topic, 0, 100);
    node.truncate(topic, end);
    until("the epochs before its own are forgotten", || {
        segments(node, topic, 0).epochs.len() == 1
    });
}

pub(super) fn until_fenced(node: &Node, topic: &Target) {
    until("the old owner is fenced", || {
        status(node, topic, 0).role == Role::Fenced
    });
}

/// It took records, and gave readers some, until it was told: they are in no other log.
#[test]
fn an_owner_that_comes_back_serves_nothing_before_its_followers_were_asked() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    b.server().signal(Signal::SIGSTOP);
    a.up();
    let truncate = truncate::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
        lowest: Offset::ZERO,
    };
    let told = [
        produced(&a, &topic, 0),
        a.ask(&topic.fetch(0, Offset::ZERO)).map(drop),
        a.ask(&topic.list_offsets(0, At::Latest)).map(drop),
        a.ask(&truncate).map(drop),
        a.ask(&handing(&topic)).map(drop),
    ];
    b.server().signal(Signal::SIGCONT);
    until_fenced(&a, &topic);
    // A machine that stands still for as long as it waits has it serve.
    let is_late = told.iter().any(Result::is_ok);
    for refused in told.into_iter().filter_map(Result::err) {
        assert!(refused.is(ErrorCode::Busy), "{refused:?}");
        assert!(refused.detail.retry_ms.is_some(), "{refused:?}");
    }
    let refused = produced(&a, &topic, 0).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(b.address()));
    assert!(!is_late || a.log_at_stop().contains(UNHEARD));
}

/// Each that was promoted takes a file of the topic that is written anew: the later ones were served before they were asked
/// for.
#[test]
fn an_owner_of_many_partitions_that_were_promoted_serves_none_of_them() {
    const PARTITIONS: u32 = 64;
    let folder = Folder::new();
    let (mut a, b) = (
        Node::on(folder.path().join("a"), Vec::new(), 2),
        Node::start(&folder, "b"),
    );
    let topic = a.topic("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        a.fill(&topic, partition, 1);
    }
    b.follow(&topic, &[&a]);
    for partition in 0..PARTITIONS {
        wait_until_level(&a, &b, &topic, partition);
    }
    until("the owner remembers them", || {
        remembered(&a, &topic) == PARTITIONS as usize
    });
    a.kill();
    for partition in 0..PARTITIONS {
        b.ask(&promoting_one(&topic, partition, true)).unwrap();
    }
    a.up();
    // One that was late leaves out no other.
    let late = (0..PARTITIONS).filter(|partition| until_it_says_who_owns(&a, &topic, *partition));
    if late.count() > 0 {
        assert_unheard(&mut a, &b);
    }
}

/// It was owner of what another owned by then until somebody told it.
#[test]
fn an_owner_that_stood_still_takes_no_record_before_its_followers_were_asked() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    let mut wire = a.wire();
    a.server().signal(Signal::SIGSTOP);
    promote(&b, &topic);
    // What waits in its sockets is the first that it does when it goes on.
    let late = batch(Codec::None, ["late"]);
    wire.send(&topic.produce(0), &late).unwrap();
    let stopped = Instant::now();
    until("it has stood still for long", || {
        stopped.elapsed() > STOOD_STILL
    });
    a.server().signal(Signal::SIGCONT);
    let told = wire.receive().unwrap().read::<produce::Request>();
    let mut is_late = told.is_ok();
    if let Err(refused) = told {
        assert_waits_or_fenced(&refused);
    }
    is_late |= until_it_says_who_owns(&a, &topic, 0);
    if is_late {
        assert_unheard(&mut a, &b);
    }
}

/// The spare file is for what has to be written down on a full disk; that another node owns the partition was not.
#[test]
fn who_owns_a_partition_changes_on_a_full_disk_as_well() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 64 << 20);
    let mut small = Node::on(mount.inside("a"), mount.wrapper(), 1);
    let large = Node::start(&folder, "b");
    let (fenced, promoted) = (small.topic("fenced", 1), large.topic("promoted", 1));
    for (owner, copy, topic) in [(&small, &large, &fenced), (&large, &small, &promoted)] {
        owner.fill(topic, 0, 10);
        copy.follow(topic, &[owner]);
        wait_until_level(owner, copy, topic, 0);
    }
    until("the owner remembers its follower", || {
        let bytes = std::fs::read(mount.outside("a/topics/fenced/topic")).unwrap();
        let replicas = file::Topic::decode(&bytes).unwrap().replicas;
        replicas.iter().any(|replica| !replica.followers.is_empty())
    });
    let filler = mount.fill();
    promote(&large, &fenced);
    until_fenced(&small, &fenced);
    std::fs::remove_file(filler).unwrap();
    until("there is a spare file again", || {
        mount.outside("a/spare").exists()
    });
    let filler = mount.fill();
    large.disconnect();
    promote(&small, &promoted);
    std::fs::remove_file(filler).unwrap();
    small.stop();
}

/// Of two that followed, one owns it and the other one says nothing.
#[test]
fn an_owner_that_was_replaced_says_so_whoever_else_does_not_answer() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    let c = Node::start(&folder, "c");
    c.follow(&topic, &[&a]);
    wait_until_level(&a, &c, &topic, 0);
    until("the owner remembers both", || remembered(&a, &topic) == 2);
    a.kill();
    promote(&b, &topic);
    c.server().signal(Signal::SIGSTOP);
    a.up();
    if until_it_says_who_owns(&a, &topic, 0) {
        assert_unheard(&mut a, &b);
    }
}

#[test]
fn an_owner_whose_followers_do_not_answer_serves_all_the_same_and_says_so() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    b.server().signal(Signal::SIGSTOP);
    a.up();
    until("it takes a record", || match produced(&a, &topic, 0) {
        Ok(()) => true,
        Err(refused) => {
            assert!(refused.is(ErrorCode::Busy), "{refused:?}");
            false
        }
    });
    assert_unheard(&mut a, &b);
}

/// Longer than a node may stand still before it asks its followers.
pub(super) const STOOD_STILL: Duration = Duration::from_secs(6);

/// What an owner logs that serves though a follower does not answer.
const UNHEARD: &str = "they are served, though a follower does not tell";

/// Whether a node takes a record.
pub(super) fn produced(node: &Node, topic: &Target, partition: u32) -> Result<(), Box<ErrorBody>> {
    let bytes = batch(Codec::None, ["late"]);
    let told = node.wire().call(&topic.produce(partition), &bytes).unwrap();
    told.map(drop)
}

/// Waits until a node says that another one owns a partition. If it took something until then, which it may only where
/// [`assert_unheard`] holds.
pub(super) fn until_it_says_who_owns(node: &Node, topic: &Target, partition: u32) -> bool {
    let mut is_late = false;
    until("it says who owns it", || {
        match produced(node, topic, partition) {
            Ok(()) => {
                is_late = true;
                false
            }
            Err(refused) => {
                assert_waits_or_fenced(&refused);
                refused.is(ErrorCode::NotOwner)
            }
        }
    });
    is_late
}

/// A machine that stands still for as long as an owner waits for a follower has it serve: then its log says so of that one.
pub(super) fn assert_unheard(node: &mut Node, follower: &Node) {
    let (log, address) = (node.log_at_stop(), follower.address());
    let mut lines = log.lines();
    let is_said = lines.any(|line| line.contains(UNHEARD) && line.contains(&address));
    assert!(is_said, "{log}");
}

pub(super) fn assert_waits_or_fenced(refused: &ErrorBody) {
    let codes = [ErrorCode::Busy, ErrorCode::NotOwner];
    assert!(codes.iter().any(|code| refused.is(*code)), "{refused:?}");
}

/// The chains could not be compared where the new epoch began, and it stayed an owner beside the new one.
#[test]
fn an_old_owner_is_fenced_though_it_let_go_of_what_it_shared_with_the_new_one() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.disconnect();
    b.disconnect();
    promote(&b, &topic);
    let end = a.fill(&topic, 0, 10);
    a.truncate(&topic, end);
    a.kill();
    b.connect();
    a.up();
    until_fenced(&a, &topic);
}

/// The same, and the new owner had forgotten the epochs that both had.
#[test]
fn an_old_owner_is_fenced_though_the_new_one_let_go_of_what_they_shared() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    let_go(&b, &topic);
    a.up();
    until_fenced(&a, &topic);
}

/// It asked those who may own its partitions as it began to listen, and never again: there were two owners until it was
/// started anew.
#[test]
fn an_old_owner_that_lived_on_out_of_reach_is_fenced_when_it_is_reached_again() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    a.disconnect();
    b.disconnect();
    promote(&b, &topic);
    a.fill(&topic, 0, 5);
    a.connect();
    b.connect();
    until_fenced(&a, &topic);
}

/// It took appends, and acknowledged them, until it missed its follower and asked it: half a minute.
#[test]
fn an_old_owner_that_is_there_hears_of_the_new_one_from_it() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    promote(&b, &topic);
    until_fenced(&a, &topic);
    b.fill(&topic, 0, 5);
    rejoin(&a, &topic, &b);
    wait_until_level(&b, &a, &topic, 0);
}

/// It asked as it began to listen, could not compare anything yet, and never asked again.
#[test]
fn an_old_owner_whose_log_opens_later_is_fenced_then() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    let manifest = folder.path().join("a/topics/t/0/manifest");
    let aside = folder.path().join("manifest");
    std::fs::rename(&manifest, &aside).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let admin = b.server().ready.admin;
    let asked = || metric(admin, "corelog_requests_total{core=\"0\",kind=\"Segments\"");
    let before = asked();
    a.up();
    until("it has asked", || before < asked());
    std::fs::remove_dir(&manifest).unwrap();
    std::fs::rename(&aside, &manifest).unwrap();
    a.ask(&reopen_partition::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
    })
    .unwrap();
    until_it_says_who_owns(&a, &topic, 0);
    assert_eq!(status(&a, &topic, 0).role, Role::Fenced);
}

/// A copy was promoted before it came to where the owner's epoch began, of which it had only heard: it gave the
/// number out again, and there were two owners for good, of one epoch.
#[test]
fn an_old_owner_is_fenced_by_a_copy_that_had_not_come_to_its_epoch() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder);
    let giving = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    let handed = a.ask(&giving).unwrap().partitions.remove(0);
    b.fill(&topic, 0, 40);
    let c = Node::start(&folder, "c");
    c.ask(&clone_topic::Request {
        rate_bytes: Some(1),
        ..cloning(&topic, &[&b])
    })
    .unwrap();
    until("the copy has begun, and heard of the epoch", || {
        segments(&c, &topic, 0).history == segments(&b, &topic, 0).history
            && status(&c, &topic, 0).source_end.is_some()
    });
    // Segments come first: it would be long before it fetches, and is known here.
    let copy = segments(&c, &topic, 0);
    let followed = fetch::Follower {
        copy: copy.copy,
        end: copy.high_watermark,
        chain: chain_at(&c, &topic, 0, copy.high_watermark).chain,
        node: Some(c.ask(&metadata::Request::default()).unwrap().node),
        address: Some(c.address()),
        epochs: copy.epochs,
    };
    until("the owner remembers it", || {
        b.ask(&fetch::Request {
            follower: Some(followed.clone()),
            ..topic.fetch(0, copy.high_watermark)
        })
        .unwrap();
        remembers(&b, &topic, |peer| peer.copy == copy.copy)
    });
    b.kill();

    let promoted = promote(&c, &topic);
    assert!(promoted.end < handed.end, "{promoted:?}, {handed:?}");
    let above = handed.epoch.get() + 16_000;
    assert!(promoted.epoch >= LeaderEpoch::new(above).unwrap());
    b.up();
    until_fenced(&b, &topic);
}

/// The one that had been promoted owned it no more when it was asked, which was the last question.
#[test]
fn an_old_owner_is_fenced_by_whom_the_new_one_handed_it_to() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    let c = hand_on(&folder, &b, &topic);
    a.up();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// Nothing was left there that both have, and it never was a copy of this one: there were two owners, and a person was
/// told each minute.
#[test]
fn an_old_owner_is_fenced_by_one_that_the_copy_vouches_for_which_it_remembers() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    let_go(&b, &topic);
    let c = hand_on(&folder, &b, &topic);
    a.up();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// A third node that follows the second, and owns what that one hands over.
pub(super) fn hand_on(folder: &Folder, b: &Node, topic: &Target) -> Node {
    let c = copy_of(folder, b, topic);
    let giving = handover::Request {
        to: Some(c.address()),
        ..handing(topic)
    };
    b.ask(&giving).unwrap();
    assert_eq!(status(b, topic, 0).role, Role::Follower);
    c
}

/// A copy of a copy, which its owner knows nothing of: whoever of the two served first, both did from then on.
#[test]
fn an_owner_is_fenced_by_a_copy_of_its_copy() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    let c = copy_of(&folder, &b, &topic);
    promote(&c, &topic);
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// The same, and neither the owner nor the copy between them heard of it.
#[test]
fn an_owner_that_comes_back_is_fenced_by_a_copy_of_its_copy() {
    let folder = Folder::new();
    let ([mut a, mut b], topic) = pair(&folder);
    let c = copy_of(&folder, &b, &topic);
    a.kill();
    b.kill();
    promote(&c, &topic);
    b.up();
    a.up();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// A third node that follows the second, and is remembered there.
pub(super) fn copy_of(folder: &Folder, b: &Node, topic: &Target) -> Node {
    let c = Node::start(folder, "c");
    c.follow(topic, &[b]);
    wait_until_level(b, &c, topic, 0);
    until("the copy is remembered", || {
        remembers(b, topic, |peer| peer.address == c.address())
    });
    c
}

/// Two copies were promoted, and neither had heard of the other: the one that asked was told once that its epoch
/// is no earlier, and was silent from then on.
#[test]
fn an_owner_that_meets_one_of_no_later_epoch_asks_again() {
    let folder = Folder::new();
    let ([mut a, mut b], topic) = pair(&folder);
    let c = Node::start(&folder, "c");
    c.follow(&topic, &[&b]);
    wait_until_level(&b, &c, &topic, 0);
    until("the copy is remembered", || remembered(&b, &topic) == 1);
    b.disconnect();
    a.kill();
    let (first, second) = (promote(&b, &topic), promote(&c, &topic));
    assert_eq!(first.epoch, second.epoch);
    let admin = c.server().ready.admin;
    let asked = || metric(admin, "corelog_requests_total{core=\"0\",kind=\"Segments\"");
    let before = asked();
    b.stop();
    b.up();
    until("it asks again", || before + 1.0 < asked());
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
    let admin = b.server().ready.admin;
    let contested = || metric(admin, "corelog_contested_partitions{core=\"0\"");
    until("it is told where alerts are made of", || contested() == 1.0);
    b.connect();
    rejoin(&b, &topic, &c);
    until("it is over", || contested() == 0.0);
}

/// Has a copy come to a new owner's epoch that has no records yet, of which it hears when it begins.
fn comes_to(copy: &mut Node, topic: &Target, began: LeaderEpoch) {
    copy.kill();
    copy.up();
    until("it has come to the new owner", || {
        segments(copy, topic, 0).epochs[0].epoch == began
    });
}

/// It forgot the new owner's epoch, which had no records yet, followed the old one again, and seemed level with it.
#[test]
fn a_copy_that_has_come_to_a_new_owner_does_not_go_back_to_the_old_one() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    let mut c = Node::start(&folder, "c");
    c.follow(&topic, &[&a, &b]);
    wait_until_level(&a, &c, &topic, 0);
    a.kill();
    let began = promote(&b, &topic).epoch;
    comes_to(&mut c, &topic, began);
    a.up();
    until_fenced(&a, &topic);
    // What the old owner came to is told until the new one is asked again: of one that refuses at once, for a millisecond.
    b.server().signal(Signal::SIGSTOP);
    until("it has met the old owner", || {
        let error = status(&c, &topic, 0).error;
        error.is_some_and(|error| error.message.contains("owns nothing any more"))
    });
    b.server().signal(Signal::SIGCONT);
    b.fill(&topic, 0, 5);
    wait_until_level(&b, &c, &topic, 0);
    assert_eq!(segments(&c, &topic, 0).epochs[0].epoch, began);
}

/// It told, as an error, that it was to be promoted in the place of the old owner, which owned nothing any more.
#[test]
fn a_copy_that_has_more_of_a_new_owner_than_the_old_one_has_is_not_to_be_promoted() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    let mut c = Node::start(&folder, "c");
    c.follow(&topic, &[&a, &b]);
    wait_until_level(&a, &c, &topic, 0);
    a.stop();
    promote(&b, &topic);
    b.fill(&topic, 0, 5);
    wait_until_level(&b, &c, &topic, 0);
    // Nobody tells the old owner, nor is it seen whom the copy follows.
    b.server().signal(Signal::SIGSTOP);
    a.up();
    until("it has met the old owner", || {
        let error = status(&c, &topic, 0).error;
        error.is_some_and(|error| error.message.contains("owns nothing any more"))
    });
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    b.server().signal(Signal::SIGCONT);
    until_fenced(&a, &topic);
    wait_until_level(&b, &c, &topic, 0);
    assert!(!c.log_at_stop().contains("promote this copy"));
}

/// It asked for an epoch that its owner had given up for ever after.
#[test]
fn a_copy_goes_on_when_the_owner_that_it_had_come_to_rejoins_the_old_one() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    let mut c = Node::start(&folder, "c");
    c.follow(&topic, &[&b]);
    wait_until_level(&a, &c, &topic, 0);
    a.disconnect();
    forget(&a, &topic, &b);
    let began = promote(&b, &topic).epoch;
    comes_to(&mut c, &topic, began);
    // Who is told of it in the meantime does not reach it, and is not fenced.
    b.disconnect();
    a.connect();
    rejoin(&b, &topic, &a);
    b.connect();
    a.fill(&topic, 0, 5);
    wait_until_level(&a, &b, &topic, 0);
    wait_until_level(&a, &c, &topic, 0);
}
