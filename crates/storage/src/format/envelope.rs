//! The shape of the small files that are replaced as a whole: a header and a MessagePack body.
//!
//! ```text
//! 0   magic              8 bytes
//! 8   version            u32
//! 12  required features  u32
//! 16  body_bytes         u32
//! 20  CRC-32             u32, over bytes [0, 20) and the body
//! 24  body               body_bytes of MessagePack, then the file ends
//! ```

use serde::{Serialize, de::DeserializeOwned};

use super::cursor::{Reader, Writer};
use super::{Error, MAGIC_BYTES, read_start, write_start_requiring};

/// The longest body, in bytes: names and settings fit many times over.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes before the body.
const HEADER_BYTES: usize = 24;

/// The longest file of this shape, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = file_bytes(BODY_BYTES_MAX);

/// The length of a file with a body of `body_bytes` bytes.
pub(super) const fn file_bytes(body_bytes: usize) -> u64 {
    (HEADER_BYTES + body_bytes) as u64
}

/// A file whose body is known to be short.
pub(super) fn encode(magic: [u8; MAGIC_BYTES], body: &impl Serialize) -> Vec<u8> {
    let body = to_messagepack(body);
    assert!(
        body.len() <= BODY_BYTES_MAX,
        "a body of {} bytes",
        body.len()
    );
    frame(magic, 0, &body)
}

/// A file that requires features, if any, and whose body has at most `body_bytes_max` bytes, fewer than 2^32.
pub(super) fn encode_requiring(
    what: &'static str,
    magic: [u8; MAGIC_BYTES],
    features: u32,
    body: &impl Serialize,
    body_bytes_max: usize,
) -> Result<Vec<u8>, Error> {
    let body = to_messagepack(body);
    match body.len() <= body_bytes_max {
        true => Ok(frame(magic, features, &body)),
        false => Err(Error::TooLong {
            what,
            max: body_bytes_max,
            found: body.len(),
        }),
    }
}

fn frame(magic: [u8; MAGIC_BYTES], features: u32, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    write_start_requiring(&mut writer, magic, features);
    writer.body(body).take()
}

pub(super) fn decode_within<T: DeserializeOwned>(
    what: &'static str,
    magic: [u8; MAGIC_BYTES],
    bytes: &[u8],
    body_bytes_max: usize,
) -> Result<T, Error> {
    let mut reader = Reader::new(what, bytes);
    read_start(&mut reader, what, magic)?;
    from_messagepack(what, reader.body("body_bytes", body_bytes_max)?)
}

/// A map with string keys.
pub(super) fn to_messagepack(body: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "writing plain structs into memory has no failure"
    )]
    rmp_serde::to_vec_named(body).expect("our bodies are maps of plain values")
}

/// The value of all of `body`.
pub(super) fn from_messagepack<T: DeserializeOwned>(
    what: &'static str,
    body: &[u8],
) -> Result<T, Error> {
    let mut rest = body;
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|source| Error::Body { what, source })?;
    match rest.len() {
        0 => Ok(value),
        behind => Err(Error::field(what, "bytes behind its body", behind as u64)),
    }
}
