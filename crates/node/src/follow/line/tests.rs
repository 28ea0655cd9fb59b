//! A connection whose other side stops.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use corelog_protocol::error::{Detail, ErrorBody};
use corelog_protocol::frame::{Decoder, PREFIX_BYTES, Peek};
use corelog_protocol::limits::FRAME_BYTES_MAX;
use corelog_protocol::message::{Call, chain_at, fetch, metadata, segments};
use corelog_record::{CopyId, HistoryId, NodeId, Offset, PartitionId, TopicId, TopicName};
use corelog_storage::format::edit::Point;
use futures_lite::FutureExt;
use futures_lite::future::{poll_once, zip};

use super::waiting::LATE;
use super::*;
use crate::follow::samples::{found_nothing, greeting};
use crate::rt::tests::on_core;

/// Far longer than any answer takes that comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// As long as a test can wait for what does not come, and longer than one that does takes on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
const BODY_BYTES: usize = 256 << 10;
const WORDS: &str = "the node is stopping";

#[test]
fn who_was_not_taken_knows_at_once_and_who_was_waits_for_the_answer() {
    let (go_on, told) = mpsc::channel();
    let address = leaving(Some(2), told);
    on_core(|| async move {
        let line = connected(&address).await;
        let mut taken = pin!(ask(&line));
        assert!(poll_once(&mut taken).await.is_none());
        assert_eq!(ask(&line).await, Err(format!("{address}: {WORDS}")));
        assert!(line.is_closed(), "whoever needs a connection makes another");
        assert_eq!(ask(&line).await, Err(format!("{address}: {WORDS}")));
        go_on.send(()).unwrap();
        assert_eq!(taken.await, Ok(()));
    });
}

#[test]
fn where_nothing_is_said_of_what_was_taken_all_wait_until_the_connection_ends() {
    let (go_on, told) = mpsc::channel();
    let address = leaving(None, told);
    on_core(|| async move {
        let line = connected(&address).await;
        let (mut first, mut second) = (pin!(ask(&line)), pin!(ask(&line)));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        while !line.is_closed() {
            rt::next_turn().await;
        }
        assert!(poll_once(&mut second).await.is_none(), "it may be answered");
        go_on.send(()).unwrap();
        assert_eq!(first.await, Ok(()));
        assert_eq!(second.await, Err(format!("{address}: {WORDS}")));
    });
}

/// Whoever was named a port of another kind, or a node of another version, tried until its time was over.
#[test]
fn what_answers_in_no_frame_of_ours_never_will() {
    let mut other_version = answer_to(CorrelationId::new(1));
    other_version[4] ^= 2;
    for (answer, words) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no server"),
        (b"-ERR unknown command\r\n".to_vec(), "no server"),
        (other_version, "version"),
        (refusal(ErrorCode::UnsupportedVersion), WORDS),
    ] {
        let address = answering(answer);
        on_core(move || async move {
            let room = Semaphore::new(FRAME_BYTES_MAX.into());
            let why = Line::connect(&address, "test".to_owned(), room).await;
            let why = why.err().unwrap();
            assert!(why.is(ErrorCode::UnsupportedVersion), "{why:?}");
            assert!(why.message.starts_with(&address), "{why:?}");
            assert!(why.message.contains(words), "{why:?}");
        });
    }
}

/// A bit that was turned on the way had a node be taken for something else, which is not asked again.
#[test]
fn a_node_that_refuses_or_whose_words_are_bent_may_answer_later() {
    let mut bent = answer_to(CorrelationId::new(1));
    bent[PREFIX_BYTES - 1] ^= 1;
    for answer in [refusal(ErrorCode::TooManyConnections), bent] {
        let address = answering(answer);
        on_core(move || async move {
            let room = Semaphore::new(FRAME_BYTES_MAX.into());
            let why = Line::connect(&address, "test".to_owned(), room).await;
            let why = why.err().unwrap();
            assert!(why.is(ErrorCode::SourceUnavailable), "{why:?}");
        });
    }
}

