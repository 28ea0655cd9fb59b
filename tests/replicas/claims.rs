//! A partition that several copies may own has one owner, or none: whoever gives it away, comes back or goes on asks first.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{fetch, handover, produce, replica_status};
use corelog_record::batch::Codec;
use nix::sys::signal::Signal;

use super::copies::{chain_at, forgetting, peers, segments, status, wait_until_level};
use super::fence::{
    STOOD_STILL, assert_unheard, assert_waits_or_fenced, copy_of, pair, produced, until_fenced,
    until_it_says_who_owns,
};
use super::handover::{aborting, handing};
use super::lossless::{follower, left_handing_over, owner_and_two};
use super::node::Node;
use super::promote::{promote, rejoin, rejoining};
use super::rot::{damage_the_first, seal};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::{self, metric};
use crate::support::privilege;
use crate::support::wire::{Target, batch};

/// How long an owner waits for a follower to say that it owns the partition; it does not for one that was silent for as long.
const WAITED_FOR: Duration = Duration::from_secs(1);

/// How long an owner that starts waits for who does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Three nodes of a topic of which the first may not have heard what the second one is, and since when.
type Taken = ([Node; 3], Target, Instant);

/// An owner that was about to give its partition to the third of them when it was cut off, and the second one promoted.
fn taken_meanwhile(folder: &Folder) -> Taken {
    let ([a, b, c], topic) = owner_and_two(folder);
    let begun = Instant::now();
    left_handing_over(&a, &c, &topic);
    promote(&b, &topic);
    a.connect();
    c.connect();
    ([a, b, c], topic, begun)
}

/// How such an owner refuses a request.
fn refused_where(
    taken: impl Fn(&Folder) -> Taken,
    request: impl Fn(&Target) -> handover::Request,
) -> (Folder, [Node; 3], Target, Box<ErrorBody>) {
    for _ in 0..10 {
        let folder = Folder::new();
        let (nodes, topic, begun) = taken(&folder);
        match nodes[0].ask(&request(&topic)) {
            Err(refused) => return (folder, nodes, topic, refused),
            // On a machine that is busy it may not have heard the second one: that says nothing.
            Ok(told) => assert!(begun.elapsed() >= WAITED_FOR, "{told:?}"),
        }
    }
    panic!("it was not refused once");
}

fn assert_owned_by(refused: &ErrorBody, owner: &Node) {
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(owner.address()));
}

/// The target took over as well, by the same number: two owners of epochs of which none is later, and nothing noticed.
#[test]
fn what_another_follower_took_meanwhile_is_not_handed_over() {
    let (_folder, [mut a, b, c], topic, refused) = refused_where(taken_meanwhile, handing);
    assert_owned_by(&refused, &b);
    until_fenced(&a, &topic);
    assert_eq!(status(&c, &topic, 0).role, Role::Follower);
    a.kill();
    a.up();
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert_owned_by(&refused, &b);
}

fn is_standstill(refused: &ErrorBody) -> bool {
    refused.is(ErrorCode::Busy) && refused.message.contains("stood still")
}

/// Has a follower of a node promoted that stands still, by which it hears nothing of it, and that node go on again. Gives when it
/// was stopped.
fn promote_while_it_stands_still(node: &Node, follower: &Node, topic: &Target) -> Instant {
    node.server().signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    promote(follower, topic);
    // It would tell at once.
    follower.ask(&forgetting(topic, node.address())).unwrap();
    // Whoever waits for it may go on as soon as it does.
    node.connect();
    until("it has stood still for long", || {
        stopped.elapsed() > STOOD_STILL
    });
    node.server().signal(Signal::SIGCONT);
    stopped
}

/// What the others had said before that counted: the target came level and took over as well, by the same number.
#[test]
fn what_another_follower_took_while_its_owner_stood_still_is_not_handed_over() {
    let folder = Folder::new();
    let ([a, b, c], topic) = owner_and_two(&folder);
    a.disconnect();
    a.fill(&topic, 0, 1);
    let giving = handover::Request {
        to: Some(c.address()),
        ..handing(&topic)
    };
    let mut wire = a.wire();
    let running = thread::spawn(move || wire.call(&giving, &[]).unwrap().map(drop));
    until("the target was asked, which is not level", || {
        0 < c.proxy.asked(Kind::TakeOver)
    });
    // It says what it is only once the target may have taken over.
    for port in 0..2 {
        b.proxy.hold(port, Kind::ReplicaStatus);
    }
    promote_while_it_stands_still(&a, &b, &topic);
    let refused = running.join().unwrap().unwrap_err();
    assert!(is_standstill(&refused), "{refused:?}");
    for port in 0..2 {
        b.proxy.release(port, Kind::ReplicaStatus);
    }
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
    assert_eq!(status(&c, &topic, 0).role, Role::Follower);
}

