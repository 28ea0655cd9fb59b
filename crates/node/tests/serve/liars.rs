//! Sources that tell what no node would.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use corelog_protocol::answer;
use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::limits::{FRAME_BYTES_MAX, TOPIC_PARTITION_COUNT_MAX};
use corelog_protocol::message::{clone_topic, hello, metadata};
use corelog_record::{CoreId, NodeId, PartitionId, TopicId};

use crate::client::{Client, name};
use crate::{directory, start};

/// A node of one topic with so many partitions, that tells nothing else.
fn source(partitions: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let greeting = hello::Answer {
        version: 1,
        node: NodeId::from_bytes([1; 16]),
        core: CoreId::new(0),
        cores: Vec::new(),
        shared: String::new(),
        limits: hello::Limits::default(),
        auth: Vec::new(),
        software: String::new(),
    };
    let one = |id| metadata::Partition {
        id: PartitionId::new(id),
        core: CoreId::new(0),
        address: String::new(),
    };
    let told = metadata::Answer {
        node: greeting.node,
        cores: Vec::new(),
        shared: String::new(),
        topics: vec![metadata::Topic {
            name: name("t"),
            id: TopicId::from_bytes([2; 16]),
            settings: Default::default(),
            partitions: (0..partitions).map(one).collect(),
        }],
        errors: Vec::new(),
    };
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut received, mut out) = (Vec::new(), Vec::new());
        let asked = next(&mut stream, &mut received);
        answer::encode_ok::<hello::Request>(asked, &greeting, 0, &mut out).expect("a frame");
        stream.write_all(&out).expect("sent");
        out.clear();
        let asked = next(&mut stream, &mut received);
        answer::encode_ok::<metadata::Request>(asked, &told, 0, &mut out).expect("a frame");
        stream.write_all(&out).expect("sent");
    });
    address
}

/// Reads the next request; gives its number.
fn next(stream: &mut TcpStream, received: &mut Vec<u8>) -> CorrelationId {
    let decoder = Decoder::requests(FRAME_BYTES_MAX);
    loop {
        if let Peek::Frame(frame) = decoder.peek(received).expect("a frame") {
            let header = frame.header;
            received.drain(..header.total_bytes());
            return header.correlation;
        }
        let mut buffer = [0; 4_096];
        let read = stream.read(&mut buffer).expect("read");
        assert!(read > 0, "it closed the connection");
        received.extend_from_slice(&buffer[..read]);
    }
}

/// It was asked about each of three quarters of a million, with a comparison of each with each.
#[test]
fn a_source_is_asked_nothing_about_more_partitions_than_a_topic_may_have() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    for (count, follow) in [(TOPIC_PARTITION_COUNT_MAX + 1, true), (100_000, false)] {
        let request = clone_topic::Request {
            topic: name("t"),
            partition: None,
            from: vec![source(count)],
            segments: Vec::new(),
            follow,
            rate_bytes: None,
        };
        let refused = client.ask(&request).expect_err("too many");
        assert!(refused.is(ErrorCode::InvalidPartitions), "{refused:?}");
        assert_eq!(refused.detail.found, Some(u64::from(count)));
    }
    node.stop().expect("a clean stop");
}