/// At 250 KB/s the 4 MiB that a follower asks for took 16 s of the 12 s that there were: what had come was thrown away, and it
/// began anew, for ever.
#[test]
fn an_answer_that_takes_long_is_waited_for_while_it_comes() {
    let (go_on, told) = mpsc::channel();
    let address = giving(move |mut stream, answer| {
        for piece in answer.chunks(64 << 10) {
            told.recv().unwrap();
            stream.write_all(piece).unwrap();
        }
    });
    on_core(|| async move {
        let line = connected(&address).await;
        let patience = 3 * SHORT;
        let asked = fetched(&line, patience);
        let told = async {
            for _ in 0..5 {
                rt::sleep(patience / 4).await;
                go_on.send(()).unwrap();
            }
        };
        let (came, ()) = zip(asked, told).await;
        assert_eq!(came, Ok(BODY_BYTES));
    });
}

#[test]
fn an_answer_that_trickles_is_given_up() {
    let address = giving(|mut stream, answer| {
        let (_kept, pause) = mpsc::channel::<()>();
        for byte in answer.chunks(1) {
            if stream.write_all(byte).is_err() {
                return;
            }
            pause.recv_timeout(SHORT / 10).unwrap_err();
        }
    });
    on_core(|| async move {
        let line = connected(&address).await;
        let came = rt::timeout(10 * SHORT, fetched(&line, SHORT)).await;
        assert_eq!(came, Some(Err(format!("{address}: {LATE}"))));
    });
}

/// An abort of a handover waited for what the target was asked for as long as that sent 64 KiB a second.
#[test]
fn who_is_answered_too_late_gives_up_only_itself() {
    let (go_on, told) = mpsc::channel();
    let address = node(move |mut stream, mut received| {
        let fetched = next(&mut stream, &mut received);
        let asked = next(&mut stream, &mut received);
        let records = records(fetched, BODY_BYTES);
        let (begin, rest) = records.split_at(BODY_BYTES / 2);
        for piece in [begin, rest] {
            told.recv().unwrap();
            stream.write_all(piece).unwrap();
        }
        stream.write_all(&answer_to(asked)).unwrap();
        let asked = next(&mut stream, &mut received);
        stream.write_all(&answer_to(asked)).unwrap();
    });
    on_core(|| async move {
        let line = connected(&address).await;
        let mut came = pin!(fetched(&line, PATIENCE));
        let mut late = pin!(ask_for(&line, SHORT));
        assert!(poll_once(&mut came).await.is_none());
        assert!(poll_once(&mut late).await.is_none());
        rt::sleep(SHORT).await;
        go_on.send(()).unwrap();
        while line.shared.0.heard.is_silent_for(SHORT) {
            rt::next_turn().await;
        }
        let late = poll_once(&mut late).await;
        assert_eq!(late, Some(Err(format!("{address}: {LATE}"))));
        go_on.send(()).unwrap();
        assert_eq!(came.await, Ok(BODY_BYTES));
        assert_eq!(ask(&line).await, Ok(()), "the connection is of use yet");
    });
}

#[test]
fn a_connection_over_which_nothing_comes_ends() {
    let (kept, ended) = mpsc::channel::<()>();
    let address = node(move |stream, _| {
        ended.recv().unwrap_err();
        drop(stream);
    });
    on_core(|| async move {
        let line = connected(&address).await;
        let late = rt::timeout(PATIENCE, ask_for(&line, SHORT)).await;
        assert_eq!(late, Some(Err(format!("{address}: {LATE}"))));
        assert!(line.is_closed());
        drop(kept);
    });
}

/// A node that nobody had asked held the room for the answers of all others.
#[test]
fn a_large_answer_that_trickles_gives_its_room_back_also_if_nobody_waits_for_it() {
    let address = node(|mut stream, _| {
        let (_kept, pause) = mpsc::channel::<()>();
        let answer = records(CorrelationId::new(99), READ_BYTES);
        let (begins, trickles) = answer.split_at(answer.len() / 2);
        stream.write_all(begins).unwrap();
        for byte in trickles.chunks(1) {
            if stream.write_all(byte).is_err() {
                return;
            }
            pause.recv_timeout(SHORT / 10).unwrap_err();
        }
    });
    on_core(|| async move {
        let room = Semaphore::new(FRAME_BYTES_MAX.into());
        let line = Line::connect(&address, "test".to_owned(), room.clone()).await;
        let line = line.unwrap_or_else(|why| panic!("{why:?}"));
        while rt::timeout(SHORT / 10, room.acquire(FRAME_BYTES_MAX.into()))
            .await
            .is_some()
        {
            rt::next_turn().await;
        }
        let all = rt::timeout(2 * READ_TIMEOUT, room.acquire(FRAME_BYTES_MAX.into())).await;
        assert!(all.is_some());
        assert!(line.is_closed());
    });
}

