//! The task that sends answers, as many as there are in one write.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;

use super::intake::SLOWEST_BYTES_PER_SECOND;
use super::link::Link;
use super::out::{Chunk, Out};
use super::untaken::{Held, stalled};
use crate::metrics::add;
use crate::router::Batches;
use crate::rt::{self, WriteHalf};

/// Pieces from this size on are written as they lie; smaller ones are gathered.
const WRITE_DIRECTLY_BYTES: usize = 32 << 10;
/// What is gathered is written at this size; more is not written at once.
const GATHER_BYTES_MAX: usize = 256 << 10;
/// Behind so much the core looks at what came: pieces of a cold log are some 200 KiB, and each is enough.
const UNLOOKED_BYTES_MAX: usize = 128 << 10;

/// Sends answers until all are sent and no more come.
///
/// No `async fn`: that keeps its arguments twice.
pub(super) fn write(link: Rc<Link>, mut sender: WriteHalf) -> impl Future<Output = ()> {
    let mut gathered = Vec::new();
    async move {
        // Asked for once for all that is sent.
        let mut dead = pin!(link.dead());
        loop {
            let to_send = link.to_send.notified();
            if link.is_dead() {
                return sender.shutdown();
            }
            let mut out = link.take_out();
            if out.chunks.is_empty() {
                if link.is_done() {
                    return sender.finish();
                }
                // Ten thousand that rest would keep it, and no budget has it.
                gathered = Vec::new();
                to_send.await;
                continue;
            }
            // Whoever takes a byte now and then is not reading either.
            let slack = Duration::from_secs((out.bytes / SLOWEST_BYTES_PER_SECOND) as u64);
            let limit = link.core.shared.limits.write_timeout + slack;
            let (written, taken) = (sender.written(), out.batches_with(Held::default()));
            let before = written.bytes();
            let held = || link.held(taken);
            let sending = send(&link, &mut sender, &mut out, &mut gathered);
            let cut = async {
                dead.as_mut().await;
                Err(io::ErrorKind::ConnectionAborted.into())
            };
            let sending = sending.or(stalled(&link.core, &written, held)).or(cut);
            let sent = rt::timeout(limit, sending).await;
            let sent = sent.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
            link.sent(out);
            // Also of what was not sent to its end.
            let bytes = written.bytes() - before;
            link.traffic.sent(bytes);
            add(&link.core.counters.sent_bytes_total, bytes);
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    tracing::warn!(peer = %link.peer, "cut a client that does not read");
                    link.cut();
                }
                Err(_) => link.die(),
            }
        }
    }
}

async fn send(
    link: &Link,
    sender: &mut WriteHalf,
    out: &mut Out,
    gathered: &mut Vec<u8>,
) -> io::Result<()> {
    if out.chunks.len() == 1
        && let Some(Chunk::Bytes(bytes)) = out.chunks.pop_front_if(|c| matches!(c, Chunk::Bytes(_)))
    {
        // The common case: answers without batches, as they lie.
        sender.write_all(&bytes).await?;
        link.recycle(bytes);
        return Ok(());
    }
    // Each connection has the room of this, and where batches are sent it is little beside them.
    Box::pin(gather(link, sender, out, gathered)).await
}

/// Sends answers and batches, what is small together.
async fn gather(
    link: &Link,
    sender: &mut WriteHalf,
    out: &Out,
    gathered: &mut Vec<u8>,
) -> io::Result<()> {
    gathered.clear();
    let mut unlooked = 0;
    // The room of what is gathered is held until it was sent.
    for chunk in &out.chunks {
        match chunk {
            Chunk::Bytes(piece) | Chunk::Batches(Batches::Bytes(piece), _) => {
                send_piece(link, sender, piece, gathered, &mut unlooked).await?;
            }
            Chunk::Batches(Batches::Pieces(pieces), _) => {
                for piece in pieces {
                    send_piece(link, sender, piece, gathered, &mut unlooked).await?;
                }
            }
        }
    }
    sender.write_all(gathered).await?;
    gathered.clear();
    gathered.shrink_to(WRITE_DIRECTLY_BYTES);
    rt::yield_if_needed().await;
    Ok(())
}

async fn send_piece(
    link: &Link,
    sender: &mut WriteHalf,
    piece: &[u8],
    gathered: &mut Vec<u8>,
    unlooked: &mut usize,
) -> io::Result<()> {
    let mut rest = piece;
    // The head of an answer leaves with the first of its bytes.
    if !gathered.is_empty() || piece.len() < WRITE_DIRECTLY_BYTES {
        let fits = GATHER_BYTES_MAX.saturating_sub(gathered.len()).max(1);
        let (first, behind) = rest.split_at(rest.len().min(fits).min(WRITE_DIRECTLY_BYTES));
        gathered.extend_from_slice(first);
        rest = behind;
        if !rest.is_empty() || gathered.len() >= GATHER_BYTES_MAX {
            write_part(link, sender, gathered, unlooked).await?;
            gathered.clear();
        }
    }
    for part in rest.chunks(GATHER_BYTES_MAX) {
        write_part(link, sender, part, unlooked).await?;
    }
    Ok(())
}

/// Writes a part of what is long. `unlooked` is how much was since the core was given way.
async fn write_part(
    link: &Link,
    sender: &mut WriteHalf,
    part: &[u8],
    unlooked: &mut usize,
) -> io::Result<()> {
    sender.write_all(part).await?;
    *unlooked += part.len();
    if *unlooked < UNLOOKED_BYTES_MAX {
        rt::yield_if_needed().await;
    } else {
        *unlooked = 0;
        link.core.give_way().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::link::tests::{answer_with_batches, linked_over};
    use super::*;
    use crate::core::tests::with_core;

    /// More than lies between the two ends.
    const BYTES: usize = 15 << 20;

    /// Whoever takes most of each answer and goes was sent nothing, by the metrics.
    #[test]
    fn what_was_sent_of_an_answer_that_is_cut_counts() {
        with_core(|core| async move {
            let (link, conn, client) = linked_over(&core).await;
            let (_receiver, sender) = conn.split();
            answer_with_batches(&link, BYTES);
            let writing = rt::spawn(write(Rc::clone(&link), sender));
            client.set_nonblocking(true).unwrap();
            while client.peek(&mut [0]).is_err() {
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_ne!(link.held(Held::default()).answers, 0, "it is being sent");
            link.die();
            writing.await;
            let sent = core.counters.sent_bytes_total.load(Ordering::Relaxed);
            assert!((1..BYTES as u64).contains(&sent), "{sent}");
        });
    }
}
