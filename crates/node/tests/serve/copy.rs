//! Files of segments on their way to a peer.

use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::copy_segments::{Answer, Part, Request};
use corelog_protocol::message::{fetch, ping, produce, segments};
use corelog_record::{HistoryId, Offset, Position};

use crate::client::{Client, batch, from, name, to};
use crate::segments::{Many, TOPIC, offset};
use crate::{sum, wait_until};

const PIECE_BYTES_MAX: u32 = 4 << 20;
const PIECE_BYTES_MIN: u32 = 64 << 10;
/// No peer is cut before, however slow the machine is.
const LONG: Duration = Duration::from_secs(600);

fn request(many: &Many, history: HistoryId, parts: Vec<Part>) -> Request {
    Request {
        topic: name(TOPIC),
        id: many.id,
        partition: Many::partition(),
        history,
        parts,
        piece_bytes_max: PIECE_BYTES_MAX,
    }
}

fn whole(segment: Offset) -> Part {
    Part {
        segment,
        generation: 0,
        position: Position::ZERO,
        bytes: None,
    }
}

fn parts(sealed: &[segments::Sealed]) -> Vec<Part> {
    sealed.iter().map(|sealed| whole(sealed.base)).collect()
}

/// What came of one request: the pieces that are good, and how it ended.
struct Copied {
    pieces: Vec<(Answer, Vec<u8>)>,
    end: Result<(), ErrorBody>,
}

impl Copied {
    /// Receives until so many parts are final, or an error.
    fn receive(client: &mut Client, correlation: u32, parts: usize) -> Self {
        let mut copied = Self {
            pieces: Vec::new(),
            end: Ok(()),
        };
        let mut left = parts;
        while left > 0 {
            let arrived = client.receive::<Request>();
            assert_eq!(arrived.correlation, correlation);
            match arrived.told {
                Ok(answer) => {
                    assert_eq!(answer.bytes as usize, arrived.body.len());
                    left -= usize::from(answer.is_final);
                    copied.pieces.push((answer, arrived.body));
                }
                Err(error) => {
                    copied.end = Err(error);
                    break;
                }
            }
        }
        copied
    }

    fn ask(client: &mut Client, request: &Request) -> Self {
        let correlation = client.send(request, &[]);
        Self::receive(client, correlation, request.parts.len())
    }

    /// The bytes of a segment's store from the first piece on, which are to follow each other.
    fn bytes(&self, segment: Offset) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pieces = self.pieces.iter();
        let first = pieces.find(|(answer, _)| answer.segment == segment);
        let start = first.map_or(0, |(answer, _)| answer.position.get());
        for (answer, body) in self.pieces.iter().filter(|(a, _)| a.segment == segment) {
            assert_eq!(answer.position.get(), start + bytes.len() as u64);
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn refused(self) -> ErrorBody {
        assert!(self.pieces.is_empty(), "nothing was to be sent");
        self.end.expect_err("a refusal")
    }
}

/// How many descriptors of this process are of that file.
fn open_count(path: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("descriptors");
    let of = |fd: &std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|to| to == path);
    all.flatten().filter(of).count()
}

#[test]
fn three_of_twenty_segments_that_are_named_are_sent_byte_by_byte_and_nothing_else() {
    let mut many = Many::start(20, |_| {});
    let told = many.segments(0);
    let named: Vec<_> = [3, 5, 9].map(|index| told.sealed[index].clone()).into();
    let mut peer = Client::hello(many.node.addresses().cores[0]);
    let before = peer.wire_bytes;
    let copied = Copied::ask(&mut peer, &request(&many, told.history, parts(&named)));
    let on_the_wire = (peer.wire_bytes - before) as u64;
    copied.end.as_ref().expect("all of it");
    let mut wanted = 0;
    for sealed in &named {
        let stored = std::fs::read(many.store(sealed.base)).expect("a store");
        assert!(copied.bytes(sealed.base) == stored, "{}", sealed.base);
        wanted += sealed.digest.bytes;
    }
    let heads = on_the_wire - wanted;
    assert!(heads < 100 * named.len() as u64, "{heads} bytes of heads");
    peer.ask(&ping::Request {})
        .expect("and nothing behind them");
    let copied: u64 = many.node.handle().counters()[0].transferred_bytes_total;
    assert_eq!(copied, wanted);
    many.node.stop().expect("a clean stop");
}

