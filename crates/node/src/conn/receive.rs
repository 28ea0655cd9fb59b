//! The receive buffer: frames are slices of it, so a body is copied once, into the log's tail.

use corelog_protocol::frame::{Decoder, FrameError, PREFIX_BYTES, Peek};
use corelog_protocol::limits;

use crate::rt::{Permit, Semaphore};

/// What every connection may hold, idle ones too.
const SMALL_BYTES: usize = 4 << 10;
/// What a connection grows to when reads fill its buffer.
const BUSY_BYTES: usize = 256 << 10;
/// A frame of more than this is read by itself.
const LARGE_BYTES: usize = 64 << 10;

/// Bytes of a connection that are not yet done.
pub(super) struct Receive {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How many bytes the next frame needs at least.
    needed: usize,
    decoder: Decoder,
    /// The last read filled the buffer: there may be more.
    was_filled: bool,
    /// The core's room for what the buffer has beyond `SMALL_BYTES`.
    room: Option<Permit>,
}

impl Receive {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; SMALL_BYTES],
            start: 0,
            end: 0,
            needed: 0,
            decoder: Decoder::requests(limits::FRAME_BYTES_MAX),
            was_filled: false,
            room: None,
        }
    }

    /// What has arrived and is not done.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Looks for a whole frame; true if there is one, which `frame` then gives.
    ///
    /// # Errors
    /// Where the framing is lost.
    pub(super) fn has_frame(&mut self) -> Result<bool, FrameError> {
        // A hopeless length is seen in the first bytes; beyond the prefix looking again would cost
        // a checksum over the head each time.
        if PREFIX_BYTES < self.needed && self.end - self.start < self.needed {
            return Ok(false);
        }
        match self.decoder.peek(&self.buffer[self.start..self.end])? {
            Peek::Frame(_) => Ok(true),
            Peek::Need(needed) => {
                self.needed = needed;
                Ok(false)
            }
        }
    }

    /// The frame that `has_frame` has seen.
    ///
    /// # Errors
    /// Where the framing is lost.
    pub(super) fn frame(&self) -> Result<Peek<'_>, FrameError> {
        self.decoder.peek(self.bytes())
    }

    /// A frame of so many bytes is done.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.needed = 0;
        assert!(self.start <= self.end, "more was consumed than has arrived");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// If a frame has begun and is not whole.
    pub(super) fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// If more is held than an idle connection may.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.len() > SMALL_BYTES
    }

    /// How many bytes the frame that has begun needs.
    pub(super) fn needed(&self) -> usize {
        self.needed
    }

    /// Makes room for the next read. The buffer grows fourfold when a read fills it, up to the frame that
    /// has begun and a little more: who claims a large frame and sends little holds little. Waits for the core's room
    /// if that is used up.
    pub(super) async fn make_room(&mut self, budget: &Semaphore) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let bytes = self.buffer.len();
        let is_small = std::mem::take(&mut self.was_filled) && bytes < BUSY_BYTES;
        if self.end < bytes && !is_small {
            return;
        }
        let wanted = (4 * bytes)
            .min(self.needed + BUSY_BYTES)
            .max(bytes + SMALL_BYTES);
        // Given back first: two connections that both grow must not wait for each other.
        drop(self.room.take());
        self.room = Some(budget.acquire(wanted as u64).await);
        self.buffer.resize(wanted, 0);
        assert!(self.end < self.buffer.len(), "no room to read into");
    }

    /// Where the next bytes go. Behind a large frame there is room for little of the next one, which is
    /// moved to the front when that is done.
    pub(super) fn free(&mut self) -> &mut [u8] {
        let bound = match LARGE_BYTES < self.needed {
            true => self.buffer.len().min(self.needed + SMALL_BYTES),
            false => self.buffer.len(),
        };
        assert!(self.end < bound, "a read of nothing looks like the end");
        &mut self.buffer[self.end..bound]
    }

    /// So many bytes have arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.end += bytes;
        self.was_filled = self.end == self.buffer.len();
        assert!(
            self.end <= self.buffer.len(),
            "more arrived than there was room for"
        );
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        assert!(!self.is_partial(), "only an empty buffer shrinks");
        self.buffer = vec![0; SMALL_BYTES];
        self.room = None;
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::frame::CorrelationId;
    use corelog_protocol::message::{ping, produce};
    use corelog_protocol::request;
    use corelog_record::{PartitionId, TopicId};
    use futures_lite::future::block_on;

    use super::*;

    /// Receives `bytes` in reads as large as the buffer allows; gives the frames' sizes.
    fn receive(receive: &mut Receive, budget: &Semaphore, mut bytes: &[u8]) -> Vec<usize> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            block_on(receive.make_room(budget));
            let free = receive.free();
            let count = free.len().min(bytes.len());
            free[..count].copy_from_slice(&bytes[..count]);
            receive.arrived(count);
            bytes = &bytes[count..];
            while receive.has_frame().expect("framed") {
                let Ok(Peek::Frame(frame)) = receive.frame() else {
                    panic!("no frame")
                };
                let total = frame.header.total_bytes();
                frames.push(total);
                receive.consume(total);
            }
        }
        frames
    }

    fn ping() -> Vec<u8> {
        let mut frame = Vec::new();
        let correlation = CorrelationId::new(1);
        request::encode(correlation, &ping::Request {}, 0, &mut frame).expect("a frame");
        frame
    }

    #[test]
    fn a_busy_connection_reads_more_at_once_and_gives_it_back_when_idle() {
        let (budget, mut busy) = (Semaphore::new(1 << 30), Receive::new());
        let bytes = ping().repeat(20_000);
        assert_eq!(receive(&mut busy, &budget, &bytes).len(), 20_000);
        assert!(busy.buffer.len() >= BUSY_BYTES);
        busy.shrink();
        assert_eq!(budget.available(), 1 << 30);
        assert!(!busy.is_large());
    }

    #[test]
    fn little_of_the_next_frame_is_read_with_a_large_one() {
        let (budget, mut busy) = (Semaphore::new(1 << 30), Receive::new());
        let mut frame = Vec::new();
        let (correlation, body) = (CorrelationId::new(1), vec![0; 1 << 20]);
        let head = produce::Request {
            topic: "t".parse().expect("a name"),
            id: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
            level: None,
            run: 0,
        };
        request::encode(correlation, &head, body.len(), &mut frame).expect("a frame");
        frame.extend_from_slice(&body);
        let mut moved = 0;
        let frames = frame.repeat(4);
        let mut left = frames.as_slice();
        while !left.is_empty() {
            moved += busy.bytes().len() * usize::from(busy.start > 0);
            block_on(busy.make_room(&budget));
            let free = busy.free();
            let count = free.len().min(left.len());
            free[..count].copy_from_slice(&left[..count]);
            busy.arrived(count);
            left = &left[count..];
            while busy.has_frame().expect("framed") {
                busy.consume(frame.len());
            }
        }
        assert!(!busy.is_partial());
        assert!(moved < frames.len() / 10, "{moved} bytes were moved");
    }

    #[test]
    fn a_claimed_length_holds_nothing_until_bytes_come() {
        let (budget, mut claimed) = (Semaphore::new(1 << 30), Receive::new());
        let mut frame = ping();
        frame[..4].copy_from_slice(&(15_u32 << 20).to_le_bytes());
        assert!(receive(&mut claimed, &budget, &frame[..19]).is_empty());
        block_on(claimed.make_room(&budget));
        assert!(!claimed.is_large());
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_put_together() {
        let (budget, frame) = (Semaphore::new(1 << 30), ping());
        for cut in 1..frame.len() {
            let mut cut_there = Receive::new();
            assert!(receive(&mut cut_there, &budget, &frame[..cut]).is_empty());
            assert!(cut_there.is_partial());
            assert_eq!(
                receive(&mut cut_there, &budget, &frame[cut..]),
                vec![frame.len()]
            );
        }
    }
}
