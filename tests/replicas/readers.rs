//! Who reads from one node or the other, whichever is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use corelog_client::{ClientConfig, ConsumerConfig, End, Start};
use corelog_record::{Offset, PartitionId, TopicName};

use super::copies::wait_until_level;
use super::node::Node;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric_if_any;
use crate::support::load::connect;

/// Its log ended below what had been read of the owner's, which was no place to read on: reading ended for good.
#[test]
fn a_reader_whose_owner_is_away_waits_for_a_follower_that_has_less_than_it_has_read() {
    let folder = Folder::new();
    let (mut a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    b.stop();
    let end = a.fill(&topic, 0, 5);
    let next = Arc::<AtomicU64>::default();
    let last = end.plus(2);
    let reader = thread::spawn({
        let (servers, name) = ([a.address(), b.address()], topic.name.clone());
        let next = Arc::clone(&next);
        move || read(servers, &name, last, &next)
    });
    until("all is read", || next.load(Ordering::Relaxed) == end.get());

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

/// Reads up to `last`, and tells what comes next.
fn read(servers: [String; 2], topic: &TopicName, last: Offset, next: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let client = connect(&ClientConfig::new(servers)).await;
        let mut consumer = client.consumer(ConsumerConfig {
            unreachable_timeout: None,
            ..ConsumerConfig::default()
        });
        consumer.assign(topic, PartitionId::new(0), Start::Earliest, End::Follow);
        for expected in 0..last.get() {
            let received = consumer.next().await.unwrap().unwrap();
            assert_eq!(received.offset.get(), expected);
            next.store(expected + 1, Ordering::Relaxed);
        }
    });
}
