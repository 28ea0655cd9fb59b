//! A follower becomes the owner while the old one is gone; what the old one had alone goes to
//! quarantine when it rejoins.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::{clone_topic, fetch, promote, rejoin};
use corelog_record::batch::{Batches, Codec, Records, View};
use corelog_record::{Chain, CopyId, LeaderEpoch, Lineage, NodeId, Offset, PartitionId};

use super::copies::{
    assert_equal, bytes, chain_at, forget, level_pair, remembered, segments, status,
    wait_until_level,
};
use super::node::{Node, cloning};
use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::wire::{Target, batch};

pub(super) fn promoting(topic: &Target, accept_loss: bool) -> promote::Request {
    promote::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        accept_loss,
    }
}

pub(super) fn promoting_one(topic: &Target, partition: u32, accept_loss: bool) -> promote::Request {
    promote::Request {
        partition: Some(PartitionId::new(partition)),
        ..promoting(topic, accept_loss)
    }
}

/// Promotes a follower whose source is gone.
pub(crate) fn promote(node: &Node, topic: &Target) -> promote::Partition {
    let promoted = node.ask(&promoting(topic, true)).unwrap().partitions;
    assert_eq!(promoted.len(), 1);
    promoted[0]
}

/// A topic of two nodes of so many batches: the second follows the first, has all of them, up to that offset, and reaches
/// it no more.
pub(crate) fn cut_off(folder: &Folder, batches: usize) -> (Node, Node, Target, Offset) {
    let (a, b, topic) = level_pair(folder, batches);
    let common = segments(&b, &topic, 0).high_watermark;
    a.disconnect();
    (a, b, topic, common)
}

pub(super) fn rejoining(topic: &Target, to: &Node) -> rejoin::Request {
    rejoin::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        to: to.address(),
    }
}

/// It may be hearing from another node at that moment that this one owns the partition.
pub(super) fn rejoin(node: &Node, topic: &Target, to: &Node) -> rejoin::Partition {
    let mut rejoined = Vec::new();
    until("it is rejoined", || match node.ask(&rejoining(topic, to)) {
        Ok(answer) => {
            rejoined = answer.partitions;
            true
        }
        Err(error) => {
            assert!(error.is(ErrorCode::Busy), "{error:?}");
            false
        }
    });
    assert_eq!(rejoined.len(), 1);
    rejoined.remove(0)
}

/// Checks that a node takes no appends, and says whose they are; the same after it was killed and started again.
pub(super) fn takes_nothing_also_after_a_kill(node: &mut Node, topic: &Target, owner: &Node) {
    for _ in 0..2 {
        let bytes = batch(Codec::None, ["not here"]);
        let refused = node.wire().call(&topic.produce(0), &bytes).unwrap();
        let refused = refused.unwrap_err();
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
        assert_eq!(refused.detail.address, Some(owner.address()));
        node.kill();
        node.up();
    }
}

fn produce(node: &Node, topic: &Target, values: &[&str]) {
    let bytes = batch(Codec::None, values);
    node.wire()
        .call(&topic.produce(0), &bytes)
        .unwrap()
        .unwrap();
}

