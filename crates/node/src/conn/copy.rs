//! CopySegments: the answers are sent by others, over a connection that has nothing else to do.

use std::io;

use corelog_protocol::limits;
use corelog_protocol::message::copy_segments;

use super::request::{Asked, Next};
use crate::failure::{Amount, Failure, invalid};
use crate::metrics::{add, sub};
use crate::transfer::{self, Ended};

/// Has the parts that a request names sent; nothing else is read from the connection meanwhile.
pub(super) async fn copy(asked: Asked, request: copy_segments::Request) -> Next {
    let link = &asked.link;
    if let Err(error) = check(&request) {
        asked.told::<copy_segments::Request>(Err(error));
        return Next::Continue;
    }
    link.is_bulk.set(true);
    // Answers that are due come first: from here on, whoever sends has the socket to itself.
    if !link.alone().await {
        return Next::Close;
    }
    let core = &link.core;
    add(&core.counters.transfers, 1);
    let copying = Copying(&core.counters.transfers);
    let ended = transfer::send(core, &link.socket, asked.frame(), &request).await;
    drop(copying);
    match ended {
        Ended::Sent => link.answered(asked.frame_bytes),
        Ended::Failed(error) => asked.told::<copy_segments::Request>(Err(error)),
        Ended::Unread => {
            link.die();
            return Next::Close;
        }
        Ended::Cut(error) => {
            let peer = link.peer;
            match error.kind() {
                io::ErrorKind::TimedOut => {
                    tracing::warn!(%peer, "cut a peer that does not read the segments it asked for");
                    link.cut();
                }
                _ => {
                    tracing::info!(%peer, %error, "a peer went away in the middle of a segment");
                    link.die();
                }
            }
            return Next::Close;
        }
    }
    Next::Continue
}

fn check(request: &copy_segments::Request) -> Result<(), Failure> {
    if request.parts.is_empty() {
        return Err(invalid("parts", "one part at least, please"));
    }
    let parts = Amount {
        found: request.parts.len() as u64,
        limit: limits::COPY_PART_COUNT_MAX.into(),
    };
    parts.check("parts", "parts")?;
    let (bytes, bytes_min) = (request.piece_bytes_max, limits::COPY_PIECE_BYTES_MIN);
    if bytes < bytes_min {
        // The heads of crumbs cost a sender more than the bytes, and no rate counts them.
        let message = format!("pieces of {bytes} bytes are asked for, not of {bytes_min} at least");
        return Err(invalid("piece_bytes_max", message));
    }
    Ok(())
}

/// Counted as long as it goes on, also if the connection is cut meanwhile.
struct Copying<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        sub(self.0, 1);
    }
}
