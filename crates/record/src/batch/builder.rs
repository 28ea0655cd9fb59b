//! Writing batches.

use super::{
    BYTES_MAX, COUNT_MAX, Codec, HEADER_BYTES, Header, PREFIX_BYTES, Rules, TIMESTAMP_MAX,
};
use crate::{Error, Record, Timestamp};

/// Gathers records into one batch.
#[derive(Clone, Debug)]
pub struct Builder {
    codec: Codec,
    rules: Rules,
    /// Room for the header, then the records as the format lays them out, not compressed yet; empty
    /// without records.
    bytes: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Builder {
    /// An empty batch by the default rules, its records to be compressed by `codec`.
    pub fn new(codec: Codec) -> Self {
        Self::with_rules(codec, Rules::default())
    }

    /// An empty batch by the rules of a certain server.
    pub const fn with_rules(codec: Codec, rules: Rules) -> Self {
        Self {
            codec,
            rules,
            bytes: Vec::new(),
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Adds a record; its offset will be the batch's base offset plus the number returned.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`], [`Error::Timestamp`], or, if it does not fit in this batch any more,
    /// [`Error::BatchTooLarge`] (counted without compression) or [`Error::Count`]. The batch is
    /// unchanged then.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<u32, Error> {
        let (time, index) = (timestamp.millis(), self.count);
        self.admit(time, payload_bytes(key, value, headers))?;
        let base = if index == 0 {
            time
        } else {
            self.base_timestamp
        };
        let body_bytes = body_bytes(time - base, index, key, value, headers);
        let record_bytes = varint_bytes(zigzag_len(body_bytes)) + body_bytes;
        let bytes = self.len_bytes() + record_bytes;
        let max = self.rules.batch_bytes_max.min(BYTES_MAX);
        if bytes > max {
            return Err(Error::BatchTooLarge { bytes, max });
        }
        if index == 0 {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        let records = &mut self.bytes;
        let end = records.len() + record_bytes;
        records.reserve(record_bytes + LEAD_BYTES);
        let mut lead = Lead::new();
        lead.put_varint(records, zigzag_len(body_bytes));
        lead.put(records, 0);
        lead.put_varint(records, zigzag(time - base));
        lead.put_varint(records, zigzag(index.into()));
        lead.put_field(records, key);
        lead.put_field(records, value);
        lead.put_varint(records, zigzag_len(headers.len()));
        for (name, value) in headers {
            lead.put_field(records, Some(name.as_bytes()));
            lead.put_field(records, *value);
        }
        lead.give(records);
        assert_eq!(records.len(), end, "a record is as long as it says");
        self.base_timestamp = base;
        self.max_timestamp = if index == 0 {
            time
        } else {
            self.max_timestamp.max(time)
        };
        self.count += 1;
        Ok(index)
    }

    /// Adds a copy of `record`.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_record(&mut self, record: &Record) -> Result<u32, Error> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        // Most have none, and to gather nothing costs a tenth of what else is done for a small one.
        if record.headers.is_empty() {
            return self.append(record.timestamp, key, value, &[]);
        }
        let headers = record.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        self.append(record.timestamp, key, value, &headers)
    }

    /// Makes room for a batch of so many bytes at once, so that it need not be moved while it grows.
    pub fn reserve(&mut self, bytes: usize) {
        let bytes = bytes.saturating_add(LEAD_BYTES);
        self.bytes.reserve(bytes.saturating_sub(self.bytes.len()));
    }

    /// How the records will be compressed.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Number of records so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are no records yet.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, without compression: the most it can become.
    pub const fn len_bytes(&self) -> usize {
        match self.bytes.len() {
            0 => HEADER_BYTES,
            bytes => bytes,
        }
    }

    /// The batch: base offset 0, epoch and producer fields −1.
    ///
    /// Records that compression would not make smaller are stored as they are, so a batch never
    /// grows beyond [`len_bytes`](Self::len_bytes) and nobody decompresses for nothing.
    ///
    /// # Errors
    /// [`Error::Count`] without records; [`Error::CodecUnavailable`], [`Error::Codec`].
    pub fn build(mut self) -> Result<Vec<u8>, Error> {
        let records = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let compressed = compress(self.codec, records)?;
        let smaller = compressed.filter(|bytes| bytes.len() < records.len());
        let Some(compressed) = smaller else {
            self.finish()?;
            return Ok(self.bytes);
        };
        let mut batch = Vec::with_capacity(HEADER_BYTES + compressed.len());
        batch.resize(HEADER_BYTES, 0);
        batch.extend_from_slice(&compressed);
        self.header(self.codec, batch.len())?.stamp(&mut batch);
        Ok(batch)
    }

    /// The batch as [`build`](Self::build) makes it without compression, in the builder's own memory:
    /// whoever appends all the time takes it from there and goes on after [`clear`](Self::clear).
    ///
    /// # Errors
    /// [`Error::Count`] without records.
    pub fn finish(&mut self) -> Result<&[u8], Error> {
        let header = self.header(Codec::None, self.bytes.len())?;
        header.stamp(&mut self.bytes);
        Ok(&self.bytes)
    }

    /// Begins the next batch in the memory of the last one.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The header of a batch of `total_bytes`, but for its checksum.
    fn header(&self, codec: Codec, total_bytes: usize) -> Result<Header, Error> {
        let found = self.count.cast_signed();
        if self.count == 0 {
            return Err(Error::Count {
                found,
                min: 1,
                max: self.rules.count_max,
            });
        }
        let length = i32::try_from(total_bytes - PREFIX_BYTES).ok().ok_or({
            Error::BatchTooLarge {
                bytes: total_bytes,
                max: BYTES_MAX,
            }
        })?;
        Ok(Header {
            base_offset: 0,
            length,
            leader_epoch: -1,
            crc: 0,
            attributes: codec.number().into(),
            last_offset_delta: found - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: found,
        })
    }

    fn admit(&self, time: i64, bytes: usize) -> Result<(), Error> {
        let (index, max) = (self.count, self.rules.record_bytes_max);
        if bytes > max {
            return Err(Error::RecordTooLarge { index, bytes, max });
        }
        let max = TIMESTAMP_MAX.millis();
        if !(0..=max).contains(&time) {
            return Err(Error::Timestamp { found: time, max });
        }
        let max = self.rules.count_max.min(COUNT_MAX);
        if index >= max {
            return Err(Error::Count {
                found: index.cast_signed() + 1,
                min: 1,
                max,
            });
        }
        Ok(())
    }
}

#[cfg(feature = "compression")]
fn compress(codec: Codec, records: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    super::compression::compress(codec, records)
}

#[cfg(not(feature = "compression"))]
fn compress(codec: Codec, _records: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    match codec {
        Codec::None => Ok(None),
        codec => Err(Error::CodecUnavailable { codec }),
    }
}

fn payload_bytes(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    let len = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
    let headers = headers.iter().map(|(name, value)| name.len() + len(*value));
    headers.fold(len(key).saturating_add(len(value)), usize::saturating_add)
}

/// Bytes of a record after its length field.
fn body_bytes(
    timestamp_delta: i64,
    index: u32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    let mut bytes = 1 + varint_bytes(zigzag(timestamp_delta)) + varint_bytes(zigzag(index.into()));
    bytes += nullable_bytes(key) + nullable_bytes(value);
    bytes += varint_bytes(zigzag_len(headers.len()));
    for (name, value) in headers {
        bytes += nullable_bytes(Some(name.as_bytes())) + nullable_bytes(*value);
    }
    bytes
}

fn nullable_bytes(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint_bytes(zigzag_len(bytes.len())) + bytes.len(),
        None => varint_bytes(zigzag(-1)),
    }
}

/// Small numbers of either sign to small numbers: 0, −1, 1, −2 … become 0, 1, 2, 3 …
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// A length as the format's varints hold it; the record limit keeps it far below `i32::MAX`.
const fn zigzag_len(length: usize) -> u64 {
    (length as u64) << 1
}

const fn varint_bytes(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The numbers in front of a field, gathered in a register and appended eight bytes at once: a vector asks for each
/// byte whether there is room, and a copy of as many bytes as there are is a call that waits for what was written just now.
struct Lead {
    bytes: u64,
    len: usize,
}

impl Lead {
    const fn new() -> Self {
        Self { bytes: 0, len: 0 }
    }

    #[inline]
    fn put(&mut self, out: &mut Vec<u8>, byte: u8) {
        self.bytes |= u64::from(byte) << (8 * self.len);
        self.len += 1;
        if self.len == LEAD_BYTES {
            self.give(out);
        }
    }

    /// Groups of 7 bits, the least significant first, all but the last marked by the high bit.
    #[inline]
    fn put_varint(&mut self, out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            self.put(out, (value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.put(out, (value & 0x7f) as u8);
    }

    /// A field that may be absent, and all that stands before it.
    #[inline(always)]
    fn put_field(&mut self, out: &mut Vec<u8>, field: Option<&[u8]>) {
        let Some(bytes) = field else {
            self.put_varint(out, zigzag(-1));
            return;
        };
        self.put_varint(out, zigzag_len(bytes.len()));
        self.give(out);
        out.extend_from_slice(bytes);
    }

    #[inline]
    fn give(&mut self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
        *self = Self::new();
    }
}

/// So many are appended at once: behind a batch there is room for them.
const LEAD_BYTES: usize = size_of::<u64>();