/// Both owned it, by epochs of one number.
#[test]
fn what_another_follower_took_while_its_owner_stood_still_is_not_taken_back() {
    for _ in 0..10 {
        let folder = Folder::new();
        let ([a, b, c], topic) = owner_and_two(&folder);
        let last = follower(&folder, &a, "d", &topic);
        // They are asked in this order.
        let peers = peers(&a, &topic).into_iter().map(|peer| peer.address);
        let nodes = [&b, &c, &last].map(Node::address);
        assert_eq!(peers.collect::<Vec<_>>(), nodes);
        left_handing_over(&a, &c, &topic);
        a.connect();
        c.connect();
        for port in 0..2 {
            last.proxy.hold(port, Kind::ReplicaStatus);
        }
        let asked = || last.proxy.asked(Kind::ReplicaStatus);
        let (before, begun) = (asked(), Instant::now());
        let mut wire = a.wire();
        let aborting = aborting(&topic, false);
        let running = thread::spawn(move || wire.call(&aborting, &[]).unwrap().map(drop));
        until("the last of them is asked", || before < asked());
        let stopped = promote_while_it_stands_still(&a, &b, &topic);
        match running.join().unwrap() {
            Err(refused) if is_standstill(&refused) => {
                until_fenced(&a, &topic);
                assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
                assert_eq!(status(&b, &topic, 0).role, Role::Owner);
                return;
            }
            // The last one was asked for something else, and the others only once it went on.
            Err(refused) => assert_owned_by(&refused, &b),
            // On a machine that is busy it may have waited for the last one by then: that says nothing.
            Ok(()) => assert!(stopped.duration_since(begun) >= WAITED_FOR),
        }
    }
    panic!("it did not stand still once between what the others said and what came of that");
}

/// It began an epoch of the same number before it asked, and could not be fenced by that one any more.
#[test]
fn what_another_follower_took_meanwhile_is_not_taken_back() {
    for accept_loss in [false, true] {
        let aborting = |topic: &Target| aborting(topic, accept_loss);
        let (_folder, [a, b, _c], topic, refused) = refused_where(taken_meanwhile, aborting);
        assert_owned_by(&refused, &b);
        until_fenced(&a, &topic);
        assert_eq!(status(&b, &topic, 0).role, Role::Owner);
    }
}

/// One that had said before that it owns nothing, and was not reached just then, may own it by now: it was not asked again.
#[test]
fn an_owner_that_takes_a_partition_back_serves_nobody_before_who_is_silent_was_asked_again() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = owner_and_two(&folder);
    left_handing_over(&a, &c, &topic);
    a.kill();
    a.up_out_of_reach();
    a.wait_until_served(&topic, 0);
    b.disconnect();
    c.connect();
    a.ask(&aborting(&topic, false)).unwrap();
    let told = produced(&a, &topic, 0);
    b.connect();
    a.fill(&topic, 0, 1);
    match told {
        Err(refused) => assert!(refused.is(ErrorCode::Busy), "{refused:?}"),
        Ok(()) => assert_unheard(&mut a, &b),
    }
}

/// What one follower told was lost with what another one did not, which that follows: the promoted copy of the first was never asked.
#[test]
fn what_a_copy_of_a_follower_took_meanwhile_is_not_taken_back_where_whom_that_follows_hangs() {
    for _ in 0..10 {
        let folder = Folder::new();
        let ([mut a, b, c], topic) = owner_and_two(&folder);
        let next = follower(&folder, &a, "d", &topic);
        left_handing_over(&a, &c, &topic);
        promote(&next, &topic);
        b.follow(&topic, &[&next]);
        let end = next.fill(&topic, 0, 1);
        until("it follows the next owner", || {
            end <= status(&b, &topic, 0).end
        });
        let last = follower(&folder, &b, "e", &topic);
        next.server().signal(Signal::SIGSTOP);
        promote(&last, &topic);
        a.kill();
        c.connect();
        let begun = Instant::now();
        a.up();
        match a.ask(&aborting(&topic, false)) {
            Err(refused) => {
                assert_owned_by(&refused, &last);
                until_fenced(&a, &topic);
                return;
            }
            // On a machine that is busy it may not have heard the follower: that says nothing.
            Ok(told) => assert!(begun.elapsed() >= 4 * WAITED_FOR, "{told:?}"),
        }
    }
    panic!("it was not refused once");
}

