//! The parts that a CopySegments request names, in turns.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corelog_protocol::limits;
use corelog_protocol::message::copy_segments::{Part, Request};
use corelog_record::{CoreId, Position};

use super::turn::{Over, Turn};
use crate::core::{Core, Lent, PartitionKey, damaged, of_segment, with_causes};
use crate::failure::{Failure, busy, disk_code, failure};
use crate::frame_id::FrameId;
use crate::metrics::{Counters, add};
use crate::router::{self, Ask};
use crate::rt::{self, Socket};

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Ended {
    /// All of it was sent.
    Sent,
    /// All that was sent is good, and the client is still to be told this.
    Failed(Failure),
    /// The stream broke in the middle of an answer.
    Cut(io::Error),
    /// So it has to be broken: the rest of the answer cannot be read, of which the core of the partition knows.
    Unread,
}

/// Whoever cannot be sent all it asks for.
type Stopped = Result<(), Ended>;

/// Sends all parts over a socket that nobody else writes to meanwhile.
pub(crate) async fn send(
    core: &Rc<Core>,
    socket: &Socket,
    frame: FrameId,
    request: &Request,
) -> Ended {
    for part in &request.parts {
        let sent = send_part(core, socket, frame, (request, part.clone())).await;
        if let Err(ended) = sent {
            return ended;
        }
    }
    Ended::Sent
}

/// Sends a part, a turn after the other: each opens the file anew, so that a slow peer holds nothing
/// that has expired for longer than a turn.
async fn send_part(
    core: &Rc<Core>,
    socket: &Socket,
    frame: FrameId,
    (request, mut part): (&Request, Part),
) -> Stopped {
    loop {
        let place = rt::timeout(PLACE_WAIT_MAX, core.shared.transfers.place());
        let place = core.unless_stopping(place).await;
        let place = place.and_then(|place| place.ok_or_else(too_many));
        let place = place.map_err(|error| named(error, &part))?;
        // After a turn the topic may be gone or another.
        let routed = router::route(core, &request.topic, request.id, request.partition);
        let (owner, key) = routed.map_err(|error| named(error, &part))?;
        let lent = lend(core, (owner, key), request, &part, frame).await;
        let Lent {
            file,
            bytes,
            offsets,
        } = lent.map_err(|error| named(error, &part))?;
        let end = bytes.end;
        let sent = Sent::counted_by(&core.counters);
        let turn = Turn {
            socket: socket.lend().map_err(|error| unlent(error, &part))?,
            correlation: frame.request,
            segment: part.segment,
            generation: part.generation,
            file,
            bytes,
            piece_bytes_max: request.piece_bytes_max.min(limits::COPY_PIECE_BYTES_MAX),
            patience: core.shared.limits.write_timeout,
            sent: Arc::clone(&sent.bytes),
        };
        let over = core.shared.transfers.take(place, turn).await;
        drop(sent);
        match over {
            Over::Sent(position) => {
                if position == end {
                    return Ok(());
                }
                part.position = Position::new(position).unwrap_or(Position::MAX);
                part.bytes = Some(end - position);
            }
            Over::Unread {
                position,
                source,
                is_midway,
            } => {
                let segment = part.segment.get();
                tracing::error!(
                    segment,
                    position,
                    error = %with_causes(&source),
                    "a sealed segment could not be read for a peer"
                );
                let told = Ask::MetDamage {
                    key,
                    offsets: offsets.clone(),
                };
                // If that core has no time for it, the next reader will tell.
                let _ = router::told::<()>(core, owner, told, None).await;
                return Err(match is_midway {
                    true => Ended::Unread,
                    false => Ended::Failed(damaged(&part, &offsets)),
                });
            }
            Over::Cut(error) => return Err(Ended::Cut(error)),
        }
    }
}

/// Bytes of a file that a turn sends. They count once it is over, or once nobody waits for that any more.
struct Sent<'a> {
    bytes: Arc<AtomicU64>,
    counters: &'a Counters,
}

impl<'a> Sent<'a> {
    fn counted_by(counters: &'a Counters) -> Self {
        let bytes = Arc::default();
        Self { bytes, counters }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        add(&self.counters.transferred_bytes_total, bytes);
    }
}

async fn lend(
    core: &Rc<Core>,
    (owner, key): (CoreId, PartitionKey),
    request: &Request,
    part: &Part,
    frame: FrameId,
) -> Result<Lent, Failure> {
    let ask = Ask::Lend {
        key,
        history: request.history,
        part: part.clone(),
    };
    router::told(core, owner, ask, Some(frame)).await
}

fn named(error: Failure, part: &Part) -> Ended {
    Ended::Failed(of_segment(error, part))
}

/// Why there is no descriptor for the socket of a peer: it may be gone, and has had all of its answers if it is not.
fn unlent(error: io::Error, part: &Part) -> Ended {
    match error.kind() {
        io::ErrorKind::NotConnected => Ended::Cut(error),
        _ => named(failure(disk_code(&error), with_causes(&error)), part),
    }
}

fn too_many() -> Failure {
    busy("too many peers are being sent segments", RETRY_MS)
}

/// How long a transfer waits for its turn; who is sent it has to have as much patience.
pub(super) const PLACE_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a client is asked to wait before it tries again, in milliseconds.
const RETRY_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;
    use corelog_record::Offset;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_a_turn_sends_counts_whatever_comes_of_it() {
        let counters = Counters::default();
        for _ in 0..2 {
            let sent = Sent::counted_by(&counters);
            sent.bytes.fetch_add(7, Ordering::Relaxed);
        }
        let counted = counters.transferred_bytes_total.load(Ordering::Relaxed);
        assert_eq!(counted, 14);
    }

    /// It was cut between two pieces, and told to have gone away.
    #[test]
    fn a_peer_is_not_cut_for_a_descriptor_that_is_lacking_here() {
        let part = Part {
            segment: Offset::ZERO,
            generation: 0,
            position: Position::ZERO,
            bytes: None,
        };
        let lacking = unlent(Errno::EMFILE.into(), &part);
        assert!(matches!(&lacking, Ended::Failed(why) if why.is(ErrorCode::Busy)));
        let gone = unlent(io::ErrorKind::NotConnected.into(), &part);
        assert!(matches!(gone, Ended::Cut(_)));
    }
}
