//! Ways to bend a frame. Tame ones keep the framing, so that the server owes an answer; wild ones
//! lose it, so that the server owes an end.

use corelog_record::batch::HEADER_BYTES;
use corelog_record::checksum::crc32c;
use rmpv::Value;

use crate::frames::Frame;

/// Bends what a frame says; its lengths and checksum will be right again.
pub(crate) fn tame(frame: &mut Frame, random: &mut fastrand::Rng) {
    match random.u32(..10) {
        0 => frame.kind = random.u16(..),
        1 => frame.head = garbage(200, random),
        2..=4 => scratch(&mut frame.head, random),
        5..=6 => restate(&mut frame.head, random),
        _ if frame.body.len() > HEADER_BYTES => bend_batch(&mut frame.body, random),
        7 => frame.body = garbage(300, random),
        _ => scratch(&mut frame.head, random),
    }
}

/// Bytes that are no frame any more, or none yet.
pub(crate) fn wild(frame: &Frame, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = frame.bytes();
    match random.u32(..10) {
        0..=2 => {
            let bit = random.usize(..8 * bytes.len().min(20 + frame.head.len()));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        3 => bytes.truncate(random.usize(..bytes.len())),
        4 => {
            let lengths = [0, 1, 15, 16, 0xff_ffff, 1 << 24, (1 << 24) + 1, u32::MAX];
            let length = lengths[random.usize(..lengths.len())];
            bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        5 => {
            let lengths = [0, 1, 1 << 18, (1 << 18) + 1, 1 << 24, u32::MAX];
            let length = lengths[random.usize(..lengths.len())];
            bytes[12..16].copy_from_slice(&length.to_le_bytes());
        }
        6 => bytes[4] = random.u8(..),
        7 => bytes[5] = random.u8(1..),
        8 => bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        _ => bytes = garbage(4_096, random),
    }
    bytes
}

fn garbage(bytes_max: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(..bytes_max)];
    random.fill(&mut bytes);
    bytes
}

/// Flips, inserts, removes or repeats a few bytes.
fn scratch(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.u32(1..=4) {
        if bytes.is_empty() {
            bytes.push(random.u8(..));
        }
        let at = random.usize(..bytes.len());
        match random.u32(..5) {
            0 | 1 => bytes[at] ^= 1 << random.u32(..8),
            2 => bytes[at] = random.u8(..),
            3 => bytes.insert(at, random.u8(..)),
            _ => drop(bytes.remove(at)),
        }
    }
}

/// Says something else in good MessagePack: other types, sizes and keys.
fn restate(head: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let Ok(Value::Map(mut pairs)) = rmpv::decode::read_value(&mut head.as_slice()) else {
        return;
    };
    if pairs.is_empty() {
        pairs.push((Value::from("key"), value(4, random)));
    }
    let at = random.usize(..pairs.len());
    match random.u32(..8) {
        0 => drop(pairs.remove(at)),
        1 => pairs.push(pairs[at].clone()),
        2 => pairs[at].0 = value(2, random),
        3 => pairs.push((Value::from("unknown"), value(4, random))),
        _ => pairs[at].1 = value(4, random),
    }
    head.clear();
    rmpv::encode::write_value(head, &Value::Map(pairs)).unwrap();
}

/// Any value, the odd ones more often than chance would have it.
fn value(depth: u32, random: &mut fastrand::Rng) -> Value {
    match random.u32(..14) {
        0 => Value::Nil,
        1 => Value::Boolean(random.bool()),
        2 => Value::from(random.u32(..300)),
        3 => Value::from(u64::MAX >> random.u32(..64)),
        4 => Value::from(i64::MIN >> random.u32(..64)),
        5 => Value::from(f64::from_bits(random.u64(..))),
        6 => Value::from("../../etc"),
        7 => Value::from("a".repeat(random.usize(..300))),
        8 => Value::Binary(garbage(40, random)),
        9 => Value::Ext(random.i8(..), garbage(40, random)),
        10 => nested(random.u32(..200)),
        11 if depth > 0 => {
            let values = (0..random.u32(..6)).map(|_| value(depth - 1, random));
            Value::Array(values.collect())
        }
        12 if depth > 0 => {
            let pair =
                |random: &mut fastrand::Rng| (value(depth - 1, random), value(depth - 1, random));
            Value::Map((0..random.u32(..6)).map(|_| pair(random)).collect())
        }
        _ => Value::from("earliest"),
    }
}

/// Arrays within arrays, more than a reader's stack should be asked to hold.
fn nested(depth: u32) -> Value {
    (0..depth).fold(Value::Nil, |inner, _| Value::Array(vec![inner]))
}

/// Bends a body of batches: fields of the header or bytes of the records under a checksum that is
/// right again, or the checksum itself, or the ends of the body.
fn bend_batch(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    match random.u32(..12) {
        0 => drop(body.drain(random.usize(..body.len())..)),
        1 => body.extend_from_slice(&garbage(100, random)),
        2 => body.extend_from_within(..),
        3 => {
            let at = random.usize(..body.len());
            body[at] ^= 1 << random.u32(..8);
        }
        4 => {
            // The length field, which decides how far the checksum reaches.
            let length = random.u32(..1_000);
            put(body, 8, length);
        }
        5..=7 => {
            let at = random.usize(CHECKED_FROM..HEADER_BYTES);
            body[at] = if random.bool() {
                random.u8(..)
            } else {
                body[at] ^ 1 << random.u32(..8)
            };
            seal(body);
        }
        8 => {
            // A count that promises more than there is.
            let count = u32::MAX >> random.u32(..32);
            put(body, 57, count);
            put(body, 23, count.wrapping_sub(1));
            seal(body);
        }
        _ => {
            for _ in 0..random.u32(1..=3) {
                let at = random.usize(HEADER_BYTES..body.len());
                body[at] = random.u8(..);
            }
            seal(body);
        }
    }
}

/// Makes the batch's checksum right again.
fn seal(batch: &mut [u8]) {
    let checksum = crc32c(&batch[CHECKED_FROM..]);
    put(batch, CHECKED_FROM - 4, checksum);
}

#[expect(clippy::big_endian_bytes, reason = "the batch format's own order")]
fn put(batch: &mut [u8], at: usize, field: u32) {
    batch[at..at + 4].copy_from_slice(&field.to_be_bytes());
}

/// The checksum covers the batch from its attributes on.
const CHECKED_FROM: usize = 21;
