//! What is spoken of RabbitMQ's stream protocol, by its description in
//! `deps/rabbitmq_stream/docs/PROTOCOL.adoc` of the server's source.
//!
//! A frame is `u32 length · u16 key · u16 version` and what belongs to the key, big-endian; a string is
//! preceded by its length in two bytes. An answer's key has its highest bit set.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Result, bail, ensure};

use crate::load::Wire;
use crate::payload::Check;

/// Exchanges greetings as `guest`.
pub fn greet(stream: &mut TcpStream) -> Result<()> {
    ask(stream, PEER_PROPERTIES, &0u32.to_be_bytes())?;
    ask(stream, SASL_HANDSHAKE, &[])?;
    let credentials = b"\0guest\0guest";
    let length = (credentials.len() as u32).to_be_bytes();
    ask(
        stream,
        SASL_AUTHENTICATE,
        &[&string("PLAIN")[..], &length, credentials].concat(),
    )?;
    let (key, body) = receive(stream)?;
    ensure!(key == TUNE, "rabbitmq tunes nothing");
    // Frames as large as it takes them, and no heartbeats.
    let tuned = [&body[..4], &0u32.to_be_bytes()].concat();
    stream.write_all(&frame(TUNE, &tuned))?;
    ask(stream, OPEN, &string("/"))
}

pub fn create(stream: &mut TcpStream, name: &str) -> Result<()> {
    ask(
        stream,
        CREATE,
        &[&string(name)[..], &0u32.to_be_bytes()].concat(),
    )
}

pub fn declare_publisher(stream: &mut TcpStream, publisher: u8, name: &str) -> Result<()> {
    let body = [&[publisher][..], &string(""), &string(name)].concat();
    ask(stream, DECLARE_PUBLISHER, &body)
}

/// So many messages, in as many frames as they need.
pub fn publish(publisher: u8, records: &[&[u8]]) -> Vec<u8> {
    let each = records
        .first()
        .map_or(1, |record| record.len() + MESSAGE_BYTES);
    let mut out = Vec::new();
    for records in records.chunks((FRAME_BYTES_MAX / each).max(1)) {
        let mut body = vec![publisher];
        body.extend((records.len() as u32).to_be_bytes());
        for (number, record) in (0u64..).zip(records) {
            body.extend(number.to_be_bytes());
            body.extend(((record.len() + SECTION.len() + 4) as u32).to_be_bytes());
            body.extend(SECTION);
            body.extend((record.len() as u32).to_be_bytes());
            body.extend(*record);
        }
        out.extend(frame(PUBLISH, &body));
    }
    out
}

/// All messages from the first.
pub fn subscribe(name: &str) -> Vec<u8> {
    let from_first = 1u16.to_be_bytes();
    let rest = [from_first, CHUNKS_AHEAD.to_be_bytes(), [0; 2], [0; 2]].concat();
    let body = [&CORRELATION[..], &[0], &string(name), &rest].concat();
    frame(SUBSCRIBE, &body)
}

/// Counts messages that are confirmed.
#[derive(Default)]
pub struct Confirms {
    records: u64,
}

impl Wire for Confirms {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        each(bytes, |key, body| {
            match key {
                PUBLISH_CONFIRM => self.records += u64::from(number(body, 1)?),
                HEARTBEAT => {}
                _ => bail!("rabbitmq says {key:#x} to a publisher"),
            }
            Ok(())
        })
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Reads chunks of messages.
pub struct Chunks {
    check: Check,
}

impl Chunks {
    pub fn new(check: Check) -> Self {
        Self { check }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let (crc, bytes) = (number(chunk, 32)?, number(chunk, 36)? as usize);
        let data = chunk.get(CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + bytes);
        let Some(mut data) = data else {
            bail!("a chunk is cut off");
        };
        ensure!(crc32fast::hash(data) == crc, "a chunk is damaged");
        while !data.is_empty() {
            let length = number(data, 0)? as usize;
            ensure!(length >> 31 == 0, "messages within messages were not sent");
            let skipped = 4 + SECTION.len() + 4;
            self.check.take(&data[skipped..4 + length])?;
            data = &data[4 + length..];
        }
        Ok(())
    }
}

impl Wire for Chunks {
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        each(bytes, |key, body| {
            match key {
                DELIVER => {
                    self.take(&body[1..])?;
                    out.extend(frame(CREDIT, &[0, 0, 1]));
                }
                SUBSCRIBED => ensure!(body[4..6] == OK, "rabbitmq refuses a subscription"),
                HEARTBEAT => {}
                _ => bail!("rabbitmq says {key:#x} to a reader"),
            }
            Ok(())
        })
    }

    fn records(&self) -> u64 {
        self.check.records
    }
}

/// Takes each whole frame; gives how many bytes they were.
fn each(bytes: &[u8], mut take: impl FnMut(u16, &[u8]) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while let Ok(length) = number(bytes, used)
        && let Some(body) = bytes.get(used + 8..used + 4 + length as usize)
    {
        let key = u16::from_be_bytes([bytes[used + 4], bytes[used + 5]]);
        take(key, body)?;
        used += 4 + length as usize;
    }
    Ok(used)
}

/// Sends a request and waits for its answer.
fn ask(stream: &mut TcpStream, key: u16, body: &[u8]) -> Result<()> {
    stream.write_all(&frame(key, &[&CORRELATION, body].concat()))?;
    let (answer, body) = receive(stream)?;
    ensure!(
        answer == key | ANSWER,
        "rabbitmq answers {answer:#x} to {key:#x}"
    );
    ensure!(
        body[4..6] == OK,
        "rabbitmq refuses {key:#x}: {:?}",
        &body[4..6]
    );
    Ok(())
}

fn receive(stream: &mut TcpStream) -> Result<(u16, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    let key = u16::from_be_bytes([frame[0], frame[1]]);
    Ok((key, frame.split_off(4)))
}

fn frame(key: u16, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len() as u32).to_be_bytes();
    let version = 1u16.to_be_bytes();
    [&length[..], &key.to_be_bytes(), &version, body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(four) => Ok(u32::from_be_bytes(*four)),
        None => bail!("a frame is cut off"),
    }
}

const DECLARE_PUBLISHER: u16 = 0x0001;
const PUBLISH: u16 = 0x0002;
const PUBLISH_CONFIRM: u16 = 0x0003;
const SUBSCRIBE: u16 = 0x0007;
const DELIVER: u16 = 0x0008;
const CREDIT: u16 = 0x0009;
const CREATE: u16 = 0x000d;
const PEER_PROPERTIES: u16 = 0x0011;
const SASL_HANDSHAKE: u16 = 0x0012;
const SASL_AUTHENTICATE: u16 = 0x0013;
const TUNE: u16 = 0x0014;
const OPEN: u16 = 0x0015;
const HEARTBEAT: u16 = 0x0017;
const ANSWER: u16 = 0x8000;
const SUBSCRIBED: u16 = SUBSCRIBE | ANSWER;
const CORRELATION: [u8; 4] = [0; 4];
const OK: [u8; 2] = [0, 1];
/// An AMQP 1.0 data section of 32 bits of length.
const SECTION: [u8; 4] = [0x00, 0x53, 0x75, 0xb0];
/// What a message has beside its record.
const MESSAGE_BYTES: usize = 8 + 4 + SECTION.len() + 4;
const CHUNK_HEADER_BYTES: usize = 48;
const CHUNKS_AHEAD: u16 = 10;
/// Below what a server takes by itself.
const FRAME_BYTES_MAX: usize = 1_000_000;
