//! The task that writes a connection's requests, in the order they were entered.

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::table::Table;
use crate::error::Fault;

/// A request on its way to the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) correlation: u32,
    /// Prefix and head.
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

/// Writes until the queue or the socket ends. The queue is bounded by the connection's slots.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    mut socket: W,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    table: &Table,
) -> Fault {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    while let Some(outgoing) = queue.recv().await {
        let mut next = Some(outgoing);
        while let Some(outgoing) = next.take() {
            if let Err(source) = put(&mut socket, &mut buffer, outgoing, table).await {
                return Fault::Io { source };
            }
            next = queue.try_recv().ok();
        }
        if let Err(source) = flush(&mut socket, &mut buffer).await {
            return Fault::Io { source };
        }
    }
    Fault::Dropped
}

/// Small requests gather in the buffer and leave together; a large body goes out uncopied.
async fn put<W: AsyncWrite + Unpin>(
    socket: &mut W,
    buffer: &mut Vec<u8>,
    outgoing: Outgoing,
    table: &Table,
) -> std::io::Result<()> {
    if !table.begin_sending(outgoing.correlation) {
        return Ok(());
    }
    buffer.extend_from_slice(&outgoing.head);
    if outgoing.body.len() <= COPIED_BODY_BYTES_MAX {
        buffer.extend_from_slice(&outgoing.body);
    } else {
        flush(socket, buffer).await?;
        socket.write_all(&outgoing.body).await?;
    }
    if buffer.len() >= BUFFER_BYTES {
        flush(socket, buffer).await
    } else {
        Ok(())
    }
}

async fn flush<W: AsyncWrite + Unpin>(socket: &mut W, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    socket.write_all(buffer).await?;
    buffer.clear();
    Ok(())
}

/// Gathered requests leave when they reach this size: a few system calls' worth.
const BUFFER_BYTES: usize = 64 << 10;

/// Copying less than this costs less than a system call of its own.
const COPIED_BODY_BYTES_MAX: usize = 16 << 10;