#[test]
fn a_range_comes_in_pieces_of_the_size_that_was_asked_for_the_last_one_marked() {
    let mut many = Many::start(2, |_| {});
    let told = many.segments(0);
    let part = Part {
        position: Position::new(100).expect("a position"),
        bytes: Some(250_000),
        ..whole(told.sealed[1].base)
    };
    let empty = Part {
        bytes: Some(0),
        ..part.clone()
    };
    let mut request = request(&many, told.history, vec![part.clone(), empty]);
    request.piece_bytes_max = 100_000;
    let mut peer = Client::hello(many.node.addresses().cores[1]);
    let copied = Copied::ask(&mut peer, &request);
    let shape = |(answer, _): &(Answer, Vec<u8>)| (answer.bytes, answer.is_final);
    let shapes: Vec<_> = copied.pieces.iter().map(shape).collect();
    let expected = [
        (100_000, false),
        (100_000, false),
        (50_000, true),
        (0, true),
    ];
    assert_eq!(shapes, expected);
    let stored = std::fs::read(many.store(part.segment)).expect("a store");
    let bodies = copied.pieces.iter().flat_map(|(_, body)| body);
    assert!(bodies.eq(&stored[100..250_100]));
    many.node.stop().expect("a clean stop");
}

#[test]
fn what_makes_no_sense_is_refused_and_the_connection_goes_on() {
    let mut many = Many::start(1, |_| {});
    let told = many.segments(0);
    let base = told.sealed[0].base;
    let mut peer = Client::hello(many.node.addresses().listen);
    let mut refused = |request: &Request| Copied::ask(&mut peer, request).refused();
    let none = request(&many, told.history, vec![]);
    let crowd = request(&many, told.history, vec![whole(base); 1025]);
    let of_pieces = |piece_bytes_max| Request {
        piece_bytes_max,
        ..request(&many, told.history, vec![whole(base)])
    };
    // A head for each byte kept eight threads busy, at no rate at all.
    let [no_bytes, crumbs] = [0, PIECE_BYTES_MIN - 1].map(of_pieces);
    let beyond = Part {
        bytes: Some(1 << 40),
        ..whole(base)
    };
    let beyond = request(&many, told.history, vec![beyond]);
    for request in [crowd, no_bytes, crumbs, beyond] {
        let error = refused(&request);
        assert!(error.is(ErrorCode::InvalidRequest), "{error}");
    }
    let correlation = peer.send(&none, &[]);
    let error = Copied::receive(&mut peer, correlation, 1).refused();
    assert!(error.is(ErrorCode::InvalidRequest), "{error}");
    let smallest = Copied::ask(&mut peer, &of_pieces(PIECE_BYTES_MIN));
    smallest.end.expect("all of it");
    many.node.stop().expect("a clean stop");
}

#[test]
fn what_is_not_a_sealed_segment_of_this_log_is_gone() {
    let mut many = Many::start(1, |_| {});
    let told = many.segments(0);
    let base = told.sealed[0].base;
    let active = told.active.expect("an active segment").base;
    let other = Part {
        generation: 1,
        ..whole(base)
    };
    let stranger = HistoryId::from_bytes([7; 16]);
    let mut peer = Client::hello(many.node.addresses().listen);
    for (history, part) in [
        (stranger, whole(base)),
        (told.history, other),
        (told.history, whole(active)),
        (told.history, whole(offset(1 << 40))),
    ] {
        let segment = part.segment;
        let error = Copied::ask(&mut peer, &request(&many, history, vec![part])).refused();
        assert!(error.is(ErrorCode::Gone), "{error}");
        assert_eq!(error.detail.segment, Some(segment));
    }
    many.node.stop().expect("a clean stop");
}

