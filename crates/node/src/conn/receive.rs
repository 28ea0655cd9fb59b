//! The receive buffer: frames are slices of it, so a body is copied once, into the log's tail.

use std::time::Instant;

use corelog_protocol::frame::{Decoder, Frame, FrameError, Header, PREFIX_BYTES, Peek};
use corelog_protocol::limits;

use super::intake::{Intake, More, Pace, Turn};
use crate::rt::Permit;

/// What every connection may hold, idle ones too.
const SMALL_BYTES: usize = 2 << 10;
/// What a connection grows to when reads fill its buffer.
pub(super) const BUSY_BYTES: usize = 256 << 10;
/// A buffer that is full grows so many times.
pub(super) const GROWTH: usize = 4;
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
    intake: Intake,
    /// The core's room for what the buffer has beyond `SMALL_BYTES`, but for what it grew in a turn.
    room: Vec<Permit>,
    turn: Option<Turn>,
    /// Of the frame that has begun, while more is held than an idle connection may.
    pace: Option<Pace>,
}

impl Receive {
    pub(super) fn new(intake: Intake) -> Self {
        Self {
            buffer: vec![0; SMALL_BYTES],
            start: 0,
            end: 0,
            needed: 0,
            decoder: Decoder::requests(limits::FRAME_BYTES_MAX),
            was_filled: false,
            intake,
            room: Vec::new(),
            turn: None,
            pace: None,
        }
    }

    /// What has arrived and is not done.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Looks for a whole frame; gives its header if there is one.
    ///
    /// # Errors
    /// Where the framing is lost.
    pub(super) fn header(&mut self) -> Result<Option<Header>, FrameError> {
        self.look(Decoder::peek)
    }

    /// The same for the first frame, which is told with as much of its body as there is: a Hello has none, and nothing is
    /// received for who has not said it.
    ///
    /// # Errors
    /// Where the framing is lost.
    pub(super) fn first_header(&mut self) -> Result<Option<Header>, FrameError> {
        self.look(Decoder::peek_head)
    }

