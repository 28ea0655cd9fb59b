//! The prefix of a frame, field by field.

use std::fmt;

use super::{FLAG_ANSWER, LENGTH_BYTES, PREFIX_BYTES, VERSION};

/// Names one request on one connection; its answers carry it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(u32);

impl CorrelationId {
    /// The id of this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The id after this one; the numbers wrap, in-flight requests are far fewer than 2^32.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// True if it comes later than the other where each is the [`next`](Self::next) of one before, and they are fewer than
    /// 2^31 apart.
    #[must_use]
    pub const fn is_behind(self, other: Self) -> bool {
        let apart = self.0.wrapping_sub(other.0);
        0 < apart && apart < 1 << 31
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A frame's prefix, read and checked; its version is [`VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// True for an answer, false for a request.
    pub is_answer: bool,
    /// The kind's number; [`crate::kind::Kind::from_number`] names it.
    pub kind: u16,
    /// The request this frame is, or answers.
    pub correlation: CorrelationId,
    /// Bytes of the head.
    pub head_bytes: u32,
    /// Bytes of the frame after its length field, as on the wire.
    pub frame_bytes: u32,
}

impl Header {
    /// Bytes of the whole frame, its length field included.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        LENGTH_BYTES + self.frame_bytes as usize
    }

    /// Bytes up to the end of the head.
    #[must_use]
    pub const fn head_end(&self) -> usize {
        PREFIX_BYTES + self.head_bytes as usize
    }

    /// Bytes of the body, the raw part behind the head.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.total_bytes() - self.head_end()
    }

    /// The prefix's bytes, with its checksum over `head`.
    pub(crate) fn to_bytes(self, head: &[u8]) -> [u8; PREFIX_BYTES] {
        assert_eq!(
            self.head_bytes as usize,
            head.len(),
            "the prefix describes this head"
        );
        let flags = if self.is_answer { FLAG_ANSWER } else { 0 };
        let mut bytes = [0; PREFIX_BYTES];
        bytes[0..4].copy_from_slice(&self.frame_bytes.to_le_bytes());
        bytes[4] = VERSION;
        bytes[5] = flags;
        bytes[6..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.correlation.get().to_le_bytes());
        bytes[12..16].copy_from_slice(&self.head_bytes.to_le_bytes());
        let crc = checksum(&bytes[..16], head);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// CRC-32 (IEEE) over the prefix's first 16 bytes and the head.
pub(super) fn checksum(prefix: &[u8], head: &[u8]) -> u32 {
    assert_eq!(
        prefix.len(),
        PREFIX_BYTES - size_of::<u32>(),
        "the checksum does not cover itself"
    );
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix);
    hasher.update(head);
    hasher.finalize()
}
