//! Clients that cost: one that never reads, a thousand that never speak, many that die in
//! mid-frame.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelog_protocol::message::{fetch, produce};
use corelog_record::Offset;
use corelog_record::batch::Codec;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::frames::{self, Frame};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};
use crate::witness::Witness;

/// What is fetched and not read stays within what a connection may have in flight; others are
/// served meanwhile, and all of it is given back when the client goes.
#[test]
fn a_client_that_never_reads_costs_no_more_than_its_bound() {
    let folder = Folder::new();
    let server = start(&folder);
    let topic = filled(&server, 48 << 20);
    let before = (server.resident_bytes(), server.descriptors());
    let witness = Witness::begin(server.ready.listen);
    let greedy: Vec<Wire> = (0..GREEDY)
        .map(|_| {
            let mut wire = Wire::open(server.ready.listen).unwrap();
            wire.stream()
                .set_write_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            for _ in 0..200 {
                let request = fetch::Request {
                    max_bytes: 8 << 20,
                    ..topic.fetch(0, Offset::ZERO)
                };
                // The server reads no further once the bound is reached; it need not.
                if wire.send(&request, &[]).is_err() {
                    break;
                }
            }
            wire
        })
        .collect();
    let mut most = 0;
    let mut looks = 0;
    until("a while has passed, in which others were served", || {
        most = server.resident_bytes().max(most);
        looks += 1;
        looks > 300 && witness.turns() > 10
    });
    let seen = witness.end();
    println!(
        "{GREEDY} clients that do not read: {} KiB, at most {} KiB; witness: {seen}",
        before.0 >> 10,
        most >> 10
    );
    assert!(most < before.0 + GREEDY as u64 * GREEDY_BYTES_MAX + SLACK_BYTES);
    drop(greedy);
    until("the descriptors are given back", || {
        server.descriptors() <= before.1 + FILES_MORE
    });
    assert!(server.stop().status.success());
}

/// A thousand connections that said Hello, and a hundred that did not, cost what they are.
#[test]
fn a_thousand_idle_connections_cost_little_and_leave_nothing() {
    raise_descriptors();
    let folder = Folder::new();
    let server = start(&folder);
    let mut first = Wire::open(server.ready.listen).unwrap();
    first.ping().unwrap();
    let before = (server.resident_bytes(), server.descriptors());
    let mut idle: Vec<Wire> = (0..1_000)
        .map(|_| Wire::open(server.ready.listen).unwrap())
        .collect();
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(server.ready.listen).unwrap())
        .collect();
    let witness = Witness::begin(server.ready.listen);
    for wire in idle.iter_mut().step_by(100) {
        wire.ping().unwrap();
    }
    let grown = server.resident_bytes().saturating_sub(before.0);
    let seen = witness.end();
    println!(
        "1,100 idle connections: {} KiB; witness: {seen}",
        grown >> 10
    );
    assert!(
        grown < 1_100 * IDLE_BYTES_MAX + SLACK_BYTES,
        "{grown} bytes"
    );
    drop((idle, silent));
    until("the descriptors are given back", || {
        server.descriptors() <= before.1 + FILES_MORE
    });
    assert!(server.stop().status.success());
}

/// Each kept the memory by which its last answer had been put together, for as long as it was there.
#[test]
fn a_thousand_connections_that_have_read_cost_no_more_than_those_that_have_not() {
    raise_descriptors();
    let folder = Folder::new();
    let server = start(&folder);
    let mut first = Wire::open(server.ready.listen).unwrap();
    let topic = first.topic("read", 1, 128 << 20);
    let body = batch(Codec::None, [vec![7; 64 << 10]]);
    let written = first.call::<produce::Request>(&topic.produce(0), &body);
    written.unwrap().unwrap();
    let mut readers: Vec<Wire> = (0..1_000)
        .map(|_| Wire::open(server.ready.listen).unwrap())
        .collect();
    let before = server.resident_bytes();
    for reader in &mut readers {
        let read = reader.call::<fetch::Request>(&topic.fetch(0, Offset::ZERO), &[]);
        read.unwrap().unwrap();
    }
    let grown = || server.resident_bytes().saturating_sub(before);
    until("they rest as they did", || grown() < 1_000 * REST_BYTES_MAX);
    println!("1,000 that have read: grown by {} KiB", grown() >> 10);
    drop(readers);
    assert!(server.stop().status.success());
}

/// A connection that ends in the middle of a frame takes what it had with it.
#[test]
fn a_connection_killed_in_mid_frame_leaves_nothing() {
    let folder = Folder::new();
    let server = start(&folder);
    let topic = filled(&server, 1 << 20);
    let witness = Witness::begin(server.ready.listen);
    cut_frames(server.ready.listen, &topic, 50);
    let before = (server.resident_bytes(), server.descriptors());
    cut_frames(server.ready.listen, &topic, 400);
    until("the descriptors are given back", || {
        server.descriptors() <= before.1 + FILES_MORE
    });
    let grown = server.resident_bytes().saturating_sub(before.0);
    let seen = witness.end();
    println!(
        "400 cut frames: grown by {} KiB; witness: {seen}",
        grown >> 10
    );
    assert!(grown < SLACK_BYTES, "grown by {grown} bytes");
    assert!(server.stop().status.success());
}

/// Sends a part of a large frame and cuts the connection.
fn cut_frames(address: SocketAddr, topic: &Target, count: usize) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut frame = produce_frame(topic);
    for number in 0..count {
        let mut wire = Wire::open(address).unwrap();
        frame.correlation = u32::try_from(number).unwrap();
        let bytes = frame.bytes();
        wire.send_raw(&bytes[..random.usize(1..bytes.len())])
            .unwrap();
        if random.bool() {
            // Bytes that are still on their way are dropped: the server sees a reset.
            let _ = nix::sys::socket::setsockopt(
                wire.stream(),
                nix::sys::socket::sockopt::Linger,
                &nix::libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                },
            );
        }
    }
}

fn produce_frame(topic: &Target) -> Frame {
    let body = batch(Codec::None, (0..8).map(|_| vec![7; 500_000]));
    let mut head = frames::all(topic)
        .into_iter()
        .find(|frame| frame.body.len() > 100)
        .unwrap();
    head.body = body;
    head
}

/// A topic of one partition with so many bytes in it.
fn filled(server: &Server, bytes: usize) -> Target {
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("filled", 1, 128 << 20);
    let body = batch(Codec::None, (0..8).map(|number| vec![number; 128 << 10]));
    for _ in 0..bytes / body.len() {
        let answer = wire.call::<produce::Request>(&topic.produce(0), &body);
        answer.unwrap().unwrap();
    }
    topic
}

fn start(folder: &Folder) -> Server {
    Start::on(&folder.path().join("data")).cores(2).start()
}

/// The test's own end of a thousand connections.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard).unwrap();
}

const GREEDY: usize = 4;

/// Two of the largest answers, what lies in the socket's buffers, and the requests.
const GREEDY_BYTES_MAX: u64 = 24 << 20;

/// A connection's buffers, both ways, and its tasks.
const IDLE_BYTES_MAX: u64 = 64 << 10;

/// What a connection may keep of what it has read: less than any of its pieces.
const REST_BYTES_MAX: u64 = 16 << 10;

/// What the allocator and the tail caches may hold on to.
const SLACK_BYTES: u64 = 64 << 20;

/// Files of the witness's partitions, and those opened in the background.
const FILES_MORE: usize = 24;