    fn look(
        &mut self,
        peek: impl for<'a> FnOnce(&Decoder, &'a [u8]) -> Result<Peek<'a>, FrameError>,
    ) -> Result<Option<Header>, FrameError> {
        // A hopeless length is seen in the first bytes; beyond the prefix looking again would cost
        // a checksum over the head each time.
        if PREFIX_BYTES < self.needed && self.end - self.start < self.needed {
            return Ok(None);
        }
        match peek(&self.decoder, &self.buffer[self.start..self.end])? {
            Peek::Frame(frame) => Ok(Some(frame.header)),
            Peek::Need(needed) => {
                self.needed = needed;
                Ok(None)
            }
        }
    }

    /// The frame of the header that was seen last, with what there is of its body.
    ///
    /// # Panics
    /// If its bytes were consumed since.
    pub(super) fn frame(&self, header: Header) -> Frame<'_> {
        let bytes = self.bytes();
        Frame::of(header, &bytes[..header.total_bytes().min(bytes.len())])
    }

    /// A frame of so many bytes is done.
    ///
    /// # Panics
    /// If they are not all there.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.needed = 0;
        self.pace = None;
        assert!(self.start <= self.end, "more was consumed than has arrived");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.turn.is_some() {
            self.shrink();
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
    /// has begun and a little more: who claims a large frame and sends little holds little. Where that
    /// needs it, waits for the core's room or a turn, and keeps meanwhile what it has. While room is short
    /// what earlier frames needed goes back first.
    pub(super) async fn make_room(&mut self) {
        if self.intake.is_short() {
            self.rest();
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let bytes = self.buffer.len();
        let is_full = self.end == bytes;
        let is_small = std::mem::take(&mut self.was_filled) && bytes < BUSY_BYTES;
        if !is_full && !is_small {
            return;
        }
        let most = match self.needed.max(bytes) < BUSY_BYTES {
            true => BUSY_BYTES,
            false => self.needed + BUSY_BYTES,
        };
        let wanted = (GROWTH * bytes).min(most).max(bytes + SMALL_BYTES);
        let more = (wanted - bytes) as u64;
        match self.intake.at_once(more) {
            Some(permit) => self.room.push(permit),
            None if !is_full => return,
            None => self.wait_to_grow(more).await,
        }
        self.buffer.reserve_exact(wanted - bytes);
        self.buffer.resize(wanted, 0);
        assert!(self.end < self.buffer.len(), "no room to read into");
    }

    async fn wait_to_grow(&mut self, more: u64) {
        if self.turn.is_none() {
            self.pace = None;
            match self.intake.more(more).await {
                More::Room(permit) => self.room.push(permit),
                More::Turn(turn) => self.turn = Some(turn),
            }
        }
    }

    /// If this has a turn, for which others may wait.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// If this has a turn and its client does not send as fast as that asks for, or it holds room that others
    /// need for a frame of which next to nothing comes, or little beside that room.
    pub(super) fn is_too_slow(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if let Some(turn) = &mut self.turn {
            return turn.is_too_slow(now());
        }
        if !self.is_large() || !self.is_partial() {
            self.pace = None;
            return false;
        }
        let now = now();
        let pace = self.pace.get_or_insert_with(|| Pace::new(now));
        // Behind the frame it has room for others, too.
        let held = self.buffer.len().min(self.needed);
        pace.is_too_slow(now, held) && self.intake.is_short()
    }

    /// Where the next bytes go. Behind a large frame there is room for little of the next one, which is
    /// moved to the front when that is done.
    pub(super) fn free(&mut self) -> &mut [u8] {
        let bound = match LARGE_BYTES < self.needed || self.turn.is_some() {
            true => self.buffer.len().min(self.needed + SMALL_BYTES),
            false => self.buffer.len(),
        };
        assert!(self.end < bound, "a read of nothing looks like the end");
        &mut self.buffer[self.end..bound]
    }

    /// So many bytes have arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.end += bytes;
        if let Some(turn) = &mut self.turn {
            turn.received(bytes);
        }
        if let Some(pace) = &mut self.pace {
            pace.received(bytes);
        }
        self.was_filled = self.end == self.buffer.len();
        assert!(
            self.end <= self.buffer.len(),
            "more arrived than there was room for"
        );
    }

    /// Nothing is read for a while, or others need the room: what it would not have grown to goes back.
    pub(super) fn rest(&mut self) {
        let left = self.bytes().len();
        let wanted = match left <= SMALL_BYTES {
            true => SMALL_BYTES,
            false => GROWTH * left,
        };
        if self.turn.is_none() && wanted < self.buffer.len() {
            self.shrink_to(wanted);
        }
    }

    /// Gives back what a connection does not need that has no large frame to receive.
    pub(super) fn shrink(&mut self) {
        self.shrink_to(SMALL_BYTES);
        self.turn = None;
    }

    fn shrink_to(&mut self, bytes: usize) {
        let left = self.bytes().len();
        assert!(left <= bytes, "a buffer shrinks with a frame in it");
        let mut buffer = vec![0; bytes];
        buffer[..left].copy_from_slice(self.bytes());
        self.buffer = buffer;
        (self.start, self.end, self.was_filled) = (0, left, false);
        let mut kept = (bytes - SMALL_BYTES) as u64;
        for permit in &mut self.room {
            permit.shrink_to(permit.units().min(kept));
            kept -= permit.units();
        }
        self.room.retain(|permit| permit.units() > 0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use corelog_protocol::frame::CorrelationId;
    use corelog_protocol::message::{ping, produce};
    use corelog_protocol::request;
    use corelog_record::{PartitionId, TopicId};
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::Semaphore;

    /// Receives `bytes` in reads as large as the buffer allows; gives the frames' sizes.
    fn receive(receive: &mut Receive, mut bytes: &[u8]) -> Vec<usize> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            block_on(receive.make_room());
            let free = receive.free();
            let count = free.len().min(bytes.len());
            free[..count].copy_from_slice(&bytes[..count]);
            receive.arrived(count);
            bytes = &bytes[count..];
            while let Some(header) = receive.header().expect("framed") {
                let total = header.total_bytes();
                assert_eq!(receive.frame(header).body.len(), header.body_bytes());
                frames.push(total);
                receive.consume(total);
            }
        }
        frames
    }

    fn intake(bytes: u64) -> Intake {
        Intake::new(Semaphore::new(bytes))
    }

    /// A Produce with a body of so many bytes.
    pub(in crate::conn) fn produce(bytes: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        let head = produce::Request {
            topic: "t".parse().expect("a name"),
            id: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
            level: None,
            run: 0,
        };
        request::encode(CorrelationId::new(1), &head, bytes, &mut frame).expect("a frame");
        frame.resize(frame.len() + bytes, 0);
        frame
    }

    pub(in crate::conn) fn ping() -> Vec<u8> {
        let mut frame = Vec::new();
        let correlation = CorrelationId::new(1);
        request::encode(correlation, &ping::Request {}, 0, &mut frame).expect("a frame");
        frame
    }

    #[test]
    fn a_busy_connection_reads_more_at_once_and_gives_it_back_when_idle() {
        let budget = Semaphore::new(1 << 30);
        let mut busy = Receive::new(Intake::new(budget.clone()));
        let free = budget.available();
        let bytes = ping().repeat(20_000);
        assert_eq!(receive(&mut busy, &bytes).len(), 20_000);
        assert!(busy.buffer.len() >= BUSY_BYTES);
        assert!(budget.available() < free);
        busy.shrink();
        assert_eq!(budget.available(), free);
        assert!(!busy.is_large());
    }

    #[test]
    fn little_of_the_next_frame_is_read_with_a_large_one() {
        let mut busy = Receive::new(intake(1 << 30));
        let frame = produce(1 << 20);
        let mut moved = 0;
        let frames = frame.repeat(4);
        let mut left = frames.as_slice();
        while !left.is_empty() {
            moved += busy.bytes().len() * usize::from(busy.start > 0);
            block_on(busy.make_room());
            let free = busy.free();
            let count = free.len().min(left.len());
            free[..count].copy_from_slice(&left[..count]);
            busy.arrived(count);
            left = &left[count..];
            while busy.header().expect("framed").is_some() {
                busy.consume(frame.len());
            }
        }
        assert!(!busy.is_partial());
        assert!(moved < frames.len() / 10, "{moved} bytes were moved");
    }

    #[test]
    fn a_claimed_length_holds_nothing_until_bytes_come() {
        let mut claimed = Receive::new(intake(1 << 30));
        let mut frame = ping();
        frame[..4].copy_from_slice(&(15_u32 << 20).to_le_bytes());
        assert!(receive(&mut claimed, &frame[..19]).is_empty());
        block_on(claimed.make_room());
        assert!(!claimed.is_large());
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_put_together() {
        let (intake, frame) = (intake(1 << 30), ping());
        for cut in 1..frame.len() {
            let mut cut_there = Receive::new(intake.clone());
            assert!(receive(&mut cut_there, &frame[..cut]).is_empty());
            assert!(cut_there.is_partial());
            assert_eq!(receive(&mut cut_there, &frame[cut..]), [frame.len()]);
        }
    }

    /// What a connection had received was not counted while it waited to grow: a crowd of them held many
    /// times the core's room.
    #[test]
    fn a_crowd_that_sends_large_frames_holds_no_more_than_there_is_and_all_come_through() {
        let (all, crowd) = (72 << 20, 60);
        let intake = intake(all as u64);
        let frame = produce(8 << 20);
        let mut receiving: Vec<_> = (0..crowd)
            .map(|_| (Receive::new(intake.clone()), frame.as_slice()))
            .collect();
        let mut rounds = 0;
        while receiving.iter().any(|(_, left)| !left.is_empty()) {
            rounds += 1;
            assert!(rounds < 100 * crowd, "all wait for each other");
            for (receive, left) in &mut receiving {
                let is_whole = left.is_empty();
                if is_whole || block_on(poll_once(receive.make_room())).is_none() {
                    continue;
                }
                let free = receive.free();
                let count = free.len().min(left.len()).min(1 << 20);
                free[..count].copy_from_slice(&left[..count]);
                receive.arrived(count);
                *left = &left[count..];
                if receive.header().expect("framed").is_some() {
                    receive.consume(frame.len());
                    receive.shrink();
                }
            }
            let held = receiving.iter().map(|(receive, _)| receive.buffer.len());
            assert!(held.sum::<usize>() <= all + crowd * SMALL_BYTES);
        }
    }

    /// Takes so much that others wait for room, or soon will.
    fn leave_little(budget: &Semaphore) -> Permit {
        let taken = budget.try_acquire(budget.available() - (1 << 20));
        taken.expect("there is more")
    }

    /// One large frame and a Ping now and then held the room of the frame for ever.
    #[test]
    fn what_a_large_frame_needed_goes_back_with_the_next_small_one_if_others_need_it() {
        let budget = Semaphore::new(72 << 20);
        let mut busy = Receive::new(Intake::new(budget.clone()));
        let free = budget.available();
        receive(&mut busy, &produce(8 << 20));
        receive(&mut busy, &ping());
        assert!(busy.is_large(), "nobody needs it");
        let others = leave_little(&budget);
        receive(&mut busy, &ping());
        assert!(!busy.is_large());
        drop(others);
        assert_eq!(budget.available(), free);
    }

    /// So did a large frame and a little of the next one.
    #[test]
    fn what_has_come_of_a_frame_keeps_room_for_four_times_as_much_if_others_need_it() {
        let budget = Semaphore::new(72 << 20);
        let mut busy = Receive::new(Intake::new(budget.clone()));
        let free = budget.available();
        let next = produce(1 << 20);
        receive(&mut busy, &produce(8 << 20));
        receive(&mut busy, &next[..10_000]);
        assert!(busy.buffer.len() > 8 << 20, "nobody needs it");
        let others = leave_little(&budget);
        block_on(busy.make_room());
        assert_eq!(busy.buffer.len(), 40_000);
        drop(others);
        assert_eq!(budget.available(), free - (40_000 - SMALL_BYTES) as u64);
        assert_eq!(receive(&mut busy, &next[10_000..]), [next.len()]);
    }

    /// A byte every two seconds kept the room of all that had come before.
    #[test]
    fn who_holds_room_that_others_need_and_sends_next_to_nothing_is_too_slow() {
        let budget = Semaphore::new(72 << 20);
        let mut slow = Receive::new(Intake::new(budget.clone()));
        let start = Instant::now();
        let after = |millis| move || start + Duration::from_millis(millis);
        let frame = produce(1 << 20);
        let (held, byte) = (600 << 10, 1);
        receive(&mut slow, &frame[..held]);
        assert!(!slow.is_too_slow(after(0)));
        receive(&mut slow, &frame[held..][..byte]);
        assert!(!slow.is_too_slow(after(3_000)), "nobody needs it");
        let _others = leave_little(&budget);
        receive(&mut slow, &frame[held + byte..][..128 << 10]);
        assert!(!slow.is_too_slow(after(5_000)), "it sends");
        let held = held + byte + (128 << 10);
        receive(&mut slow, &frame[held..][..byte]);
        assert!(!slow.is_too_slow(after(6_900)), "it is not looked yet");
        receive(&mut slow, &frame[held + byte..][..byte]);
        assert!(slow.is_too_slow(after(7_000)));
        assert_eq!(receive(&mut slow, &frame[held + 2..]), [frame.len()]);
        assert!(!slow.is_too_slow(after(20_000)), "no frame has begun");
    }

    /// A frame of 60 KiB that came at 20 KiB/s was cut, for 16 KiB that others needed.
    #[test]
    fn who_sends_as_much_as_its_room_grew_for_is_not_too_slow() {
        let budget = Semaphore::new(72 << 20);
        let mut slow = Receive::new(Intake::new(budget.clone()));
        let start = Instant::now();
        let after = |seconds| move || start + Duration::from_secs(seconds);
        let _others = leave_little(&budget);
        let frame = produce(60 << 10);
        let (held, more) = (SMALL_BYTES + 1, 40 << 10);
        receive(&mut slow, &frame[..held]);
        assert_eq!(slow.buffer.len(), GROWTH * SMALL_BYTES);
        assert!(!slow.is_too_slow(after(0)));
        receive(&mut slow, &frame[held..][..more]);
        assert!(!slow.is_too_slow(after(2)));
        receive(&mut slow, &frame[held + more..][..1]);
        assert!(slow.is_too_slow(after(4)), "next to nothing");
    }

    /// A frame of 200 KiB that came at 27 KiB/s was cut: its buffer had grown to 256 KiB.
    #[test]
    fn who_sends_a_quarter_of_a_frame_in_a_while_is_not_too_slow_however_much_room_is_behind_it() {
        let budget = Semaphore::new(72 << 20);
        let mut slow = Receive::new(Intake::new(budget.clone()));
        let start = Instant::now();
        let after = |seconds| move || start + Duration::from_secs(seconds);
        let _others = leave_little(&budget);
        let frame = produce(200 << 10);
        let (first, later) = frame.split_at(SMALL_BYTES + 1);
        let mut parts = later.chunks(55 << 10);
        receive(&mut slow, first);
        assert!(!slow.is_too_slow(after(0)));
        for seconds in [2, 4, 6] {
            receive(&mut slow, parts.next().unwrap());
            assert!(!slow.is_too_slow(after(seconds)));
        }
        assert!(slow.buffer.len() >= BUSY_BYTES);
        let last = parts.next().unwrap();
        receive(&mut slow, &last[..1]);
        assert!(slow.is_too_slow(after(8)), "next to nothing");
        assert_eq!(receive(&mut slow, &last[1..]), [frame.len()]);
    }

    /// Thirteen that had sent a quarter of a frame of 16 MiB, and then 66 KiB/s, held all room for minutes.
    #[test]
    fn who_holds_much_room_that_others_need_has_to_send_more() {
        let budget = Semaphore::new(72 << 20);
        let mut slow = Receive::new(Intake::new(budget.clone()));
        let start = Instant::now();
        let after = |seconds| move || start + Duration::from_secs(seconds);
        let frame = produce((16 << 20) - 1_000);
        let (held, least) = ((8 << 20) + 1, 256 << 10);
        receive(&mut slow, &frame[..held]);
        assert!(slow.buffer.len() >= 16 << 20, "it grew fourfold");
        assert!(!slow.is_too_slow(after(0)));
        receive(&mut slow, &frame[held..][..132 << 10]);
        assert!(!slow.is_too_slow(after(2)), "nobody needs it");
        let _others = leave_little(&budget);
        let held = held + (132 << 10);
        receive(&mut slow, &frame[held..][..least + 1_000]);
        assert!(!slow.is_too_slow(after(4)), "it sends");
        receive(&mut slow, &frame[held + least + 1_000..][..132 << 10]);
        assert!(slow.is_too_slow(after(6)));
    }

    #[test]
    fn frames_that_fit_in_what_a_busy_connection_has_let_it_grow_to_that_and_no_further() {
        let mut busy = Receive::new(intake(1 << 30));
        let frames = produce(200 << 10).repeat(20);
        assert_eq!(receive(&mut busy, &frames).len(), 20);
        assert_eq!(busy.buffer.len(), BUSY_BYTES);
    }

    #[test]
    fn who_has_a_turn_and_sends_little_is_too_slow() {
        let budget = Semaphore::new(72 << 20);
        let mut slow = Receive::new(Intake::new(budget.clone()));
        let start = Instant::now();
        let after = |seconds| move || start + Duration::from_secs(seconds);
        let _others = budget.try_acquire(budget.available());
        let frame = produce(1 << 20);
        assert!(!slow.is_too_slow(after(100)), "it needs none yet");
        assert!(receive(&mut slow, &frame[..600 << 10]).is_empty());
        assert!(!slow.is_too_slow(after(0)));
        assert!(!slow.is_too_slow(after(3)), "it was quick at first");
        assert!(slow.is_too_slow(after(4)));
        assert_eq!(receive(&mut slow, &frame[600 << 10..]), [frame.len()]);
        assert!(!slow.is_too_slow(after(5)) && !slow.is_large());
    }
}
