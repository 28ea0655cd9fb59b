//! What can be wrong with a batch, by field.

use std::io;

use crate::batch::Codec;

/// Why bytes are no batch, or none that may be appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer bytes than the batch has by its own length field (or than a header has).
    #[error("batch is cut: {available} of {needed} bytes")]
    Cut {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// Bytes after the end of what should be exactly one batch.
    #[error("{bytes} bytes follow the end of the batch")]
    Excess {
        /// How many.
        bytes: usize,
    },
    /// A length field that no batch has. Zeros where a batch would begin give this too.
    #[error("batch length field is {found}, outside {min}..={max}")]
    Length {
        /// The field.
        found: i32,
        /// The least it can be.
        min: usize,
        /// The most it can be.
        max: usize,
    },
    /// A batch larger than the rules allow.
    #[error("batch has {bytes} bytes, at most {max} are allowed")]
    BatchTooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Another format version than 2.
    #[error("batch magic is {found}, expected 2")]
    Magic {
        /// The field.
        found: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("batch checksum is {found:#010x}, its header says {expected:#010x}")]
    Checksum {
        /// The checksum that the header holds.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A negative base offset, or one so high that the next offset would not exist.
    #[error("batch base offset {found} with last offset delta {last_offset_delta} is out of range")]
    BaseOffset {
        /// The field.
        found: i64,
        /// The field of that name.
        last_offset_delta: i32,
    },
    /// A codec that nobody has defined.
    #[error("batch codec number is {found}, known are 0 to 4")]
    UnknownCodec {
        /// The number.
        found: u8,
    },
    /// A log append time: the times of records are their producer's.
    #[error("batch carries log append time, expected create time")]
    LogAppendTime,
    /// A transactional batch.
    #[error("batch is transactional, which is not supported")]
    Transactional,
    /// A control batch, which only a node may write.
    #[error("batch is a control batch, which a producer cannot write")]
    Control,
    /// Attribute bits without a meaning here.
    #[error("batch attributes {found:#06x} have unknown bits set")]
    Attributes {
        /// The field.
        found: u16,
    },
    /// Fields of an idempotent or transactional producer.
    #[error(
        "batch names producer {id}, epoch {epoch}, sequence {sequence}: \
         idempotent producers are not supported, expected -1"
    )]
    Producer {
        /// Producer id.
        id: i64,
        /// Producer epoch.
        epoch: i16,
        /// Base sequence.
        sequence: i32,
    },
    /// A record count outside what is allowed.
    #[error("batch says it has {found} records, allowed are {min} to {max}")]
    Count {
        /// The field.
        found: i32,
        /// The least allowed.
        min: u32,
        /// The most allowed.
        max: u32,
    },
    /// A last offset delta that does not go with the count.
    #[error("batch of {count} records has last offset delta {found}")]
    LastOffsetDelta {
        /// The field.
        found: i32,
        /// The record count.
        count: u32,
    },
    /// A time before 1970 or beyond the bound of the rules.
    #[error("time {found} ms is outside 0..={max}")]
    Timestamp {
        /// Milliseconds since the Unix epoch.
        found: i64,
        /// The latest allowed.
        max: i64,
    },
    /// A max timestamp below the base timestamp.
    #[error("batch max timestamp {claimed} is below its base timestamp {base}")]
    MaxBelowBase {
        /// The field.
        claimed: i64,
        /// The base timestamp.
        base: i64,
    },
    /// A max timestamp that is not the highest of the records' times.
    #[error("batch max timestamp is {claimed}, the highest of its records is {found}")]
    MaxTimestamp {
        /// The field.
        claimed: i64,
        /// The highest time found.
        found: i64,
    },
    /// A record that does not add up.
    #[error("record {index} of the batch: {fault}")]
    Record {
        /// Which record, from 0.
        index: u32,
        /// What is wrong with it: the message says it, so it is no source, or whoever tells of causes says it twice.
        fault: RecordFault,
    },
    /// A record larger than the rules allow.
    #[error(
        "record {index} has {bytes} bytes of key, value and headers, at most {max} are allowed"
    )]
    RecordTooLarge {
        /// Which record, from 0.
        index: u32,
        /// Its bytes of key, value and headers.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Bytes after the last record.
    #[error("{bytes} bytes follow the last record of the batch")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The records are compressed and were asked for as they lie there.
    #[error("batch is compressed with {codec}, decompress it to read its records")]
    Compressed {
        /// The codec.
        codec: Codec,
    },
    /// This build has no codecs (feature `compression`).
    #[error("this program is built without compression, {codec} is not available")]
    CodecUnavailable {
        /// The codec.
        codec: Codec,
    },
    /// The codec refused the bytes.
    #[error("{codec} failed on the records of the batch")]
    Codec {
        /// The codec.
        codec: Codec,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The records decompress to more than the caller allows, or claim to.
    #[error("records decompress with {codec} to more than {max} bytes")]
    DecompressedTooLarge {
        /// The codec.
        codec: Codec,
        /// Bytes allowed.
        max: usize,
    },
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The bytes end before the record does, or the record before its fields.
    #[error("it is cut")]
    Cut,
    /// A variable-length number of more bits than its type has.
    #[error("a variable-length number is too long")]
    Varint,
    /// A length that is negative, −1 for null apart.
    #[error("a length is {found}")]
    Length {
        /// The length.
        found: i32,
    },
    /// Bytes of the record that belong to no field.
    #[error("{bytes} of its bytes belong to no field")]
    Excess {
        /// How many.
        bytes: usize,
    },
    /// A header name that is no UTF-8.
    #[error("a header name is no UTF-8")]
    HeaderName,
    /// Record attributes, of which none is defined.
    #[error("its attributes are {found:#04x}, expected 0")]
    Attributes {
        /// The field.
        found: u8,
    },
    /// An offset delta that does not go with its place.
    #[error("its offset delta is {found}, expected {expected}")]
    OffsetDelta {
        /// The field.
        found: i32,
        /// The delta that fits, or the least that would.
        expected: u32,
    },
    /// A time before 1970 or beyond the bound of the rules.
    #[error("its time {found} ms is outside 0..={max}")]
    Timestamp {
        /// Milliseconds since the Unix epoch.
        found: i64,
        /// The latest allowed.
        max: i64,
    },
    /// A time beyond what 64 bits hold.
    #[error("its timestamp delta {found} leads beyond 64 bits")]
    TimestampDelta {
        /// The field.
        found: i64,
    },
}