/// Neither chains nor epochs tell anything there: it was taken for a log that has parted, which whoever takes a partition back passes
/// over, and both owned it.
#[test]
fn a_partition_is_not_taken_back_where_damage_hides_whether_another_one_took_it_over() {
    let taken = |folder: &_| {
        let ([mut a, b, c], topic) = owner_and_two(folder);
        a.disconnect();
        // The others end amid what it seals.
        a.fill(&topic, 0, 40);
        let begun = Instant::now();
        left_handing_over(&a, &c, &topic);
        let start = promote(&b, &topic).end;
        b.disconnect();
        seal(&b, &topic);
        b.fill(&topic, 0, 1);
        b.truncate(&topic, start);
        until("what it shared is forgotten", || {
            segments(&b, &topic, 0).epochs.len() == 1
        });
        // Nobody who has it all heals it.
        damage_the_first(&mut a);
        b.connect();
        c.connect();
        ([a, b, c], topic, begun)
    };
    let aborting = |topic: &Target| aborting(topic, false);
    let (_folder, [a, ..], topic, refused) = refused_where(taken, aborting);
    assert!(refused.is(ErrorCode::Damaged), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
}

/// Only who takes appends counted: an owner that came back served beside one that was giving the partition on.
#[test]
fn an_owner_that_comes_back_while_the_next_one_gives_the_partition_on_serves_nobody() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let b = follower(&folder, &a, "b", &topic);
    a.kill();
    promote(&b, &topic);
    b.fill(&topic, 0, 1);
    let c = follower(&folder, &b, "c", &topic);
    left_handing_over(&b, &c, &topic);
    b.connect();
    a.up();
    if until_it_says_who_owns(&a, &topic, 0) {
        assert_unheard(&mut a, &b);
    }
}

/// It answered as one that has no such topic, and so owns nothing: the owner served at once, and did not ask it again.
#[test]
fn a_follower_whose_topic_cannot_be_read_is_not_taken_for_one_that_owns_nothing() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    let mut b = follower(&folder, &a, "b", &topic);
    a.kill();
    promote(&b, &topic);
    b.stop();
    let file = b.topic_dir(&topic).join("topic");
    let written = std::fs::read(&file).unwrap();
    std::fs::write(&file, b"rotten").unwrap();
    b.up();
    let request = replica_status::Request {
        topic: topic.name.clone(),
        id: Some(topic.id),
        partition: None,
    };
    let told = b.ask(&request).unwrap_err();
    assert!(told.is(ErrorCode::Damaged), "{told:?}");
    a.up();
    a.wait_until_served(&topic, 0);
    assert_unheard(&mut a, &b);

    b.stop();
    std::fs::write(&file, written).unwrap();
    b.up();
    a.up();
    until_fenced(&a, &topic);
}

/// It served beside the new one once it had waited for that for five seconds, though a copy had told of the later epoch; and at once
/// where the copy, which had tried the new one in vain, told that it tries this node.
#[test]
fn an_owner_that_comes_back_serves_nobody_while_whom_a_copy_follows_by_a_later_epoch_is_out_of_reach()
 {
    for tries_both in [false, true] {
        let folder = Folder::new();
        let ([mut a, b, c], topic) = owner_and_two(&folder);
        let sources = [&b, &a];
        c.follow(&topic, &sources[..1 + usize::from(tries_both)]);
        a.kill();
        promote(&b, &topic);
        b.fill(&topic, 0, 1);
        wait_until_level(&b, &c, &topic, 0);
        b.disconnect();
        a.up();
        let begun = Instant::now();
        while begun.elapsed() < 2 * PATIENCE {
            let refused = produced(&a, &topic, 0).unwrap_err();
            assert!(refused.is(ErrorCode::Busy), "{refused:?}");
        }
        b.connect();
        until_fenced(&a, &topic);
        let log = a.log_at_stop();
        let held = log.lines().filter(|line| line.contains("serves nobody"));
        assert_eq!(held.count(), 1, "{log}");
    }
}

