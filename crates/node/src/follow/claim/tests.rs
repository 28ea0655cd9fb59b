//! Tests of what shows that another node owns a partition.

use std::io::Read as _;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::mpsc;

use corelog_protocol::message::replica_status;
use corelog_record::{HistoryId, Lineage, PartitionId};
use futures_lite::future::{poll_once, zip};

use super::*;
use crate::core::tests::{batches, created, flush, produce, topic, until, with_core};
use crate::follow::line::tests::{connected, log, next, node, node_named, tell, tell_chain};
use crate::follow::samples::{followed, owner, peer};
use crate::follow::target::Target;

/// That one is silent was taken for its word that it owns nothing: the partition went to a third one beside it.
#[test]
fn a_partition_is_not_given_away_while_whom_a_copy_with_a_later_epoch_follows_does_not_tell() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        let another = CopyId::from_bytes([9; 16]);
        for (is_later, its_history, copy) in [
            (true, history, COPY),
            (false, history, COPY),
            (true, HistoryId::from_bytes([9; 16]), COPY),
            (true, history, another),
        ] {
            let log = segments::Answer {
                copy,
                ..its_log(is_later, its_history, GONE)
            };
            let address = telling_of(2, follower(NOBODY), log);
            let is_refused = is_claimed_at(&core, (&name, key), address).await;
            let is_its = its_history == history && copy == COPY;
            assert_eq!(is_refused, is_later && is_its);
        }
    });
}

/// One that was cloned anew is a copy of another name, and its log begins behind where it was taken over: a partition went to
/// a third one beside it. What its own owner began at a start, as where files were put back here, took nothing over.
#[test]
fn a_later_epoch_of_a_takeover_counts_where_both_logs_have_the_one_before() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        produce(&core, key, &batches(100)).await;
        flush(&core, key).await;
        let mine = core.epochs(key).unwrap()[0];
        for (lineage, later, is_refused) in [
            (mine.lineage, 1_000, true),
            (Lineage::from_bytes([9; 16]), 1_000, false),
            (mine.lineage, 1, false),
        ] {
            let mut log = its_log(true, history, GONE);
            log.copy = CopyId::from_bytes([9; 16]);
            log.epochs[0].epoch = LeaderEpoch::new(later).unwrap();
            log.epochs.push(Epoch {
                epoch: mine.epoch,
                lineage,
                start: mine.offset,
            });
            let address = telling_of(2, follower(NOBODY), log);
            let is_claimed = is_claimed_at(&core, (&name, key), address).await;
            assert_eq!(is_claimed, is_refused);
        }
    });
}

/// It passed for one by which nobody owns the partition, which got an epoch of the same number as that.
#[test]
fn a_partition_is_not_given_away_while_a_copy_with_a_later_epoch_tries_its_owner_or_goes_away() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        for address in [
            telling(2, follower(&myself()), true, history),
            going_away(follower(NOBODY), history),
        ] {
            assert!(is_claimed_at(&core, (&name, key), address).await);
        }
    });
}

/// Whether the partition is not given away for a later epoch of the follower at an address.
async fn is_claimed_at(
    core: &Rc<Core>,
    (name, key): (&TopicName, PartitionKey),
    address: String,
) -> bool {
    let _line = core.line_to(&address).await.unwrap();
    let follower = Peer { address, ..peer(2) };
    let replica = followed(core, Role::HandingOver, follower);
    let checked = core.check_unclaimed(name, key, &replica).await;
    checked.is_err_and(|why| why.message.contains("has a later epoch"))
}

/// It was seen to own the partition, and not reached when the handover was asked for again: its silence was passed over, and a
/// third one took the partition over.
#[test]
fn a_partition_is_not_given_away_while_whom_it_was_seen_to_be_owned_by_is_waited_for() {
    with_core(|core| async move {
        let (opened, key) = topic(1);
        let replica = Replica {
            role: Role::HandingOver,
            ..Replica::owner(key.partition)
        };
        let copies = [2, 3].map(|number| CopyId::from_bytes([number; 16]));
        let checked = async || core.check_unclaimed(&opened.name, key, &replica).await;
        core.followers.unasked.add(key, copies[1]);
        checked().await.unwrap();
        core.followers.unasked.hold(key, copies[0], owner(2));
        let refused = checked().await.unwrap_err();
        assert!(refused.is(ErrorCode::Busy), "{refused:?}");
        core.followers.settle(key, copies[0]);
        checked().await.unwrap();
    });
}

