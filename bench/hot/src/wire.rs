//! Frames of one poll round: requests in, acknowledgements out.

use std::hint::black_box;

use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;
use corelog_protocol::request::{self, Request};
use corelog_protocol::{answer, limits};
use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId};

use crate::Hot;
use crate::batches::batch_of;

/// Requests that arrived together, each taken apart up to its batches.
pub(crate) struct DecodeProduce {
    received: Vec<u8>,
    decoder: Decoder,
}

impl DecodeProduce {
    pub(crate) fn new() -> Self {
        let (head, batch) = (head(), batch_of(1, 100));
        let mut received = Vec::new();
        for number in 0..FRAMES {
            encode(number, &head, batch.len(), &mut received);
            received.extend_from_slice(&batch);
        }
        let decoder = Decoder::requests(limits::FRAME_BYTES_MAX);
        Self { received, decoder }
    }
}

impl Hot for DecodeProduce {
    fn count(&self) -> u64 {
        FRAMES.into()
    }

    fn run(&mut self) {
        let mut left = black_box(self.received.as_slice());
        while let Ok(Peek::Frame(frame)) = self.decoder.peek(left) {
            let request = Request::decode(&frame);
            assert!(
                matches!(request, Ok(Request::Produce(_))),
                "what was encoded is decoded"
            );
            left = &left[frame.header.total_bytes()..];
        }
        assert!(left.is_empty(), "all frames are whole");
    }
}

/// Requests laid down one behind the other, without their batches.
pub(crate) struct EncodeProduce {
    head: produce::Request,
    out: Vec<u8>,
}

impl EncodeProduce {
    pub(crate) fn new() -> Self {
        let (head, out) = (head(), Vec::new());
        Self { head, out }
    }
}

impl Hot for EncodeProduce {
    fn count(&self) -> u64 {
        FRAMES.into()
    }

    fn run(&mut self) {
        self.out.clear();
        for number in 0..FRAMES {
            encode(number, black_box(&self.head), 1024, &mut self.out);
        }
    }
}

/// Acknowledgements laid down one behind the other.
pub(crate) struct EncodeAck {
    answer: produce::Answer,
    out: Vec<u8>,
}

impl EncodeAck {
    pub(crate) fn new() -> Self {
        let base = Offset::ZERO.plus(123_456_789);
        let answer = produce::Answer {
            base,
            end: base.plus(1),
            epoch: LeaderEpoch::ZERO,
            level: Level::Durable,
        };
        let out = Vec::new();
        Self { answer, out }
    }
}

impl Hot for EncodeAck {
    fn count(&self) -> u64 {
        FRAMES.into()
    }

    fn run(&mut self) {
        self.out.clear();
        for number in 0..FRAMES {
            let (correlation, answer) = (CorrelationId::new(number), black_box(&self.answer));
            let encoded =
                answer::encode_ok::<produce::Request>(correlation, answer, 0, &mut self.out);
            assert!(encoded.is_ok(), "an acknowledgement is small");
        }
    }
}

fn head() -> produce::Request {
    let Ok(topic) = "measurements".parse() else {
        panic!("a plain name is a topic's")
    };
    produce::Request {
        topic,
        id: TopicId::from_bytes([3; 16]),
        partition: PartitionId::new(7),
        level: Some(Level::Durable),
        run: 0,
    }
}

fn encode(number: u32, head: &produce::Request, body_bytes: usize, out: &mut Vec<u8>) {
    let encoded = request::encode(CorrelationId::new(number), head, body_bytes, out);
    assert!(encoded.is_ok(), "a request's head is small");
}

/// As many as clients that wait for each other's group have under way.
const FRAMES: u32 = 64;
