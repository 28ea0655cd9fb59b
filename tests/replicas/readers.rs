//! Who reads from one node or the other, whichever is there.

use std::thread;
use std::time::{Duration, Instant};

use corelog_client::{ClientConfig, Consumer, ConsumerConfig, End, Error, Start};
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::limits::FETCH_WAIT_MS_MAX;
use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::{clone_topic, delete_topic, fetch};
use corelog_record::{PartitionId, TopicName};

use super::copies::{level_pair, segments, status, wait_until_level};
use super::fence::until_fenced;
use super::node::{Node, cloning};
use super::promote::{cut_off, promote, rejoin};
use crate::support::deadline::{DEADLINE, until};
use crate::support::folder::Folder;
use crate::support::http::{json, metric_if_any};
use crate::support::load::connect;
use crate::support::proxy::{Odds, Proxy};
use crate::support::wire::Target;

/// Its log ended below what had been read of the owner's, which was no place to read on: reading ended for good.
#[test]
fn a_reader_whose_owner_is_away_waits_for_a_follower_that_has_less_than_it_has_read() {
    for start in [Start::Earliest, Start::Latest] {
        let folder = Folder::new();
        let (mut a, mut b, topic) = level_pair(&folder, 1);
        b.stop();
        let end = a.fill(&topic, 0, 5);
        let last = end.plus(2);
        let first = if start == Start::Latest { end.get() } else { 0 };
        let (servers, name) = ([a.address(), b.address()], topic.name.clone());
        let reader = thread::spawn(move || {
            reading(servers, &name, start, async |mut consumer| {
                for expected in first..last.get() {
                    let received = consumer.next().await.unwrap().unwrap();
                    assert_eq!(received.offset.get(), expected);
                }
            });
        });
        wait_until_parked(&a, 1);
        a.kill();
        b.up();
        let admin = b.server().ready.admin;
        let refused = "corelog_errors_total{core=\"0\",code=\"OutOfRange\"";
        until("the follower is asked for what it has not", || {
            metric_if_any(admin, refused).is_some_and(|count| count >= 1.0)
        });
        a.up();
        assert_eq!(a.fill(&topic, 0, 1), last);
        reader.join().unwrap();
    }
}

/// Who had begun where the owner ended, and had read nothing yet, left out what took the place of that.
#[test]
fn a_reader_of_what_comes_is_told_that_a_promotion_with_loss_began_below_it() {
    let folder = Folder::new();
    let (mut a, b, topic, common) = cut_off(&folder, 1);
    let end = a.fill(&topic, 0, 5);
    // Around the way on which the follower does not reach it.
    let way = Proxy::listen(2, Odds::default(), fastrand::Rng::new());
    way.lead_to(a.server().ready.doors());
    let (servers, name) = ([way.address.to_string(), b.address()], topic.name.clone());
    let reader = thread::spawn(move || {
        reading(
            servers,
            &name,
            Start::Latest,
            async |mut consumer| match consumer.next().await.unwrap() {
                Err(Error::Diverged {
                    offset, parting, ..
                }) => assert_eq!((offset, parting), (end, common)),
                other => panic!("{other:?}"),
            },
        );
    });
    wait_until_parked(&a, 1);
    way.lead_nowhere();
    a.kill();
    promote(&b, &topic);
    b.fill(&topic, 0, 10);
    reader.join().unwrap();
}

/// It was given what only the old owner had, which no other log has, and waited there for what comes for ever.
#[test]
fn a_reader_that_asks_an_owner_that_was_replaced_reads_at_the_new_one() {
    let folder = Folder::new();
    let (mut a, b, topic, common) = cut_off(&folder, 1);
    a.fill(&topic, 0, 5);
    a.kill();
    promote(&b, &topic);
    let end = b.fill(&topic, 0, 8);
    a.up();
    until_fenced(&a, &topic);
    let to_new = |refused: Box<ErrorBody>| {
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
        assert_eq!(refused.detail.address, Some(b.address()));
    };
    to_new(a.ask(&topic.fetch(0, common)).unwrap_err());
    to_new(a.ask(&topic.list_offsets(0, At::Latest)).unwrap_err());
    let servers = [a.server().ready.listen.to_string(), b.address()];
    reading(
        servers,
        &topic.name,
        Start::Earliest,
        async |mut consumer| {
            for expected in 0..end.get() {
                let received = consumer.next().await.unwrap().unwrap();
                assert_eq!(received.offset.get(), expected);
            }
        },
    );
}

/// It was told when its wait was over, a minute later.
#[test]
fn a_reader_that_waits_at_an_owner_that_is_replaced_is_told_so_at_once() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 1);
    // Beside its follower.
    is_told_at_once((&a, 2), &topic, &b, || {
        promote(&b, &topic);
    });
}

