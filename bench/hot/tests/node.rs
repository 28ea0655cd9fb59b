//! What a whole node allocates for each batch that it takes, syncs and acknowledges, and for each fetch of
//! what it has in memory: on all its threads, the client's apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use corelog_bench_hot::allocations::{Allocations, Counting};
use corelog_node::{Node, NodeConfig};
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::message::settings::TopicSettings;
use corelog_protocol::message::{Call, create_topic, fetch, hello, produce};
use corelog_protocol::{answer, limits, request};
use corelog_record::batch::{Builder, Codec};
use corelog_record::{Offset, PartitionId, Timestamp, TopicName};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// In flight at once, as from 64 clients.
const IN_FLIGHT: usize = 64;
const ROUNDS: u64 = 50;

/// How many it may come to: what a group needs is shared by its batches, of which there are one to 64.
const ALLOWED_FOR_A_BATCH: f64 = 6.0;
const ALLOWED_FOR_A_FETCH: f64 = 16.0;

/// A connection that allocates on this thread alone.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn of(node: &Node) -> Self {
        let stream = TcpStream::connect(node.addresses().listen).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut client = Self {
            stream,
            received: Vec::new(),
        };
        let versions = vec![1];
        let client_name = "test".to_owned();
        client.ask(&hello::Request {
            versions,
            client: client_name,
        });
        client
    }

    fn ask<R: Call>(&mut self, request: &R) -> R::Answer {
        let frame = framed(request, &[]);
        self.stream.write_all(&frame).unwrap();
        self.answers::<R>(1).remove(0)
    }

    fn answers<R: Call>(&mut self, count: usize) -> Vec<R::Answer> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let mut answers = Vec::new();
        while answers.len() < count {
            if let Peek::Frame(frame) = decoder.peek(&self.received).unwrap() {
                answers.push(answer::decode::<R>(&frame).unwrap().unwrap());
                let total = frame.header.total_bytes();
                self.received.drain(..total);
                continue;
            }
            let mut buffer = [0; 64 << 10];
            let bytes = self.stream.read(&mut buffer).unwrap();
            assert!(bytes > 0, "the node closed the connection");
            self.received.extend_from_slice(&buffer[..bytes]);
        }
        answers
    }
}

#[test]
fn what_a_node_allocates_for_a_batch_and_a_fetch_is_bounded() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut config = NodeConfig::new(folder.path());
    config.listen.set_port(0);
    config.cores = 1;
    let node = Node::start(config).unwrap();
    let mut client = Client::of(&node);
    let topic: TopicName = "hot".parse().unwrap();
    let id = client.ask(&create_topic::Request {
        name: topic.clone(),
        partitions: 1,
        settings: TopicSettings::default(),
        if_not_exists: false,
    });
    let produce = produce::Request {
        topic: topic.clone(),
        id: id.id,
        partition: PartitionId::new(0),
        level: None,
        run: 0,
    };
    let fetch = fetch::Request {
        topic,
        id: id.id,
        partition: PartitionId::new(0),
        offset: Offset::ZERO,
        max_bytes: 64 << 10,
        min_bytes: 1,
        max_wait_ms: 0,
        last_epoch: None,
        follower: None,
    };
    let produces = framed(&produce, &batch()).repeat(IN_FLIGHT);
    let fetches = framed(&fetch, &[]).repeat(IN_FLIGHT);
    let mut each = |frames: &[u8], take: fn(&mut Client)| {
        // The first half warms up.
        let mut before = (Allocations::everywhere(), Allocations::here());
        for round in 0..2 * ROUNDS {
            if round == ROUNDS {
                before = (Allocations::everywhere(), Allocations::here());
            }
            client.stream.write_all(frames).unwrap();
            take(&mut client);
        }
        let all = Allocations::everywhere().since(before.0).count;
        let here = Allocations::here().since(before.1).count;
        (all - here) as f64 / (ROUNDS * IN_FLIGHT as u64) as f64
    };
    let batch = each(&produces, |client| {
        drop(client.answers::<produce::Request>(IN_FLIGHT));
    });
    let fetch = each(&fetches, |client| {
        drop(client.answers::<fetch::Request>(IN_FLIGHT));
    });
    println!("allocations: {batch:.2} for a batch, {fetch:.2} for a fetch");
    assert!(
        batch <= ALLOWED_FOR_A_BATCH,
        "{batch:.2} allocations for a batch"
    );
    assert!(
        fetch <= ALLOWED_FOR_A_FETCH,
        "{fetch:.2} allocations for a fetch"
    );
    node.stop().unwrap();
}

fn framed<R: Call>(request: &R, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    request::encode(CorrelationId::new(1), request, body.len(), &mut frame).unwrap();
    frame.extend_from_slice(body);
    frame
}

fn batch() -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    let time = Timestamp::from_millis(1_800_000_000_000);
    builder.append(time, None, Some(&[7; 1024]), &[]).unwrap();
    builder.build().unwrap()
}