/// The copy is told to follow it as nobody owns the partition by that epoch any more, and stops where the two have parted.
#[test]
fn an_owner_that_waits_for_a_copy_which_names_that_owner_itself_serves_once_the_copy_rejoins_it() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = owner_and_two(&folder);
    c.follow(&topic, &[&b]);
    a.kill();
    promote(&b, &topic);
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &c, &topic, 0);
    b.disconnect();
    a.up();
    c.follow(&topic, &[&a]);
    let begun = Instant::now();
    while begun.elapsed() < 2 * PATIENCE {
        let refused = produced(&a, &topic, 0).unwrap_err();
        assert!(refused.is(ErrorCode::Busy), "{refused:?}");
    }
    assert_eq!(rejoin(&c, &topic, &a).records, 2);
    until("it serves", || produced(&a, &topic, 0).is_ok());
}

/// What a follower had asked before it was promoted lay in a socket, and said that it was one.
#[test]
fn what_waited_in_a_socket_while_an_owner_stood_still_does_not_speak_for_its_follower() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 20);
    let b = follower(&folder, &a, "b", &topic);
    let peer = peers(&a, &topic).remove(0);
    let here = chain_at(&a, &topic, 0, end);
    let stale = fetch::Request {
        follower: Some(fetch::Follower {
            node: Some(peer.node),
            copy: peer.copy,
            address: Some(peer.address),
            end,
            chain: here.chain,
            epochs: Vec::new(),
        }),
        max_wait_ms: 0,
        ..topic.fetch(0, end)
    };
    let mut wire = a.wire();
    a.server().signal(Signal::SIGSTOP);
    promote(&b, &topic);
    b.disconnect();
    let late = batch(Codec::None, ["late"]);
    wire.send(&topic.produce(0), &late).unwrap();
    wire.send(&stale, &[]).unwrap();
    // What was refused aborts the run that it was of.
    let anew = produce::Request {
        run: 1,
        ..topic.produce(0)
    };
    let second = wire.send(&anew, &late).unwrap();
    let stopped = Instant::now();
    until("it has stood still for long", || {
        stopped.elapsed() > STOOD_STILL
    });
    a.server().signal(Signal::SIGCONT);
    let mut told = None;
    for _ in 0..3 {
        let reply = wire.receive().unwrap();
        if reply.correlation == second {
            told = Some(reply.read::<produce::Request>());
        }
    }
    let told = told.unwrap();
    if let Err(refused) = &told {
        assert_waits_or_fenced(refused);
    }
    b.connect();
    until_fenced(&a, &topic);
    if told.is_ok() {
        assert_unheard(&mut a, &b);
    }
}

/// Both were owners, and each was told to follow the other one in the same moment: what each had alone went to quarantine,
/// and nobody owned it.
#[test]
fn of_two_owners_that_are_told_to_rejoin_each_other_at_once_one_keeps_what_it_has() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let b = follower(&folder, &a, "b", &topic);
    a.disconnect();
    b.disconnect();
    promote(&b, &topic);
    let ends = [&a, &b].map(|node| node.fill(&topic, 0, 3));
    a.connect();
    b.connect();
    thread::scope(|scope| {
        for (node, other) in [(&a, &b), (&b, &a)] {
            let topic = &topic;
            scope.spawn(move || node.ask(&rejoining(topic, other)).map(drop));
        }
    });
    let whole = [&a, &b].into_iter().zip(ends).filter(|(node, end)| {
        let there = status(node, &topic, 0);
        *end <= there.end && there.role != Role::Follower
    });
    assert!(0 < whole.count(), "both have cut what they had");
}

/// It logged that at the lowest level, and took records on.
#[test]
fn an_owner_that_cannot_write_down_that_it_was_replaced_serves_nobody() {
    let folder = Folder::new();
    let ([a, b, _c], topic, dir) = owner_that_writes_nothing_down(&folder);
    promote(&b, &topic);
    until("it serves nobody", || produced(&a, &topic, 0).is_err());
    for _ in 0..100 {
        assert_waits_or_fenced(&produced(&a, &topic, 0).unwrap_err());
    }
    set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    until_fenced(&a, &topic);
}

/// It began an epoch above the one that it had heard of, by which it fenced its owner: what that had acknowledged was set aside.
#[test]
fn an_owner_that_is_killed_before_its_fence_is_written_down_is_still_outranked() {
    let folder = Folder::new();
    let ([mut a, b, _c], topic, dir) = owner_that_writes_nothing_down(&folder);
    promote(&b, &topic);
    until("it serves nobody", || produced(&a, &topic, 0).is_err());
    b.fill(&topic, 0, 5);
    // What a partition that is idle has heard is in its mark two seconds later.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_waits_or_fenced(&produced(&a, &topic, 0).unwrap_err());
    }
    a.kill();
    set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    a.up();
    until_fenced(&a, &topic);
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

