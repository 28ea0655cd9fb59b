//! The 61 bytes before the records.

#![deny(clippy::indexing_slicing)]
#![expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]

use std::ops::Range;

use super::{BYTES_MAX, Codec, HEADER_BYTES, PREFIX_BYTES};
use crate::checksum::crc32c;
use crate::{Error, LeaderEpoch, Offset};

const MAGIC: i8 = 2;
const CODEC_BITS: u16 = 0b111;
const LOG_APPEND_TIME_BIT: u16 = 1 << 3;
const TRANSACTIONAL_BIT: u16 = 1 << 4;
const CONTROL_BIT: u16 = 1 << 5;
const DEFINED_BITS: u16 = CODEC_BITS | LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;

/// Where the bytes that the checksum covers begin: at the attributes.
pub(super) const CHECKED_FROM: usize = 21;

/// A header's fields as they stand there.
///
/// Parsing one checks the length and the magic, which say what the bytes are; the other fields mean
/// nothing until the checksum was found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after the length field itself.
    pub length: i32,
    /// Epoch of the owner that appended it; −1 while it is on its way there.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: u16,
    /// Offset of the last record, less the base offset.
    pub last_offset_delta: i32,
    /// Time of the first record, ms since the Unix epoch.
    pub base_timestamp: i64,
    /// The highest time of the records, ms since the Unix epoch.
    pub max_timestamp: i64,
    /// Who produced it, if idempotent or transactional; else −1.
    pub producer_id: i64,
    /// Epoch of that producer, else −1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, else −1.
    pub base_sequence: i32,
    /// Number of records.
    pub count: i32,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; there may be any number of bytes behind it.
    ///
    /// # Errors
    /// [`Error::Cut`] below 61 bytes; [`Error::Length`], [`Error::Magic`] if they are no header.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let cut = Error::Cut {
            needed: HEADER_BYTES,
            available: bytes.len(),
        };
        let (header, magic) = Fields(bytes).header().ok_or(cut)?;
        let lengths = HEADER_BYTES - PREFIX_BYTES..=BYTES_MAX - PREFIX_BYTES;
        let is_length =
            usize::try_from(header.length).is_ok_and(|length| lengths.contains(&length));
        if !is_length {
            let (min, max) = lengths.into_inner();
            return Err(Error::Length {
                found: header.length,
                min,
                max,
            });
        }
        if magic != MAGIC {
            return Err(Error::Magic { found: magic });
        }
        Ok(header)
    }

    /// Bytes of the whole batch, by its length field.
    pub fn total_bytes(&self) -> usize {
        PREFIX_BYTES + self.length.unsigned_abs() as usize
    }

    /// The offsets of its records by these fields, holes included; `None` if no log has such.
    pub fn offsets(&self) -> Option<Range<Offset>> {
        let base = Offset::new(u64::try_from(self.base_offset).ok()?)?;
        let span = u64::try_from(self.last_offset_delta).ok()? + 1;
        Some(base..base.checked_add(span)?)
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`Error::UnknownCodec`].
    pub fn codec(&self) -> Result<Codec, Error> {
        Codec::from_number((self.attributes & CODEC_BITS) as u8)
    }

    /// Whether all records carry the time of their append, which is the max timestamp.
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// Whether it is part of a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether its records are the log's own marks, not a producer's.
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub(super) const fn has_undefined_bits(&self) -> bool {
        self.attributes & !DEFINED_BITS != 0
    }

    /// Writes the header, with the checksum of what follows it, to the front of a whole batch.
    pub(super) fn stamp(mut self, batch: &mut [u8]) {
        self.put(batch);
        self.crc = crc32c(batch.get(CHECKED_FROM..).unwrap_or_default());
        self.put(batch);
    }

    fn put(&self, batch: &mut [u8]) {
        let Some(front) = batch.first_chunk_mut() else {
            panic!("a batch has room for its header");
        };
        *front = self.encode();
    }

    /// The header as its bytes.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, self.base_offset.to_be_bytes());
        put(&mut rest, self.length.to_be_bytes());
        put(&mut rest, self.leader_epoch.to_be_bytes());
        put(&mut rest, MAGIC.to_be_bytes());
        put(&mut rest, self.crc.to_be_bytes());
        put(&mut rest, self.attributes.to_be_bytes());
        put(&mut rest, self.last_offset_delta.to_be_bytes());
        put(&mut rest, self.base_timestamp.to_be_bytes());
        put(&mut rest, self.max_timestamp.to_be_bytes());
        put(&mut rest, self.producer_id.to_be_bytes());
        put(&mut rest, self.producer_epoch.to_be_bytes());
        put(&mut rest, self.base_sequence.to_be_bytes());
        put(&mut rest, self.count.to_be_bytes());
        assert!(rest.is_empty(), "a header's fields fill it");
        bytes
    }
}

