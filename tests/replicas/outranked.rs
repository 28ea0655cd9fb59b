//! A copy of a copy that is promoted: the owner knows nothing of it, and hears of it all the same.

use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{clone_topic, delete_topic, fetch, handover};
use corelog_record::{CopyId, NodeId};
use corelog_storage::format::replica::Peer;
use nix::sys::signal::Signal;

use super::copies::{
    forget, forgetting, level_pair, peers, remembered, segments, status, wait_until_level,
};
use super::fence::{assert_unheard, copy_of, let_go, pair, until_fenced, until_it_says_who_owns};
use super::handover::handing;
use super::lossless::{follower, promote_and_give_back};
use super::node::{Node, cloning};
use super::parted::copy;
use super::promote::{first_fetch, promote, promoting_one, rejoin, rejoining};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::mount::Mount;
use crate::support::wire::Target;

/// Longer than a promotion tells those that it knows to have been followed, at once.
const TOLD_AT_ONCE: Duration = Duration::from_secs(3);

/// An owner asks who was not heard for so long of itself.
const SILENT_AFTER: Duration = Duration::from_secs(20);

/// Whom an owner has yet to tell.
fn outranked(node: &Node, topic: &Target) -> Vec<String> {
    let mut replicas = node.topic_file(topic).replicas.into_iter();
    replicas.next().map_or_else(Vec::new, |one| one.outranked)
}

/// Which of them it had followed, and so may own the partition, it did not know any more once it was started again.
#[test]
fn a_promoted_copy_tells_all_of_its_sources_whichever_it_followed() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 20);
    let mut c = Node::start(&folder, "c");
    c.follow(&topic, &[&a, &b]);
    wait_until_level(&a, &c, &topic, 0);
    a.disconnect();
    // Amid its promotion it is nothing that is followed for more than what it lends.
    b.disconnect();
    promote(&b, &topic);
    b.fill(&topic, 0, 5);
    b.connect();
    wait_until_level(&b, &c, &topic, 0);
    b.disconnect();
    c.kill();
    c.up();
    promote(&c, &topic);
    assert_eq!(outranked(&c, &topic), [a.address(), b.address()]);
}

/// One command may name the same nodes to each of them.
#[test]
fn a_promoted_copy_whose_sources_name_itself_has_yet_to_tell_the_others() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 1);
    b.follow(&topic, &[&a, &b]);
    a.disconnect();
    promote(&b, &topic);
    assert_eq!(outranked(&b, &topic), [a.address()]);
}

/// The owner remembered nobody, and wrote down only who it was that told: it asked that one when it was told again, or had not heard
/// it for long, and served until then.
#[test]
fn an_owner_that_remembers_nobody_asks_who_tells_it_once() {
    assert_asks_when_told(|a, _, topic, _| {
        a.connect();
        until("it is told", || remembered(a, topic) == 1);
        let told = Instant::now();
        a.disconnect();
        told
    });
}

/// Whoever came within a fifth of a second of another one was passed over, and who claims the partition need not come again.
#[test]
fn an_owner_asks_who_claims_the_partition_right_behind_another_newcomer() {
    assert_asks_when_told(|a, b, topic, peer| {
        let claim = first_fetch(b, topic);
        let claims = claim.follower.unwrap();
        let claims = fetch::Follower {
            node: Some(peer.node),
            address: Some(peer.address),
            ..claims
        };
        let newcomer = fetch::Follower {
            copy: CopyId::from_bytes([9; 16]),
            node: Some(NodeId::from_bytes([9; 16])),
            address: Some("127.0.0.1:1".to_owned()),
            epochs: Vec::new(),
            ..claims.clone()
        };
        let told = Instant::now();
        for follower in [newcomer, claims] {
            let fetch = fetch::Request {
                follower: Some(follower),
                max_wait_ms: 0,
                ..topic.fetch(0, claim.offset)
            };
            a.ask(&fetch).unwrap();
        }
        told
    });
}

/// Checks that an owner which has forgotten the copy that was promoted asks that one as soon as it is told of it; `tell` gives when
/// that was.
fn assert_asks_when_told(tell: impl FnOnce(&Node, &Node, &Target, Peer) -> Instant) {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    let peer = peers(&a, &topic).remove(0);
    a.disconnect();
    promote(&b, &topic);
    forget(&a, &topic, &b);
    let told = tell(&a, &b, &topic, peer);
    until_fenced(&a, &topic);
    assert!(
        told.elapsed() < SILENT_AFTER,
        "it was asked when it had been silent"
    );
}