/// It served nobody until it was started anew, or another copy forgotten, which was gone and had nothing to do with that.
#[test]
fn an_owner_serves_again_once_whom_it_saw_own_its_partition_follows_it() {
    let folder = Folder::new();
    let ([a, b, c], topic, dir) = owner_that_writes_nothing_down(&folder);
    promote(&b, &topic);
    until("it serves nobody", || produced(&a, &topic, 0).is_err());
    c.disconnect();
    rejoin(&b, &topic, &a);
    until("it serves again", || produced(&a, &topic, 0).is_ok());
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
}

/// It took what the copy in between says for the word of all that follow that one.
#[test]
fn an_owner_serves_nobody_while_whom_it_saw_own_its_partition_is_out_of_reach() {
    let folder = Folder::new();
    let ([a, b, c], topic, dir) = owner_that_writes_nothing_down(&folder);
    promote(&c, &topic);
    until("it serves nobody", || produced(&a, &topic, 0).is_err());
    c.disconnect();
    // It asks each second, and waits for one that does not answer for another.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_waits_or_fenced(&produced(&a, &topic, 0).unwrap_err());
    }
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    let admin = a.server().ready.admin;
    let held = || {
        metric(
            admin,
            "corelog_partitions_by_state{core=\"0\",state=\"held\"",
        )
    };
    assert_eq!(held().to_string(), "1", "alerts are made of it");
    let [owner, by] = [&c, &b].map(Node::address);
    let described = a.corelog().run(["topic", "describe", "t"]).text();
    let line = format!(
        "held: t/0 serves nobody: it waits for {owner}, which owns it by what {by} has shown"
    );
    assert!(described.contains(&line), "{described}");
    let told = http::json(admin, "/v1/partitions");
    let waits_for = serde_json::json!([{ "address": by, "owner": owner }]);
    assert_eq!(told["partitions"][0]["waits_for"], waits_for);
    c.connect();
    set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    until_fenced(&a, &topic);
    assert_eq!(held().to_string(), "0");
}

/// An owner that cannot change its topic's file in this directory, a copy of it, and one of that.
fn owner_that_writes_nothing_down(folder: &Folder) -> ([Node; 3], Target, PathBuf) {
    let a = Node::on(folder.path().join("a"), privilege::without(), 1);
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let b = follower(folder, &a, "b", &topic);
    let c = copy_of(folder, &b, &topic);
    let dir = a.topic_dir(&topic);
    // Names come and go in it, but it cannot be opened to be synced.
    set_permissions(&dir, Permissions::from_mode(0o333)).unwrap();
    ([a, b, c], topic, dir)
}

/// Two copies were promoted to one epoch, and the one that was killed since begins the next where its log is the other's: what
/// that one had acknowledged since was told of by nothing but a rejoin.
#[test]
fn an_owner_that_is_fenced_says_what_the_next_one_does_not_have() {
    let folder = Folder::new();
    let ([mut a, mut b], topic) = pair(&folder);
    let mut c = copy_of(&folder, &b, &topic);
    b.disconnect();
    a.kill();
    let promoted = [promote(&b, &topic), promote(&c, &topic)];
    assert_eq!(promoted[0].epoch, promoted[1].epoch);
    let common = promoted[0].end;
    let end = c.fill(&topic, 0, 1);
    let own = c.wire().read_all(&topic, 0, common);
    b.kill();
    b.up();
    b.connect();
    until_fenced(&c, &topic);
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);

    let rejoined = rejoin(&c, &topic, &b);
    assert_eq!(rejoined.common, common);
    assert_eq!(rejoined.records, end.since(common));
    let set_aside = c.quarantine();
    let mut set_aside = set_aside.values();
    let is_whole = |file: &Vec<u8>| file.windows(own.len()).any(|some| some == own);
    assert!(set_aside.any(is_whole), "not what it had alone");
    let log = c.log_at_stop();
    let mut lines = log.lines();
    let said = [format!("common={common}"), format!("end={end}")];
    let is_said = |line: &str| line.contains("fenced") && said.iter().all(|it| line.contains(it));
    assert!(lines.any(is_said), "{log}");
}