#[test]
fn records_do_not_travel_over_a_connection_that_segments_were_sent_over() {
    let mut many = Many::start(1, |_| {});
    let told = many.segments(0);
    let mut peer = Client::hello(many.node.addresses().listen);
    let request = request(&many, told.history, parts(&told.sealed));
    Copied::ask(&mut peer, &request).end.expect("all of it");
    let produced = peer.produce(&to(TOPIC, many.id, 1), &["v"]);
    let error = produced.expect_err("refused");
    assert!(error.is(ErrorCode::InvalidRequest), "{error}");
    peer.send(&from(TOPIC, many.id, 1, 0), &[]);
    let error = peer.receive::<fetch::Request>().told.expect_err("refused");
    assert!(error.is(ErrorCode::InvalidRequest), "{error}");
    many.node.stop().expect("a clean stop");
}

/// Answers to what was asked before once could have landed in the middle of a file's bytes.
#[test]
fn other_answers_of_the_connection_come_before_or_behind_all_bytes_of_files() {
    let mut many = Many::start(4, |_| {});
    let told = many.segments(0);
    let mut peer = Client::hello(many.node.addresses().listen);
    let copy = request(&many, told.history, parts(&told.sealed));
    for _ in 0..5 {
        peer.send(&ping::Request {}, &[]);
        let first = peer.send(&copy, &[]);
        let second = peer.send(&copy, &[]);
        peer.send(&ping::Request {}, &[]);
        peer.receive::<ping::Request>().told.expect("before");
        for correlation in [first, second] {
            let copied = Copied::receive(&mut peer, correlation, copy.parts.len());
            copied.end.expect("all of it");
        }
        peer.receive::<ping::Request>().told.expect("behind");
    }
    many.node.stop().expect("a clean stop");
}

#[test]
fn a_segment_that_expires_before_its_turn_is_gone_and_what_came_before_is_good() {
    let mut many = Many::start(20, |_| {});
    let told = many.segments(0);
    let mut peer = Client::hello(many.node.addresses().listen);
    let request = request(&many, told.history, parts(&told.sealed));
    let correlation = peer.send(&request, &[]);
    // The rest waits until the peer reads: more than sockets hold.
    wait_until(|| peer.socket().peek(&mut [0]).expect("it is sent") > 0);
    let stored = std::fs::read(many.store(told.sealed[0].base)).expect("a store");
    many.truncate(told.high_watermark);
    let copied = Copied::receive(&mut peer, correlation, request.parts.len());
    let error = copied.end.as_ref().expect_err("gone");
    assert!(error.is(ErrorCode::Gone), "{error}");
    let gone = error.detail.segment.expect("named");
    let is_whole = |sealed: &&segments::Sealed| sealed.base < gone;
    let whole: Vec<_> = told.sealed.iter().take_while(is_whole).collect();
    assert!(!whole.is_empty(), "one was being sent");
    for sealed in whole {
        let bytes = copied.bytes(sealed.base);
        assert_eq!(bytes.len() as u64, sealed.digest.bytes);
        assert!(sealed.base > told.sealed[0].base || bytes == stored);
    }
    peer.ask(&ping::Request {})
        .expect("the stream ended in order");
    many.node.stop().expect("a clean stop");
}

