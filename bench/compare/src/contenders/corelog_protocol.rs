//! What is spoken of Corelog's own protocol (`crates/protocol/PROTOCOL.md`) where the client that peers are
//! measured by stands in for the one that users have.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use corelog_protocol::frame::{CorrelationId, Decoder, Frame, Peek, VERSION};
use corelog_protocol::message::{Call, ack, create_topic, fetch, hello, produce};
use corelog_protocol::{answer, limits, request};
use corelog_record::batch::{Builder, Codec, View, split_first};
use corelog_record::{Offset, PartitionId, Timestamp, TopicId, TopicName};

use crate::contender::{FETCH_BYTES, Level};
use crate::load::{self, Wire};
use crate::payload::Check;

/// A connection that the server knows.
pub fn greet(server: &str) -> Result<TcpStream> {
    let mut stream = load::connect(server)?;
    let hello = hello::Request {
        versions: vec![VERSION],
        client: "compare".into(),
    };
    ask(&mut stream, &hello)?;
    Ok(stream)
}

/// The id of a topic that is there already.
pub fn topic_id(server: &str, name: &str) -> Result<TopicId> {
    let request = create_topic::Request {
        name: TopicName::new(name)?,
        partitions: 1,
        settings: Default::default(),
        if_not_exists: true,
    };
    Ok(ask(&mut greet(server)?, &request)?.id)
}

/// A request with one batch.
pub fn produce(
    topic: &str,
    id: TopicId,
    partition: u32,
    level: Level,
    records: &[&[u8]],
) -> Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = Timestamp::from_millis(i64::try_from(now)?);
    let mut builder = Builder::new(Codec::None);
    for record in records {
        builder.append(now, None, Some(record), &[])?;
    }
    let batch = builder.build()?;
    let request = produce::Request {
        topic: TopicName::new(topic)?,
        id,
        partition: PartitionId::new(partition),
        level: Some(match level {
            Level::Accepted => ack::Level::Accepted,
            Level::Durable => ack::Level::Durable,
        }),
        run: 0,
    };
    let mut frame = Vec::new();
    request::encode(CorrelationId::new(0), &request, batch.len(), &mut frame)?;
    frame.extend(batch);
    Ok(frame)
}

/// An answer for each batch.
pub struct Acks {
    pub batch_records: u64,
    pub records: u64,
}

impl Wire for Acks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((answer, length)) = take::<produce::Request>(&bytes[used..])? {
            ensure!(answer.base < answer.end, "nothing was appended");
            self.records += self.batch_records;
            used += length;
        }
        Ok(used)
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Reads one partition: asks for what follows as soon as an answer's head says where that begins, while the
/// batches behind the head are on their way.
pub struct Fetches {
    /// What is asked; its offset moves on.
    request: fetch::Request,
    /// Whether what follows the answer that is arriving was asked for.
    is_asked: bool,
    check: Check,
}

impl Fetches {
    pub fn new(topic: &str, id: TopicId, partition: u32, check: Check) -> Result<Self> {
        let request = fetch::Request {
            topic: TopicName::new(topic)?,
            id,
            partition: PartitionId::new(partition),
            offset: Offset::ZERO,
            max_bytes: u32::try_from(FETCH_BYTES)?,
            min_bytes: 1,
            max_wait_ms: 1000,
            last_epoch: None,
            follower: None,
        };
        Ok(Self {
            request,
            is_asked: false,
            check,
        })
    }

    /// Adds the request to `out`.
    pub fn ask(&self, out: &mut Vec<u8>) -> Result<()> {
        Ok(request::encode(
            CorrelationId::new(0),
            &self.request,
            0,
            out,
        )?)
    }

    fn take(&mut self, mut batches: &[u8]) -> Result<()> {
        while let Some((batch, rest)) = split_first(batches)? {
            for record in View::verify(batch)?.records()? {
                self.check.take(record?.value.unwrap_or_default())?;
            }
            batches = rest;
        }
        Ok(())
    }
}

impl Wire for Fetches {
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            if !self.is_asked
                && let Peek::Frame(head) = decoder.peek_head(rest)?
            {
                self.request.offset = good::<fetch::Request>(&head)?.next;
                self.ask(out)?;
                self.is_asked = true;
            }
            let Peek::Frame(frame) = decoder.peek(rest)? else {
                return Ok(used);
            };
            self.take(frame.body)?;
            used += frame.header.total_bytes();
            self.is_asked = false;
        }
    }

    fn records(&self) -> u64 {
        self.check.records
    }
}

fn ask<R: Call>(stream: &mut TcpStream, asked: &R) -> Result<R::Answer> {
    let mut frame = Vec::new();
    request::encode(CorrelationId::new(0), asked, 0, &mut frame)?;
    stream.write_all(&frame)?;
    let mut received = Vec::new();
    loop {
        if let Some((answer, _)) = take::<R>(&received)? {
            return Ok(answer);
        }
        let mut some = [0; 4096];
        let bytes = match stream.read(&mut some) {
            // A machine that stands still for a moment ends a read that has its time (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        ensure!(bytes > 0, "corelog closed the connection");
        received.extend(&some[..bytes]);
    }
}

/// The next answer and its length; `None` if it has not arrived whole.
fn take<R: Call>(bytes: &[u8]) -> Result<Option<(R::Answer, usize)>> {
    match Decoder::answers(limits::FRAME_BYTES_MAX).peek(bytes)? {
        Peek::Need(_) => Ok(None),
        Peek::Frame(frame) => Ok(Some((good::<R>(&frame)?, frame.header.total_bytes()))),
    }
}

fn good<R: Call>(frame: &Frame<'_>) -> Result<R::Answer> {
    answer::decode::<R>(frame)?.map_err(|error| anyhow!("corelog answers {error:?}"))
}