/// All partitions of a topic were promoted of which one was cloned: of the others nothing was here, and their owner,
/// which knew of no copy, owned them on.
#[test]
fn a_partition_of_which_nothing_was_copied_is_promoted_by_its_number_alone() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 3);
    for partition in 0..3 {
        a.fill(&topic, partition, 1);
    }
    let one = clone_topic::Request {
        partition: Some(PartitionId::new(1)),
        ..cloning(&topic, &[&a])
    };
    b.ask(&one).unwrap();
    wait_until_level(&a, &b, &topic, 1);
    // Who asked it for the others read nothing, to the end.
    let moved = b.ask(&topic.fetch(0, Offset::ZERO)).unwrap_err();
    assert!(moved.is(ErrorCode::NotOwner), "{moved:?}");
    assert_eq!(moved.detail.address, Some(a.address()));
    a.kill();
    let promoting = ["promote", "t", "--accept-loss"];
    let role = |partition| status(&b, &topic, partition).role;
    // Asked again nothing is left to promote: the first of those that are left out was.
    for _ in 0..2 {
        let (_, said, code) = b.corelog().run(promoting).parts();
        assert_eq!(code, Some(1), "{said}");
        for partition in [0, 2] {
            let told = format!("t/{partition} is not promoted");
            assert!(said.contains(&told), "{said}");
        }
        let roles = [Role::Follower, Role::Owner, Role::Follower];
        assert_eq!([0, 1, 2].map(role), roles);
    }
    // Where nothing was promoted programs were told nothing.
    let in_json = [&promoting[..], &["--output", "json"]].concat();
    let (told, said, code) = b.corelog().run(in_json).parts();
    assert_eq!(code, Some(1), "{said}");
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["left_out"], serde_json::json!([0, 2]));
    assert_eq!(told["partitions"], serde_json::json!([]));
    let named = [&promoting[..], &["--partition", "2"]].concat();
    b.corelog().run(named).done();
    assert_eq!(role(2), Role::Owner);
}

/// They took their space until a start that came a day later.
#[test]
fn what_a_copy_received_behind_its_end_goes_with_the_next_opening_once_it_is_promoted() {
    let folder = Folder::new();
    let (_a, mut b, topic, end) = cut_off(&folder, 4);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let [repair, behind] = [(0, ".1"), (end.get(), "")].map(|(base, generation)| {
        let name = format!("0/{base:020}{generation}.log.{}.partial", now.as_millis());
        let file = b.topic_dir(&topic).join(name);
        std::fs::write(&file, b"some of it").unwrap();
        file
    });
    promote(&b, &topic);
    b.stop();
    b.up();
    assert!(!behind.exists());
    assert!(repair.exists());
}

