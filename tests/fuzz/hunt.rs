//! Bent frames against a live server.

use std::collections::BTreeSet;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use corelog_protocol::answer::CONNECTION_KIND;
use corelog_protocol::frame::{Decoder, Peek};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::copy_segments;
use corelog_protocol::{limits, request};
use corelog_record::Offset;
use corelog_record::batch::{self, View};

use crate::bend;
use crate::frames::{self, Frame};
use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::Start;
use crate::support::wire::{Reply, Target, Wire};
use crate::witness::Witness;

/// Every bent frame that keeps the framing is answered once, every one that loses it ends its
/// connection, and meanwhile the server serves, does not grow and does not leak.
/// `CORELOG_FUZZ_FRAMES` sets how many are sent.
#[test]
fn bent_frames_are_answered_and_felt_by_nobody() {
    let mut random = chance::random("hunt");
    let frames = chance::number("CORELOG_FUZZ_FRAMES", 300_000);
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let prey = wire.topic("prey", 2, 1 << 20);
    let witness = Witness::begin(server.ready.listen);
    let begun = Instant::now();

    let warm = hunt(server.ready.listen, &prey, frames / 10, &mut random);
    let (bytes, descriptors) = (server.resident_bytes(), server.descriptors());
    let sent = warm + hunt(server.ready.listen, &prey, frames - warm, &mut random);

    let seen = witness.end();
    let grown = server.resident_bytes().saturating_sub(bytes);
    println!(
        "{sent} frames in {:?}; grown by {} KiB from {} KiB; witness: {seen}",
        begun.elapsed(),
        grown >> 10,
        bytes >> 10,
    );
    assert!(grown < GROWTH_MAX, "grown by {grown} bytes");
    until("descriptors of hunters are closed", || {
        server.descriptors() <= descriptors + DESCRIPTORS_MORE
    });
    assert!(seen.turns > 10, "the witness was hardly served: {seen}");
    for partition in 0..2 {
        check_log(&mut wire, &prey, partition);
    }
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}

