//! Frames: how a stream of bytes is cut into requests and answers.
//!
//! ```text
//!  0        4    5    6      8            12          16            20
//!  +--------+----+----+------+------------+-----------+-------------+------+------+
//!  | frame  | ver| fl | kind | correlation| head      | head CRC-32 | head | body |
//!  | bytes  |    |    |      |            | bytes     |             |      |      |
//!  +--------+----+----+------+------------+-----------+-------------+------+------+
//!     u32     u8   u8   u16       u32          u32          u32       MessagePack, raw bytes
//! ```
//!
//! Integers are little-endian. `frame bytes` counts everything after itself; the CRC-32 (IEEE)
//! covers bytes 0..16 and the head. The body is covered by what it holds: batches carry a CRC-32C.
//!
//! Lives here: the prefix, its checks, and cutting without copying. Never here: what a head means
//! (see [`crate::head`]) or any buffer of our own. The law: **length before allocation, checksum
//! before meaning**.

mod decode;
mod encode;
mod failure;
mod header;

pub use decode::{Decoder, Frame, Peek};
pub(crate) use encode::{Shape, encode};
pub use failure::FrameError;
pub use header::{CorrelationId, Header};

/// Bytes of a frame before its head.
pub const PREFIX_BYTES: usize = 20;

/// The frame version that this crate speaks.
pub const VERSION: u8 = 1;

/// Bytes of the length field, which does not count itself.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Set in [`Header`]'s flags when the frame answers a request.
pub(crate) const FLAG_ANSWER: u8 = 1;