/// While this node had no room its sources went silent, by their own connections, and were given up one after the other.
#[test]
fn what_a_node_waits_for_its_own_room_is_not_the_time_of_its_source() {
    let address = giving(|mut stream, answer| stream.write_all(&answer).unwrap());
    on_core(|| async move {
        let room = Semaphore::new(FRAME_BYTES_MAX.into());
        let all = room.acquire(FRAME_BYTES_MAX.into()).await;
        let line = Line::connect(&address, "test".to_owned(), room).await;
        let line = line.unwrap_or_else(|why| panic!("{why:?}"));
        let later = async {
            rt::sleep(3 * SHORT).await;
            drop(all);
        };
        let (came, ()) = zip(fetched(&line, SHORT), later).await;
        assert_eq!(came, Ok(BODY_BYTES));
    });
}

#[test]
fn who_is_not_answered_is_late_however_much_others_are_told() {
    let address = node(|mut stream, mut received| {
        next(&mut stream, &mut received);
        loop {
            let asked = next(&mut stream, &mut received);
            if stream.write_all(&records(asked, 8 << 20)).is_err() {
                return;
            }
        }
    });
    on_core(|| async move {
        let line = connected(&address).await;
        let others = async {
            while fetched(&line, PATIENCE).await.is_ok() {}
            Ok(0)
        };
        let came = fetched(&line, SHORT).or(others);
        let came = rt::timeout(PATIENCE, came).await.expect("late");
        assert_eq!(came, Err(format!("{address}: {LATE}")));
        assert!(!line.is_closed(), "others are answered");
    });
}

/// Fetches from a node; how many bytes came, or why none did.
async fn fetched(line: &Line, timeout: Duration) -> Result<usize, String> {
    let asked = fetch::Request {
        topic: TopicName::new("t").unwrap(),
        id: TopicId::from_bytes([1; 16]),
        partition: PartitionId::new(0),
        offset: Offset::ZERO,
        max_bytes: 0,
        min_bytes: 0,
        max_wait_ms: 0,
        last_epoch: None,
        follower: None,
    };
    let came = line.call_as_it_comes(&asked, timeout).await;
    came.map(|came| came.body().len())
        .map_err(|why| why.message)
}

/// A node that says Hello, and gives the answer to a fetch, as it `gives` it.
fn giving(gives: impl FnOnce(TcpStream, Vec<u8>) + Send + 'static) -> String {
    node(move |mut stream, mut received| {
        let asked = next(&mut stream, &mut received);
        gives(stream, records(asked, BODY_BYTES));
    })
}

/// The answer to a fetch, with a body of so many bytes.
pub(in crate::follow) fn records(asked: CorrelationId, bytes: usize) -> Vec<u8> {
    let (head, mut answer) = (found_nothing(), Vec::new());
    answer::encode_ok::<fetch::Request>(asked, &head, bytes, &mut answer).unwrap();
    answer.resize(answer.len() + bytes, 0);
    answer
}

pub(in crate::follow) async fn connected(address: &str) -> Line {
    let room = Semaphore::new(FRAME_BYTES_MAX.into());
    let line = Line::connect(address, "test".to_owned(), room).await;
    line.unwrap_or_else(|why| panic!("{why:?}"))
}

/// Asks for something; the reason, where there is no answer.
async fn ask(line: &Line) -> Result<(), String> {
    ask_for(line, PATIENCE).await
}

async fn ask_for(line: &Line, timeout: Duration) -> Result<(), String> {
    let asked = hello::Request {
        versions: vec![frame::VERSION],
        client: String::new(),
    };
    let answered = line.call(&asked, timeout).await;
    answered.map(drop).map_err(|why| why.message)
}

