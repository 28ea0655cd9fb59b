//! The protocol spoken by hand over a blocking socket: what is sent and what comes back is what a
//! test says, with no retry, cache or batching in between.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::message::{
    Call, create_topic, describe_topic, fetch, hello, list_offsets, metadata, ping, produce,
};
use corelog_protocol::{answer, limits, request};
use corelog_record::batch::{Builder, Codec};
use corelog_record::{Offset, PartitionId, Timestamp, TopicId, TopicName};

/// A connection that said Hello.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    next: u32,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    pub(crate) kind: u16,
    pub(crate) correlation: u32,
}

/// The head and body of an answer, or the server's error.
pub(crate) type Answered<R> = Result<(<R as Call>::Answer, Vec<u8>), Box<ErrorBody>>;

/// A topic as a test needs it to name its partitions.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
}

impl Wire {
    /// Connects and says Hello.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let mut wire = Self::silent(address)?;
        let hello = hello::Request {
            versions: vec![1],
            client: "test".to_owned(),
        };
        wire.call(&hello, &[])?.map_err(io::Error::other)?;
        Ok(wire)
    }

    /// Connects and says nothing.
    pub(crate) fn silent(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            next: 1,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and gives the correlation that its answer will carry.
    pub(crate) fn send<R: Call>(&mut self, request: &R, body: &[u8]) -> io::Result<u32> {
        let correlation = self.next;
        self.next = self.next.wrapping_add(1);
        let mut bytes = Vec::new();
        request::encode(
            CorrelationId::new(correlation),
            request,
            body.len(),
            &mut bytes,
        )
        .map_err(io::Error::other)?;
        bytes.extend_from_slice(body);
        self.send_raw(&bytes)?;
        Ok(correlation)
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next answer; [`io::ErrorKind::UnexpectedEof`] if the server closed.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        loop {
            if let Peek::Frame(frame) = decoder.peek(&self.received).map_err(io::Error::other)? {
                let (kind, correlation) = (frame.header.kind, frame.header.correlation.get());
                let rest = self.received.split_off(frame.header.total_bytes());
                let bytes = std::mem::replace(&mut self.received, rest);
                return Ok(Reply {
                    bytes,
                    kind,
                    correlation,
                });
            }
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks, and waits for the answer; nothing else may be under way.
    pub(crate) fn call<R: Call>(&mut self, request: &R, body: &[u8]) -> io::Result<Answered<R>> {
        let correlation = self.send(request, body)?;
        let reply = self.receive()?;
        let is_for_all = reply.kind == answer::CONNECTION_KIND;
        assert!(
            is_for_all || reply.correlation == correlation,
            "an answer to something else"
        );
        Ok(reply.read::<R>())
    }

    pub(crate) fn ping(&mut self) -> io::Result<()> {
        let answer = self.call(&ping::Request {}, &[])?;
        answer.map(drop).map_err(io::Error::other)
    }

    /// Makes sure that a topic is there, with the default settings but for its segments' size.
    pub(crate) fn topic(&mut self, name: &str, partitions: u32, segment_bytes: u64) -> Target {
        let mut request = create_topic::Request {
            name: TopicName::new(name).unwrap(),
            partitions,
            settings: Default::default(),
            if_not_exists: true,
        };
        request.settings.segment_bytes = segment_bytes;
        let (answer, _) = self.call(&request, &[]).unwrap().unwrap();
        Target {
            name: request.name,
            id: answer.id,
        }
    }

    /// Which core owns each partition of a topic.
    pub(crate) fn owners(&mut self, topic: &Target) -> Vec<usize> {
        let topics = Some(vec![topic.name.clone()]);
        let (answer, _) = self
            .call(&metadata::Request { topics }, &[])
            .unwrap()
            .unwrap();
        let cores = answer.topics[0].partitions.iter();
        cores.map(|one| one.core.get().into()).collect()
    }

    /// Whether the first partition of a topic serves.
    pub(crate) fn state(&mut self, topic: &Target) -> describe_topic::State {
        let request = describe_topic::Request {
            name: topic.name.clone(),
        };
        let (answer, _) = self.call(&request, &[]).unwrap().unwrap();
        answer.partitions[0].state
    }

    /// Reads a partition from `from` to its high watermark; gives the batches' bytes.
    pub(crate) fn read_all(&mut self, topic: &Target, partition: u32, from: Offset) -> Vec<u8> {
        self.try_read_all(topic, partition, from).unwrap()
    }

    /// The same, or the server's error.
    pub(crate) fn try_read_all(
        &mut self,
        topic: &Target,
        partition: u32,
        from: Offset,
    ) -> Result<Vec<u8>, Box<ErrorBody>> {
        let (mut next, mut bytes) = (from, Vec::new());
        let mut end = None;
        loop {
            let request = topic.fetch(partition, next);
            let (answer, body) = match self.call(&request, &[]).unwrap() {
                // A copy that has stopped has no more.
                Err(moved) if moved.is(ErrorCode::NotOwner) && end == Some(next) => {
                    return Ok(bytes);
                }
                told => told?,
            };
            end = Some(answer.high_watermark);
            if body.is_empty() {
                assert_eq!(
                    answer.next, answer.high_watermark,
                    "an answer without batches"
                );
                return Ok(bytes);
            }
            assert!(answer.next > next, "an answer that leads nowhere");
            next = answer.next;
            bytes.extend_from_slice(&body);
        }
    }
}

impl Reply {
    /// The answer to a request of kind `R` and its body, or the server's error.
    pub(crate) fn read<R: Call>(&self) -> Answered<R> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let Ok(Peek::Frame(frame)) = decoder.peek(&self.bytes) else {
            panic!("a whole frame was cut out");
        };
        let head = answer::decode::<R>(&frame).unwrap();
        Ok((head.map_err(Box::new)?, frame.body.to_vec()))
    }

    /// The server's error, if it is one.
    pub(crate) fn error(&self) -> Option<ErrorBody> {
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let Ok(Peek::Frame(frame)) = decoder.peek(&self.bytes) else {
            panic!("a whole frame was cut out");
        };
        answer::decode_err(&frame).unwrap()
    }
}

impl Target {
    /// Produces to a partition, by default durably.
    pub(crate) fn produce(&self, partition: u32) -> produce::Request {
        produce::Request {
            topic: self.name.clone(),
            id: self.id,
            partition: PartitionId::new(partition),
            level: None,
            run: 0,
        }
    }

    /// Fetches from a partition, by default without waiting.
    pub(crate) fn fetch(&self, partition: u32, offset: Offset) -> fetch::Request {
        fetch::Request {
            topic: self.name.clone(),
            id: self.id,
            partition: PartitionId::new(partition),
            offset,
            max_bytes: 4 << 20,
            min_bytes: 1,
            max_wait_ms: 0,
            last_epoch: None,
            follower: None,
        }
    }

    pub(crate) fn list_offsets(
        &self,
        partition: u32,
        at: list_offsets::At,
    ) -> list_offsets::Request {
        list_offsets::Request {
            topic: self.name.clone(),
            id: self.id,
            partition: PartitionId::new(partition),
            at,
        }
    }
}

/// One batch of these values.
pub(crate) fn batch<V: AsRef<[u8]>>(codec: Codec, values: impl IntoIterator<Item = V>) -> Vec<u8> {
    let mut builder = Builder::new(codec);
    for value in values {
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(builder.count()));
        builder
            .append(time, None, Some(value.as_ref()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// A server that says nothing for so long, asked for something that needs no wait, hangs. A disk that is still given what
/// a build wrote takes three seconds for a write, and an answer waits for several. Shorter than the longest wait of a Fetch.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(50);