#[test]
fn a_store_that_was_cut_short_is_damaged_from_there_and_good_before() {
    let mut many = Many::start(2, |_| {});
    let told = many.segments(0);
    let (first, second) = (told.sealed[0].base, told.sealed[1].base);
    let store = std::fs::OpenOptions::new()
        .write(true)
        .open(many.store(second));
    let store = store.expect("a store");
    store.set_len(500_000).expect("cut");
    let mut peer = Client::hello(many.node.addresses().listen);
    let mut request = request(&many, told.history, vec![whole(first), whole(second)]);
    request.piece_bytes_max = 200_000;
    let copied = Copied::ask(&mut peer, &request);
    let error = copied.end.as_ref().expect_err("damaged");
    assert!(error.is(ErrorCode::Damaged), "{error}");
    assert_eq!(error.detail.segment, Some(second));
    assert_eq!(
        copied.bytes(first).len() as u64,
        told.sealed[0].digest.bytes
    );
    assert_eq!(copied.bytes(second).len(), 400_000, "whole pieces only");
    wait_until(|| sum(&many.node, |core| core.damage_met_total) == 1);
    // Now that the log knows, nothing of the segment is sent.
    wait_until(|| {
        let mut peer = Client::hello(many.node.addresses().listen);
        let copied = Copied::ask(&mut peer, &request);
        let is_damaged = |error: &ErrorBody| error.is(ErrorCode::Damaged);
        copied.end.as_ref().is_err_and(is_damaged) && copied.bytes(second).is_empty()
    });
    many.node.stop().expect("a clean stop");
}

#[test]
fn a_peer_that_stops_reading_is_cut_and_the_file_is_closed() {
    let mut many = Many::start(20, |config| {
        config.limits.write_timeout = Duration::from_millis(300);
    });
    let told = many.segments(0);
    let stores: Vec<_> = told.sealed.iter().map(|s| many.store(s.base)).collect();
    let open = || stores.iter().map(|store| open_count(store)).sum::<usize>();
    let before = open();
    let mut peer = Client::hello(many.node.addresses().listen);
    peer.send(&request(&many, told.history, parts(&told.sealed)), &[]);
    wait_until(|| sum(&many.node, |core| core.connections_cut_total) == 1);
    wait_until(|| sum(&many.node, |core| core.transfers) == 0);
    wait_until(|| open() <= before);
    many.node.stop().expect("a clean stop");
}

#[test]
fn a_peer_that_goes_away_leaves_no_file_open() {
    let mut many = Many::start(20, |_| {});
    let told = many.segments(0);
    let stores: Vec<_> = told.sealed.iter().map(|s| many.store(s.base)).collect();
    let open = || stores.iter().map(|store| open_count(store)).sum::<usize>();
    let before = open();
    for _ in 0..10 {
        let mut peer = Client::hello(many.node.addresses().listen);
        peer.send(&request(&many, told.history, parts(&told.sealed)), &[]);
        peer.receive::<Request>().told.expect("a piece");
    }
    wait_until(|| sum(&many.node, |core| core.transfers) == 0);
    wait_until(|| open() <= before);
    many.node.stop().expect("a clean stop");
}

#[test]
fn acks_and_fetches_go_on_while_more_peers_than_places_do_not_read() {
    let mut many = Many::start(20, |config| config.limits.write_timeout = LONG);
    let told = many.segments(0);
    let copy = request(&many, told.history, parts(&told.sealed));
    let deaf = || {
        let mut peer = Client::hello(many.node.addresses().listen);
        peer.send(&copy, &[]);
        peer
    };
    let copies = || sum(&many.node, |core| core.transfers);
    let (mut crowd, mut answered) = (Vec::new(), 0);
    wait_until(|| {
        let all = copies();
        // Those in front are cut within seconds, since others wait: on a slow machine more have to come.
        if all < 12 {
            crowd.push(deaf());
            return false;
        }
        let request = to(TOPIC, many.id, 1);
        many.client.produce(&request, &["v"]).expect("acknowledged");
        let next = many.client.fetch(&from(TOPIC, many.id, 1, 0)).0.next;
        assert!(next.get() > 0);
        answered += u32::from(copies() == all);
        answered == 50
    });
    drop(crowd);
    wait_until(|| copies() == 0);
    many.node.stop().expect("a clean stop");
}

