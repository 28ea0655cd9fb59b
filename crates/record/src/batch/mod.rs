//! Record batches: the unit of append, of checksum, of replication.
//!
//! This is the Kafka v2 batch (magic 2) of KIP-98, byte for byte and big-endian, the only room where
//! bytes are:
//!
//! ```text
//!  0  base offset            i64   patched on append: outside the checksum
//!  8  length                 i32   bytes after this field
//! 12  leader epoch           i32   patched on append: outside the checksum
//! 16  magic                  i8    2
//! 17  CRC-32C                u32   of everything from the attributes to the end
//! 21  attributes             i16   bits 0-2 codec, 3 time type, 4 transactional, 5 control
//! 23  last offset delta      i32   a writer's count − 1; may be more after compaction
//! 27  base timestamp         i64   of the first record, ms since the Unix epoch
//! 35  max timestamp          i64   the highest of the records'
//! 43  producer id            i64   −1
//! 51  producer epoch         i16   −1
//! 53  base sequence          i32   −1
//! 57  record count           i32
//! 61  records, compressed as a whole by the codec:
//!       length varint · attributes i8 · timestamp delta varlong · offset delta varint ·
//!       key length varint · key · value length varint · value ·
//!       header count varint · headers {name length varint · name · value length varint · value}
//! ```
//!
//! Varints are zigzag, least significant group first; length −1 is null.
//!
//! [`check`] is what a server requires before it appends, [`View::verify`] what a reader requires;
//! [`Builder`] writes. What never lives here: a decision about what to do with a bad batch.
//!
//! The law: length before everything, checksum before meaning, and no byte is read twice without
//! need. `check` walks uncompressed records without allocating.

mod builder;
mod check;
mod codec;
mod header;
mod plain;
mod raw;
mod records;
mod split;
mod view;

#[cfg(feature = "compression")]
mod compression;
#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use check::{Rules, TIMESTAMP_MAX, check};
pub use codec::{Codec, CodecNameError};
pub use header::{Header, patch};
pub use raw::Headers;
pub use records::{PausedRecords, RecordView, Records};
pub use split::{Batches, split_first};
pub use view::View;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;

/// Bytes before and in the length field, which it does not count.
pub const PREFIX_BYTES: usize = 12;

/// The largest batch that this format admits anywhere: the bytes that a partition may have written
/// and not yet synced, since a batch is never split.
pub const BYTES_MAX: usize = 16 << 20;

/// The most records that a server admits in a batch, unless its rules say less.
pub const COUNT_MAX: u32 = 1_000_000;
