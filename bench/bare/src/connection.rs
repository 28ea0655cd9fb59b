//! Connections: frames are received, checked and answered, or stored bytes are sent.

use std::io::{Error, Result};
use std::rc::Rc;

use futures_lite::io::split;
use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::io::{DmaFile, DmaStreamReaderBuilder};
use glommio::net::TcpStream;
use glommio::sync::Semaphore;
use glommio::{executor, spawn_local};

use crate::group::{self, Partition};

/// What is received at once while no frame has begun: many small ones, or the start of a large one.
const RECEIVE_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 1 << 20;
const READS_AHEAD: usize = 4;

/// Receives frames and answers them until the client goes away.
pub(crate) async fn converse(stream: TcpStream, partitions: Rc<[Rc<Partition>]>) -> Result<()> {
    let (mut reader, writer) = split(stream);
    let (mut writer, acks) = (Some(writer), Rc::new(Semaphore::new(0)));
    let (mut buffer, mut filled) = (vec![0; group::BYTES], 0);
    loop {
        let mut start = 0;
        // A large frame is received to its end and no further, so that little has to be moved.
        let missing = loop {
            let Some(header) = buffer[start..filled].first_chunk() else {
                break RECEIVE_BYTES;
            };
            let header = u128::from_le_bytes(*header);
            let field = |number: u32| (header >> (32 * number)) as u32;
            let end = start + size_of::<u128>() + field(0) as usize;
            if filled < end {
                break end - filled;
            }
            let body = &buffer[start + size_of::<u128>()..end];
            let (partition, crc, kind) = (&partitions[field(1) as usize], field(2), field(3));
            start = end;
            if kind > 2 {
                let total = u64::from_le_bytes(body.try_into().map_err(Error::other)?);
                let writer = writer
                    .take()
                    .ok_or(Error::other("a reader does nothing else"))?;
                send(writer, (kind == 4).then_some(&partition.file), total).await?;
                continue;
            }
            if let Some(writer) = writer.take() {
                spawn_local(answer(writer, Rc::clone(&acks))).detach();
            }
            if kind < 2 {
                assert_eq!(crc_fast::crc32_iscsi(body), crc, "a body is damaged");
                partition.append(body, (kind == 1).then_some(&acks)).await;
            }
            if kind != 1 {
                acks.signal(1);
            }
        };
        buffer.copy_within(start..filled, 0);
        filled -= start;
        let end = (filled + missing).min(buffer.len());
        let received = reader.read(&mut buffer[filled..end]).await?;
        if received == 0 {
            acks.close();
            return Ok(());
        }
        filled += received;
        executor().yield_if_needed().await;
    }
}

/// Sends all that is to be answered in one write.
async fn answer(mut writer: impl AsyncWrite + Unpin, acks: Rc<Semaphore>) -> Result<()> {
    while acks.acquire(1).await.is_ok() {
        let more = acks.available();
        let _ = acks.try_acquire(more);
        writer.write_all(&vec![0; 8 * (1 + more as usize)]).await?;
    }
    Ok(())
}

/// Sends `total` bytes of a file, or of one block in memory.
async fn send(
    mut writer: impl AsyncWrite + Unpin,
    file: Option<&Rc<DmaFile>>,
    total: u64,
) -> Result<()> {
    let block = vec![0x5a; READ_BYTES];
    let mut stored = file.map(|file| {
        DmaStreamReaderBuilder::from_rc(Rc::clone(file))
            .with_buffer_size(READ_BYTES)
            .with_read_ahead(READS_AHEAD)
            .build()
    });
    for start in (0..total).step_by(READ_BYTES) {
        let bytes = (total - start).min(READ_BYTES as u64);
        match &mut stored {
            Some(stored) => {
                let read = stored.get_buffer_aligned(bytes).await?;
                writer.write_all(&read).await?;
            }
            None => writer.write_all(&block[..bytes as usize]).await?,
        }
        executor().yield_if_needed().await;
    }
    Ok(())
}