/// It was refused behind the owner's becoming fenced, which it stayed.
#[test]
fn an_owner_whose_log_cannot_be_cut_is_not_changed_by_a_rejoin() {
    let folder = Folder::new();
    // Else it would be fenced by it, now or behind its start.
    let (mut a, b, topic, _) = cut_off(&folder, 8);
    forget(&a, &topic, &b);
    promote(&b, &topic);
    a.stop();
    let store = a.topic_dir(&topic).join("0/00000000000000000000.log");
    let store = std::fs::OpenOptions::new().write(true).open(store).unwrap();
    store.set_len(50_000).unwrap();
    a.up_out_of_reach();
    let refused = a.ask(&rejoining(&topic, &b)).unwrap_err();
    assert!(refused.is(ErrorCode::ReadOnly), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// Rounds of: the owner is killed amid appends, its follower is promoted, the old owner rejoins, and
/// the roles have changed. `CORELOG_PROMOTE_ROUNDS` sets how many.
#[test]
fn what_a_follower_reported_is_there_after_it_was_promoted() {
    let rounds = chance::number("CORELOG_PROMOTE_ROUNDS", 3);
    let folder = Folder::new();
    let mut nodes = [Node::start(&folder, "a"), Node::start(&folder, "b")];
    let topic = nodes[0].topic("t", 1);
    nodes[0].fill(&topic, 0, 40);
    nodes[1].follow(&topic, &[&nodes[0]]);
    for _ in 0..rounds {
        let [a, b] = &mut nodes;
        wait_until_level(a, b, &topic, 0);
        b.kill();
        a.fill(&topic, 0, 20);
        b.up();
        until("the follower hears its source", || {
            status(b, &topic, 0).source_end.is_some()
        });
        let _poured = a.pour(&topic, 0, 60);
        let heard = |a: &Node| {
            let mut followers = status(a, &topic, 0).followers.into_iter();
            followers.find(|follower| !follower.is_silent)
        };
        until("the follower is heard", || heard(a).is_some());
        until("the follower is remembered", || remembered(a, &topic) > 0);
        let reported = heard(a).unwrap().end;
        let there = bytes(a, &topic, 0, reported);
        a.kill();

        until("the follower misses its source", || {
            status(b, &topic, 0).state == State::Waiting
        });
        // A flush that is under way ends between the two.
        until("the refusal says where the log ends", || {
            let refused = b.ask(&promoting(&topic, false)).unwrap_err();
            assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
            refused.detail.end == Some(status(b, &topic, 0).end)
        });
        assert_eq!(status(b, &topic, 0).role, Role::Follower);
        let before = segments(b, &topic, 0).epochs;
        let promoted = promote(b, &topic);
        assert!(
            promoted.end >= reported,
            "{promoted:?}, reported {reported}"
        );
        assert!(promoted.source_end.is_some_and(|source| source >= reported));
        assert!(promoted.source_heard_ms.is_some());
        assert!(!promoted.is_lossless);
        let after = segments(b, &topic, 0).epochs;
        assert_eq!(
            (after[0].epoch, after[0].start),
            (promoted.epoch, promoted.end)
        );
        assert!(before.iter().all(|epoch| epoch.epoch < promoted.epoch));
        assert!(bytes(b, &topic, 0, reported) == there, "below {reported}");
        produce(b, &topic, &["new"]);

        a.up();
        // It asks those that followed it before it takes appends for long.
        until("the old owner is fenced", || {
            status(a, &topic, 0).role == Role::Fenced
        });
        let bytes = batch(Codec::None, ["not here"]);
        let refused = a.wire().call(&topic.produce(0), &bytes).unwrap();
        assert!(refused.unwrap_err().is(ErrorCode::NotOwner));
        let own = segments(a, &topic, 0).high_watermark;
        let ahead = own.since(promoted.end);
        let chain = |node: &Node| chain_at(node, &topic, 0, promoted.end).chain;
        assert_eq!(chain(a), chain(b), "it serves no readers any more");
        let rejoined = rejoin(a, &topic, b);
        assert_eq!((rejoined.common, rejoined.records), (promoted.end, ahead));
        wait_until_level(b, a, &topic, 0);
        assert_equal(b, a, &topic, 0);
        nodes.swap(0, 1);
    }
}

/// Each of an owner's partitions waited a second for it: a topic of 40 took as many, be it promoted by one request or,
/// as `corelog promote` does it, by one for each.
#[test]
fn the_partitions_of_an_owner_that_hangs_are_promoted_without_waiting_for_it_each() {
    const HALF: u32 = 20;
    const PARTITIONS: u32 = 2 * HALF;
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", PARTITIONS);
    b.follow(&topic, &[&a]);
    until("all are followed", || {
        (0..PARTITIONS).all(|partition| status(&b, &topic, partition).source_end.is_some())
    });
    // It takes connections, and says no Hello.
    for port in 0..2 {
        a.proxy.hold(port, Kind::Hello);
        a.proxy.cut(port);
    }
    let promoted = |request: promote::Request| {
        let begun = Instant::now();
        let promoted = b.ask(&request).map(|answer| answer.partitions);
        (promoted, begun.elapsed())
    };
    let (refused, _) = promoted(promoting_one(&topic, PARTITIONS - 1, false));
    let refused = refused.unwrap_err();
    assert!(refused.is(ErrorCode::LossPossible), "{refused:?}");
    let each = (0..HALF).map(|partition| {
        let (alone, took) = promoted(promoting_one(&topic, partition, true));
        assert_eq!(alone.unwrap().len(), 1);
        took
    });
    let each: Vec<_> = each.collect();
    let (rest, rest_took) = promoted(promoting(&topic, true));
    let rest = rest.unwrap();
    assert_eq!(rest.len(), HALF as usize);
    assert!(rest.iter().all(|promoted| !promoted.is_lossless));
    // Who waits a second for each promotes none before that. What is written for each takes its time, too, as much for the one
    // half as for the other.
    let second = Duration::from_secs(1);
    assert!(each.iter().any(|took| *took < second), "{each:?}");
    let rest_max = each.iter().sum::<Duration>() + HALF * second / 2;
    assert!(rest_took < rest_max, "{rest_took:?}, {each:?}");
}

/// The old owner is 10,000 acknowledged records ahead: they are in its quarantine, each as it was.
#[test]
fn what_an_old_owner_had_alone_is_in_quarantine_to_the_last_record() {
    let folder = Folder::new();
    let (a, b, topic, common) = cut_off(&folder, 50);
    let alone: Vec<_> = (0..10_000)
        .map(|number| format!("alone {number} {:0>300}", 7))
        .collect();
    let mut wire = a.wire();
    let mut alone_bytes = 0;
    for values in alone.chunks(100) {
        let bytes = batch(Codec::None, values);
        alone_bytes += bytes.len() as u64;
        wire.call(&topic.produce(0), &bytes).unwrap().unwrap();
    }
    let promoted = promote(&b, &topic);
    assert_eq!(promoted.end, common);
    produce(&b, &topic, &["after"]);
    a.connect();

    let before = a.quarantine();
    let rejoined = rejoin(&a, &topic, &b);
    assert_eq!((rejoined.common, rejoined.records), (common, 10_000));
    assert_eq!(rejoined.bytes, alone_bytes);
    let file = a.server().ready.data.join(rejoined.file.unwrap());
    assert!(file.is_file(), "{}", file.display());
    let mut found = Vec::new();
    for (name, bytes) in a.quarantine() {
        if before.contains_key(&name) || !name.contains(".log") {
            continue;
        }
        for batch in Batches::over(&bytes) {
            let Ok(batch) = batch else { break };
            let Ok(batch) = View::verify(batch) else {
                break;
            };
            let plain = batch.decompress(1 << 20).unwrap();
            let records = Records::over(&plain, &batch);
            found.extend(records.map(|record| {
                let record = record.unwrap();
                (record.offset, record.value.unwrap().to_vec())
            }));
        }
    }
    found.sort();
    found.retain(|(offset, _)| *offset >= common);
    let values = found
        .into_iter()
        .map(|(_, value)| String::from_utf8(value).unwrap());
    assert!(values.eq(alone), "not what it had alone");
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
}

/// A reader that went on behind what was lost read other records without a word, and left out those in between.
#[test]
fn a_fetch_behind_a_batch_that_was_lost_is_told_where_the_logs_part() {
    let folder = Folder::new();
    let (a, b, topic, common) = cut_off(&folder, 20);
    let read = a.fill(&topic, 0, 20);
    let epoch = segments(&a, &topic, 0).epochs[0].epoch;
    let behind = |offset, last_epoch| fetch::Request {
        last_epoch,
        ..topic.fetch(0, offset)
    };
    a.ask(&behind(read, Some(epoch))).unwrap();

    let promoted = promote(&b, &topic);
    assert_eq!(promoted.end, common);
    // While the new log is shorter than what was read, and when it is longer.
    for _ in 0..2 {
        let refused = b.ask(&behind(read, Some(epoch))).unwrap_err();
        assert!(refused.is(ErrorCode::Diverged), "{refused:?}");
        assert_eq!(refused.detail.offset, Some(common));
        b.fill(&topic, 0, 30);
    }
    b.ask(&behind(common, Some(epoch))).unwrap();
    b.ask(&behind(read, Some(promoted.epoch))).unwrap();
    b.ask(&behind(read, None)).unwrap();
}

/// What a node would ask first as a follower of `topic`, by what it says of its own log.
pub(super) fn first_fetch(node: &Node, topic: &Target) -> fetch::Request {
    let own = segments(node, topic, 0);
    let end = own.high_watermark;
    fetch::Request {
        follower: Some(fetch::Follower {
            copy: own.copy,
            end,
            chain: chain_at(node, topic, 0, end).chain,
            node: None,
            address: None,
            epochs: own.epochs,
        }),
        ..topic.fetch(0, end)
    }
}

#[test]
fn two_followers_that_were_both_promoted_part_where_they_were_the_same() {
    let folder = Folder::new();
    let mut a = Node::start(&folder, "a");
    let (b, c) = (Node::start(&folder, "b"), Node::start(&folder, "c"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 30);
    b.follow(&topic, &[&a]);
    c.follow(&topic, &[&a]);
    for follower in [&b, &c] {
        wait_until_level(&a, follower, &topic, 0);
    }
    let common = segments(&a, &topic, 0).high_watermark;
    a.kill();
    for node in [&b, &c] {
        assert_eq!(promote(node, &topic).end, common);
    }
    let ends = [b.fill(&topic, 0, 10), c.fill(&topic, 0, 30)];
    let held = |at: usize| bytes([&b, &c][at], &topic, 0, ends[at]);
    let before = [held(0), held(1)];
    for (from, to) in [(&b, &c), (&c, &b)] {
        let refused = to.ask(&first_fetch(from, &topic)).unwrap_err();
        assert!(refused.is(ErrorCode::Diverged), "{refused:?}");
        assert_eq!(refused.detail.offset, Some(common));
        let refused = from.ask(&cloning(&topic, &[to])).unwrap_err();
        assert!(refused.is(ErrorCode::NotFollower), "{refused:?}");
    }
    assert!([held(0), held(1)] == before, "nothing is overwritten");
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
    assert_eq!(status(&c, &topic, 0).role, Role::Owner);

    // One of them gives way.
    let rejoined = rejoin(&c, &topic, &b);
    assert_eq!((rejoined.common, rejoined.records), (common, 60));
    wait_until_level(&b, &c, &topic, 0);
    assert_equal(&b, &c, &topic, 0);
    assert!(held(0) == before[0], "nothing is overwritten");
}

/// An owner believes only what it reads where it knows a follower to be.
#[test]
fn an_epoch_that_is_only_claimed_fences_nobody() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let liar = Node::start(&folder, "liar");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 20);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let true_copy = segments(&b, &topic, 0).copy;
    let own = first_fetch(&a, &topic).follower.unwrap();
    for (copy, address) in [
        (true_copy, Some(b.address())),
        (true_copy, Some(liar.address())),
        (true_copy, None),
        (CopyId::from_bytes([7; 16]), Some(b.address())),
        (CopyId::from_bytes([8; 16]), Some(liar.address())),
    ] {
        let forged = Epoch {
            epoch: LeaderEpoch::new(99).unwrap(),
            lineage: Lineage::from_bytes([9; 16]),
            start: own.end,
        };
        let claims = fetch::Follower {
            copy,
            address,
            node: Some(NodeId::from_bytes([3; 16])),
            epochs: [&[forged][..], &own.epochs].concat(),
            ..own.clone()
        };
        for chain in [own.chain, Chain::from_raw(1)] {
            let request = fetch::Request {
                follower: Some(fetch::Follower {
                    chain,
                    ..claims.clone()
                }),
                ..topic.fetch(0, own.end)
            };
            let _ = a.ask(&request);
            produce(&a, &topic, &["mine"]);
        }
    }
    wait_until_level(&a, &b, &topic, 0);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    a.kill();
    a.up();
    a.wait_until_served(&topic, 0);
    produce(&a, &topic, &["mine still"]);
    let epochs = segments(&a, &topic, 0).epochs;
    assert!(
        epochs
            .iter()
            .all(|epoch| epoch.epoch < LeaderEpoch::new(99).unwrap())
    );
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// A true claim does: the old owner hears of the new one's epoch, and takes no more appends, nor
/// after it was started again.
#[test]
fn an_old_owner_that_hears_of_the_new_one_takes_no_more_appends() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 20);
    until("the follower is remembered", || remembered(&a, &topic) == 1);
    promote(&b, &topic);
    produce(&b, &topic, &["new"]);
    until("the old owner is fenced", || {
        // As the new owner would ask, had an operator let it follow.
        let _ = a.ask(&first_fetch(&b, &topic));
        status(&a, &topic, 0).role == Role::Fenced
    });
    let admin = a.server().ready.admin;
    let role = "corelog_partition_role{topic=\"t\",partition=\"0\",role=\"fenced\"";
    assert_eq!(metric(admin, role).to_string(), "1");
    let broken = metric(admin, "corelog_fenced_partitions");
    assert_eq!(broken.to_string(), "0", "no write or sync failed");
    takes_nothing_also_after_a_kill(&mut a, &topic, &b);
    assert_eq!(rejoin(&a, &topic, &b).records, 0);
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
    assert!(segments(&a, &topic, 0).high_watermark > Offset::ZERO);
}