/// Sends at least `frames` from several connections at a time; gives how many.
fn hunt(address: SocketAddr, prey: &Target, frames: u64, random: &mut fastrand::Rng) -> u64 {
    let sent = Arc::new(AtomicU64::new(0));
    let hunters: Vec<_> = (0..HUNTERS)
        .map(|_| {
            let (sent, prey, mut random) = (Arc::clone(&sent), prey.clone(), random.fork());
            thread::spawn(move || {
                let good = frames::all(&prey);
                while sent.load(Ordering::Relaxed) < frames {
                    let count = attack(address, &good, &mut random);
                    sent.fetch_add(count, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for hunter in hunters {
        hunter.join().unwrap();
    }
    sent.load(Ordering::Relaxed)
}

/// One connection's life: a few tame frames, then a wild one. Gives how many frames were sent.
fn attack(address: SocketAddr, good: &[Frame], random: &mut fastrand::Rng) -> u64 {
    // What the server closes with unread bytes is reset, and that is its right; being refused a
    // connection is not.
    let mut wire = Wire::silent(address).unwrap();
    let pick = |random: &mut fastrand::Rng| good[random.usize(..good.len())].clone();
    if random.u32(..8) == 0 {
        let mut frame = pick(random);
        if random.bool() {
            bend::tame(&mut frame, random);
        }
        let _ = wire.send_raw(&frame.bytes());
        finish(&mut wire);
        return 1;
    }
    let tame: Vec<Frame> = (1..=random.u32(..40))
        .filter_map(|correlation| {
            let mut frame = pick(random);
            frame.correlation = correlation;
            if random.u32(..10) > 0 {
                bend::tame(&mut frame, random);
            }
            is_sent(&frame).then_some(frame)
        })
        .collect();
    let wild = bend::wild(&pick(random), random);
    let mut bytes = frames::hello().bytes();
    bytes.extend(tame.iter().flat_map(Frame::bytes));
    let count = tame.len() as u64 + 1;
    if random.bool() {
        // All at once: whatever is under way when the framing is lost may go unanswered.
        bytes.extend_from_slice(&wild);
        let _ = wire.send_raw(&bytes);
        finish(&mut wire);
        return count;
    }
    wire.send_raw(&bytes).unwrap();
    expect_answers(&mut wire, &tame);
    let _ = wire.send_raw(&wild);
    finish(&mut wire);
    count
}

/// Each request is answered once; requests that the server took for good may wait for nothing.
fn expect_answers(wire: &mut Wire, tame: &[Frame]) {
    let mut open: BTreeSet<u32> = tame.iter().map(|frame| frame.correlation).collect();
    // Hello's own answer.
    open.insert(0);
    while !open.is_empty() {
        let reply = wire.receive().unwrap_or_else(|error| {
            let frame = tame.iter().find(|frame| open.contains(&frame.correlation));
            panic!("{error}, with {} unanswered, such as {frame:?}", open.len());
        });
        let is_asked = open.contains(&reply.correlation);
        assert!(is_asked, "answered twice, or something else");
        if !has_more(&reply) {
            open.remove(&reply.correlation);
        }
        // Whatever it is, it can be read.
        let _ = reply.error();
    }
}

/// Whether more pieces of the same segment follow: of all requests only the bytes of segments, of which
/// one part is asked for here, have more than one answer.
fn has_more(reply: &Reply) -> bool {
    if reply.kind != Kind::CopySegments.number() || reply.error().is_some() {
        return false;
    }
    let read = reply.read::<copy_segments::Request>();
    read.is_ok_and(|(piece, _)| !piece.is_final)
}

/// Sends no more, and waits for the server to close.
fn finish(wire: &mut Wire) {
    let _ = wire.stream().shutdown(Shutdown::Write);
    loop {
        match wire.receive() {
            Ok(_) => {}
            Err(error) => {
                let is_hang = matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                );
                assert!(!is_hang, "not closed after the framing was lost");
                return;
            }
        }
    }
}

/// Not sent: what would, rightly, keep its answer back for long, make thousands of partitions, take a
/// snapshot of all there is, ask a name's whereabouts outside this machine, or has no place behind Hello, or
/// ends the connection as the wild ones do.
fn is_sent(frame: &Frame) -> bool {
    if frames::is_first_only(frame.kind) || frame.kind == CONNECTION_KIND {
        return false;
    }
    let bytes = frame.bytes();
    let Ok(Peek::Frame(found)) = Decoder::requests(limits::FRAME_BYTES_MAX).peek(&bytes) else {
        return false;
    };
    match request::Request::decode(&found) {
        Ok(request::Request::CreateTopic(create)) => create.partitions == 0,
        Ok(request::Request::CreateSnapshot(create)) => !create.topics.is_empty(),
        Ok(request::Request::CloneTopic(clone)) => clone.from.is_empty(),
        Ok(request) => frames::wait_ms(&request) < 100,
        Err(_) => true,
    }
}

/// What bent batches were let in are batches, whole and in order.
fn check_log(wire: &mut Wire, prey: &Target, partition: u32) {
    let describe = corelog_protocol::message::list_offsets::Request {
        topic: prey.name.clone(),
        id: prey.id,
        partition: corelog_record::PartitionId::new(partition),
        at: corelog_protocol::message::list_offsets::At::Earliest,
    };
    let (answer, _) = wire.call(&describe, &[]).unwrap().unwrap();
    let mut next: Offset = answer.log_start;
    let bytes = wire.read_all(prey, partition, next);
    for bytes in batch::Batches::over(&bytes) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        // The first one may begin below the log start.
        let is_around = batch.base_offset() < next && next < batch.next_offset();
        assert!(batch.base_offset() == next || next == answer.log_start && is_around);
        next = batch.next_offset();
    }
    assert!(answer.log_start < next, "nothing was let in");
}

const HUNTERS: usize = 4;

/// What the tail caches, the indexes and the allocator may take between warm and done.
const GROWTH_MAX: u64 = 96 << 20;

/// Segments of the prey that were rolled meanwhile.
const DESCRIPTORS_MORE: usize = 64;