/// It may have several sources, and tells of the one that it tries: an owner that came back was not held once that was itself,
/// and served beside whoever had begun the epoch.
#[test]
fn an_owner_that_comes_back_waits_for_a_copy_with_a_later_epoch_that_names_that_owner() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        for is_later in [true, false] {
            let address = telling(2, follower(&myself()), is_later, history);
            core.followers.unasked.add(key, COPY);
            ask(&core, (name.clone(), key), address).await;
            assert_eq!(core.followers.unasked.is_held(key), is_later);
            assert_eq!(core.check_asked(key).is_err(), is_later);
        }
    });
}

/// Its word was not whole, and its silence then counted as one: the owner served at once beside whoever had begun the epoch.
#[test]
fn an_owner_that_comes_back_waits_for_a_copy_with_a_later_epoch_that_goes_away_before_it_shows_that()
 {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        let me = myself();
        core.followers.unasked.add(key, COPY);
        ask(&core, (name, key), going_away(follower(&me), history)).await;
        assert!(core.check_asked(key).is_err());
        assert!(!core.followers.unasked.is_held(key));
    });
}

/// A question that was begun before, and answered behind it, ended what a later one had found out: the owner served.
#[test]
fn that_a_copy_has_a_later_epoch_is_not_unsaid_by_what_it_was_asked_before() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        for is_found_out in [true, false] {
            let (asked, is_asked) = mpsc::channel();
            let (go_on, told) = mpsc::channel();
            let address = node_named(2, move |mut stream, mut received| {
                stream.peek(&mut [0]).unwrap();
                asked.send(()).unwrap();
                told.recv().unwrap();
                let log = its_log(false, history, Offset::ZERO);
                tell_both(&mut stream, &mut received, (follower(NOBODY), log));
            });
            let unasked = &core.followers.unasked;
            unasked.add(key, COPY);
            let finding_out = async {
                until("it is asked", || is_asked.try_recv().is_ok()).await;
                if is_found_out {
                    unasked.outrank(key, COPY);
                }
                go_on.send(()).unwrap();
            };
            zip(ask(&core, (name.clone(), key), address), finding_out).await;
            assert_eq!(core.check_asked(key).is_err(), is_found_out);
            unasked.forget(key);
        }
    });
}

/// Its word that it owns the partition came to nothing, and its owner was told that it is not reached, for as long as the copy told
/// of nobody.
#[test]
fn whom_a_copy_has_shown_shows_itself_that_it_owns_the_partition_once_the_copy_tells_of_nobody() {
    with_core(|core| async move {
        let (name, key) = created(&core).await;
        let history = core.place(key).unwrap().history;
        let by = Peer {
            address: telling(2, follower(NOBODY), false, history),
            ..peer(2)
        };
        let owned = replica_status::Partition::owned(key.partition, Offset::ZERO);
        let shown = Target {
            address: telling(3, owned, true, history),
            ..owner(3)
        };
        let (followers, copy) = (vec![by.clone()], by.copy);
        let remembering = |replica| {
            Ok(Replica {
                followers,
                ..replica
            })
        };
        let (admin, place) = (core.admin().unwrap(), (&name, key.topic, key.partition));
        admin
            .change_replica(place, None, remembering)
            .await
            .unwrap();
        core.followers.unasked.hold(key, copy, shown);
        let claimant = (name.clone(), key, copy);
        core.ask_at(&(by.address, false), vec![claimant]).await;
        let replica = core.replica(key).unwrap();
        assert_eq!(
            (replica.role, replica.target),
            (Role::Fenced, Some(owner(3).node))
        );
    });
}

/// That both owned it was told each second, and counted nowhere.
#[test]
fn a_partition_is_contested_by_whom_a_copy_has_shown_also_where_the_copy_tells_of_nobody_any_more()
{
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        let owned = replica_status::Partition::owned(key.partition, Offset::ZERO);
        let shown = telling(3, owned, false, history);
        ask_behind(shown, &core, (name, key, history)).await;
        assert!(core.followers.contested.knows(key, COPY));
        assert!(core.followers.unasked.is_held(key));
    });
}

/// It may just try this node as one of its sources: what it says then is not its word that it owns nothing.
#[test]
fn whom_a_copy_has_shown_is_waited_for_while_that_has_a_later_epoch_and_names_this_node() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        let shown = telling(3, follower(&myself()), true, history);
        ask_behind(shown, &core, (name, key, history)).await;
        assert!(core.followers.unasked.is_held(key));
    });
}

/// Whoever follows it may have been promoted, too.
#[test]
fn an_owner_that_comes_back_waits_for_a_copy_with_a_later_epoch_whose_follower_is_silent() {
    with_core(|core| async move {
        let (name, key, history) = opened(&core).await;
        for is_later in [true, false] {
            let silent = replica_status::Follower {
                node: Some(peer(3).node),
                address: Some(NOBODY.to_owned()),
                copy: peer(3).copy,
                end: Offset::ZERO,
                heard_ms: 0,
                is_silent: false,
            };
            let there = replica_status::Partition {
                source: None,
                followers: vec![silent],
                ..follower(NOBODY)
            };
            core.followers.unasked.add(key, COPY);
            let by = telling(2, there, is_later, history);
            ask(&core, (name.clone(), key), by).await;
            assert_eq!(core.followers.unasked.is_held(key), is_later);
        }
    });
}