/// It was told when its wait was over, a minute later.
#[test]
fn a_reader_that_waits_at_a_copy_is_told_at_once_that_it_gets_no_more() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 1);
    is_told_at_once((&b, 1), &topic, &a, || {
        let once = clone_topic::Request {
            follow: false,
            ..cloning(&topic, &[&a])
        };
        b.ask(&once).unwrap();
    });
    b.follow(&topic, &[&a]);
    until("it follows again", || {
        status(&b, &topic, 0).state == State::Following
    });
    is_told_at_once((&b, 1), &topic, &a, || {
        let delete = delete_topic::Request {
            name: topic.name.clone(),
            id: topic.id,
        };
        a.ask(&delete).unwrap();
        // Another one, which is never copied over this one.
        a.topic("t", 1);
    });
}

/// Checks that a reader who waits at a node's end, as the last of so many, is sent to the next one when that is `ended`.
fn is_told_at_once(
    (node, parked): (&Node, u64),
    topic: &Target,
    next: &Node,
    ended: impl FnOnce(),
) {
    let end = segments(node, topic, 0).high_watermark;
    let mut wire = node.wire();
    let poll = fetch::Request {
        max_wait_ms: FETCH_WAIT_MS_MAX,
        ..topic.fetch(0, end)
    };
    wire.send(&poll, &[]).unwrap();
    wait_until_parked(node, parked);
    let begun = Instant::now();
    ended();
    let refused = wire.receive().unwrap().error().unwrap();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(next.address()));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// It waited for ever at the end of a copy that gets no more, though the source was up.
#[test]
fn a_reader_at_the_end_of_a_copy_that_was_made_once_reads_on_at_the_source() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let copied = a.fill(&topic, 0, 2);
    let once = clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[&a])
    };
    b.ask(&once).unwrap();
    until("the copy is made", || {
        status(&b, &topic, 0).state == State::Done
    });
    let end = a.fill(&topic, 0, 3);
    let at_end = topic.fetch(0, copied);
    assert_eq!(b.ask(&at_end).unwrap().high_watermark, copied);
    let max_wait_ms = 1;
    let refused = b.ask(&fetch::Request {
        max_wait_ms,
        ..at_end
    });
    let refused = refused.unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(a.address()));
    let servers = [b.address(), a.address()];
    reading(
        servers,
        &topic.name,
        Start::Earliest,
        async |mut consumer| {
            for expected in 0..end.get() {
                let received = consumer.next().await.unwrap().unwrap();
                assert_eq!(received.offset.get(), expected);
            }
        },
    );
}

/// Of such an owner nothing could be had again once the new one was gone, too: it follows nobody.
#[test]
fn an_owner_that_was_replaced_takes_a_partition_back_that_is_named_and_no_other() {
    let folder = Folder::new();
    let (mut a, mut b, topic, _) = cut_off(&folder, 1);
    let end = a.fill(&topic, 0, 5);
    a.kill();
    promote(&b, &topic);
    a.up();
    until_fenced(&a, &topic);
    b.kill();
    let corelog = a.corelog();
    let by_name = ["promote", "t", "--accept-loss"];
    let said = corelog.run(by_name).parts().1;
    assert!(said.contains("--partition 0 does it"), "{said}");
    let said = corelog.run(["promote", "t", "--partition", "0"]).failed(1);
    assert!(said.contains("NotFollower"), "{said}");
    let named = ["promote", "t", "--partition", "0", "--accept-loss"];
    corelog.run(named).done();
    assert_eq!(a.fill(&topic, 0, 1), end.plus(2));
    let all = ["consume", "t", "--format", "%o\n"];
    let lines = corelog.run(all).text().lines().count() as u64;
    assert_eq!(lines, end.get() + 2);

    // The other one has to give way, should it come back.
    b.up();
    rejoin(&b, &topic, &a);
    wait_until_level(&a, &b, &topic, 0);
}

/// Waits until somebody waits there for what comes.
fn wait_until_parked(node: &Node, count: u64) {
    let admin = node.server().ready.admin;
    until("a reader waits for what comes", || {
        json(admin, "/v1/node")["cores"][0]["parked_fetches"] == count
    });
}

/// Has a consumer of two nodes that follows partition 0 from a start on.
fn reading(
    servers: [String; 2],
    topic: &TopicName,
    start: Start,
    read: impl AsyncFnOnce(Consumer),
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let client = connect(&ClientConfig::new(servers)).await;
        let mut consumer = client.consumer(ConsumerConfig {
            unreachable_timeout: None,
            ..ConsumerConfig::default()
        });
        consumer.assign(topic, PartitionId::new(0), start, End::Follow);
        // Meanwhile the test waits for something else, at most as long.
        let read = tokio::time::timeout(2 * DEADLINE, read(consumer)).await;
        assert!(read.is_ok(), "not all was read in time");
    });
}
