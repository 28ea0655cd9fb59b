//! What comes over a connection to another node, as frames.

use std::io;

use corelog_protocol::frame::{Decoder, FrameError, Header, PREFIX_BYTES, Peek};
use corelog_protocol::limits;

use crate::rt::ReadHalf;

/// The least room before a read.
pub(super) const READ_BYTES: usize = 64 << 10;
/// The most: it is made zeros for each read, however little comes.
const READ_BYTES_MAX: usize = 256 << 10;

/// What came and is not whole yet.
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// Up to there it was taken.
    start: usize,
    /// How many bytes the next frame needs at least.
    needed: usize,
    decoder: Decoder,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            needed: 0,
            decoder: Decoder::answers(limits::FRAME_BYTES_MAX),
        }
    }

    /// The next frame, if all of it came.
    ///
    /// # Errors
    /// Where the framing is lost.
    pub(super) fn take(&mut self) -> Result<Option<(Header, Vec<u8>)>, FrameError> {
        let came = &self.buffer[self.start..];
        // Beyond the prefix looking again would cost a checksum over the head each time.
        if PREFIX_BYTES < self.needed && came.len() < self.needed {
            return Ok(None);
        }
        let header = match self.decoder.peek(came)? {
            Peek::Frame(frame) => frame.header,
            Peek::Need(needed) => {
                self.needed = needed;
                return Ok(None);
            }
        };
        self.needed = 0;
        let end = self.start + header.total_bytes();
        let bytes = match self.start {
            // The buffer is its own; of what is behind it there is little.
            0 if READ_BYTES <= end => {
                let rest = self.buffer.split_off(end);
                std::mem::replace(&mut self.buffer, rest)
            }
            start => {
                self.start = end;
                self.buffer[start..end].to_vec()
            }
        };
        Ok(Some((header, bytes)))
    }

    /// How many bytes the next frame needs at least, the first of it among them.
    pub(super) fn needed(&self) -> usize {
        self.needed
    }

    /// Reads more; gives how many bytes, none at the end.
    ///
    /// # Errors
    /// As the kernel says.
    pub(super) async fn read(&mut self, reader: &mut ReadHalf) -> io::Result<usize> {
        let bytes_max = self.make_room();
        reader.read_onto(&mut self.buffer, bytes_max).await
    }

    /// Makes room for what is missing; gives how much of it a read may bring.
    fn make_room(&mut self) -> usize {
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = self.needed.saturating_sub(self.buffer.len());
        self.buffer.reserve_exact(missing.max(READ_BYTES));
        missing.clamp(READ_BYTES, READ_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::frame::CorrelationId;

    use super::super::line::tests::records;
    use super::*;

    /// An answer with a body of so many bytes.
    fn answer(number: u32, body_bytes: usize) -> Vec<u8> {
        let mut frame = records(CorrelationId::new(number), body_bytes);
        let body = frame.len() - body_bytes;
        frame[body..].fill(b'a' + u8::try_from(number).unwrap());
        frame
    }

    #[test]
    fn frames_come_out_as_they_were_sent_however_they_are_cut() {
        let sizes = [0, 9, 100_000, 1, READ_BYTES, 0, 300_000, 70];
        let sent: Vec<_> = (0..)
            .zip(sizes)
            .map(|(n, bytes)| answer(n, bytes))
            .collect();
        for piece_bytes in [1_000, READ_BYTES, READ_BYTES_MAX] {
            let (mut incoming, mut came) = (Incoming::new(), Vec::new());
            for piece in sent.concat().chunks(piece_bytes) {
                incoming.make_room();
                incoming.buffer.extend_from_slice(piece);
                while let Some((_, bytes)) = incoming.take().unwrap() {
                    came.push(bytes);
                }
            }
            assert!(came == sent, "in pieces of {piece_bytes}");
        }
    }

    /// Each read made zeros of all that was missing, and each look was a checksum over the head.
    #[test]
    fn what_comes_little_by_little_is_looked_at_when_it_is_whole_and_costs_little() {
        let frame = answer(7, 8 << 20);
        let mut incoming = Incoming::new();
        assert_eq!(incoming.make_room(), READ_BYTES);
        incoming.buffer.extend_from_slice(&frame[..1_000]);
        assert!(incoming.take().unwrap().is_none());
        assert_eq!(incoming.needed(), frame.len());
        assert_eq!(incoming.make_room(), READ_BYTES_MAX);
        // A head that is not what it was would be seen.
        incoming.buffer[PREFIX_BYTES] ^= 1;
        assert!(incoming.take().unwrap().is_none());
        let buffer = incoming.buffer.as_ptr();
        incoming.buffer.extend_from_slice(&frame[1_000..]);
        assert_eq!(
            incoming.buffer.as_ptr(),
            buffer,
            "there was room for all of it"
        );
        assert!(incoming.take().is_err());
    }
}
