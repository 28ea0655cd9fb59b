//! Fetches that wait at the end of a partition. How fast they wake is measured by
//! `bench/long_poll.rs`; here it counts that they do, and that nobody waits for them.

use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::message::{fetch, ping};
use corelog_record::Offset;
use corelog_record::batch::{Codec, View};

use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

#[test]
fn all_who_wait_at_the_end_wake_when_a_record_comes() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("bell", 1, 1 << 20);
    for round in 0..3 {
        let end = Offset::ZERO.plus(round);
        let wires: Vec<_> = (0..100)
            .map(|_| Wire::open(server.ready.listen).unwrap())
            .collect();
        let waiters: Vec<_> = wires
            .into_iter()
            .map(|mut wire| {
                wire.send(&waiting(&topic, 0, end), &[]).unwrap();
                thread::spawn(move || wire.receive().unwrap().read::<fetch::Request>().unwrap())
            })
            .collect();
        until_parked(&server, 100);
        let ring = batch(Codec::None, [format!("ring {round}")]);
        wire.call(&topic.produce(0), &ring).unwrap().unwrap();
        for waiter in waiters {
            let (answer, body) = waiter.join().unwrap();
            assert_eq!(answer.next, end.plus(1));
            let records = View::verify(&body).unwrap().records().unwrap();
            let values: Vec<_> = records
                .map(|r| r.unwrap().value.unwrap().to_vec())
                .collect();
            assert_eq!(values, [format!("ring {round}").into_bytes()]);
        }
    }
}

#[test]
fn a_reader_that_takes_a_batch_at_a_time_waits_only_at_the_end() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("steps", 1, 1 << 20);
    let batches: Vec<_> = (0..5)
        .flat_map(|step| batch(Codec::None, [format!("step {step}")]))
        .collect();
    wire.call(&topic.produce(0), &batches).unwrap().unwrap();
    for door in server.ready.cores.clone() {
        let mut wire = Wire::open(door).unwrap();
        for step in 0..5 {
            // Longer than the test waits for an answer.
            let one = fetch::Request {
                max_bytes: 1,
                max_wait_ms: 60_000,
                ..topic.fetch(0, Offset::ZERO.plus(step))
            };
            let (answer, _) = wire.call(&one, &[]).unwrap().unwrap();
            assert_eq!(answer.next, Offset::ZERO.plus(step + 1));
        }
    }
}

/// Neither on its connection, nor of its partition, nor in its lane between the cores.
#[test]
fn a_parked_fetch_holds_back_no_other_answer() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("quiet", 2, 1 << 20);
    for door in server.ready.cores.clone() {
        let mut wire = Wire::open(door).unwrap();
        for number in 0..20 {
            let request = fetch::Request {
                min_bytes: 1 << 20,
                ..waiting(&topic, number % 2, Offset::ZERO)
            };
            wire.send(&request, &[]).unwrap();
        }
        until_parked(&server, 20);
        for partition in 0..2 {
            let produced = wire.send(&topic.produce(partition), &batch(Codec::None, ["one"]));
            let pinged = wire.send(&ping::Request {}, &[]);
            let mut answered = [(); 2].map(|()| wire.receive().unwrap().correlation);
            answered.sort_unstable();
            assert_eq!(answered, [produced.unwrap(), pinged.unwrap()]);
        }
        drop(wire);
        // Those who left wait no more, not until they would have been answered.
        let left = Instant::now();
        until_parked(&server, 0);
        assert!(left.elapsed() < Duration::from_secs(30));
    }
}

fn until_parked(server: &Server, count: usize) {
    until("all wait", || {
        metric(server.ready.admin, "corelog_parked_fetches") == count as f64
    });
}

fn waiting(topic: &Target, partition: u32, end: Offset) -> fetch::Request {
    fetch::Request {
        max_wait_ms: 45_000,
        ..topic.fetch(partition, end)
    }
}
