//! A blocking client that is as plain as can be.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::ErrorBody;
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::message::settings::TopicSettings;
use corelog_protocol::message::{Call, create_topic, fetch, hello, list_offsets, produce};
use corelog_protocol::{limits, request};
use corelog_record::batch::{Builder, Codec};
use corelog_record::{Offset, PartitionId, Timestamp, TopicId, TopicName};

/// A connection that has said hello.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    correlation_last: u32,
    /// Bytes that the node has sent.
    pub(crate) wire_bytes: usize,
}

/// An answer as it came.
pub(crate) struct Arrived<R: Call> {
    pub(crate) correlation: u32,
    pub(crate) told: Result<R::Answer, ErrorBody>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects without a hello.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the node listens");
        let silence_max = Some(Duration::from_secs(50));
        stream.set_read_timeout(silence_max).expect("a timeout");
        stream.set_write_timeout(silence_max).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            received: Vec::new(),
            correlation_last: 0,
            wire_bytes: 0,
        }
    }

    /// Connects and says hello.
    pub(crate) fn hello(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client
            .ask(&hello::Request {
                versions: vec![1],
                client: "test".into(),
            })
            .expect("hello");
        client
    }

    /// Sends a request and gives its correlation id.
    pub(crate) fn send<R: Call>(&mut self, request: &R, body: &[u8]) -> u32 {
        self.correlation_last += 1;
        let correlation = CorrelationId::new(self.correlation_last);
        let mut frame = Vec::new();
        request::encode(correlation, request, body.len(), &mut frame).expect("a frame");
        frame.extend_from_slice(body);
        self.send_raw(&frame);
        self.correlation_last
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Another handle of the socket, for a thread that writes.
    pub(crate) fn socket(&self) -> TcpStream {
        self.stream.try_clone().expect("another handle")
    }

    /// Receives the next answer, which is to a request of this kind.
    pub(crate) fn receive<R: Call>(&mut self) -> Arrived<R> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        loop {
            match decoder.peek(&self.received).expect("a frame") {
                Peek::Frame(frame) => {
                    let told = answer::decode::<R>(&frame).expect("an answer");
                    let correlation = frame.header.correlation.get();
                    let (body, total) = (frame.body.to_vec(), frame.header.total_bytes());
                    self.received.drain(..total);
                    return Arrived {
                        correlation,
                        told,
                        body,
                    };
                }
                Peek::Need(_) => assert!(self.read(), "the node closed the connection"),
            }
        }
    }

    /// Receives the next answer of any kind; its error if it is one.
    pub(crate) fn receive_any(&mut self) -> Option<ErrorBody> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        loop {
            if let Peek::Frame(frame) = decoder.peek(&self.received).expect("a frame") {
                let (error, total) = (answer::decode_err(&frame), frame.header.total_bytes());
                self.received.drain(..total);
                return error.expect("a head");
            }
            assert!(self.read(), "the node closed the connection");
        }
    }

    /// Produces; None if the connection ends before the answer.
    pub(crate) fn try_produce(
        &mut self,
        request: &produce::Request,
        values: &[&str],
    ) -> Option<Result<produce::Answer, ErrorBody>> {
        let mut frame = Vec::new();
        let body = batch(values);
        let correlation = CorrelationId::new(1);
        request::encode(correlation, request, body.len(), &mut frame).expect("a frame");
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame).ok()?;
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        loop {
            if let Peek::Frame(frame) = decoder.peek(&self.received).expect("a frame") {
                let told = answer::decode::<produce::Request>(&frame).expect("an answer");
                let total = frame.header.total_bytes();
                self.received.drain(..total);
                return Some(told);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Reads what there is, or waits for it; false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                read => {
                    let bytes = read.expect("bytes");
                    self.received.extend_from_slice(&buffer[..bytes]);
                    self.wire_bytes += bytes;
                    return bytes > 0;
                }
            }
        }
    }

    /// If the node has closed the connection, once all that it sent is read.
    pub(crate) fn is_closed(&mut self) -> bool {
        !self.read()
    }

    pub(crate) fn ask<R: Call>(&mut self, request: &R) -> Result<R::Answer, ErrorBody> {
        self.send(request, &[]);
        self.receive::<R>().told
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: u32) -> TopicId {
        self.create_with(topic, partitions, TopicSettings::default())
    }

    pub(crate) fn create_with(
        &mut self,
        topic: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> TopicId {
        let request = create_topic::Request {
            name: name(topic),
            partitions,
            settings,
            if_not_exists: false,
        };
        self.ask(&request).expect("created").id
    }

    pub(crate) fn produce(
        &mut self,
        request: &produce::Request,
        values: &[&str],
    ) -> Result<produce::Answer, ErrorBody> {
        self.send(request, &batch(values));
        self.receive::<produce::Request>().told
    }

    pub(crate) fn fetch(&mut self, request: &fetch::Request) -> (fetch::Answer, Vec<u8>) {
        self.send(request, &[]);
        let arrived = self.receive::<fetch::Request>();
        (arrived.told.expect("fetched"), arrived.body)
    }

    pub(crate) fn latest(&mut self, topic: &str, id: TopicId, partition: u32) -> u64 {
        let request = list_offsets::Request {
            topic: name(topic),
            id,
            partition: PartitionId::new(partition),
            at: list_offsets::At::Latest,
        };
        self.ask(&request).expect("listed").offset.get()
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::new(topic).expect("a name")
}

pub(crate) fn to(topic: &str, id: TopicId, partition: u32) -> produce::Request {
    produce::Request {
        topic: name(topic),
        id,
        partition: PartitionId::new(partition),
        level: None,
        run: 0,
    }
}

pub(crate) fn from(topic: &str, id: TopicId, partition: u32, offset: u64) -> fetch::Request {
    fetch::Request {
        topic: name(topic),
        id,
        partition: PartitionId::new(partition),
        offset: Offset::new(offset).expect("an offset"),
        max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait_ms: 0,
        last_epoch: None,
        follower: None,
    }
}

/// One batch with a record per value.
pub(crate) fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    for value in values {
        let time = Timestamp::from_millis(1_700_000_000_000);
        builder
            .append(time, None, Some(value.as_bytes()), &[])
            .expect("appended");
    }
    builder.build().expect("a batch")
}

/// The values of all records in batches.
pub(crate) fn values(mut batches: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Some((batch, rest)) = corelog_record::batch::split_first(batches).expect("batches") {
        let view = corelog_record::batch::View::verify(batch).expect("a batch");
        for record in view.records().expect("records") {
            let value = record.expect("a record").value.expect("a value");
            values.push(String::from_utf8(value.to_vec()).expect("text"));
        }
        batches = rest;
    }
    values
}
