//! A batch over bytes that were found to be one.

#![deny(clippy::indexing_slicing)]

use super::header::CHECKED_FROM;
use super::{Codec, HEADER_BYTES, Header, Records};
use crate::checksum::crc32c;
use crate::{Error, LeaderEpoch, Offset, Timestamp};

/// One whole batch whose structure and checksum were found right. Holding one is the proof.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: Header,
    codec: Codec,
    base_offset: Offset,
    header_bytes: &'a [u8; HEADER_BYTES],
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// The batch that `bytes` are, by what a reader requires: structure and checksum. Control batches,
    /// producer ids and offsets that jump are a reader's daily bread.
    ///
    /// # Errors
    /// What of `bytes` is no batch; [`Error::Excess`] if there is more than one.
    pub fn verify(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::parse(bytes)?;
        let header_bytes = bytes.first_chunk().ok_or(Error::Cut {
            needed: HEADER_BYTES,
            available: bytes.len(),
        })?;
        let needed = header.total_bytes();
        if bytes.len() < needed {
            return Err(Error::Cut {
                needed,
                available: bytes.len(),
            });
        }
        if bytes.len() > needed {
            return Err(Error::Excess {
                bytes: bytes.len() - needed,
            });
        }
        let found = crc32c(bytes.get(CHECKED_FROM..).unwrap_or_default());
        if found != header.crc {
            return Err(Error::Checksum {
                expected: header.crc,
                found,
            });
        }
        let codec = header.codec()?;
        let base_offset = base_offset(&header)?;
        Ok(Self {
            header,
            codec,
            base_offset,
            header_bytes,
            bytes,
        })
    }

    /// The header's fields.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header as its bytes, for the chain.
    pub const fn header_bytes(&self) -> &'a [u8; HEADER_BYTES] {
        self.header_bytes
    }

    /// The whole batch.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes behind the header: the records, compressed by the codec.
    pub fn record_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Offset of the first record.
    pub const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset of the last record, as the batch was appended.
    pub const fn last_offset(&self) -> Offset {
        self.base_offset
            .plus(self.header.last_offset_delta.unsigned_abs() as u64)
    }

    /// Offset of the next batch's first record.
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Number of records. After compaction it can be less than the offsets it spans, even 0.
    pub const fn count(&self) -> u32 {
        self.header.count.unsigned_abs()
    }

    /// Time of the first record.
    pub const fn base_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.header.base_timestamp)
    }

    /// The highest time of the records; of a compressed batch, as its producer claims.
    pub const fn max_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.header.max_timestamp)
    }

    /// Epoch of the owner that appended it, or `None` if it was not appended yet.
    pub const fn epoch(&self) -> Option<LeaderEpoch> {
        LeaderEpoch::new(self.header.leader_epoch)
    }

    /// Codec of the records.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether the records are the log's own marks, to be skipped by consumers.
    pub const fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// The records, borrowed as they lie there.
    ///
    /// # Errors
    /// [`Error::Compressed`]: decompress them, then use [`Records::over`].
    pub fn records(&self) -> Result<Records<'a>, Error> {
        if self.codec != Codec::None {
            return Err(Error::Compressed { codec: self.codec });
        }
        Ok(Records::over(self.record_bytes(), self))
    }

    /// The records' bytes without compression, borrowed if there was none.
    ///
    /// Decompresses as a stream: never more than `bytes_max` bytes come out, and no memory is taken
    /// because a frame claims that it will need it.
    ///
    /// # Errors
    /// [`Error::DecompressedTooLarge`] beyond `bytes_max`; [`Error::Codec`] if the codec refuses.
    #[cfg(feature = "compression")]
    pub fn decompress(&self, bytes_max: usize) -> Result<std::borrow::Cow<'a, [u8]>, Error> {
        super::compression::decompress(self.codec, self.record_bytes(), bytes_max)
    }
}

/// The base offset, if count and offsets go together and the next offset exists.
fn base_offset(header: &Header) -> Result<Offset, Error> {
    let last_offset_delta = header.last_offset_delta;
    let count = u32::try_from(header.count).ok().ok_or(Error::Count {
        found: header.count,
        min: 0,
        max: i32::MAX.unsigned_abs(),
    })?;
    let span = u32::try_from(last_offset_delta)
        .ok()
        .map(|delta| delta + 1)
        .filter(|span| count <= *span)
        .ok_or(Error::LastOffsetDelta {
            found: last_offset_delta,
            count,
        })?;
    u64::try_from(header.base_offset)
        .ok()
        .and_then(Offset::new)
        .filter(|base| base.checked_add(span.into()).is_some())
        .ok_or(Error::BaseOffset {
            found: header.base_offset,
            last_offset_delta,
        })
}
