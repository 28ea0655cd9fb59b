//! The task that reads a connection's answers and hands each to whoever waits for it.
//!
//! It watches that they come, too: whoever asked may have gone before they were late, and is not there to notice.

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
        let (missing, room) = (needed - buffer.len(), buffer.capacity() - buffer.len());
        if room < missing.max(READ_BYTES_MIN) {
            // The decoder held the length against its limit before it asked for it.
            buffer.reserve(missing.max(READ_BYTES));
        }
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
            Ok(bytes) => table.heard(bytes, Instant::now()),
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

/// Room that is made for reads: for many small answers, which each take a part of it.
const READ_BYTES: usize = 64 << 10;

/// Room for at least this much before each read.
const READ_BYTES_MIN: usize = 16 << 10;

/// Until when a server that closes a connection may answer what it was asked on it, if it does not say what it took: after a
/// sync of a slow disk.
fn last_answers() -> Instant {
    Instant::now() + Duration::from_secs(5)
}