/// It was told of for two seconds, and never again: there were two owners for good.
#[test]
fn an_owner_that_was_out_of_reach_for_a_while_is_fenced_by_a_copy_of_its_copy() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    let c = copy_of(&folder, &b, &topic);
    a.disconnect();
    promote(&c, &topic);
    let promoted = Instant::now();
    until("it was told of", || TOLD_AT_ONCE < promoted.elapsed());
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    assert_eq!(outranked(&c, &topic), [b.address()]);
    a.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
    until("all have heard", || outranked(&c, &topic).is_empty());
    c.fill(&topic, 0, 5);
    rejoin(&a, &topic, &c);
    wait_until_level(&c, &a, &topic, 0);
}

/// Whom it had followed stood nowhere any more.
#[test]
fn a_promoted_copy_of_a_copy_that_was_killed_tells_the_owner_behind_its_start() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    let mut c = copy_of(&folder, &b, &topic);
    a.disconnect();
    promote(&c, &topic);
    c.kill();
    a.connect();
    c.up();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// The copy between them reached both, and told nobody.
#[test]
fn an_owner_that_the_promoted_copy_cannot_reach_hears_of_it_from_the_copy_between() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let names = Mount::hosts(&folder, "127.0.0.1 owner.corelog.test\n");
    let b = Node::on(folder.path().join("b"), names.wrapper(), 1);
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    let clone = clone_topic::Request {
        from: vec![format!("owner.corelog.test:{}", a.proxy.address.port())],
        ..cloning(&topic, &[&a])
    };
    b.ask(&clone).unwrap();
    wait_until_level(&a, &b, &topic, 0);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    let c = copy_of(&folder, &b, &topic);
    promote(&c, &topic);
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(c.address()));
}

/// It had been away while its owner changed twice: its epoch was an earlier one, and each owned the partition.
#[test]
fn a_promoted_copy_is_fenced_by_the_owner_that_it_tells_if_that_has_a_later_epoch() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 20);
    let mut c = copy_of(&folder, &b, &topic);
    c.stop();
    promote_and_give_back(&a, &b, &topic);
    a.fill(&topic, 0, 1);
    wait_until_level(&a, &b, &topic, 0);
    b.disconnect();
    c.up();
    let promoted = promote(&c, &topic);
    assert!(promoted.epoch < segments(&a, &topic, 0).epochs[0].epoch);
    b.connect();
    until_fenced(&c, &topic);
    assert_eq!(status(&c, &topic, 0).source, Some(a.address()));
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// It began an epoch of the same number as the one that it was to follow: neither gave way to the other.
#[test]
fn an_owner_whose_rejoin_was_cut_off_and_that_takes_the_partition_back_outranks_the_other() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    a.disconnect();
    let there = promote(&b, &topic);
    // Whom it remembers it would ask, and be fenced.
    forget(&a, &topic, &b);
    let asked = |kind| b.proxy.asked(kind);
    let before = asked(Kind::ChainAt);
    b.proxy.hold(0, Kind::ChainAt);
    let (mut wire, request) = (a.wire(), rejoining(&topic, &b));
    let cut_off = thread::spawn(move || wire.call(&request, &[]).unwrap().map(drop));
    until("the logs are compared", || before < asked(Kind::ChainAt));
    b.proxy.hold(0, Kind::ReplicaStatus);
    b.proxy.release(0, Kind::ChainAt);
    until_fenced(&a, &topic);
    b.disconnect();
    cut_off.join().unwrap().unwrap_err();

    let taken_back = promoting_one(&topic, 0, true);
    let taken_back = a.ask(&taken_back).unwrap().partitions[0];
    assert!(there.epoch < taken_back.epoch, "{there:?}, {taken_back:?}");
    b.proxy.release(0, Kind::ReplicaStatus);
    a.connect();
    b.connect();
    until_fenced(&b, &topic);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// It wrote down the first of the other's epochs that was later than its own, and was level with the last of them.