/// A node that says Hello, and takes its leave when two more requests have come; told to go on, it answers the first
/// of them and closes the connection.
fn leaving(taken: Option<u32>, told: Receiver<()>) -> String {
    node(move |mut stream, mut received| {
        let first = next(&mut stream, &mut received);
        next(&mut stream, &mut received);
        let mut words = Vec::new();
        let error = ErrorBody::new(ErrorCode::Stopping, WORDS).with_detail(Detail {
            taken,
            ..Detail::default()
        });
        let none = CorrelationId::new(0);
        answer::encode_err(answer::CONNECTION_KIND, none, &error, &mut words).unwrap();
        stream.write_all(&words).unwrap();
        told.recv().unwrap();
        stream.write_all(&answer_to(first)).unwrap();
    })
}

/// A node that says Hello to one who connects; `serve` is given the connection, and what came over it already.
pub(in crate::follow) fn node(serve: impl FnOnce(TcpStream, Vec<u8>) + Send + 'static) -> String {
    node_named(1, serve)
}

/// The same by a name: the first one's is that of a core of a test itself.
pub(in crate::follow) fn node_named(
    number: u8,
    serve: impl FnOnce(TcpStream, Vec<u8>) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        let greeting = next(&mut stream, &mut received);
        stream.write_all(&answer_of(number, greeting)).unwrap();
        serve(stream, received);
    });
    address
}

/// Reads the next request; gives its number.
pub(in crate::follow) fn next(stream: &mut TcpStream, received: &mut Vec<u8>) -> CorrelationId {
    loop {
        if let Peek::Frame(frame) = Decoder::requests(FRAME_BYTES_MAX).peek(received).unwrap() {
            let Header { correlation, .. } = frame.header;
            received.drain(..frame.header.total_bytes());
            return correlation;
        }
        let mut buffer = [0; 4_096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "it closed the connection");
        received.extend_from_slice(&buffer[..read]);
    }
}

/// A log without segments, from where it begins to where it ends.
pub(in crate::follow) fn log(log_start: Offset, high_watermark: Offset) -> segments::Answer {
    segments::Answer {
        history: HistoryId::from_bytes([1; 16]),
        copy: CopyId::from_bytes([1; 16]),
        log_start,
        high_watermark,
        epochs: Vec::new(),
        sealed: Vec::new(),
        active: None,
    }
}

/// That there is no topic.
pub(in crate::follow) fn no_topics() -> metadata::Answer {
    metadata::Answer {
        node: NodeId::from_bytes([1; 16]),
        cores: Vec::new(),
        shared: String::new(),
        topics: Vec::new(),
        errors: Vec::new(),
    }
}

/// Answers the next request.
pub(in crate::follow) fn tell<R: Call>(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    head: &R::Answer,
) {
    let (mut out, asked) = (Vec::new(), next(stream, received));
    answer::encode_ok::<R>(asked, head, 0, &mut out).unwrap();
    stream.write_all(&out).unwrap();
}

/// The same with the chain at a point.
pub(in crate::follow) fn tell_chain(stream: &mut TcpStream, received: &mut Vec<u8>, at: Point) {
    let told = chain_at::Answer {
        offset: at.offset,
        ordinal: at.ordinal,
        chain: at.chain,
        epoch: None,
    };
    tell::<chain_at::Request>(stream, received, &told);
}

/// What answers a Hello with these bytes.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        next(&mut stream, &mut Vec::new());
        stream.write_all(&answer).unwrap();
    });
    address
}

/// The words of a node that closes the connection.
fn refusal(code: ErrorCode) -> Vec<u8> {
    let mut words = Vec::new();
    let (error, none) = (ErrorBody::new(code, WORDS), CorrelationId::new(0));
    answer::encode_err(answer::CONNECTION_KIND, none, &error, &mut words).unwrap();
    words
}

fn answer_to(asked: CorrelationId) -> Vec<u8> {
    answer_of(1, asked)
}

fn answer_of(number: u8, asked: CorrelationId) -> Vec<u8> {
    let mut out = Vec::new();
    let greeting = hello::Answer {
        node: NodeId::from_bytes([number; 16]),
        ..greeting()
    };
    answer::encode_ok::<hello::Request>(asked, &greeting, 0, &mut out).unwrap();
    out
}