#[test]
fn acks_go_on_while_a_slow_transfer_runs_and_a_stop_ends_it_between_two_pieces() {
    let mut many = Many::start(4, |config| {
        config.transfer_rate = 256 << 10;
        // A piece takes a second, and longer on a slow machine: none is to be cut.
        config.stop_timeout = LONG;
    });
    let told = many.segments(0);
    let last = told.sealed.last().expect("sealed segments").base;
    let request = request(&many, told.history, parts(&told.sealed));
    let mut peer = Client::hello(many.node.addresses().listen);
    peer.send(&request, &[]);
    peer.receive::<Request>().told.expect("a piece");
    for _ in 0..20 {
        let arrived = many.client.send(&to(TOPIC, many.id, 1), &batch(&["v"]));
        let produced = many.client.receive::<produce::Request>();
        assert_eq!(produced.correlation, arrived);
        produced.told.expect("acknowledged");
    }
    assert_eq!(sum(&many.node, |core| core.transfers), 1);
    let Many { node, client, .. } = many;
    drop(client);
    let reading = std::thread::spawn(move || {
        loop {
            match peer.receive::<Request>().told {
                Ok(answer) => assert!(!answer.is_final || answer.segment < last),
                Err(error) => return error,
            }
        }
    });
    node.stop().expect("a clean stop");
    let error = reading.join().expect("the peer is told");
    assert!(error.is(ErrorCode::Stopping), "{error}");
}

/// At the rate that it begins with, its second portion would come in an hour.
#[test]
fn another_rate_counts_at_once_for_a_transfer_that_runs() {
    let mut many = Many::start(4, |config| {
        config.transfer_rate = 1;
        config.limits.write_timeout = LONG;
    });
    let told = many.segments(0);
    let request = request(&many, told.history, parts(&told.sealed));
    let mut peer = Client::hello(many.node.addresses().listen);
    let correlation = peer.send(&request, &[]);
    let socket = peer.socket();
    let mut portion = [0; 4 << 10];
    wait_until(|| socket.peek(&mut portion).expect("it goes on") == portion.len());
    many.node.handle().set_transfer_rate(0);
    let copied = Copied::receive(&mut peer, correlation, request.parts.len());
    copied.end.expect("all of them");
    many.node.stop().expect("a clean stop");
}

/// They kept what their requests had come in as long as they were sent segments, and a turn: whoever sent much
/// waited until then.
#[test]
fn who_is_sent_segments_holds_no_room_to_receive() {
    let mut many = Many::start(4, |config| {
        (config.cores, config.transfer_rate) = (1, 1 << 20);
        config.traffic_memory = 198 << 20;
        config.limits.write_timeout = LONG;
    });
    let told = many.segments(0);
    // So many that the request does not fit in what every connection may hold.
    let parts = parts(&told.sealed).into_iter().cycle().take(900).collect();
    let request = request(&many, told.history, parts);
    let megabyte = "x".repeat(1_000_000);
    let large = [&*megabyte; 7];
    let copying = || many.node.handle().counters()[0].transfers;
    let mut peers = Vec::new();
    // What those sent before would fill all room but for a few requests.
    for (count, values) in [(8, &large[..]), (8, &large[..1]), (20, &[])] {
        for _ in 0..count {
            let mut peer = Client::hello(many.node.addresses().listen);
            if !values.is_empty() {
                peer.send(&to(TOPIC, many.id, 0), &batch(values));
            }
            peer.send(&request, &[]);
            // One that reads is not cut for those who wait, however slow the machine is.
            let mut socket = peer.socket();
            std::thread::spawn(move || std::io::copy(&mut socket, &mut std::io::sink()));
            peers.push(peer);
            wait_until(|| copying() == peers.len() as u64);
        }
    }
    many.client
        .produce(&to(TOPIC, many.id, 0), &large)
        .expect("produced beside them");
    assert_eq!(copying(), 36);
    for peer in peers {
        peer.socket().shutdown(Shutdown::Both).expect("connected");
    }
    many.node.stop().expect("a clean stop");
}