#[test]
fn an_owner_that_takes_the_partition_back_outranks_all_epochs_of_whom_it_let_it_go_to() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder);
    let c = copy_of(&folder, &b, &topic);
    a.kill();
    let first = promote(&b, &topic).epoch;
    // No record of it has to come for that.
    until("the copy has heard of it", || {
        segments(&c, &topic, 0).epochs[0].epoch == first
    });
    b.disconnect();
    let second = promote(&c, &topic).epoch;
    assert!(first < second);
    b.connect();
    until_fenced(&b, &topic);
    a.up();
    until_fenced(&a, &topic);
    c.disconnect();
    let taken_back = a.ask(&promoting_one(&topic, 0, true)).unwrap();
    assert!(second < taken_back.partitions[0].epoch, "{taken_back:?}");
    c.connect();
    until_fenced(&c, &topic);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// An owner and a copy of it that are out of reach, and one of that, which was promoted and handed the topic on.
fn handed_on(folder: &Folder) -> ([Node; 4], Target) {
    let ([a, b], topic) = pair(folder);
    let c = copy_of(folder, &b, &topic);
    // It asks nobody, either.
    for node in [&a, &b] {
        node.disconnect();
    }
    promote(&c, &topic);
    let d = follower(folder, &c, "d", &topic);
    c.ask(&handing(&topic)).unwrap();
    ([a, b, c, d], topic)
}

/// Whom it was handed on to had never followed who was to be told, and the copy that had was no owner any more.
#[test]
fn an_owner_is_fenced_by_whom_a_copy_of_its_copy_handed_the_partition_to() {
    let folder = Folder::new();
    let ([a, b, c, d], topic) = handed_on(&folder);
    assert_eq!(status(&d, &topic, 0).role, Role::Owner);
    // It follows it already, and forgot whom it has yet to tell when it was asked to once more.
    c.follow(&topic, &[&d]);
    assert_eq!(outranked(&c, &topic), [b.address()]);
    b.connect();
    a.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(d.address()));
    until("all have heard", || outranked(&c, &topic).is_empty());
    wait_until_level(&d, &c, &topic, 0);
}

/// It asked only if the owner that it met is whom it follows itself, which was a copy by then: it was to be told for ever.
#[test]
fn whom_a_copy_followed_is_told_no_more_also_once_the_next_owner_has_handed_the_partition_on() {
    let folder = Folder::new();
    let ([a, b, c, d], topic) = handed_on(&folder);
    until("it is followed by the one before", || {
        remembered(&d, &topic) == 1
    });
    let e = follower(&folder, &d, "e", &topic);
    let giving = handover::Request {
        to: Some(e.address()),
        ..handing(&topic)
    };
    d.ask(&giving).unwrap();
    e.fill(&topic, 0, 5);
    wait_until_level(&e, &c, &topic, 0);
    assert_eq!(status(&c, &topic, 0).source, Some(d.address()));
    assert_eq!(outranked(&c, &topic), [b.address()]);
    b.connect();
    a.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(e.address()));
    until("all have heard", || outranked(&c, &topic).is_empty());
}

/// It said that it ends where its last epoch begins, that of a restart, which was refused as that of another log each time.
#[test]
fn an_owner_that_remembers_nobody_is_fenced_by_a_promoted_copy_that_was_restarted_since() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder);
    a.disconnect();
    promote(&b, &topic);
    forget(&a, &topic, &b);
    b.fill(&topic, 0, 5);
    b.kill();
    b.up();
    a.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
}

/// What it said of where the two logs part, which nobody can tell any more, was refused before it was written down who it is: it was
/// told each half minute, and asked nobody.
#[test]
fn an_owner_that_remembers_nobody_is_fenced_by_a_promoted_copy_that_let_go_of_what_they_shared() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder);
    a.disconnect();
    promote(&b, &topic);
    forget(&a, &topic, &b);
    let_go(&b, &topic);
    a.connect();
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
}

/// The same of one whose log ends before the promoted copy's began.
#[test]
fn an_owner_put_back_from_before_it_had_a_copy_is_fenced_by_that_once_it_is_promoted() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    a.stop();
    let (dir, older) = (a.topic_dir(&topic), folder.path().join("older"));
    copy(&dir, &older);
    a.up();
    a.fill(&topic, 0, 1);
    let b = follower(&folder, &a, "b", &topic);
    a.stop();
    std::fs::remove_dir_all(&dir).unwrap();
    copy(&older, &dir);
    a.up();
    assert_eq!(remembered(&a, &topic), 0);
    promote(&b, &topic);
    until_fenced(&a, &topic);
    assert_eq!(status(&a, &topic, 0).source, Some(b.address()));
}