#[test]
fn what_is_not_durable_yet_is_waited_for_before_its_chain_is_compared() {
    with_core(|core| async move {
        let (name, key, _) = opened(&core).await;
        produce(&core, key, &batches(100)).await;
        let end = core.place(key).unwrap().log_end;
        let there = core.place(key).unwrap().durable;
        let address = node(move |mut stream, mut received| {
            tell_chain(&mut stream, &mut received, there);
        });
        let line = connected(&address).await;
        let mut compared = pin!(core.is_same_at(&line, &name, key, end));
        assert!(poll_once(&mut compared).await.is_none());
        flush(&core, key).await;
        assert_eq!(compared.await, Ok(false));
    });
}

/// The second node's.
const COPY: CopyId = CopyId::from_bytes([2; 16]);

/// A partition that is open, and the history of its log.
async fn opened(core: &Rc<Core>) -> (TopicName, PartitionKey, HistoryId) {
    let (opened, key) = topic(1);
    assert!(core.open_partition(&opened, key).await);
    (opened.name.clone(), key, core.place(key).unwrap().history)
}

/// Has the partition's owner ask the second node's copy at an address.
async fn ask(core: &Rc<Core>, (name, key): (TopicName, PartitionKey), address: String) {
    let by = Peer {
        address: address.clone(),
        ..peer(2)
    };
    followed(core, Role::Owner, by);
    core.ask_at(&(address, false), vec![(name, key, COPY)])
        .await;
}

/// The same once that had shown a third node, and tells of nobody by now.
async fn ask_behind(
    shown: String,
    core: &Rc<Core>,
    (name, key, history): (TopicName, PartitionKey, HistoryId),
) {
    let shown = Target {
        address: shown,
        ..owner(3)
    };
    core.followers.unasked.hold(key, COPY, shown);
    let by = telling(2, follower(NOBODY), false, history);
    ask(core, (name, key), by).await;
}

/// Where a log begins of which what the two shared is gone: the copy itself is what shows that it followed this log.
const GONE: Offset = Offset::ZERO.plus(1);

/// Where nobody is reached.
const NOBODY: &str = "127.0.0.1:1";

/// Where the core of the test is reached, by its name.
fn myself() -> String {
    node_named(1, |mut stream, _| drop(stream.read_to_end(&mut Vec::new())))
}

/// A copy that follows a source.
fn follower(source: &str) -> replica_status::Partition {
    replica_status::Partition {
        role: replica_status::Role::Follower,
        source: Some(source.to_owned()),
        ..replica_status::Partition::owned(PartitionId::new(0), Offset::ZERO)
    }
}

/// A node that tells what it is to a partition, and then its log, that of the second node's copy.
fn telling(
    number: u8,
    there: replica_status::Partition,
    is_later: bool,
    history: HistoryId,
) -> String {
    telling_of(number, there, its_log(is_later, history, GONE))
}

/// The same with this log.
fn telling_of(number: u8, there: replica_status::Partition, log: segments::Answer) -> String {
    node_named(number, move |mut stream, mut received| {
        tell_both(&mut stream, &mut received, (there, log));
        drop(stream.read_to_end(&mut Vec::new()));
    })
}

/// The second node, which goes away when it is asked for the chain where its later epoch began.
fn going_away(there: replica_status::Partition, history: HistoryId) -> String {
    node_named(2, move |mut stream, mut received| {
        let log = its_log(true, history, Offset::ZERO);
        tell_both(&mut stream, &mut received, (there, log));
        next(&mut stream, &mut received);
    })
}

fn tell_both(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    (there, log): (replica_status::Partition, segments::Answer),
) {
    let status = replica_status::Answer {
        id: topic(1).1.topic,
        partitions: vec![there],
    };
    tell::<replica_status::Request>(stream, received, &status);
    tell::<segments::Request>(stream, received, &log);
}

fn its_log(is_later: bool, history: HistoryId, begin: Offset) -> segments::Answer {
    let later = Epoch {
        epoch: LeaderEpoch::new(1_000).unwrap(),
        lineage: Lineage::from_bytes([2; 16]),
        start: Offset::ZERO,
    };
    segments::Answer {
        history,
        copy: COPY,
        epochs: is_later.then_some(later).into_iter().collect(),
        ..log(begin, begin)
    }
}