/// Writes the two fields that lie outside the checksum into the batch at the beginning of `batch`:
/// the offset of its first record and the epoch of the owner that appends it.
///
/// # Panics
/// Below 61 bytes: only what was checked is patched.
pub fn patch(batch: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    assert!(
        batch.len() >= HEADER_BYTES,
        "only a checked batch is patched"
    );
    let (base_field, rest) = batch.split_at_mut(size_of::<i64>());
    let (_length_field, rest) = rest.split_at_mut(size_of::<i32>());
    let (epoch_field, _checked) = rest.split_at_mut(size_of::<i32>());
    base_field.copy_from_slice(&base.get().to_be_bytes());
    epoch_field.copy_from_slice(&epoch.get().to_be_bytes());
}

/// The bytes from which fields are taken, in order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// All fields and the magic, or `None` if the bytes end before.
    fn header(mut self) -> Option<(Header, i8)> {
        let base_offset = i64::from_be_bytes(self.take()?);
        let length = i32::from_be_bytes(self.take()?);
        let leader_epoch = i32::from_be_bytes(self.take()?);
        let magic = i8::from_be_bytes(self.take()?);
        let header = Header {
            base_offset,
            length,
            leader_epoch,
            crc: u32::from_be_bytes(self.take()?),
            attributes: u16::from_be_bytes(self.take()?),
            last_offset_delta: i32::from_be_bytes(self.take()?),
            base_timestamp: i64::from_be_bytes(self.take()?),
            max_timestamp: i64::from_be_bytes(self.take()?),
            producer_id: i64::from_be_bytes(self.take()?),
            producer_epoch: i16::from_be_bytes(self.take()?),
            base_sequence: i32::from_be_bytes(self.take()?),
            count: i32::from_be_bytes(self.take()?),
        };
        Some((header, magic))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Writes `field` at the beginning of `rest` and moves behind it.
fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    let (place, behind) = std::mem::take(rest).split_at_mut(N);
    place.copy_from_slice(&field);
    *rest = behind;
}

#[cfg(test)]
mod tests {
    use super::{Header, patch};
    use crate::{Error, LeaderEpoch, Offset};

    fn header() -> Header {
        Header {
            base_offset: 0x0102_0304_0506_0708,
            length: 49,
            leader_epoch: 0x1112_1314,
            crc: 0xdead_beef,
            attributes: 0x0004,
            last_offset_delta: 0x2122_2324,
            base_timestamp: 0x3132_3334_3536_3738,
            max_timestamp: 0x4142_4344_4546_4748,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 0x5152_5354,
        }
    }

    #[test]
    fn every_field_stands_where_the_format_puts_it() {
        let bytes = header().encode();
        assert_eq!(bytes[..12], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 49]);
        assert_eq!(bytes[12..17], [0x11, 0x12, 0x13, 0x14, 2]);
        assert_eq!(bytes[17..23], [0xde, 0xad, 0xbe, 0xef, 0, 4]);
        assert_eq!(bytes[23..27], [0x21, 0x22, 0x23, 0x24]);
        assert_eq!(
            bytes[27..35],
            [0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38]
        );
        assert_eq!(
            bytes[35..43],
            [0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]
        );
        assert_eq!(bytes[43..57], [0xff; 14]);
        assert_eq!(bytes[57..], [0x51, 0x52, 0x53, 0x54]);
        assert_eq!(Header::parse(&bytes).unwrap(), header());
    }

    #[test]
    fn a_patch_changes_base_offset_and_epoch_and_nothing_else() {
        let mut bytes = header().encode();
        patch(
            &mut bytes,
            Offset::ZERO.plus(77),
            LeaderEpoch::new(5).unwrap(),
        );
        let expected = Header {
            base_offset: 77,
            leader_epoch: 5,
            ..header()
        };
        assert_eq!(Header::parse(&bytes).unwrap(), expected);
    }

    #[test]
    fn zeros_and_short_bytes_are_no_header() {
        assert!(matches!(
            Header::parse(&[0; 100]),
            Err(Error::Length { found: 0, .. })
        ));
        for len in 0..61 {
            let bytes = header().encode();
            let result = Header::parse(bytes.get(..len).unwrap());
            assert!(
                matches!(result, Err(Error::Cut { needed: 61, available }) if available == len)
            );
        }
    }
}