/// Both owned the partition, and neither told of that.
#[test]
fn an_owner_that_is_told_and_does_not_yield_is_told_of_where_alerts_are_made_of() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder);
    a.disconnect();
    promote(&b, &topic);
    b.stop();
    b.up();
    b.disconnect();
    a.connect();
    let admin = b.server().ready.admin;
    let contested = || metric(admin, "corelog_contested_partitions{core=\"0\"");
    until("it is told of", || contested() == 1.0);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    b.connect();
    until_fenced(&a, &topic);
    until("it is over", || contested() == 0.0);
    assert!(outranked(&b, &topic).is_empty());
}

/// Its owner, which owned the partition still, was told no more.
#[test]
fn a_copy_that_was_deleted_does_not_speak_for_those_above_it() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder);
    let c = copy_of(&folder, &b, &topic);
    a.disconnect();
    promote(&c, &topic);
    delete(&mut b, &topic);
    let asked = || b.proxy.asked(Kind::ReplicaStatus);
    let before = asked();
    until("it was told of more than once", || before + 2 < asked());
    assert_eq!(outranked(&c, &topic), [b.address()]);
}

/// That whom a copy follows has no such topic any more was taken for that copy's word of itself, and nobody asked its own, nor
/// theirs.
#[test]
fn an_owner_that_comes_back_is_fenced_by_a_copy_of_a_copy_whose_owner_deleted_the_topic() {
    assert_fenced_by_the_last_of(&["c", "d"], delete);
    assert_fenced_by_the_last_of(&["c", "d", "e"], delete);
}

/// Nor did anybody where that one did not answer: the owner that came back served once it had waited for it.
#[test]
fn an_owner_that_comes_back_is_fenced_by_a_copy_of_a_copy_whose_owner_is_gone() {
    assert_fenced_by_the_last_of(&["c", "d"], |b, _| b.kill());
    assert_fenced_by_the_last_of(&["c", "d", "e"], |b, _| b.kill());
}

/// That one was waited for as long as the owner waits in all, and where a copy's copy was asked in turn, what that had told was lost
/// with what it was to tell of the one that hangs.
#[test]
fn an_owner_that_comes_back_is_fenced_by_a_copy_of_a_copy_whose_owner_hangs() {
    let hang = |b: &mut Node, _: &_| b.server().signal(Signal::SIGSTOP);
    assert_fenced_by_the_last_of(&["c", "d"], hang);
    assert_fenced_by_the_last_of(&["c", "d", "e"], hang);
}

fn delete(node: &mut Node, topic: &Target) {
    let delete = delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    };
    node.ask(&delete).unwrap();
}

/// Checks that an owner which comes back is fenced by the last of these copies, each of which follows the one before and the first
/// the next owner, that owns nothing any more.
fn assert_fenced_by_the_last_of(names: &[&str], go: impl Fn(&mut Node, &Target)) {
    let folder = Folder::new();
    let ([mut a, mut b], topic) = pair(&folder);
    let mut copies = vec![follower(&folder, &a, names[0], &topic)];
    a.kill();
    promote(&b, &topic);
    b.fill(&topic, 0, 1);
    copies[0].follow(&topic, &[&b]);
    wait_until_level(&b, &copies[0], &topic, 0);
    for name in &names[1..] {
        let next = follower(&folder, copies.last().unwrap(), name, &topic);
        copies.push(next);
    }
    go(&mut b, &topic);
    let last = copies.last().unwrap();
    promote(last, &topic);
    a.up();
    let is_late = until_it_says_who_owns(&a, &topic, 0);
    assert_eq!(status(&a, &topic, 0).source, Some(last.address()));
    if is_late {
        assert_unheard(&mut a, &copies[0]);
    }
}

#[test]
fn who_is_gone_for_good_is_told_no_more_once_it_is_forgotten() {
    let folder = Folder::new();
    let ([mut a, mut b], topic) = pair(&folder);
    a.kill();
    promote(&b, &topic);
    b.kill();
    b.up();
    assert_eq!(outranked(&b, &topic), [a.address()]);
    b.ask(&forgetting(&topic, a.address())).unwrap();
    assert!(outranked(&b, &topic).is_empty());
}
