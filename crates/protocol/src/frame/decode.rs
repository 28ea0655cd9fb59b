//! Cuts frames out of a caller's buffer, without copying and without trusting a length.

#![deny(clippy::indexing_slicing)]

use super::header::{CorrelationId, Header, checksum};
use super::{FLAG_ANSWER, FrameError, LENGTH_BYTES, PREFIX_BYTES, VERSION};
use crate::limits;

/// A whole frame, borrowed from the buffer it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The prefix.
    pub header: Header,
    /// The MessagePack head, checksum verified, not yet understood.
    pub head: &'a [u8],
    /// The raw bytes behind the head.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` hold, prefix and all, of which a decoder has told the `header`.
    ///
    /// # Panics
    /// If they end before its head does.
    #[must_use]
    pub fn of(header: Header, bytes: &'a [u8]) -> Self {
        let (front, body) = bytes.split_at(header.head_end());
        let head = front.get(PREFIX_BYTES..).unwrap_or_default();
        Self { header, head, body }
    }
}

/// What the first bytes of a buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek<'a> {
    /// Not yet a frame: come again when the buffer holds at least this many bytes, counted from
    /// the frame's first. Always more than the buffer holds now, never more than a whole frame at
    /// its limit, and beyond a prefix and a head only once their checksum held.
    Need(usize),
    /// A frame; the next one begins at `frame.header.total_bytes()`.
    Frame(Frame<'a>),
}

/// Cuts one direction of a connection into frames. It keeps nothing but limits: the caller owns
/// the buffer and says how much of it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    is_answer: bool,
    frame_bytes_max: u32,
    head_bytes_max: u32,
}

impl Decoder {
    /// A server's decoder: accepts requests, `frame_bytes_max` being the value its Hello
    /// announces (the length field may say at most this).
    #[must_use]
    pub const fn requests(frame_bytes_max: u32) -> Self {
        Self {
            is_answer: false,
            frame_bytes_max,
            head_bytes_max: limits::REQUEST_HEAD_BYTES_MAX,
        }
    }

    /// A client's decoder: accepts answers with a length field of at most `frame_bytes_max`.
    #[must_use]
    pub const fn answers(frame_bytes_max: u32) -> Self {
        Self {
            is_answer: true,
            frame_bytes_max,
            head_bytes_max: limits::ANSWER_HEAD_BYTES_MAX,
        }
    }

    /// Looks at the frame that begins at the first byte of `bytes`; may be called again with the
    /// same, longer buffer. Costs a checksum over the head once the head is there.
    ///
    /// # Errors
    /// The framing is lost: there is no telling where the next frame begins, so the connection has to be closed, behind an
    /// answer with [`FrameError::to_body`] if you like. What a request's or an answer's `decode` says of a frame from here
    /// loses only that frame.
    pub fn peek<'a>(&self, bytes: &'a [u8]) -> Result<Peek<'a>, FrameError> {
        match self.peek_head(bytes)? {
            Peek::Frame(frame) if frame.body.len() < frame.header.body_bytes() => {
                Ok(Peek::Need(frame.header.total_bytes()))
            }
            other => Ok(other),
        }
    }

    /// The same for who wants the body elsewhere: a frame is told as soon as its head is there, with
    /// as much of its body as is.
    ///
    /// # Errors
    /// As for [`Decoder::peek`].
    pub fn peek_head<'a>(&self, bytes: &'a [u8]) -> Result<Peek<'a>, FrameError> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
            self.check_early(bytes)?;
            return Ok(Peek::Need(PREFIX_BYTES));
        };
        let (header, crc) = self.parse(prefix)?;
        let Some(head) = bytes.get(PREFIX_BYTES..header.head_end()) else {
            return Ok(Peek::Need(header.head_end()));
        };
        let (covered, _) = prefix.split_at(PREFIX_BYTES - size_of::<u32>());
        let found = checksum(covered, head);
        if found != crc {
            return Err(FrameError::HeadChecksum {
                expected: crc,
                found,
            });
        }
        let end = header.total_bytes().min(bytes.len());
        let body = bytes.get(header.head_end()..end).unwrap_or_default();
        Ok(Peek::Frame(Frame { header, head, body }))
    }

    /// Refuses a hopeless length as soon as its four bytes are there: someone who speaks another
    /// protocol may never send twenty.
    fn check_early(&self, bytes: &[u8]) -> Result<(), FrameError> {
        bytes
            .first_chunk::<LENGTH_BYTES>()
            .map_or(Ok(()), |length| {
                self.check_length(u32::from_le_bytes(*length))
            })
    }

    fn check_length(&self, frame_bytes: u32) -> Result<(), FrameError> {
        if (frame_bytes as usize) < PREFIX_BYTES - LENGTH_BYTES {
            return Err(FrameError::TooShort { frame_bytes });
        }
        if frame_bytes > self.frame_bytes_max {
            return Err(FrameError::TooLarge {
                frame_bytes: u64::from(frame_bytes),
                frame_bytes_max: self.frame_bytes_max,
            });
        }
        Ok(())
    }

    /// Reads the prefix and holds every length in it against its limit. Nothing else is believed
    /// before the checksum.
    fn parse(&self, prefix: &[u8; PREFIX_BYTES]) -> Result<(Header, u32), FrameError> {
        let &[
            l0,
            l1,
            l2,
            l3,
            version,
            flags,
            k0,
            k1,
            c0,
            c1,
            c2,
            c3,
            h0,
            h1,
            h2,
            h3,
            s0,
            s1,
            s2,
            s3,
        ] = prefix;
        let frame_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        let correlation = CorrelationId::new(u32::from_le_bytes([c0, c1, c2, c3]));
        let head_bytes = u32::from_le_bytes([h0, h1, h2, h3]);
        self.check_length(frame_bytes)?;
        if version != VERSION {
            return Err(FrameError::Version {
                found: version,
                correlation,
            });
        }
        if flags & !FLAG_ANSWER != 0 {
            return Err(FrameError::Flags { flags });
        }
        let is_answer = flags & FLAG_ANSWER != 0;
        if is_answer != self.is_answer {
            return Err(FrameError::Direction { is_answer });
        }
        if head_bytes as usize > frame_bytes as usize - (PREFIX_BYTES - LENGTH_BYTES) {
            return Err(FrameError::HeadOverruns {
                head_bytes,
                frame_bytes,
            });
        }
        if head_bytes > self.head_bytes_max {
            return Err(FrameError::HeadTooLarge {
                head_bytes: u64::from(head_bytes),
                head_bytes_max: self.head_bytes_max,
            });
        }
        let kind = u16::from_le_bytes([k0, k1]);
        let header = Header {
            is_answer,
            kind,
            correlation,
            head_bytes,
            frame_bytes,
        };
        Ok((header, u32::from_le_bytes([s0, s1, s2, s3])))
    }
}
