//! The task that reads a connection's answers and hands each to whoever waits for it.
//!
//! It watches that they come, too: whoever asked may have gone before they were late, and is not there to notice.

use std::ops::Range;
use std::time::Duration;

use bytes::BytesMut;
use corelog_protocol::answer;
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::table::RawAnswer;
use super::{Alarm, SILENCE_MIN, Shared};
use crate::error::Fault;

/// Reads until the connection ends or stops making sense. What the server says of why it closes it is no end: what it was
/// asked before may be answered behind that.
///
/// A frame is cut out of the receive buffer without a copy, so batches reach the consumer as
/// slices of what the socket delivered.
pub(super) async fn read<R: AsyncRead + Unpin>(
    mut socket: R,
    decoder: Decoder,
    shared: &Shared,
) -> Fault {
    let table = &shared.table;
    let mut buffer = BytesMut::new();
    let mut ahead = Ahead::default();
    let mut is_told = false;
    let mut look_at = Instant::now() + SILENCE_MIN;
    let mut watch = Alarm::at(look_at);
    let mut last_at: Option<Instant> = None;
    loop {
        let needed = match next(&mut buffer, &decoder) {
            Ok(Step::Answer(answer)) if answer.header.kind == answer::CONNECTION_KIND => {
                let (why, taken) = last_words(&answer);
                let last = shared.refuse(why, taken);
                if !is_told {
                    // Of what it says that it took, it owes an answer.
                    let owed = last.filter(|_| taken.is_some());
                    last_at = Some(owed.unwrap_or_else(last_answers));
                    is_told = true;
                }
                continue;
            }
            Ok(Step::Answer(answer)) => {
                let correlation = answer.header.correlation;
                if !table.complete(answer) {
                    return Fault::Unasked {
                        correlation: correlation.get(),
                    };
                }
                continue;
            }
            Ok(Step::Need(bytes)) => bytes,
            Err(fault) => return fault,
        };
        if last_at.is_some() && table.is_empty() {
            return Fault::Closed;
        }
        // The decoder held the length against its limit before it asked for it.
        let room = ahead.make_room(&mut buffer, needed);
        let read = tokio::select! {
            biased;
            read = socket.read_buf(&mut buffer) => read,
            () = watch.run_out(look_at) => {
                let now = Instant::now();
                // The writer has failed.
                if table.is_closed() {
                    last_at.get_or_insert_with(last_answers);
                }
                if last_at.is_some_and(|at| at <= now) {
                    return Fault::Closed;
                }
                if let Some(after) = table.overdue(now).filter(|after| SILENCE_MIN <= *after) {
                    return Fault::Silent { after };
                }
                look_at = now + SILENCE_MIN;
                continue;
            }
        };
        match read {
            Ok(0) => return Fault::Closed,
            Ok(bytes) => {
                if bytes == room {
                    ahead.grow();
                }
                table.heard(bytes, Instant::now());
            }
            Err(source) => return Fault::Io { source },
        }
    }
}

enum Step {
    Answer(RawAnswer),
    Need(usize),
}

fn next(buffer: &mut BytesMut, decoder: &Decoder) -> Result<Step, Fault> {
    let header = match decoder.peek(buffer) {
        Ok(Peek::Frame(frame)) => frame.header,
        Ok(Peek::Need(bytes)) => return Ok(Step::Need(bytes)),
        Err(source) => return Err(Fault::Frame { source }),
    };
    let bytes = buffer.split_to(header.total_bytes()).freeze();
    Ok(Step::Answer(RawAnswer { header, bytes }))
}

/// Why the server is about to close the connection, and the last request that it took, if it says so.
fn last_words(answer: &RawAnswer) -> (Fault, Option<CorrelationId>) {
    match answer::decode_err(&answer.frame()) {
        Ok(Some(body)) => {
            let taken = body.detail.taken.map(CorrelationId::new);
            let body = Box::new(body);
            (Fault::Refused { body }, taken)
        }
        Ok(None) | Err(_) => (Fault::Closed, None),
    }
}

/// The room that is made for a read, in bytes, at the least: for many small answers, which each take a part of it. It grows where
/// reads fill it; a program may have a thousand connections that are answered now and then.
struct Ahead(usize);

impl Default for Ahead {
    fn default() -> Self {
        Self(AHEAD_BYTES.start)
    }
}

impl Ahead {
    /// Makes room behind what there is of a frame that needs so many bytes. Returns how much there is.
    fn make_room(&self, buffer: &mut BytesMut, needed: usize) -> usize {
        let missing = needed - buffer.len();
        if buffer.capacity() - buffer.len() < missing.max(self.0 / 4) {
            buffer.reserve(missing.max(self.0));
        }
        buffer.capacity() - buffer.len()
    }

    fn grow(&mut self) {
        self.0 = AHEAD_BYTES.end.min(2 * self.0);
    }
}

const AHEAD_BYTES: Range<usize> = 4 << 10..64 << 10;

/// Until when a server that closes a connection may answer what it was asked on it, if it does not say what it took: after a
/// sync of a slow disk.
fn last_answers() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use corelog_protocol::frame::PREFIX_BYTES;

    use super::*;

    /// Each connection had 64 KiB.
    #[test]
    fn a_connection_that_is_answered_now_and_then_takes_a_block() {
        const ANSWER_BYTES: usize = 58;
        let (ahead, mut buffer) = (Ahead::default(), BytesMut::new());
        for _ in 0..1_000 {
            ahead.make_room(&mut buffer, PREFIX_BYTES);
            buffer.extend_from_slice(&[7; ANSWER_BYTES]);
            drop(buffer.split_to(ANSWER_BYTES).freeze());
            assert!(buffer.capacity() <= AHEAD_BYTES.start);
        }
    }

    #[test]
    fn reads_that_fill_their_room_have_more_of_it_up_to_a_bound_and_a_frame_as_much_as_it_needs() {
        let mut ahead = Ahead::default();
        for _ in 0..10 {
            ahead.grow();
        }
        let room = |needed| ahead.make_room(&mut BytesMut::new(), needed);
        assert_eq!(room(PREFIX_BYTES), AHEAD_BYTES.end);
        assert_eq!(room(1 << 20), 1 << 20);
    }
}
